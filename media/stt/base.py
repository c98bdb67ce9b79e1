"""Speech to text: the ports every engine implements.

An engine is one module with `Config` (a frozen dataclass) and `create(config) -> SpeechToText`,
found by its name from the configuration (`stt: {engine: pocketsphinx}`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from dialog.breaker import Switched
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame

T = TypeVar("T", bound=Transcript | Switched)


class SttStream(Protocol):
    """The ears of one call."""

    def push(self, frame: AudioFrame) -> None:
        """One frame of the caller's audio, speech or not. Bounded; the oldest is dropped and counted."""

    def begin(self) -> None:
        """The VAD hears speech: a new utterance, which began up to 300 ms ago. The engine keeps
        that much audio ready. While an utterance is open, a further `begin` changes nothing."""

    def finish(self) -> None:
        """The utterance is over: exactly one final transcript is owed, empty text if nothing was
        understood. Without an open utterance nothing happens."""

    def cancel(self) -> None:
        """Forget the open utterance, and any final still owed: neither will be heard of again."""

    def expect(self, hints: Hints) -> None:
        """What the caller will probably say, from the next utterance on."""

    def __aiter__(self) -> AsyncIterator[Transcript | Switched]:
        """Partials and finals, in order, until the stream is closed. Switched: another engine listens from
        now on, and owes what the one before owed. Raises ProviderError: what was said is lost; where it is
        retryable, reading on hears the next utterance."""


class SpeechToText(Protocol):
    """An engine, shared by all calls."""

    async def prepare(self, domain: Domain) -> None:
        """Build what `domain` needs (dictionary, grammars, language model) ahead of the first call.
        Raises ProviderError with the word or grammar that cannot be built."""

    def stream(self, format: AudioFormat, domain: Domain) -> AbstractAsyncContextManager[SttStream]:
        """Ears for one call. Entering raises ProviderError when the engine has no room left."""

    async def close(self) -> None:
        """Stop workers and connections. Idempotent."""


AFTER_FAILURE_S = 0.1  # an engine that fails at once, and for ever, is not asked more often


async def heard_by(ears: SttStream) -> AsyncIterator[Transcript | Switched | ProviderError]:
    """All that a stream hears, its failures among it, until it is closed or has failed for good."""
    reading, again = aiter(ears), True
    while again:
        again = False
        try:
            async for heard in reading:
                yield heard
        except ProviderError as error:
            again = error.retryable
            yield error
            if again:
                await asyncio.sleep(AFTER_FAILURE_S)


class Recent:
    """The last audio before an utterance, whatever the packet time."""

    def __init__(self, ms: int, rate: int) -> None:
        """Keeps so many milliseconds; `rate` in Hz."""
        self._size = 2 * (rate * ms // 1000)
        self.pcm = bytearray()

    def push(self, pcm: bytes) -> None:
        """What came next."""
        self.pcm += pcm
        del self.pcm[: -self._size or None]


class Outbox(asyncio.Queue[T | ProviderError | None], AsyncIterator[T]):
    """What one call's ears have to say, for `SttStream.__aiter__` to return: transcripts; an error, which is
    raised in whoever reads; None, the end."""

    async def __anext__(self) -> T:
        """Raises ProviderError."""
        item = await self.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, ProviderError):
            raise item
        return item
