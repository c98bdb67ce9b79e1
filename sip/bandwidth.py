"""Bandwidth: BXML, its media stream, REST.

    /bandwidth/answer     what shall be done with a call?   -> BXML
    /bandwidth/end        a call is over
    /bandwidth/machine    a person has answered, or a machine
    /bandwidth/transfer   where a caller goes who leaves us -> BXML
    /bandwidth/stream     a media stream began, ended, was refused

Webhooks bring a user and a password; sockets bring a pass. https://dev.bandwidth.com/docs/voice
"""

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from dialog.types import Transfer
from media.leg import HangupCause
from sip.carrier import (
    Announced,
    Desk,
    Refused,
    WebAnswer,
    WebRequest,
    check_basic,
    document,
    is_sip,
    own_number,
)
from sip.carrierrest import Ask, RestConfig, basic
from sip.endpoint import OutboundCall
from sip.errors import RemoteProtocolError
from sip.mediacore import (
    Audio,
    Capabilities,
    Encoding,
    Ignored,
    Means,
    MediaStreamCore,
    Message,
    Started,
    Stopped,
    StreamEvent,
    member,
    number,
    payload,
    read_json,
    strings,
    text,
)
from sip.restcarrier import RestCarrier, forwarded, forwarding

LONGEST_S = 7200  # of a call: BXML needs something to do while the stream runs
OWN_QUERY = {"order", "to", "timeout"}  # parameters of our own in webhook addresses
HINTS = {
    "401": "user and password of the API do not belong together",
    "403": "the account may not do this, or application_id is not its own",
    "404": "the call is over",
    "429": "too many requests at once",
}
# Cause of a call's end -> SIP status, for calls that were never answered.
FAILED = {"busy": 486, "timeout": 480, "rejected": 603, "cancel": 487, "callback-error": 500}
FAILED |= {"invalid-bxml": 500, "application-error": 500, "account-limit": 503, "node-capacity-exceeded": 503}


class BandwidthCore(MediaStreamCore):
    """One stream. It confirms nothing, and keys do not come by it."""

    def __init__(self) -> None:
        self._started = False

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        body = read_json(message)
        match body.get("eventType"):
            case "start":
                return [self._start(body)]
            case "media":
                if body.get("track", "inbound") != "inbound":
                    return [Ignored("another track")]
                return [Audio(payload(body), number(body, "sequenceNumber"))]
            case "stop":
                return [Stopped()]
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """A message to be played."""
        head = '{"eventType":"playAudio","media":{"contentType":"audio/pcmu","payload":"'
        return head + b2a_base64(payload, newline=False).decode() + '"}}'

    def clear(self) -> Message:
        """Empty Bandwidth's buffer."""
        return '{"eventType":"clear"}'

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        if self._started:
            return Ignored("a second start")
        said = member(body, "metadata")
        call, stream = text(said, "callId"), text(said, "streamId", "")
        tracks = said.get("tracks")
        for track in tracks if isinstance(tracks, list) else []:
            form = track.get("mediaFormat") if isinstance(track, dict) else None
            name = form.get("encoding", "audio/PCMU") if isinstance(form, dict) else "audio/PCMU"
            if str(name).rpartition("/")[2].upper() != "PCMU":
                raise RemoteProtocolError(f"encoding {name!r}: we expect PCMU", 488)
        self._started = True
        encoding = Encoding("PCMU", 8000)
        return Started(stream, call, encoding, encoding, parameters=strings(body.get("streamParams")))


def stream(url: str, status_url: str, user: str, password: str) -> str:
    """Connect the call to our socket; it ends when we end it, or after two hours."""
    attributes = {"mode": "bidirectional", "tracks": "inbound", "destination": url}
    attributes |= {"streamEventUrl": status_url, "streamEventMethod": "POST"}
    attributes |= {"username": user, "password": password}
    # StartStream does not wait: what follows keeps the call.
    return document(Element("StartStream", attributes), Element("Pause", {"duration": str(LONGEST_S)}))


def dial(target: str, caller: str, timeout_s: int) -> str:
    """Connect the call to somebody else."""
    attributes = {"callTimeout": str(timeout_s)} | ({"transferCallerId": caller} if caller else {})
    element = Element("Transfer", attributes)
    SubElement(element, "SipUri" if is_sip(target) else "PhoneNumber").text = target
    return document(element)


@dataclass(frozen=True, slots=True)
class BandwidthConfig:
    """Calls over Bandwidth (docs/carriers.md). Point the voice application's call-initiated URL to
    PUBLIC_URL/bandwidth/answer, its status URL to PUBLIC_URL/bandwidth/end, with the callback user and
    password from here."""

    account_id: str = ""
    """Account id. Empty: Bandwidth is not used."""
    api_user: str = ""
    """User of the API."""
    api_password: str = ""
    """Its password, best as ${BANDWIDTH_API_PASSWORD}: for requests."""
    callback_user: str = "voicegw"
    """User that webhooks bring: callback user id of the application."""
    callback_password: str = ""
    """Password that they bring, best as ${BANDWIDTH_CALLBACK_PASSWORD}."""
    application_id: str = ""
    """Id of the voice application, for outbound calls."""
    caller: str = ""
    """Caller id of outbound calls that bring none, and of hand-overs: one of the account's numbers, +1..."""
    amd: bool = False
    """Answering machine detection of outbound calls; the result is in the timeline. Costs extra."""
    api_url: str = "https://voice.bandwidth.com/api/v2"
    """Where requests go."""
    rest: RestConfig = RestConfig()


