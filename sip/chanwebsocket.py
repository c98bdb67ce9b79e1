"""Asterisk's chan_websocket, its control messages in JSON, or as plain text where Asterisk is older: Asterisk
connects to us, as `Dial(WebSocket/voicegw/...)` says. The dialplan's own questions: sip/asterisk.py.

https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from media.leg import HangupCause
from sip.asterisk import DialplanCarrier
from sip.carrier import WebRequest, check_basic
from sip.errors import RemoteProtocolError
from sip.mediacore import (
    Audio,
    Capabilities,
    Encoding,
    Failure,
    Held,
    Ignored,
    Marked,
    Means,
    MediaStreamCore,
    Message,
    Started,
    StreamEvent,
    digit,
    read_json,
    text,
)

# Asterisk's name of a format -> how its sound is written.
FORMATS = {"ulaw": Encoding("PCMU"), "alaw": Encoding("PCMA"), "g722": Encoding("G722", 16000)}
FORMATS |= {"slin": Encoding("PCM"), "slin16": Encoding("PCM", 16000), "slin24": Encoding("PCM", 24000)}
FORMATS |= {"slin32": Encoding("PCM", 32000), "slin48": Encoding("PCM", 48000)}


class WebSocketChannelCore(MediaStreamCore):
    """One channel. It answers itself; what is sent is played in order, and can be flushed."""

    def __init__(self) -> None:
        self._started = False
        self._plain = False  # control messages are no JSON

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        if isinstance(message, bytes):
            return [Audio(message)]
        body = self._read(message)
        match body.get("event"):
            case "MEDIA_START":
                return [self._start(body)]
            case "MEDIA_MARK_PROCESSED":
                return [Marked(text(body, "correlation_id"))]
            case "DTMF_END":
                return digit(body.get("digit"))
            case "MEDIA_XOFF":
                return [Held(True)]
            case "MEDIA_XON":
                return [Held(False)]
            case "ERROR":
                return [Failure(text(body, "error_text", "an error without words"))]
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """Sound, whole frames."""
        return payload

    def mark(self, name: str) -> Message:
        """It comes back when what was sent before has been played; not after a flush."""
        return self._command("MARK_MEDIA", name)

    def clear(self) -> Message:
        """Forget what is queued."""
        return self._command("FLUSH_MEDIA")

    def goodbye(self, cause: HangupCause) -> Message:
        """Hang up the channel."""
        return self._command("HANGUP")

    def _command(self, command: str, name: str = "") -> Message:
        if self._plain:
            return f"{command} {name}".rstrip()
        return json.dumps({"command": command, **({"correlation_id": name} if name else {})})

    def _read(self, message: str) -> Mapping[str, Any]:
        if message.startswith("{"):
            return read_json(message)
        self._plain = self._plain or not self._started
        event, *rest = message.split(" ")
        if not event.isascii() or not event.replace("_", "").isupper():
            raise RemoteProtocolError(f"neither JSON nor an event: {message[:40]!r}")
        pairs = {name: value for name, colon, value in (word.partition(":") for word in rest) if colon}
        if event == "MEDIA_MARK_PROCESSED":  # the mark's own name may hold a colon
            pairs["correlation_id"] = " ".join(rest)
        return {"event": event, **pairs}

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        if self._started:
            return Ignored("a second start")
        form = text(body, "format", "")
        if form not in FORMATS:
            raise RemoteProtocolError(f"format {form!r} is none of ours: {', '.join(FORMATS)}", 488)
        call = text(body, "channel_id", "") or text(body, "connection_id")
        self._started, encoding = True, FORMATS[form]
        return Started(text(body, "connection_id", ""), call, encoding, encoding)


@dataclass(frozen=True, slots=True)
class ChanWebSocketConfig:
    """Calls from Asterisk's chan_websocket (docs/carriers.md), which connects to /asterisk/media."""

    password: str = ""
    """`password` of websocket_client.conf, best as ${ASTERISK_PASSWORD}. Empty: it is not used."""
    user: str = "voicegw"
    """`username` of it."""
    token: str = ""
    """What the dialplan's requests must bring (`token=`) when Asterisk runs on another machine, best as
    ${ASTERISK_TOKEN}. Empty: only requests from this machine are answered."""


class ChanWebSocket(DialplanCarrier):
    """The door for all Asterisk servers."""

    name = "asterisk"
    subprotocols = ("media",)
    announced = False
    capabilities = Capabilities(
        clear=True, played=True, dtmf_in=True, dtmf_out=Means.TONES, hangup=Means.FLOW, transfer=True
    )

    def __init__(self, config: ChanWebSocketConfig) -> None:
        super().__init__(config.token)
        self.config = config

    def core(self) -> MediaStreamCore:
        """Of a new channel."""
        return WebSocketChannelCore()

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless it brings user and password."""
        check_basic(request, self.config.user, self.config.password)
