"""Telnyx as a carrier: Call Control webhooks, calls placed and ended, transfers. Its socket: sip/telnyx.py.

    /telnyx/voice       everything that happens to a call; we act on it by REST

https://developers.telnyx.com/docs/voice/programmable-voice
"""

import asyncio
import logging
import secrets
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip.carrier import Announced, Desk, Refused, WebAnswer, WebRequest, check_age, own_number
from sip.carrierrest import Ask, CarrierError, RestConfig
from sip.ed25519 import verifier
from sip.endpoint import CallProgress, OutboundCall
from sip.mediacore import Capabilities, Encoding, Means, MediaStreamCore, strings, text
from sip.restcarrier import RING_S, RestCarrier, cause_of, sip_status
from sip.telnyx import RATES, TelnyxCore
from sip.webpeer import same_secret

log = logging.getLogger(__name__)

TOLERANCE_S = 300  # age of a signed webhook; Telnyx's own recommendation
TOKEN_HEADER = "X-Telnyx-Streaming-Auth-Token"  # noqa: S105 - a header's name
SEEN = 2000  # webhooks that are remembered: they come again until one answer arrives
GONE = "90018"  # the call is over
HINTS = {
    "401": "api_key is not valid",
    "403": "the account or connection may not do this: see it in Telnyx' portal",
    "10009": "api_key is not valid",
    "10010": "the account may not do this: verify it, or add funds, in Telnyx' portal",
    "10011": "too many requests at once",
    "10015": "a parameter is not valid: numbers are written as +49...",
    "10016": "the number is not valid: write it as +49...",
    "20100": "there are no funds left",
    "90010": "calls to that number are not allowed: see the outbound voice profile",
    "90015": "connection_id is not that of a Call Control application",
    GONE: "the call is over",
}
# hangup_cause -> SIP status, for calls that were never answered.
FAILED = {"user_busy": 486, "call_rejected": 603, "no_answer": 480, "timeout": 408, "not_found": 404}
FAILED |= {"unallocated_number": 404, "invalid_number_format": 484, "originator_cancel": 487}


@dataclass(frozen=True, slots=True)
class TelnyxConfig:
    """Calls over Telnyx (docs/carriers.md). Point the Call Control application's webhook to
    PUBLIC_URL/telnyx/voice."""

    api_key: str = ""
    """API key (KEY...), best as ${TELNYX_API_KEY}. Empty: Telnyx is not used."""
    public_key: str = ""
    """Key with which Telnyx signs webhooks, in base64: Account, Keys & Credentials, Public Key."""
    connection_id: str = ""
    """Id of the Call Control application, for outbound calls."""
    caller: str = ""
    """Caller id of outbound calls that bring none: one of the account's numbers, +49..."""
    encoding: str = "PCMU"
    """PCMU, PCMA (Europe), or G722 (16 kHz, for calls in HD voice)."""
    amd: bool = False
    """Answering machine detection of outbound calls; the result is in the timeline. Costs extra."""
    record: bool = False
    """Telnyx records too, on two channels; its address comes into the timeline. Costs extra."""
    api_url: str = "https://api.telnyx.com/v2"
    """Where requests go."""
    rest: RestConfig = RestConfig()

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.encoding not in RATES:
            raise ValueError(f"encoding must be one of {', '.join(RATES)}, not {self.encoding!r}")


