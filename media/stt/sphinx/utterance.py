"""One utterance as the parent keeps it: all of its audio until the final, so that it can be replayed."""

from dataclasses import dataclass
from typing import Protocol

from dialog.turn import Transcript
from media.stt.sphinx.config import Config


@dataclass(frozen=True, slots=True)
class Final:
    """What became of an utterance. The costs are 0 where no worker was asked."""

    text: str = ""
    confidence: float | None = None
    rejected: bool = False
    mean: str | None = None  # cepstral mean for the caller's next utterance
    cpu_s: float = 0.0  # spent by the worker on this utterance
    latency_s: float = 0.0  # from the end of speech to here


class Listener(Protocol):
    """Gets what is understood of an utterance."""

    def on_partial(self, utterance: "Utterance", partial: Transcript) -> None:
        """So far."""

    def on_final(self, utterance: "Utterance", final: Final) -> None:
        """For good, once."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the worker needs to know to begin."""

    domain: int  # key
    state: int  # index of the hints, or OPEN
    rate: int  # Hz
    mean: str | None = None


class Utterance:
    """Audio between `begin` and the final, and how much of it the worker has. Sizes in bytes."""

    def __init__(self, number: int, expected: Expected, listener: Listener, config: Config) -> None:
        self.number, self.expected, self.listener = number, expected, listener
        second = 2 * expected.rate
        self._batch = second * config.batch_ms // 1000
        self._window = max(self._batch, second * config.window_ms // 1000)
        self._longest = second * config.max_utterance_ms // 1000
        self._queue = second * config.queue_ms // 1000
        self._audio = bytearray()
        self._sent = self._taken = 0
        self._replayed = 0  # up to here it is for a further worker: kept, however long it waits
        self.finished_at: float | None = None  # loop time
        self.finish_sent = False
        self.replays = 0
        self.failed = False  # no worker will hear it: its final is empty

    @property
    def size(self) -> int:
        """Audio kept."""
        return len(self._audio)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self._audio) / 2 / self.expected.rate

    @property
    def owed(self) -> bool:
        """Whether the worker has something that it has not answered for."""
        return self._taken < self._sent or self.finish_sent

    def push(self, pcm: bytes) -> int:
        """Add audio. Returns how much was dropped: the oldest that waits, or all beyond the limit."""
        if len(self._audio) + len(pcm) > self._longest:
            return len(pcm)
        self._audio += pcm
        waits_from = max(self._sent, self._replayed)
        excess = len(self._audio) - waits_from - self._queue
        if excess <= 0:
            return 0
        del self._audio[waits_from : waits_from + excess]
        return excess

    def next_audio(self) -> bytes:
        """What to send now: whole batches (or the rest, after the end) within the window."""
        waiting = len(self._audio) - self._sent
        room = self._window - (self._sent - self._taken)
        size = min(waiting, room)
        if size < self._batch and not (self.finished_at is not None and 0 < size == waiting):
            return b""
        piece = bytes(self._audio[self._sent : self._sent + size])
        self._sent += size
        return piece

    @property
    def all_sent(self) -> bool:
        """Whether the worker has all audio there is."""
        return self._sent == len(self._audio)

    def taken(self, size: int) -> None:
        """The worker has decoded so much of it."""
        self._taken = size

    @property
    def audio(self) -> bytes:
        """All that is kept."""
        return bytes(self._audio)

    def rewind(self) -> None:
        """To be sent again from the start, to another worker."""
        self._replayed = max(self._replayed, self._sent)
        self._sent = self._taken = 0
        self.finish_sent = False
        self.replays += 1
