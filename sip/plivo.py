"""Plivo: audio streaming, answer documents, REST, signatures.

    /plivo/answer       what shall be done with a call?   -> XML
    /plivo/hangup       a call is over
    /plivo/ring         a call that we place rings
    /plivo/machine      a person has answered, or a machine
    /plivo/recording    Plivo's own recording is ready
    /plivo/transfer     where a caller goes who leaves us -> XML
    /plivo/stream       a media stream began, ended, failed

https://www.plivo.com/docs/voice/concepts/audio-streaming
"""

import hmac
import json
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree.ElementTree import Element, SubElement

from dialog.types import Transfer
from media.leg import HangupCause
from sip.carrier import Announced, Desk, Refused, WebAnswer, WebRequest, document, is_sip, own_number
from sip.carrierrest import Ask, RestConfig, basic
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import RemoteProtocolError
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
    number,
    payload,
    read_json,
    text,
)
from sip.restcarrier import RestCarrier, forwarded, forwarding
from sip.webpeer import same_secret

CONTENT_TYPE = "audio/x-mulaw"
OWN_QUERY = {"order", "to", "timeout"}  # parameters of our own in webhook addresses
HINTS = {
    "401": "auth_id and auth_token do not belong together",
    "402": "there are no credits left",
    "404": "the call is over, or there is no such number",
    "405": "the account may not do this",
    "429": "too many requests at once",
}
# Hangup causes -> SIP status, for calls that were never answered. https://www.plivo.com/docs/voice/troubleshooting
FAILED = {
    "3000": 404,
    "3010": 486,
    "3020": 480,
    "3030": 603,
    "3040": 480,
    "3050": 403,
    "3070": 484,
    "3110": 480,
}


