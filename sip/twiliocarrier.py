"""Twilio as a carrier: webhooks, calls placed and ended, transfers. Its socket's messages: sip/twilio.py.

/twilio/voice       what shall be done with a call?       -> TwiML
/twilio/status      a call rings, was answered, is over
/twilio/stream      a media stream began, ended, failed
/twilio/amd         a person has answered, or a machine
/twilio/recording   Twilio's own recording is ready
/twilio/target      the call to whom somebody is transferred
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip import twilioweb
from sip.carrier import Announced, Desk, Refused, WebAnswer, WebRequest, own_number
from sip.carrierrest import Ask, RestConfig, basic
from sip.endpoint import CallProgress, OutboundCall
from sip.mediacore import Capabilities, Encoding, Means, MediaStreamCore, text
from sip.restcarrier import RING_S, RestCarrier, ring_s, sip_status
from sip.twilio import CALLEE, CALLER, TwilioCore
from sip.twilioerrors import ERRORS, GONE

OWN_QUERY = {"order", "room"}  # parameters of our own in webhook addresses
RECORDING = ("RecordingSid", "RecordingUrl", "RecordingDuration", "RecordingStatus", "ErrorCode")

# Final states of a call -> SIP status, if it was never answered.
FAILED = {"busy": 486, "no-answer": 480, "canceled": 487, "failed": 503, "completed": 480}
PROGRESS = {
    "initiated": CallProgress.TRYING,
    "ringing": CallProgress.RINGING,
    "in-progress": CallProgress.ANSWERED,
    "answered": CallProgress.ANSWERED,
}


class TransferBy(StrEnum):
    """How a caller is handed over."""

    CONFERENCE = "conference"
    DIAL = "dial"


class Amd(StrEnum):
    """Whether Twilio listens who has answered."""

    OFF = "off"
    ASYNC = "async"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class TwilioConfig:
    """Calls over Twilio (docs/carriers.md). Point the number's voice webhook to PUBLIC_URL/twilio/voice, its
    status callback to PUBLIC_URL/twilio/status."""

    account_sid: str = ""
    """Account SID, AC... Empty: Twilio is not used."""
    auth_token: str = ""
    """Its auth token, best as ${TWILIO_AUTH_TOKEN}: for signatures, and for requests without an API key."""
    api_key: str = ""
    """SID of an API key (SK...) for requests. Empty: the auth token."""
    api_key_secret: str = ""
    """Secret of that key."""
    api_url: str = "https://api.twilio.com"
    """Where requests go; a region has its own, such as https://api.dublin.ie1.twilio.com."""
    caller: str = ""
    """Caller id of outbound calls that bring none: one of the account's numbers, +49..."""
    transfer: TransferBy = TransferBy.CONFERENCE
    """conference: the target is called first, and the caller joins it once it has answered; if it does not,
    the caller is still with the bot. dial: the caller leaves at once and hears it ring; one leg cheaper."""
    amd: Amd = Amd.OFF
    """Answering machine detection of outbound calls. async: the bot speaks at once, the result is in the
    timeline. sync: Twilio listens first (about 4 s), and the flow gets the result as variable `answered_by`,
    if it has one. Costs extra."""
    record: bool = False
    """Twilio records too, on two channels; its address comes into the timeline. Costs extra."""
    check_signatures: bool = True
    """Off only for a test on this machine: then whoever reaches the server is believed to be Twilio, though
    from this machine only."""
    rest: RestConfig = RestConfig()


