"""Vonage Voice API: WebSocket endpoints, NCCO, REST, signed webhooks.

    /vonage/answer      what shall be done with a call?   -> NCCO
    /vonage/event       everything that happens to it     -> nothing
    /vonage/recording   Vonage's own recording is ready

https://developer.vonage.com/en/voice/voice-api/concepts/websockets
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dialog.types import Transfer
from media.leg import HangupCause
from sip.carrier import Announced, Desk, Refused, WebAnswer, WebRequest, is_sip, own_number
from sip.carrierrest import Ask, RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import RemoteProtocolError
from sip.jwt import BadJwt, claims, signer
from sip.mediacore import (
    Audio,
    Capabilities,
    Encoding,
    Ignored,
    Marked,
    Means,
    MediaStreamCore,
    Message,
    Started,
    StreamEvent,
    digit,
    member,
    read_json,
    strings,
    text,
)
from sip.restcarrier import RestCarrier, ring_s
from sip.webpeer import same_secret

CALL, CALLER, CALLEE = "voicegw_call", "voicegw_from", "voicegw_to"  # headers that our own NCCO passes on
RATES = (8000, 16000, 24000)
TOLERANCE_S = 300  # age of a signed webhook
TOKEN_S = 300  # life of the tokens in our requests
OWN_QUERY = {"order"}
HINTS = {
    "400": "a parameter is not valid: numbers are written with the country, without +",
    "401": "application_id and private_key do not belong together",
    "402": "there are no credits left",
    "404": "the call is over",
    "429": "too many requests at once",
}
# State of a call that was not answered -> SIP status.
FAILED = {"busy": 486, "unanswered": 480, "timeout": 480, "rejected": 603, "cancelled": 487, "failed": 503}
FAILED |= {"completed": 480}


class VonageCore(MediaStreamCore):
    """One stream: L16 in binary messages, little endian, 20 ms each; the end is the closing socket."""

    single_frames = True

    def __init__(self) -> None:
        self._started = False

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        if isinstance(message, bytes):
            return [Audio(message)]
        body = read_json(message)
        match body.get("event"):
            case "websocket:connected":
                return [self._start(body)]
            case "websocket:dtmf":
                return digit(body.get("digit"))
            case "websocket:notify":
                return [Marked(text(member(body, "payload"), "mark"))]
            case "websocket:cleared":
                return []
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """One packet time."""
        return payload

    def mark(self, name: str) -> Message:
        """A notification: it comes back when what was sent before has been played."""
        return json.dumps({"action": "notify", "payload": {"mark": name}})

    def clear(self) -> Message:
        """Empty Vonage's buffer."""
        return '{"action":"clear"}'

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        if self._started:
            return Ignored("a second start")
        form = text(body, "content-type", "audio/l16;rate=16000").lower().replace(" ", "")
        kind, _, rate = form.partition(";rate=")
        if kind != "audio/l16" or rate not in {str(rate) for rate in RATES}:
            raise RemoteProtocolError(f"content-type {form!r} is not ours", 488)
        given = strings({k: v for k, v in body.items() if k not in {"event", "content-type"}})
        call, caller, callee = (given.pop(name, "") for name in (CALL, CALLER, CALLEE))
        self._started = True
        encoding = Encoding("PCM", int(rate))
        return Started(call, call, encoding, encoding, caller, callee, given)


@dataclass(frozen=True, slots=True)
class VonageConfig:
    """Calls over Vonage's Voice API (docs/carriers.md). Point the application's answer URL to
    PUBLIC_URL/vonage/answer and its event URL to PUBLIC_URL/vonage/event, both by POST."""

    application_id: str = ""
    """Id of the Voice application. Empty: Vonage is not used."""
    private_key: str = ""
    """The application's private key (PEM), best as ${VONAGE_PRIVATE_KEY}: signs requests."""
    signature_secret: str = ""
    """The account's signature secret, best as ${VONAGE_SIGNATURE_SECRET}: webhooks are signed with it."""
    caller: str = ""
    """Caller id of outbound calls that bring none, and of hand-overs: one of the account's numbers."""
    rate: int = 8000
    """Hz of the sound: 8000, 16000, 24000. 8000 fits calls from the telephone network,
    whose sound holds no more: recognisers for the telephone hear it best so. More pays off for callers in HD
    voice."""
    amd: bool = False
    """Answering machine detection of outbound calls; the result is in the timeline. Costs extra."""
    record: bool = False
    """Vonage records too, on two channels; its address comes into the timeline. Costs extra."""
    api_url: str = "https://api.nexmo.com"
    """Where requests go; a region has its own, such as https://api-eu-3.vonage.com."""
    rest: RestConfig = RestConfig()

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.rate not in RATES:
            raise ValueError(f"rate must be one of {', '.join(map(str, RATES))}, not {self.rate}")


