"""Telnyx media streaming, in RTP mode: the messages of its socket.

https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming
"""

import json
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any

from sip.errors import RemoteProtocolError
from sip.mediacore import (
    Audio,
    Encoding,
    Failure,
    Ignored,
    Marked,
    MediaStreamCore,
    Message,
    Started,
    Stopped,
    StreamEvent,
    digit,
    member,
    number,
    payload,
    read_json,
    strings,
    text,
)

# What we ask for. Not L16: its users disagree with its documentation on byte order and rate.
RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000}


class TelnyxCore(MediaStreamCore):
    """One stream. What we send names no stream; RTP mode, so no message is longer than a call's lead."""

    def __init__(self, sent: Encoding) -> None:
        self._sent, self._stream = sent, ""

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        body = read_json(message)
        event = body.get("event")
        if event == "start":
            return [self._start(body)]
        if event == "connected":
            return []
        if body.get("stream_id") != self._stream and (self._stream or event != "media"):
            return [Ignored("another stream")]
        match event:
            case "media":
                return [self._media(member(body, "media"))]
            case "mark":
                return [Marked(text(member(body, "mark"), "name"))]
            case "dtmf":
                return digit(member(body, "dtmf").get("digit"))
            case "error":
                said = member(body, "payload")
                return [Failure(f"{text(said, 'code', '')} {text(said, 'title', '')}".strip())]
            case "stop":
                return [Stopped()]
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """A media message."""
        return f'{{"event":"media","media":{{"payload":"{b2a_base64(payload, newline=False).decode()}"}}}}'

    def mark(self, name: str) -> Message:
        """It comes back when all sound before was played, or cleared."""
        return json.dumps({"event": "mark", "mark": {"name": name}})

    def clear(self) -> Message:
        """Empty Telnyx' buffer."""
        return '{"event":"clear"}'

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        if self._stream:
            return Ignored("a second start")
        start = member(body, "start")
        stream, call = text(body, "stream_id"), text(start, "call_control_id")
        form = start.get("media_format")
        received = self._sent
        if isinstance(form, dict):
            name, rate = text(form, "encoding", self._sent.name).upper(), number(form, "sample_rate")
            received = Encoding(name, RATES[name] if name == "G722" else rate or self._sent.rate)
            if name not in RATES:
                raise RemoteProtocolError(f"Telnyx sends {name}: we asked for {self._sent.name}", 488)
        self._stream = stream
        given = strings(start.get("custom_parameters"))
        caller, callee = text(start, "from", ""), text(start, "to", "")
        return Started(stream, call, received, self._sent, caller, callee, given)

    def _media(self, media: Mapping[str, Any]) -> StreamEvent:
        if media.get("track", "inbound") != "inbound":
            return Ignored("another track")
        return Audio(payload(media), number(media, "chunk"))
