"""The socket of FreeSWITCH's mod_audio_fork, which jambonz' verb `listen` uses, and of mod_audio_stream.

One text message with metadata first, then binary L16, little endian; ours is played as it comes. The fork has
marks and can be silenced, the stream has neither.

https://github.com/jambonz/freeswitch-modules, https://github.com/amigniter/mod_audio_stream
"""

import json
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
    StreamEvent,
    digit,
    member,
    number,
    read_json,
    strings,
    text,
)

RATES = (8000, 16000, 24000, 32000, 48000)
CALL = ("callSid", "uuid", "call_id")  # names of the call's id in the metadata, the first that is there
CALLER, CALLEE = ("from", "caller"), ("to", "callee")
OWN = {*CALL, *CALLER, *CALLEE, "sampleRate", "mixType"}


class StreamCore(MediaStreamCore):
    """mod_audio_stream: sound both ways, and no more. Little is sent ahead: nothing can be taken back."""

    lead_ms = 40

    def __init__(self, rate: int = 8000) -> None:
        """`rate` where the metadata names none."""
        self._rate = rate
        self._started = False

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        if isinstance(message, bytes):
            return [Audio(message)]
        body = read_json(message)
        if not self._started:
            return [self._start(body)]
        return self._event(body)

    def audio(self, payload: bytes) -> Message:
        """Sound of any length."""
        return payload

    def _event(self, body: Mapping[str, Any]) -> list[StreamEvent]:
        return [Ignored("text")]

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        call = next((text(body, name) for name in CALL if name in body), "")
        if not call:
            raise RemoteProtocolError(f"the metadata does not name the call: there is no {' or '.join(CALL)}")
        rate = number(body, "sampleRate") or self._rate
        if rate not in RATES:
            raise RemoteProtocolError(f"sampleRate {rate} is not ours", 488)
        if body.get("mixType", "mono") != "mono":
            raise RemoteProtocolError(f"mixType {body['mixType']!r}: ours is mono, the caller alone", 488)
        self._started = True
        encoding = Encoding("PCM", rate)
        caller, callee = (
            next((text(body, n, "") for n in names if n in body), "") for names in (CALLER, CALLEE)
        )
        nested = body.get("metadata")
        given = strings({k: v for k, v in body.items() if k not in OWN and k != "metadata"})
        given |= strings(nested)
        return Started(call, call, encoding, encoding, caller, callee, given)


class ForkCore(StreamCore):
    """mod_audio_fork, its playback streamed: with marks, keys, and a way to silence it."""

    lead_ms = 200

    def mark(self, name: str) -> Message:
        """It comes back when what was sent before has been played."""
        return json.dumps({"type": "mark", "data": {"name": name}})

    def clear(self) -> Message:
        """Stop playing, forget what is buffered."""
        return '{"type":"killAudio"}'

    def _event(self, body: Mapping[str, Any]) -> list[StreamEvent]:
        if body.get("event") == "dtmf":
            return digit(body.get("dtmf"))
        match body.get("type"):
            case "mark":
                data = member(body, "data")
                return [Marked(text(data, "name"))] if data.get("event", "playout") == "playout" else []
            case "error":
                return [Failure(text(body, "data", "") or "an error without words")]
        return [Ignored("unknown event")]
