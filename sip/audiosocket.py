"""Asterisk AudioSocket: sound and keys over TCP, for the application `AudioSocket()` and for
`Dial(AudioSocket/...)`.

A frame is kind (1 byte), length (2, big endian), payload. Asterisk buffers nothing: we pace, so there is
nothing to clear, and what was sent was played.

https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from uuid import UUID

from media.leg import HangupCause
from sip.asterisk import DialplanCarrier
from sip.carrier import Refused, WebRequest
from sip.errors import RemoteProtocolError
from sip.mediacore import (
    Audio,
    Capabilities,
    Encoding,
    Failure,
    Ignored,
    Means,
    MediaStreamCore,
    Message,
    Started,
    Stopped,
    StreamEvent,
    digit,
)

HEADER = 3  # bytes
KINDS = {8000: 0x10, 16000: 0x12, 24000: 0x13, 32000: 0x14, 48000: 0x16}  # Hz -> kind of its audio
RATES = {kind: rate for rate, kind in KINDS.items()}


class Kind(IntEnum):
    """Of a frame that is not sound."""

    HANGUP = 0x00
    IDENTITY = 0x01
    KEY = 0x03
    ERROR = 0xFF


class AudioSocketCore(MediaStreamCore):
    """One connection. `receive` takes bytes as they come."""

    lead_ms = 0
    single_frames = True

    def __init__(self, rate: int = 8000) -> None:
        self._encoding = Encoding("PCM", rate)
        self._kind = KINDS[rate]
        self._rest = b""
        self._started = False

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of what is complete by now."""
        if isinstance(message, str):
            raise RemoteProtocolError("text on a connection of bytes")
        data, events, at = self._rest + message, list[StreamEvent](), 0
        while len(data) - at >= HEADER:
            end = at + HEADER + int.from_bytes(data[at + 1 : at + HEADER], "big")
            if end > len(data):
                break
            events += self._frame(data[at], data[at + HEADER : end])
            at = end
        self._rest = data[at:]
        return events

    def audio(self, payload: bytes) -> Message:
        """A frame of sound."""
        return bytes((self._kind,)) + len(payload).to_bytes(2, "big") + payload

    def goodbye(self, cause: HangupCause) -> Message:
        """Hang up."""
        return bytes((Kind.HANGUP, 0, 0))

    def _frame(self, kind: int, body: bytes) -> list[StreamEvent]:
        if kind == self._kind:
            return [Audio(body)]
        match kind:
            case Kind.IDENTITY if self._started:
                return [Ignored("a second UUID")]
            case Kind.IDENTITY if len(body) == 16:
                self._started = True
                name = str(UUID(bytes=body))
                return [Started(name, name, self._encoding, self._encoding)]
            case Kind.KEY:
                return digit(body.decode("latin-1"))
            case Kind.HANGUP:
                return [Stopped()]
            case Kind.ERROR:
                return [Failure(f"Asterisk reports error {body.hex() or 'without a code'}")]
        if kind in RATES:
            words = f"Asterisk sends {RATES[kind]} Hz: carriers.audiosocket.rate is {self._encoding.rate}"
            return [Failure(words), Stopped(HangupCause.INCOMPATIBLE)]
        return [Ignored(f"kind {kind:#x}")]


@dataclass(frozen=True, slots=True)
class AudioSocketConfig:
    """Calls from Asterisk over AudioSocket, on a TCP port of their own (docs/carriers.md)."""

    enabled: bool = False
    """Whether the port is open."""
    host: str = "127.0.0.1"
    """Address to listen on. One that other machines can reach needs `passes`."""
    port: int = 9092
    """TCP port. 0: any free one."""
    rate: int = 8000
    """Hz. 8000 for the application AudioSocket(); what c(slin16) and the like say for
    Dial(AudioSocket/...): 16000, 24000, 32000, 48000."""
    passes: bool = False
    """Take only calls that the dialplan has announced at /audiosocket/call, each once. Without, any UUID
    will do, and nothing is known of the caller."""
    token: str = ""
    """What the dialplan's requests must bring (`token=`) when Asterisk runs on another machine, best as
    ${AUDIOSOCKET_TOKEN}. Empty: only requests from this machine are answered."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.rate not in KINDS:
            raise ValueError(f"rate must be one of {', '.join(map(str, KINDS))}, not {self.rate}")


class AudioSocket(DialplanCarrier):
    """The door for all Asterisk servers."""

    name = "audiosocket"
    capabilities = Capabilities(
        clear=True,  # there is never anything to forget
        dtmf_in=True,
        dtmf_out=Means.TONES,
        hangup=Means.FLOW,
        transfer=True,
    )

    def __init__(self, config: AudioSocketConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        super().__init__(config.token)
        if not config.passes and not _is_loopback(config.host):
            raise ValueError(f"host {config.host} can be reached by others: set passes: true")
        self._rate = config.rate
        self.listens = (config.host, config.port)
        self.announced = config.passes

    def core(self) -> MediaStreamCore:
        """Of a new connection."""
        return AudioSocketCore(self._rate)

    def check_socket(self, request: WebRequest) -> None:
        """Raises Refused: calls come by TCP."""
        raise Refused("calls come by TCP", 404)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
