"""The embedded recogniser: English over the telephone, offline, for what a flow says it expects.

Very good within a grammar (no word errors on recorded prompts), good with an n-gram of example
sentences, poor at free dictation: an LLM-driven conversation wants another engine. media/stt/sphinx
explains how it is built; bench/speech.py measures it.
"""

import asyncio
import importlib.util
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import MissingExtra, ProviderError
from media.frames import AudioFormat, AudioFrame
from media.stt.base import Recent
from media.stt.sphinx.config import Config
from media.stt.sphinx.pool import Pool, Stats
from media.stt.sphinx.utterance import Expected, Final, Utterance
from media.stt.sphinx.wire import OPEN

__all__ = ["Config", "Cost", "PocketSphinx", "SphinxStream", "Stats", "create"]

log = logging.getLogger(__name__)

_RATES = (8000, 16000)  # Hz: the acoustic model's, and the telephone's


@dataclass(frozen=True, slots=True)
class Cost:
    """What one utterance took."""

    audio_s: float
    cpu_s: float  # of the worker
    latency_s: float  # from `finish` to the final


class PocketSphinx:
    """The engine; workers start with the first `prepare` or `stream`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pool: Pool | None = None
        self._closed = False
        self._streams = 0
        self.on_utterance: Callable[[Cost], None] | None = None
        """Told the cost of each utterance that a worker heard, for histograms."""

    async def prepare(self, domain: Domain) -> None:
        """Build what `domain` needs in all workers. Raises ProviderError naming what cannot be built."""
        await self._started().domains.prepare(domain)

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator["SphinxStream"]:
        """Ears for one call. Entering raises ProviderError: no room, or `domain` cannot be built."""
        if format.rate not in _RATES:
            raise ProviderError(f"pocketsphinx hears 8000 or 16000 Hz, not {format.rate}")
        pool = self._started()
        room = self._config.max_streams * len(pool.pids)
        if self._streams >= room:
            full = f"{self._streams} calls on {len(pool.pids)} workers" if room else "no worker is running"
            raise ProviderError(f"no room to listen: {full}", retryable=True)
        self._streams += 1
        try:
            key = await pool.domains.prepare(domain)
            stream = SphinxStream(self, pool, format.rate, domain, key)
            try:
                yield stream
            finally:
                stream.close()
        finally:
            self._streams -= 1

    async def close(self) -> None:
        """Stop the workers. Idempotent."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def stats(self) -> Stats:
        """Counters and gauges of now."""
        return self._pool.stats(self._streams) if self._pool is not None else Stats()

    @property
    def config(self) -> Config:
        """As given."""
        return self._config

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return self._pool.pids if self._pool is not None else []

    def _started(self) -> Pool:
        if self._closed:
            raise ProviderError("the recogniser is closed")
        if self._pool is None:
            self._pool = Pool(self._config)
            self._pool.start()
        return self._pool


class SphinxStream:
    """Implements SttStream, and Listener for the pool."""

    def __init__(self, engine: PocketSphinx, pool: Pool, rate: int, domain: Domain, key: int) -> None:
        self._engine, self._pool, self._rate, self._domain, self._key = engine, pool, rate, domain, key
        self._states = {hints: index for index, hints in reversed(list(enumerate(domain.hints)))}
        self._expected = (key, OPEN)  # domain and state
        self._recent = Recent(engine.config.pre_roll_ms, rate)  # before the next utterance
        self._open: Utterance | None = None
        self._began = 0  # bytes of the open utterance that came before `begin`
        self._owed: deque[Utterance] = deque()  # their finals, in this order
        self._held: dict[int, Final] = {}  # finals that came before an earlier one
        self._mean: str | None = None
        self._outbox: deque[Transcript] = deque()
        self._news = asyncio.Event()
        self._closed = False
        pool.domains.use(key, 1)

    def push(self, frame: AudioFrame) -> None:
        if self._closed:
            return
        if self._open is not None:
            self._pool.push(self._open, frame.pcm)
            return
        self._recent.push(frame.pcm)

    def begin(self) -> None:
        if self._open is not None or self._closed:
            return
        if self._expected[0] not in self._pool.domains:
            log.warning("expected speech cannot be heard", extra={"domain": self._domain.name})
            self._expect(self._key, OPEN)
        beside = self._owed[-1] if self._owed else None
        expected = Expected(*self._expected, self._rate, self._mean)
        self._open = self._pool.begin(expected, self, beside)
        self._owed.append(self._open)
        self._began = len(self._recent.pcm)
        if self._recent.pcm:
            self._pool.push(self._open, bytes(self._recent.pcm))
            self._recent.pcm.clear()  # no sample is heard twice

    def finish(self) -> None:
        utterance, self._open = self._open, None
        if utterance is None:
            return
        shortest = 2 * self._rate * self._engine.config.min_speech_ms // 1000
        if utterance.size - self._began < shortest:
            self._pool.cancel(utterance)
            self._pool.settle(utterance, Final())
        else:
            self._pool.finish(utterance)

    def cancel(self) -> None:
        if self._open is not None:
            self._recent.push(self._open.audio)  # speech may really begin in it
        self._forget()

    def expect(self, hints: Hints) -> None:
        if hints.open or hints in self._states:
            self._expect(self._key, self._states.get(hints, OPEN))
        else:
            # Composed at run time ("on tuesday at three, or on friday?"): built while the bot asks.
            name, language = f"{self._domain.name}, at run time", self._domain.language
            self._expect(self._pool.domains.request(Domain(name, language, (hints,))), 0)

    async def __aiter__(self) -> AsyncIterator[Transcript]:
        while True:
            while self._outbox:
                yield self._outbox.popleft()
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    def close(self) -> None:
        """The call is over: what is owed is not given any more."""
        if self._closed:
            return
        self._closed = True
        self._forget()
        self._expect(self._key, OPEN)
        self._pool.domains.use(self._key, -1)
        self._news.set()

    def _forget(self) -> None:
        """Nothing is owed any more, nor is what was not read yet."""
        for utterance in self._owed:
            self._pool.cancel(utterance)
        self._owed.clear()
        self._held.clear()
        self._outbox.clear()
        self._open = None

    # Listener

    def on_partial(self, utterance: Utterance, partial: Transcript) -> None:
        if self._owed and utterance is self._owed[0]:
            if self._outbox and not self._outbox[-1].final:
                self._outbox[-1] = partial  # the reader is late: it wants the newest alone
            else:
                self._outbox.append(partial)
            self._news.set()

    def on_final(self, utterance: Utterance, final: Final) -> None:
        self._held[utterance.number] = final
        while self._owed and self._owed[0].number in self._held:
            done = self._owed.popleft()
            self._deliver(done, self._held.pop(done.number))

    def _deliver(self, utterance: Utterance, final: Final) -> None:
        self._mean = final.mean or self._mean
        self._outbox.append(
            Transcript(final.text, final=True, confidence=final.confidence, rejected=final.rejected)
        )
        self._news.set()
        if self._engine.on_utterance is not None and final.cpu_s:
            self._engine.on_utterance(Cost(utterance.seconds, final.cpu_s, final.latency_s))

    def _expect(self, domain: int, state: int) -> None:
        self._pool.domains.use(domain, 1)
        self._pool.domains.use(self._expected[0], -1)
        self._expected = (domain, state)


def create(config: Config) -> PocketSphinx:
    """The engine. Raises MissingExtra."""
    if importlib.util.find_spec("pocketsphinx") is None:
        raise MissingExtra("pocketsphinx", "pocketsphinx")
    return PocketSphinx(config)
