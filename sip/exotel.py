"""Exotel: the Voicebot applet, its REST interface. Its socket speaks as Twilio's, in snake_case and PCM
(sip/twilio.py), in large messages.

    /exotel/voicebot     where does the applet connect to?   -> the address of our socket
    /exotel/status       a call that we place is answered, or over

Exotel signs nothing: both addresses carry a token. https://developer.exotel.com/docs/agentstream
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from media.leg import HangupCause
from sip.carrier import Announced, Desk, Refused, WebAnswer, WebRequest, own_number
from sip.carrierrest import Ask, CarrierError, RestConfig, basic
from sip.endpoint import CallProgress, OutboundCall
from sip.mediacore import Capabilities, Encoding, Means, MediaStreamCore, text
from sip.medialine import CallControl, NoControl
from sip.restcarrier import RestCarrier
from sip.streamtoken import LIFETIME_S
from sip.twilio import TwilioCore, Words
from sip.webpeer import same_secret

RATES = (8000, 16000, 24000)
WORDS = Words("stream_sid", "call_sid", "media_format", "custom_parameters")
OWN_QUERY = {"token", "order", "callsid", "callfrom", "callto", "from", "to", "direction", "created"}
OWN_QUERY |= {"currenttime", "dialwhomnumber", "flow_id", "tenant_id", "calltype", "starttime", "endtime"}
HINTS = {
    "401": "api_key and api_token do not belong together",
    "402": "there are no credits left",
    "403": "the account may not do this: voice streaming, or the country, is not enabled",
    "429": "too many requests at once",
}
FAILED = {"busy": 486, "no-answer": 480, "failed": 503, "canceled": 487, "completed": 480}


class ExotelCore(TwilioCore):
    """One stream. Small messages make Exotel's playback stutter, so ours last 200 ms."""

    lead_ms = 400
    message_frames = 10

    def __init__(self, rate: int = 8000) -> None:
        super().__init__(Encoding("PCM", rate), WORDS)


@dataclass(frozen=True, slots=True)
class ExotelConfig:
    """Calls over Exotel (docs/carriers.md). The Voicebot applet's URL is
    PUBLIC_URL/exotel/voicebot?token=TOKEN."""

    account_sid: str = ""
    """Account SID. Empty: Exotel is not used."""
    api_key: str = ""
    """API key."""
    api_token: str = ""
    """API token, best as ${EXOTEL_API_TOKEN}: for requests."""
    token: str = ""
    """Any long random text, best as ${EXOTEL_TOKEN}: Exotel signs nothing, so its requests must bring it."""
    caller: str = ""
    """ExoPhone for outbound calls that bring no caller id."""
    rate: int = 8000
    """Hz of the sound: 8000, 16000, 24000."""
    record: bool = False
    """Exotel records outbound calls too, on two channels; its address comes into the timeline."""
    api_url: str = "https://api.exotel.com"
    """Where requests go; https://api.in.exotel.com for accounts in India."""
    rest: RestConfig = RestConfig()

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.rate not in RATES:
            raise ValueError(f"rate must be one of {', '.join(map(str, RATES))}, not {self.rate}")


class Exotel(RestCarrier):
    """One account."""

    name, vendor = "exotel", "Exotel"
    hints = HINTS
    hooks = ("voicebot", "status")
    capabilities = Capabilities(
        clear=True,
        played=True,
        dtmf_in=True,
        dtmf_out=Means.TONES,
        hangup=Means.FLOW,
        outbound=True,
        recording=True,
    )

    def __init__(self, config: ExotelConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.token:
            raise ValueError("token is needed: Exotel signs nothing, its requests must bring one")
        self.config = config
        super().__init__(config.rest)
        account = quote(config.account_sid, safe="")
        self._connect = f"{config.api_url.rstrip('/')}/v1/Accounts/{account}/Calls/connect.json"

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return ExotelCore(self.config.rate)

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless it brings our token."""
        if not same_secret(request.query.get("token", ""), self.config.token):
            raise Refused("wrong token")

    def check_socket(self, request: WebRequest) -> None:
        """The pass in the address is all there is."""

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields = {name.lower(): value for name, value in (request.query | dict(request.form)).items()}
        if hook == "voicebot":
            return self._voicebot(fields, desk)
        self._status(fields, desk)
        return WebAnswer(content_type="text/plain")

    def _voicebot(self, fields: Mapping[str, str], desk: Desk) -> WebAnswer:
        call = fields.get("callsid", "")
        if not call:
            raise Refused("there is no CallSid", 400)
        caller = fields.get("callfrom") or fields.get("from", "")
        callee = fields.get("callto") or fields.get("to", "")
        parameters = {k: v for k, v in fields.items() if k not in OWN_QUERY}
        announced = Announced(call, caller, callee, parameters)
        if desk.refusal(announced):
            # The applet has no word for "busy": without an address it fails, and the flow goes on.
            raise Refused("no room for this call", 503)
        return WebAnswer(json.dumps({"url": self._socket(announced, desk)}), "application/json")

    def _socket(self, call: Announced, desk: Desk) -> str:
        return f"{desk.stream_url(call)}?sample-rate={self.config.rate}"

    def _status(self, fields: Mapping[str, str], desk: Desk) -> None:
        call, order, state = fields.get("callsid", ""), fields.get("order", ""), fields.get("status", "")
        if order and state == "ringing":
            desk.progress(order, CallProgress.RINGING)
        if order and state in {"in-progress", "answered"}:
            desk.progress(order, CallProgress.ANSWERED)
        if fields.get("recordingurl"):
            desk.report(call, "recording", {"RecordingUrl": fields["recordingurl"]})
        if state in FAILED:
            if order:
                desk.failed(order, FAILED[state], f"Exotel says: {state}")
            desk.ended(call, HangupCause.NORMAL)

    def control(self, call: Announced, desk: Desk) -> CallControl:
        """Closing the socket leaves the applet; what comes next is the flow's business."""
        return NoControl(self.name)

    # Requests

    def authorization(self) -> str:
        """Of a request."""
        return basic(self.config.api_key, self.config.api_token)

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What an error says."""
        error = body.get("RestException")
        return "", text(error, "Message", "") if isinstance(error, dict) else ""

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody. The pass of the socket is given out with the order, so ringing ends with it."""
        announced = Announced("", own_number(call, self.config.caller), call.target, {}, order)
        form = [
            ("From", call.target),
            ("CallerId", own_number(call, self.config.caller)),
            ("StreamUrl", self._socket(announced, desk)),
            ("StreamType", "bidirectional"),
            ("TimeOut", str(min(round(LIFETIME_S) - 10, max(1, round(call.ring_timeout_s))))),
            ("StatusCallback", desk.hook_url("status", order=order, token=self.config.token)),
            *(("StatusCallbackEvents[]", event) for event in ("ringing", "answered", "terminal")),
        ]
        if self.config.record:
            form += [("Record", "true"), ("RecordingChannels", "dual")]
        return await self.create(Ask("POST", self._connect, form=form), "Call", "Sid")

    async def end(self, call_id: str) -> bool:
        """Raises CarrierError: its interface has nothing for it. What rings does so until its time is over,
        and finds a closed door if it is answered; a call that talks is left to its flow."""
        raise CarrierError(
            "Exotel ends no calls by request: it rings until it is answered, or its time is over"
        )