class Twilio(RestCarrier):
    """One account."""

    name, vendor = "twilio", "Twilio"
    hints = {code: hint for code, (_, hint) in ERRORS.items()}
    statuses = {code: status for code, (status, _) in ERRORS.items()}
    gone = frozenset({"404"}) | GONE
    signature_header = "X-Twilio-Signature"
    api_path = "/2010-04-01"
    encoding, codec = Encoding("PCMU", 8000), ""
    hooks = ("voice", "status", "stream", "amd", "recording", "target")
    capabilities = Capabilities(
        clear=True,
        played=True,
        dtmf_in=True,
        dtmf_out=Means.TONES,
        hangup=Means.REST,
        transfer=True,
        conference=True,
        outbound=True,
        amd=True,
        recording=True,
    )

    def __init__(self, config: TwilioConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.auth_token and config.check_signatures:
            raise ValueError("auth_token is needed: without it no webhook can be checked")
        if bool(config.api_key) != bool(config.api_key_secret):
            raise ValueError("api_key and api_key_secret belong together")
        self.config = config
        self.announced = config.check_signatures
        super().__init__(config.rest)
        account = quote(config.account_sid, safe="")
        self._calls = f"{config.api_url.rstrip('/')}{self.api_path}/Accounts/{account}/Calls"
        self.targets: dict[str, asyncio.Future[str]] = {}
        """Room -> "" once the target has answered, or why not."""

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return TwilioCore(self.encoding)

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless Twilio has signed it, for our account."""
        if self.config.check_signatures:
            twilioweb.check(self.config.auth_token, request, self.signature_header)
        elif not request.local:
            raise Refused("not from this machine")
        account = dict(request.form).get("AccountSid", self.config.account_sid)
        if account != self.config.account_sid:
            raise Refused("of another account")

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless Twilio has signed it."""
        if self.config.check_signatures:
            twilioweb.check_socket(self.config.auth_token, request)
        elif not request.local:
            raise Refused("not from this machine")

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields = {**request.query, **dict(request.form)}
        if hook == "voice":
            return WebAnswer(self._voice(fields, request.query, desk))
        call = fields.get("CallSid", "")
        match hook:
            case "status":
                self._status(call, fields, desk)
            case "stream" if fields.get("StreamEvent") == "stream-error":
                desk.report(call, "error", {"message": fields.get("StreamError", "the media stream failed")})
            case "amd":
                desk.report(call, "amd", {"answered_by": fields.get("AnsweredBy", "unknown")})
            case "recording":
                desk.report(call, "recording", {n: fields[n] for n in RECORDING if fields.get(n)})
            case "target":
                self._target(fields)
        return WebAnswer(twilioweb.nothing())

    # Webhooks

    def _voice(self, fields: Mapping[str, str], query: Mapping[str, str], desk: Desk) -> str:
        call_sid, order = fields.get("CallSid", ""), query.get("order", "")
        if not call_sid:
            raise Refused("there is no CallSid", 400)
        parameters = {n.lower(): v for n, v in query.items() if n not in OWN_QUERY}
        for name, field in (("answered_by", "AnsweredBy"), ("forwarded_from", "ForwardedFrom")):
            if fields.get(field):
                parameters[name] = fields[field]
        call = Announced(call_sid, fields.get("From", ""), fields.get("To", ""), parameters, order)
        if not order and (reason := desk.refusal(call)):
            return twilioweb.reject("busy" if reason == "busy" else "rejected")
        shown = {CALLER: call.caller, CALLEE: call.callee, **parameters}
        return twilioweb.stream(desk.stream_url(call), shown, desk.hook_url("stream"), self.codec)

    def _status(self, call: str, fields: Mapping[str, str], desk: Desk) -> None:
        state, order = fields.get("CallStatus", ""), fields.get("order", "")
        if order and state in PROGRESS:
            desk.progress(order, PROGRESS[state])
        if state not in FAILED:
            return
        if order:
            status = sip_status(fields.get("SipResponseCode", ""), FAILED[state])
            desk.failed(order, status, f"{self.vendor} says: {state}")
        if fields.get("ErrorCode"):
            words = fields.get("ErrorMessage", "")
            desk.report(call, "error", {"message": f"{self.vendor} error {fields['ErrorCode']}: {words}"})
        desk.ended(call, HangupCause.NORMAL)

    def _target(self, fields: Mapping[str, str]) -> None:
        waiting = self.targets.get(fields.get("room", ""))
        if waiting is None or waiting.done():
            return
        state = fields.get("CallStatus", "")
        if PROGRESS.get(state) is CallProgress.ANSWERED:
            waiting.set_result("")
        elif state in FAILED:
            waiting.set_result(state)

    # Requests

    def authorization(self) -> str:
        """Of a request."""
        config = self.config
        return basic(config.api_key or config.account_sid, config.api_key_secret or config.auth_token)

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What an error says."""
        return text(body, "code", ""), text(body, "message", "")

    async def began(self, call: Announced, desk: Desk) -> None:
        """Have Twilio record, if it shall."""
        if self.config.record and not call.order:  # outbound calls are ordered with it
            form = [
                ("RecordingChannels", "dual"),
                ("RecordingStatusCallback", desk.hook_url("recording")),
                ("RecordingStatusCallbackEvent", "completed absent"),
            ]
            url = f"{self._calls}/{quote(call.call_id, safe='')}/Recordings.json"
            await self.ask(Ask("POST", url, form=form))

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody."""
        form = [
            ("To", call.target),
            ("From", own_number(call, self.config.caller)),
            ("Url", desk.hook_url("voice", order=order)),
            ("StatusCallback", desk.hook_url("status", order=order)),
            *(("StatusCallbackEvent", event) for event in ("initiated", "ringing", "answered", "completed")),
            ("Timeout", _timeout(call.ring_timeout_s)),
        ]
        if self.config.record:
            form += [("Record", "true"), ("RecordingChannels", "dual")]
            form.append(("RecordingStatusCallback", desk.hook_url("recording")))
        if self.config.amd is not Amd.OFF:
            form.append(("MachineDetection", "Enable"))
        if self.config.amd is Amd.ASYNC:
            form += [("AsyncAmd", "true"), ("AsyncAmdStatusCallback", desk.hook_url("amd"))]
        return await self._create(form)

    async def end(self, call_id: str) -> bool:
        """End a call."""
        return await self._update(call_id, "Status", "completed")

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Give the call another document, or meet the target in a room."""
        # A number of ours, which Twilio lets us show: the one that was called, or called from.
        mine = call.caller if call.order else call.callee
        mine = mine if mine.lstrip("+").isdecimal() else self.config.caller
        if self.config.transfer is TransferBy.DIAL:
            return await self._update(
                call.call_id, "Twiml", twilioweb.dial(order.target, mine, ring_s(order))
            )
        return await self._by_conference(call.call_id, mine, order, desk)

    async def _by_conference(self, call_id: str, mine: str, order: Transfer, desk: Desk) -> bool:
        """Call the target into a room; the caller follows when it has answered."""
        room = f"voicegw-{secrets.token_hex(8)}"
        timeout_s = order.timeout_s or RING_S
        answered = self.targets[room] = asyncio.get_running_loop().create_future()
        target, joined = "", False
        try:
            target = await self._create(
                [
                    ("To", order.target),
                    ("From", mine),
                    ("Twiml", twilioweb.conference(room, waits=False, say=order.summary)),
                    ("StatusCallback", desk.hook_url("target", room=room)),
                    ("StatusCallbackEvent", "answered"),
                    ("StatusCallbackEvent", "completed"),
                    ("Timeout", _timeout(timeout_s)),
                ]
            )
            async with asyncio.timeout(timeout_s + 10):  # Twilio says itself that nobody answers
                failure = await answered
            if failure:
                raise TransferError(f"the target did not answer: {failure}")
            joined = await self._update(call_id, "Twiml", twilioweb.conference(room, waits=True))
            return joined
        except TimeoutError:
            raise TransferError("the target did not answer") from None
        finally:
            del self.targets[room]
            if target and not joined:
                await self.give_up(target)

    async def _create(self, form: list[tuple[str, str]]) -> str:
        return await self.create(Ask("POST", f"{self._calls}.json", form=form), "sid")

    async def _update(self, call: str, name: str, value: str) -> bool:
        url = f"{self._calls}/{quote(call, safe='')}.json"
        return await self.change(Ask("POST", url, form=[(name, value)], again=True))


def _timeout(seconds: float) -> str:
    return str(min(600, max(1, round(seconds))))
