"""Twilio Media Streams, bidirectional: the messages of the socket that `<Connect><Stream>` opens. SignalWire
and Exotel speak the same, in other encodings and spellings.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import json
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sip.errors import RemoteProtocolError
from sip.mediacore import (
    Audio,
    Encoding,
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

CALLER, CALLEE = "voicegw_from", "voicegw_to"  # parameters that our own answer document passes on


@dataclass(frozen=True, slots=True)
class Words:
    """What members of the messages are called."""

    stream: str = "streamSid"
    call: str = "callSid"
    form: str = "mediaFormat"
    parameters: str = "customParameters"


TWILIO = Words()
MU_LAW = Encoding("PCMU", 8000)


class TwilioCore(MediaStreamCore):
    """One stream. Everything but `start` names its stream; what names another is not ours."""

    def __init__(self, encoding: Encoding = MU_LAW, words: Words = TWILIO) -> None:
        """Twilio itself has one encoding."""
        self._encoding, self._words = encoding, words
        self._sid = ""
        self._audio = ""  # what stands before a payload

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        body = read_json(message)
        event = body.get("event")
        if event == "start":
            return [self._start(body)]
        if event == "connected":
            return []
        if not self._sid and event == "media":  # it may come early; there is no other stream on this socket
            return [self._media(member(body, "media"))]
        if body.get(self._words.stream) != self._sid:
            return [Ignored("another stream")]
        match event:
            case "media":
                return [self._media(member(body, "media"))]
            case "mark":
                return [Marked(text(member(body, "mark"), "name"))]
            case "dtmf":
                return digit(member(body, "dtmf").get("digit"))
            case "stop":
                return [Stopped()]
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """A media message; any length of sound will do."""
        return self._audio + b2a_base64(payload, newline=False).decode() + '"}}'

    def mark(self, name: str) -> Message:
        """It comes back when all sound before was played, or cleared."""
        return json.dumps({"event": "mark", self._words.stream: self._sid, "mark": {"name": name}})

    def clear(self) -> Message:
        """Empty Twilio's buffer."""
        return json.dumps({"event": "clear", self._words.stream: self._sid})

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        start = member(body, "start")
        if self._sid:
            return Ignored("a second start")
        words, encoding = self._words, self._encoding
        sid, call_sid = text(start, words.stream), text(start, words.call)
        form = start.get(words.form)
        if isinstance(form, dict) and encoding.name == "PCMU":
            name = form.get("encoding", "audio/x-mulaw")
            if name != "audio/x-mulaw":
                raise RemoteProtocolError(f"encoding {name!r}: we expect audio/x-mulaw", 488)
        self._sid = sid
        head = {"event": "media", words.stream: sid, "media": {"payload": ""}}
        self._audio = json.dumps(head).removesuffix('"}}')
        given = strings(start.get(words.parameters))
        caller = given.pop(CALLER, "") or text(start, "from", "")
        callee = given.pop(CALLEE, "") or text(start, "to", "")
        return Started(sid, call_sid, encoding, encoding, caller, callee, given)

    def _media(self, media: Mapping[str, Any]) -> StreamEvent:
        if media.get("track", "inbound") != "inbound":
            return Ignored("another track")
        return Audio(payload(media), number(media, "chunk"))