class Telnyx(RestCarrier):
    """One account."""

    name, vendor = "telnyx", "Telnyx"
    hints = HINTS
    gone = frozenset({"404", GONE})
    hooks = ("voice",)
    capabilities = Capabilities(
        clear=True,
        played=True,
        dtmf_in=True,
        dtmf_out=Means.REST,
        hangup=Means.REST,
        transfer=True,
        outbound=True,
        amd=True,
        recording=True,
    )

    def __init__(self, config: TelnyxConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        self.config = config
        self._key = verifier(config.public_key, "telnyx")
        self._encoding = Encoding(config.encoding, RATES[config.encoding])
        self._socket_token = secrets.token_urlsafe(24)  # Telnyx brings it back with each socket
        super().__init__(config.rest)
        self._calls = f"{config.api_url.rstrip('/')}/calls"
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.targets: dict[str, asyncio.Future[str]] = {}  # "" once the target has answered, or why not

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return TelnyxCore(self._encoding)

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless Telnyx has signed it, not long ago."""
        stamp = request.headers.get("Telnyx-Timestamp", "")
        try:
            signature = b64decode(request.headers.get("Telnyx-Signature-Ed25519", ""), validate=True)
        except ValueError:
            raise Refused("wrong signature") from None
        check_age(request, stamp, TOLERANCE_S)
        if not self._key(signature, stamp.encode() + b"|" + request.body):
            raise Refused("wrong signature")

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless it brings the token that Telnyx was given."""
        given = request.headers.get(TOKEN_HEADER, "")
        if not same_secret(given, self._socket_token):
            raise Refused("wrong streaming token")

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """An event of a call. Events come again and out of order; each is acted on once."""
        data = request.json.get("data")
        event = data.get("payload") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(event, dict):
            raise Refused("no event", 400)
        if not self._is_new(text(data, "id", secrets.token_hex(8))):
            return WebAnswer(content_type="text/plain")
        call = text(event, "call_control_id", "")
        kind = text(data, "event_type", "").replace("_", ".")
        target, order = self.targets.get(_state(event)), request.query.get("order", "")
        try:
            if target is not None:
                _progress_of(target, kind, text(event, "hangup_cause", ""))
            else:
                await self._happened(kind, call, event, order, desk)
        except CarrierError as error:
            desk.report(call, "error", {"message": str(error)})
            desk.failed(order, 503, str(error))  # answered, but its sound will not come
        return WebAnswer(content_type="text/plain")

    async def _happened(self, kind: str, call: str, event: Mapping[str, Any], order: str, desk: Desk) -> None:
        match kind:
            case "call.initiated" if text(event, "direction", "") == "incoming":
                await self._ring(call, event, desk)
            case "call.initiated" if order:
                desk.progress(order, CallProgress.RINGING)
            case "call.answered" if order:
                desk.progress(order, CallProgress.ANSWERED)
                announced = Announced(call, text(event, "from", ""), text(event, "to", ""), {}, order)
                await self.act(call, "streaming_start", self._streaming(announced, desk))
            case "call.hangup":
                if order:
                    cause = text(event, "hangup_cause", "")
                    status = sip_status(text(event, "sip_hangup_cause", ""), FAILED.get(cause, 480))
                    desk.failed(order, status, f"Telnyx says: {cause}")
                desk.ended(call, HangupCause.NORMAL)
            case "call.machine.detection.ended":
                desk.report(call, "amd", {"answered_by": text(event, "result", "unknown")})
            case "call.recording.saved":
                desk.report(call, "recording", strings(event.get("recording_urls")))

    async def _ring(self, call: str, event: Mapping[str, Any], desk: Desk) -> None:
        announced = Announced(call, text(event, "from", ""), text(event, "to", ""))
        reason = desk.refusal(announced)
        try:
            if reason:
                cause = "USER_BUSY" if reason == "busy" else "CALL_REJECTED"
                await self.act(call, "reject", {"cause": cause})
            else:
                await self.act(call, "answer", self._streaming(announced, desk))
        except CarrierError as error:
            extra = {"carrier": self.name, "carrier_id": call, "error": str(error)}
            log.error("inbound call not answered", extra=extra)
            # Else it rings on; and it may be answered although we were not told: its socket may be here.
            await self.give_up(call)
            desk.ended(call, cause_of(error))
            raise

    def _streaming(self, call: Announced, desk: Desk) -> dict[str, Any]:
        encoding = self._encoding
        return {
            "stream_url": desk.stream_url(call),
            "stream_track": "inbound_track",
            "stream_codec": encoding.name,
            "stream_bidirectional_mode": "rtp",
            "stream_bidirectional_codec": encoding.name,
            "stream_bidirectional_sampling_rate": encoding.rate,
            "stream_bidirectional_target_legs": "self",  # else another leg hears us, once there is one
            "stream_auth_token": self._socket_token,
        }

    # Requests

    def authorization(self) -> str:
        """Of a request."""
        return f"Bearer {self.config.api_key}"

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What the first error says."""
        errors = body.get("errors")
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        return text(first, "code", ""), text(first, "detail", "") or text(first, "title", "")

    async def began(self, call: Announced, desk: Desk) -> None:
        """Have Telnyx record, if it shall."""
        if self.config.record:
            await self.act(call.call_id, "record_start", {"format": "wav", "channels": "dual"})

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody; the stream is begun once he has answered."""
        body: dict[str, Any] = {
            "connection_id": self.config.connection_id,
            "to": call.target,
            "from": own_number(call, self.config.caller),
            "webhook_url": desk.hook_url("voice", order=order),
            "timeout_secs": min(600, max(5, round(call.ring_timeout_s))),
            "command_id": order,
        }
        if self.config.amd:
            body["answering_machine_detection"] = "detect"
        ask = Ask("POST", self._calls, body=body, again=True)  # of one command_id, one call
        return await self.create(ask, "data", "call_control_id")

    async def end(self, call_id: str) -> bool:
        """End a call."""
        return await self.act(call_id, "hangup", {})

    async def press(self, call_id: str, digits: str) -> None:
        """Press keys."""
        await self.act(call_id, "send_dtmf", {"digits": digits})

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Have the target called; the caller stays with the bot until it has answered."""
        name = secrets.token_hex(8)
        answered = self.targets[name] = asyncio.get_running_loop().create_future()
        timeout_s = order.timeout_s or RING_S
        body = {
            "to": order.target,
            "timeout_secs": min(600, max(5, round(timeout_s))),
            "target_leg_client_state": b64encode(name.encode()).decode(),
        }
        try:
            if not await self.act(call.call_id, "transfer", body):
                return False
            async with asyncio.timeout(timeout_s + 10):  # Telnyx says itself that nobody answers
                failure = await answered
        except TimeoutError:
            raise TransferError("the target did not answer") from None
        finally:
            del self.targets[name]
        if failure:
            raise TransferError(f"the target did not answer: {failure}")
        return True

    async def act(self, call: str, action: str, body: Mapping[str, Any]) -> bool:
        """Do something with a live call; False: it is over already. Raises CarrierError."""
        command = {**body, "command_id": secrets.token_hex(8)}  # so that a repetition does nothing
        url = f"{self._calls}/{quote(call, safe='')}/actions/{action}"
        return await self.change(Ask("POST", url, body=command, again=True))

    def _is_new(self, event: str) -> bool:
        if event in self._seen:
            return False
        self._seen[event] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return True


def _progress_of(target: "asyncio.Future[str]", kind: str, cause: str) -> None:
    if target.done():
        return
    if kind in {"call.answered", "call.bridged"}:
        target.set_result("")
    elif kind == "call.hangup":
        target.set_result(cause or "hung up")


def _state(event: Mapping[str, Any]) -> str:
    try:
        return b64decode(text(event, "client_state", ""), validate=True).decode()
    except ValueError:
        return ""
