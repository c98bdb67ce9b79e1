"""Streaming on top of a recogniser that only knows whole stretches of audio.

The growing utterance is recognised again every `partial_ms` while the caller speaks, and once more at its
end. A partial is what two tries in a row agree on (LocalAgreement-2, Liu et al. 2020): later tries contradict
it rarely, and then the final is right.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from dialog.turn import Transcript
from dialog.types import Hints
from media.errors import ProviderError
from media.frames import AudioFrame
from media.stt.base import Outbox, Recent
from media.tasks import Start


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How an utterance is cut into tries."""

    partial_ms: int = 500
    """A partial is tried after so much new audio. 0: finals only."""
    pre_roll_ms: int = 300
    """Audio kept from before an utterance: detectors notice speech late."""
    max_s: float = 30.0
    """Of an utterance, the last so many seconds are heard."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is to be recognised."""

    pcm: bytes  # s16le mono
    rate: int  # Hz
    hints: Hints
    final: bool


Recognise = Callable[[Stretch], Awaitable[Transcript]]


@dataclass(slots=True, eq=False)
class _Utterance:
    audio: bytearray
    hints: Hints
    tried: int = 0  # bytes at the last try
    before: tuple[str, ...] = ()  # words of the last try
    told: str = ""


class WindowStream:
    """Implements SttStream over `recognise`. Finals come in order, one at a time; a partial in work is
    dropped when its utterance ends."""

    def __init__(self, recognise: Recognise, rate: int, config: WindowConfig, start: Start) -> None:
        """`start` starts tasks in the scope of the call."""
        self._recognise, self._rate, self._config, self._start = recognise, rate, config, start
        self._recent = Recent(config.pre_roll_ms, rate)
        self._hints = Hints()
        self._open: _Utterance | None = None
        self._owed: deque[_Utterance] = deque()
        self._partial: asyncio.Task[None] | None = None
        self._final: asyncio.Task[None] | None = None
        self._out: Outbox[Transcript] = Outbox()
        self._closed = False

    def push(self, frame: AudioFrame) -> None:
        """One frame."""
        self._recent.push(frame.pcm)
        utterance = self._open
        if utterance is None:
            return
        utterance.audio += frame.pcm
        excess = len(utterance.audio) - self._bytes(1000 * self._config.max_s)
        if excess > 0:
            del utterance.audio[:excess]
            utterance.tried = max(0, utterance.tried - excess)
        step = self._config.partial_ms
        if step and len(utterance.audio) - utterance.tried >= self._bytes(step) and self._idle(self._partial):
            utterance.tried = len(utterance.audio)
            self._partial = self._start(self._try_partial(utterance), "partial")

    def begin(self) -> None:
        """A new utterance, with what came before it."""
        if self._open is None and not self._closed:
            self._open = _Utterance(bytearray(self._recent.pcm), self._hints)

    def finish(self) -> None:
        """The utterance is over: its final is owed."""
        if self._open is None:
            return
        self._owed.append(self._open)
        self._open = None
        self._drop_partial()
        self._next()

    def cancel(self) -> None:
        """Forget the open utterance and what is owed."""
        self._open = None
        self._owed.clear()
        self._drop_partial()
        if self._final is not None:
            self._final.cancel()
            self._final = None

    def expect(self, hints: Hints) -> None:
        """From the next utterance on."""
        self._hints = hints

    def close(self) -> None:
        """The call is over: reading ends."""
        self.cancel()
        self._closed = True
        self._out.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Transcript]:
        """Partials and finals, in order."""
        return self._out

    def _bytes(self, ms: float) -> int:
        return 2 * int(self._rate * ms / 1000)

    @staticmethod
    def _idle(task: "asyncio.Task[None] | None") -> bool:
        return task is None or task.done()

    def _drop_partial(self) -> None:
        if self._partial is not None:
            self._partial.cancel()
            self._partial = None

    def _next(self) -> None:
        if self._owed and self._idle(self._final):
            self._final = self._start(self._finals(), "finals")

    async def _finals(self) -> None:
        while self._owed:
            utterance = self._owed.popleft()
            try:
                found = await self._recognise(self._stretch(utterance, final=True))
            except ProviderError as error:
                self._out.put_nowait(error)
            else:
                self._out.put_nowait(replace(found, final=True))

    async def _try_partial(self, utterance: _Utterance) -> None:
        try:
            found = await self._recognise(self._stretch(utterance, final=False))
        except ProviderError:
            return  # a busy engine: the final will tell
        words = tuple(found.text.split())
        agreed = [a for a, b in _while_equal(words, utterance.before)]
        utterance.before = words
        text = " ".join(agreed)
        if len(agreed) > len(utterance.told.split()) and utterance is self._open:
            utterance.told = text
            self._out.put_nowait(Transcript(text, final=False))

    def _stretch(self, utterance: _Utterance, *, final: bool) -> Stretch:
        return Stretch(bytes(utterance.audio), self._rate, utterance.hints, final)


def _while_equal(first: tuple[str, ...], second: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for a, b in zip(first, second, strict=False):
        if a.strip(".,!?").lower() != b.strip(".,!?").lower():
            break
        found.append((a, b))
    return found
