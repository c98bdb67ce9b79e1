"""What a service behind a WebSocket brings: its protocol, and its words. `media.stt.socket` drives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dialog.types import Hints


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """How the connection is held."""

    connect_s: float = 3.0
    """To be connected."""
    retries: int = 2
    """Further connections in a row, while nothing was understood; then the recogniser has failed."""
    back_off_s: float = 0.2
    """Before the first further connection; doubles."""
    keepalive_s: float = 4.0
    """Between signs of life while nobody speaks. Services hang up after about 10 s without."""
    pre_roll_ms: int = 300
    """Audio kept from before an utterance: detectors notice speech late."""
    max_utterance_s: float = 45.0
    """Kept of an utterance, to be heard again."""


@dataclass(frozen=True, slots=True)
class Request:
    """Where to connect."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interim:
    """What the service believes of the segment it is at; replaces the interim before."""

    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch that will not change any more."""

    text: str
    confidence: float | None = None  # 0..1


@dataclass(frozen=True, slots=True)
class Flushed:
    """All audio up to the last `finish` has been understood."""


SttEvent = Interim | Segment | Flushed
Message = str | bytes


class SttCore(Protocol):
    """One service's protocol, for one connection. Sans-I/O. Raises ProviderError for what the service says is
    wrong; `retryable` if another connection may help."""

    rate: int  # Hz of the audio that it wants
    chunk_ms: int  # of audio in one message

    def request(self) -> Request:
        """Where to connect."""

    def opened(self) -> list[Message]:
        """What is sent first."""

    def begin(self, hints: Hints) -> list[Message]:
        """An utterance begins."""

    def audio(self, pcm: bytes) -> list[Message]:
        """Audio of the utterance, s16le at `rate`."""

    def finish(self) -> list[Message]:
        """The utterance is over: Flushed is wanted soon."""

    def keepalive(self) -> list[Message]:
        """While nothing is sent."""

    def closing(self) -> list[Message]:
        """The last words."""

    def receive(self, message: Message) -> list[SttEvent]:
        """What the service says."""