class Bandwidth(RestCarrier):
    """One account."""

    name, vendor = "bandwidth", "Bandwidth"
    hints = HINTS
    gone = frozenset({"404", "409"})
    hooks = ("answer", "end", "machine", "transfer", "stream")
    capabilities = Capabilities(
        clear=True, dtmf_out=Means.TONES, hangup=Means.REST, transfer=True, outbound=True, amd=True
    )

    def __init__(self, config: BandwidthConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.callback_password:
            raise ValueError("callback_password is needed: without it no webhook can be checked")
        if not config.api_password:
            raise ValueError("api_password is needed: without it no call can be ended")
        self.config = config
        super().__init__(config.rest)
        self._calls = f"{config.api_url.rstrip('/')}/accounts/{quote(config.account_id, safe='')}/calls"

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return BandwidthCore()

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless it brings our user and password, for our account."""
        check_basic(request, self.config.callback_user, self.config.callback_password)
        if text(request.json, "accountId", self.config.account_id) != self.config.account_id:
            raise Refused("of another account")

    def check_socket(self, request: WebRequest) -> None:
        """The pass in the address is all there is."""

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields, query = request.json, request.query
        call, order = text(fields, "callId", ""), query.get("order", "")
        match hook:
            case "answer":
                return WebAnswer(self._answer(call, fields, query, desk))
            case "transfer":
                target, timeout_s = forwarded(query)
                return WebAnswer(dial(target, self.config.caller, timeout_s))
            case "end" if text(fields, "eventType", "") == "disconnect":
                cause = text(fields, "cause", "")
                if order:
                    words = text(fields, "errorMessage", "") or cause
                    desk.failed(order, FAILED.get(cause, 480), f"Bandwidth says: {words}")
                desk.ended(call, HangupCause.NORMAL)
            case "machine":
                found = fields.get("machineDetectionResult")
                kind = text(found, "value", "unknown") if isinstance(found, dict) else "unknown"
                desk.report(call, "amd", {"answered_by": kind})
            case "stream" if "reject" in text(fields, "eventType", "").lower():
                words = text(fields, "errorMessage", "") or "the media stream was refused"
                desk.report(call, "error", {"message": words})
        return WebAnswer(document())

    def _answer(self, call: str, fields: Mapping[str, Any], query: Mapping[str, str], desk: Desk) -> str:
        if not call:
            raise Refused("there is no callId", 400)
        order = query.get("order", "")
        parameters = {k.lower(): v for k, v in query.items() if k not in OWN_QUERY}
        announced = Announced(call, text(fields, "from", ""), text(fields, "to", ""), parameters, order)
        if not order and desk.refusal(announced):
            return document(Element("Hangup"))  # Bandwidth cannot say "busy"
        own = (self.config.callback_user, self.config.callback_password)
        return stream(desk.stream_url(announced), desk.hook_url("stream"), *own)

    # Requests

    def authorization(self) -> str:
        """Of a request."""
        return basic(self.config.api_user, self.config.api_password)

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What an error says."""
        return "", text(body, "description", "")

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody."""
        body: dict[str, Any] = {
            "to": call.target,
            "from": own_number(call, self.config.caller),
            "applicationId": self.config.application_id,
            "answerUrl": desk.hook_url("answer", order=order),
            "disconnectUrl": desk.hook_url("end", order=order),
            "callTimeout": min(300, max(1, round(call.ring_timeout_s))),
            **self._callback,
        }
        if self.config.amd:
            detection = {"mode": "async", "callbackUrl": desk.hook_url("machine")}
            body["machineDetection"] = detection | self._callback
        return await self.create(Ask("POST", self._calls, body=body), "callId")

    async def end(self, call_id: str) -> bool:
        """End a call, whose BXML would wait on."""
        return await self._update(call_id, {"state": "completed"})

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Send the caller to another document, which dials: he leaves at once, come what may."""
        body = {"state": "active", "redirectUrl": forwarding(desk, order), "redirectMethod": "POST"}
        return await self._update(call.call_id, body | self._callback)

    @property
    def _callback(self) -> dict[str, str]:
        """What the webhooks that we ask for shall bring."""
        return {"username": self.config.callback_user, "password": self.config.callback_password}

    async def _update(self, call: str, body: Mapping[str, Any]) -> bool:
        return await self.change(Ask("POST", f"{self._calls}/{quote(call, safe='')}", body=body, again=True))