class Vonage(RestCarrier):
    """One application."""

    name, vendor = "vonage", "Vonage"
    hints = HINTS
    hooks = ("answer", "event", "recording")
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

    def __init__(self, config: VonageConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.signature_secret:
            raise ValueError("signature_secret is needed: without it no webhook can be checked")
        self.config = config
        self._sign = signer(config.private_key, "vonage")
        super().__init__(config.rest)
        self._calls = f"{config.api_url.rstrip('/')}/v1/calls"

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return VonageCore()

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless Vonage has signed it, not long ago."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("no signature")
        try:
            said = claims(token, self.config.signature_secret)
        except BadJwt as error:
            raise Refused(str(error)) from error
        issued = said.get("iat")
        if not isinstance(issued, (int, float)) or abs(request.at - issued) > TOLERANCE_S:
            raise Refused("signed too long ago")
        if said.get("application_id", self.config.application_id) != self.config.application_id:
            raise Refused("of another application")
        digest = str(said.get("payload_hash", "")).lower()
        if request.body and not same_secret(digest, hashlib.sha256(request.body).hexdigest()):
            raise Refused("the body is not the one that was signed")

    def check_socket(self, request: WebRequest) -> None:
        """Vonage signs no sockets: the pass in the address is all there is."""

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields: Mapping[str, Any] = {**request.query, **(request.json if request.body else {})}
        call, order = text(fields, "uuid", ""), request.query.get("order", "")
        if hook == "answer":
            return _ncco(self._answer(call, fields, request.query, desk))
        if hook == "recording":
            names = ("recording_url", "recording_uuid", "size")
            kept = {n: text(fields, n, "") for n in names if text(fields, n, "")}
            desk.report(request.query.get("call", ""), "recording", kept)
        else:
            self._happened(call, fields, order, desk)
        return WebAnswer(content_type="text/plain", status=204)

    def _answer(
        self, call: str, fields: Mapping[str, Any], query: Mapping[str, str], desk: Desk
    ) -> list[dict[str, Any]]:
        if not call:
            raise Refused("there is no uuid", 400)
        order = query.get("order", "")
        own = {"uuid", "conversation_uuid", "region_url"} | OWN_QUERY
        parameters = {k.lower(): v for k, v in query.items() if k not in own | {"from", "to"}}
        parties = (_plus(text(fields, "from", "")), _plus(text(fields, "to", "")))
        announced = Announced(call, *parties, parameters, order)
        if not order and desk.refusal(announced):
            return []  # an empty NCCO hangs up: Vonage cannot say "busy"
        headers = {CALL: call, CALLER: parties[0], CALLEE: parties[1], **parameters}
        socket = {
            "type": "websocket",
            "uri": desk.stream_url(announced),
            "content-type": f"audio/l16;rate={self.config.rate}",
            "headers": headers,
        }
        connect = {"action": "connect", "eventUrl": [desk.hook_url("event")], "endpoint": [socket]}
        if not self.config.record:
            return [connect]
        record = {"action": "record", "eventUrl": [desk.hook_url("recording", call=call)]}
        return [record | {"split": "conversation", "channels": 2, "format": "wav"}, connect]

    def _happened(self, call: str, fields: Mapping[str, Any], order: str, desk: Desk) -> None:
        state = text(fields, "status", "")
        match state:
            case "ringing" if order:
                desk.progress(order, CallProgress.RINGING)
            case "answered" if order:
                desk.progress(order, CallProgress.ANSWERED)
            case "human" | "machine":
                desk.report(call, "amd", {"answered_by": text(fields, "sub_state", "") or state})
            case _ if state in FAILED:
                if order:
                    words = text(fields, "detail", "") or state
                    desk.failed(order, FAILED[state], f"Vonage says: {words}")
                desk.ended(call, HangupCause.NORMAL)

    # Requests

    def authorization(self) -> str:
        """Of a request: a token that it alone brings."""
        now = int(self.now())
        said = {"application_id": self.config.application_id, "iat": now, "exp": now + TOKEN_S}
        return f"Bearer {self._sign(said | {'jti': secrets.token_hex(16)})}"

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What an error says."""
        names = ("detail", "title", "error_title")
        return "", next((text(body, name) for name in names if text(body, name, "")), "")

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody."""
        body: dict[str, Any] = {
            "to": [{"type": "phone", "number": call.target.lstrip("+")}],
            "from": {"type": "phone", "number": own_number(call, self.config.caller).lstrip("+")},
            "answer_url": [desk.hook_url("answer", order=order)],
            "answer_method": "POST",
            "event_url": [desk.hook_url("event", order=order)],
            "ringing_timer": min(120, max(1, round(call.ring_timeout_s))),
        }
        if self.config.amd:
            body["machine_detection"] = "continue"
        return await self.create(Ask("POST", self._calls, body=body), "uuid")

    async def end(self, call_id: str) -> bool:
        """End a call."""
        return await self._update(call_id, {"action": "hangup"})

    async def press(self, call_id: str, digits: str) -> None:
        """Press keys."""
        await self.ask(Ask("PUT", f"{self._call(call_id)}/dtmf", body={"digits": digits}))

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Give the call another NCCO, which dials: the caller leaves at once, come what may."""
        target = order.target
        endpoint = {"type": "phone", "number": target.lstrip("+")}
        if is_sip(target):
            endpoint = {"type": "sip", "uri": target}
        dial: dict[str, Any] = {"action": "connect", "endpoint": [endpoint], "timeout": str(ring_s(order))}
        if self.config.caller:
            dial["from"] = self.config.caller.lstrip("+")
        body = {"action": "transfer", "destination": {"type": "ncco", "ncco": [dial]}}
        return await self._update(call.call_id, body)

    def _call(self, call: str) -> str:
        return f"{self._calls}/{quote(call, safe='')}"

    async def _update(self, call: str, body: Mapping[str, Any]) -> bool:
        return await self.change(Ask("PUT", self._call(call), body=body, again=True))


def _ncco(actions: list[dict[str, Any]]) -> WebAnswer:
    return WebAnswer(json.dumps(actions), "application/json")


def _plus(number: str) -> str:
    """Vonage writes numbers with their country, without "+"."""
    return f"+{number}" if number.isdecimal() and len(number) > 7 else number