class PlivoCore(MediaStreamCore):
    """One stream. The end is the closing socket: there is no message for it."""

    encoding = Encoding("PCMU", 8000)

    def __init__(self) -> None:
        self._stream = ""
        self._audio = ""  # what stands before a payload

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        body = read_json(message)
        event = body.get("event")
        if event == "start":
            return [self._start(body)]
        if body.get("streamId") != self._stream and (self._stream or event != "media"):
            return [Ignored("another stream")]
        match event:
            case "media":
                media = member(body, "media")
                if media.get("track", "inbound") != "inbound":
                    return [Ignored("another track")]
                return [Audio(payload(media), number(media, "chunk"))]
            case "playedStream":
                return [Marked(text(body, "name"))]
            case "dtmf":
                return digit(member(body, "dtmf").get("digit"))
            case "clearedAudio":
                return []
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """A message to be played."""
        return self._audio + b2a_base64(payload, newline=False).decode() + '"}}'

    def mark(self, name: str) -> Message:
        """A checkpoint: `playedStream` comes back."""
        return json.dumps({"event": "checkpoint", "streamId": self._stream, "name": name})

    def clear(self) -> Message:
        """Empty Plivo's buffer."""
        return json.dumps({"event": "clearAudio", "streamId": self._stream})

    def keys(self, digits: str) -> Message:
        """Press keys."""
        return json.dumps({"event": "sendDTMF", "dtmf": digits})

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        if self._stream:
            return Ignored("a second start")
        start = member(body, "start")
        stream, call = text(start, "streamId"), text(start, "callId")
        form = start.get("mediaFormat")
        if isinstance(form, dict) and form.get("encoding", CONTENT_TYPE) != CONTENT_TYPE:
            raise RemoteProtocolError(f"encoding {form.get('encoding')!r}: we asked for {CONTENT_TYPE}", 488)
        self._stream = stream
        media = f'{{"contentType":"{CONTENT_TYPE}","sampleRate":8000,"payload":"'
        self._audio = f'{{"event":"playAudio","streamId":{json.dumps(stream)},"media":{media}'
        pairs = (pair.partition("=") for pair in text(body, "extra_headers", "").strip("{} ").split(";"))
        given = {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
        return Started(stream, call, self.encoding, self.encoding, parameters=given)


# Webhooks


def signature(token: str, request: WebRequest, nonce: str) -> str:
    """X-Plivo-Signature-V3 of a webhook."""
    parts = urlsplit(request.url)
    base = f"{parts.scheme}://{parts.netloc}{parts.path}"
    query = "&".join(
        f"{name}={value}" for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    if request.method == "POST":
        fields = "".join(name + value for name, value in sorted(request.form))
        base += f"?{query}.{fields}" if query else f"?{fields}"
    elif query:
        base += f"?{query}"
    signed = f"{base}.{nonce}".encode("utf-8", "surrogatepass")  # the nonce may be any bytes
    return b64encode(hmac.digest(token.encode(), signed, "sha256")).decode()


def stream(url: str, status_url: str) -> str:
    """Connect the call to our socket; it ends when we close it."""
    attributes = {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "contentType": f"{CONTENT_TYPE};rate=8000",
    }
    attributes |= {"audioTrack": "inbound", "statusCallbackUrl": status_url, "statusCallbackMethod": "POST"}
    element = Element("Stream", attributes)
    element.text = url
    return document(element)


def dial(target: str, caller: str, timeout_s: int) -> str:
    """Connect the call to somebody else."""
    element = Element("Dial", {"timeout": str(timeout_s), **({"callerId": caller} if caller else {})})
    SubElement(element, "User" if is_sip(target) else "Number").text = target
    return document(element)


@dataclass(frozen=True, slots=True)
class PlivoConfig:
    """Calls over Plivo (docs/carriers.md). Point the application's answer URL to PUBLIC_URL/plivo/answer and
    its hangup URL to PUBLIC_URL/plivo/hangup, both by POST."""

    auth_id: str = ""
    """Auth ID (MA...). Empty: Plivo is not used."""
    auth_token: str = ""
    """Auth token, best as ${PLIVO_AUTH_TOKEN}: for signatures and requests."""
    caller: str = ""
    """Caller id of outbound calls that bring none, and of hand-overs: one of the account's numbers."""
    amd: bool = False
    """Answering machine detection of outbound calls; the result is in the timeline."""
    record: bool = False
    """Plivo records too; its address comes into the timeline. Costs extra."""
    api_url: str = "https://api.plivo.com/v1"
    """Where requests go."""
    rest: RestConfig = RestConfig()


class Plivo(RestCarrier):
    """One account."""

    name, vendor = "plivo", "Plivo"
    hints = HINTS
    hooks = ("answer", "hangup", "ring", "machine", "recording", "transfer", "stream")
    capabilities = Capabilities(
        clear=True,
        played=True,
        dtmf_in=True,
        dtmf_out=Means.SOCKET,
        hangup=Means.REST,
        transfer=True,
        outbound=True,
        amd=True,
        recording=True,
    )

    def __init__(self, config: PlivoConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.auth_token:
            raise ValueError("auth_token is needed: without it no webhook can be checked")
        self.config = config
        super().__init__(config.rest)
        self._account = f"{config.api_url.rstrip('/')}/Account/{quote(config.auth_id, safe='')}"

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return PlivoCore()

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless Plivo has signed it."""
        given = request.headers.get("X-Plivo-Signature-V3", "").split(",")
        nonce = request.headers.get("X-Plivo-Signature-V3-Nonce", "")
        right = signature(self.config.auth_token, request, nonce)
        if not nonce or not any(same_secret(one.strip(), right) for one in given):
            raise Refused("wrong signature" if given != [""] else "no signature")

    def check_socket(self, request: WebRequest) -> None:
        """Plivo signs no sockets: the pass in the address is all there is."""

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields, query = {**request.query, **dict(request.form)}, request.query
        call, order = fields.get("CallUUID", ""), query.get("order", "")
        match hook:
            case "answer":
                return WebAnswer(self._answer(call, fields, query, desk))
            case "transfer":
                target, timeout_s = forwarded(query)
                return WebAnswer(dial(target.lstrip("+"), self.config.caller, timeout_s))
            case "ring" if order:
                desk.progress(order, CallProgress.RINGING)
            case "hangup":
                if order:
                    status = FAILED.get(fields.get("HangupCauseCode", ""), 480)
                    desk.failed(order, status, f"Plivo says: {fields.get('HangupCauseName', 'hung up')}")
                desk.ended(call, HangupCause.NORMAL)
            case "machine":
                machine = fields.get("Machine", "").lower() == "true"
                desk.report(call, "amd", {"answered_by": "machine" if machine else "human"})
            case "recording":
                kept = {name: fields[name] for name in ("RecordUrl", "RecordingID") if fields.get(name)}
                desk.report(call, "recording", kept)
        return WebAnswer(document())

    def _answer(self, call: str, fields: Mapping[str, str], query: Mapping[str, str], desk: Desk) -> str:
        if not call:
            raise Refused("there is no CallUUID", 400)
        order = query.get("order", "")
        parameters = {name.lower(): value for name, value in query.items() if name not in OWN_QUERY}
        announced = Announced(call, fields.get("From", ""), fields.get("To", ""), parameters, order)
        if not order and (reason := desk.refusal(announced)):
            return document(Element("Hangup", {"reason": "busy" if reason == "busy" else "rejected"}))
        return stream(desk.stream_url(announced), desk.hook_url("stream"))

    # Requests

    def authorization(self) -> str:
        """Of a request."""
        return basic(self.config.auth_id, self.config.auth_token)

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What an error says."""
        return "", text(body, "error", "")

    async def began(self, call: Announced, desk: Desk) -> None:
        """Have Plivo record, if it shall."""
        if self.config.record:
            body = {"file_format": "wav", "callback_url": desk.hook_url("recording")}
            url = f"{self._call(call.call_id)}Record/"
            await self.ask(Ask("POST", url, body=body | {"callback_method": "POST"}))

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody; the id is that of the request, until the call has begun."""
        body: dict[str, Any] = {
            "to": call.target.lstrip("+"),
            "from": own_number(call, self.config.caller).lstrip("+"),
            "answer_url": desk.hook_url("answer", order=order),
            "answer_method": "POST",
            "ring_url": desk.hook_url("ring", order=order),
            "hangup_url": desk.hook_url("hangup", order=order),
            "ring_timeout": max(1, round(call.ring_timeout_s)),
        }
        if self.config.amd:
            body |= {"machine_detection": "true", "machine_detection_url": desk.hook_url("machine")}
        return await self.create(Ask("POST", f"{self._account}/Call/", body=body), "request_uuid")

    async def end(self, call_id: str) -> bool:
        """End a call, or the request for one that has not begun."""
        request = f"{self._account}/Request/{quote(call_id, safe='')}/"
        if await self.change(Ask("DELETE", self._call(call_id), again=True)):
            return True
        return await self.change(Ask("DELETE", request, again=True))

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Send the caller to another document, which dials: he leaves at once, come what may."""
        body = {"legs": "aleg", "aleg_url": forwarding(desk, order), "aleg_method": "POST"}
        return await self.change(Ask("POST", self._call(call.call_id), body=body, again=True))

    def _call(self, call: str) -> str:
        return f"{self._account}/Call/{quote(call, safe='')}/"
