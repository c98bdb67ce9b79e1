"""Streaming transducers (zipformer and others) by sherpa-onnx: they truly stream, window by window.

One thread decodes for all calls, all that is ready in one batch; the library releases the interpreter while
it computes, so calls go on. Unlike the worker processes of other engines, a crash of the library would end
the server. The engine comes with the extra `sherpa`.
"""

import asyncio
import importlib.util
import logging
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import MissingExtra, ProviderError
from media.frames import AudioFormat, AudioFrame
from media.stt.base import Outbox, Recent, SpeechToText, SttStream

log = logging.getLogger(__name__)

PARTS = ("encoder", "decoder", "joiner")
TAIL_S = 0.66  # of silence behind an utterance: what the encoder looks ahead
BEFORE_MS = 300  # kept from before an utterance


@dataclass(frozen=True, slots=True)
class Config:
    """A model and how it listens."""

    model: str = ""
    """Folder with encoder, decoder and joiner (.onnx; int8 ones are preferred) and tokens.txt; `voicegw
    models` brings some."""
    threads: int = 1
    """Threads of the network."""
    provider: str = "cpu"
    """cpu or cuda."""
    method: str = "greedy_search"
    """greedy_search, or modified_beam_search, which errs less, costs more, and knows hotwords."""
    partial_ms: int = 120
    """Partials at most so often."""
    queue_ms: int = 45_000
    """Audio of one utterance that waits for the thread; beyond it the oldest is dropped and counted. What a
    fallback gives at once is as long."""


def create(config: Config) -> SpeechToText:
    """The engine, its model loaded. Raises ProviderError: no such model, MissingExtra."""
    if importlib.util.find_spec("sherpa_onnx") is None:
        raise MissingExtra("sherpa", "sherpa-onnx")
    import sherpa_onnx  # noqa: PLC0415 - optional

    files = _files(Path(config.model) if config.model else None)
    if config.method not in {"greedy_search", "modified_beam_search"}:
        raise ProviderError(
            f"sherpa: method must be greedy_search or modified_beam_search, not {config.method!r}"
        )
    try:
        recogniser = sherpa_onnx.OnlineRecognizer.from_transducer(
            **files, num_threads=config.threads, provider=config.provider, decoding_method=config.method
        )
    except (RuntimeError, ValueError) as error:
        raise ProviderError(f"sherpa: {config.model} cannot be loaded: {error}") from error
    return Sherpa(recogniser, config)


def _files(folder: Path | None) -> dict[str, str]:
    if folder is None or not folder.is_dir():
        raise ProviderError(f"sherpa: there is no model folder {str(folder or '')!r}; set model")
    found = {}
    for part in PARTS:
        candidates = sorted(
            folder.glob(f"{part}*.onnx"), key=lambda path: (".int8." not in path.name, path.name)
        )
        if not candidates:
            raise ProviderError(f"sherpa: {folder} has no {part}*.onnx")
        found[part] = str(candidates[0])
    if not (folder / "tokens.txt").is_file():
        raise ProviderError(f"sherpa: {folder} has no tokens.txt")
    return {**found, "tokens": str(folder / "tokens.txt")}


@dataclass(slots=True)
class SherpaStats:
    """Counters since the start."""

    batches: int = 0
    decoded: int = 0  # steps of streams
    finals: int = 0
    streams: int = 0  # gauge: calls
    largest: int = 0  # batch so far
    dropped_frames: int = 0  # packets that nobody listened to


@dataclass(slots=True, eq=False)
class _Utterance:
    """One, between the loop and the thread: samples go in, a text comes out."""

    owner: "SherpaStream"
    stream: Any
    rate: int
    samples: deque[np.ndarray] = field(default_factory=deque)
    finished: bool = False
    ended: bool = False  # the tail is in
    text: str = ""
    told_at: float = 0.0  # loop time


class Sherpa:
    """Implements SpeechToText."""

    def __init__(self, recogniser: Any, config: Config) -> None:
        self._recogniser, self.config = recogniser, config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sherpa")
        self._work: set[_Utterance] = set()
        self._wake = asyncio.Event()
        self._decoding: asyncio.Task[None] | None = None
        self._closed = False
        self.counters = SherpaStats()

    async def prepare(self, domain: Domain) -> None:
        """Nothing: the model knows what it knows."""

    def stream(self, format: AudioFormat, domain: Domain) -> AbstractAsyncContextManager[SttStream]:
        """Ears for one call."""
        return self._stream(format)

    @asynccontextmanager
    async def _stream(self, format: AudioFormat) -> AsyncIterator[SttStream]:
        if self._closed:
            raise ProviderError("sherpa: the recogniser is closed")
        stream = SherpaStream(self, format)
        self.counters.streams += 1
        try:
            yield stream
        finally:
            self.counters.streams -= 1
            stream.close()

    def stats(self) -> SherpaStats:
        """Counters since the start."""
        return self.counters

    async def close(self) -> None:
        """Stop the thread. Idempotent."""
        self._closed = True
        if self._decoding is not None:
            self._decoding.cancel()
            await asyncio.wait([self._decoding])
            self._decoding = None
        await asyncio.to_thread(self._thread.shutdown)

    def open(self, owner: "SherpaStream", rate: int) -> _Utterance:
        """A new utterance."""
        utterance = _Utterance(owner, self._recogniser.create_stream(), rate)
        self._work.add(utterance)
        return utterance

    def changed(self) -> None:
        """There is something to decode."""
        self._wake.set()
        if self._decoding is None and not self._closed:
            self._decoding = asyncio.create_task(self._decode(), name="sherpa")

    def forget(self, utterance: _Utterance) -> None:
        """Nobody wants it any more."""
        self._work.discard(utterance)

    async def _decode(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            work = list(self._work)
            try:
                more = await loop.run_in_executor(self._thread, self._step, work)
            except (RuntimeError, ValueError) as error:  # what the library raises
                log.error("sherpa failed", extra={"error": str(error), "utterances": len(work)})
                for owner in {utterance.owner for utterance in work}:
                    owner.failed(ProviderError(f"sherpa: {error}", retryable=True))
                continue
            for utterance in work:
                if utterance not in self._work:
                    continue
                if utterance.ended and utterance not in more:
                    self._work.discard(utterance)
                    self.counters.finals += 1
                    utterance.owner.final(utterance)
                else:
                    utterance.owner.partial(utterance, loop.time())
            if more:
                self._wake.set()

    def _step(self, work: list[_Utterance]) -> set[_Utterance]:
        """In the thread: take samples in, decode what is ready once. Returns those who have more."""
        recogniser = self._recogniser
        for utterance in work:
            while utterance.samples:
                utterance.stream.accept_waveform(utterance.rate, utterance.samples.popleft())
            if utterance.finished and not utterance.ended and not utterance.samples:
                tail = np.zeros(int(TAIL_S * utterance.rate), np.float32)
                utterance.stream.accept_waveform(utterance.rate, tail)
                utterance.stream.input_finished()
                utterance.ended = True
        ready = [utterance for utterance in work if recogniser.is_ready(utterance.stream)]
        if ready:
            recogniser.decode_streams([utterance.stream for utterance in ready])
            self.counters.batches += 1
            self.counters.decoded += len(ready)
            self.counters.largest = max(self.counters.largest, len(ready))
        for utterance in work:
            utterance.text = str(recogniser.get_result(utterance.stream)).strip().lower()
        return {u for u in work if recogniser.is_ready(u.stream) or u.samples or u.finished != u.ended}


class SherpaStream:
    """Implements SttStream."""

    def __init__(self, engine: Sherpa, format: AudioFormat) -> None:
        self._engine, self._rate = engine, format.rate
        self._recent = Recent(BEFORE_MS, format.rate)
        self._backlog = engine.config.queue_ms // format.ptime_ms  # frames
        self._open: _Utterance | None = None
        self._owed: deque[_Utterance] = deque()
        self._done: dict[_Utterance, str] = {}  # finals that came before an earlier one
        self._told = ""
        self._closed = False
        self._out: Outbox[Transcript] = Outbox()

    def push(self, frame: AudioFrame) -> None:
        """One frame."""
        self._recent.push(frame.pcm)
        if self._open is not None:
            if len(self._open.samples) >= self._backlog:
                self._open.samples.popleft()
                self._engine.counters.dropped_frames += 1
            self._open.samples.append(_samples(frame.pcm))
            self._engine.changed()

    def begin(self) -> None:
        """A new utterance, with what came before it."""
        if self._open is None and not self._closed:
            self._open = self._engine.open(self, self._rate)
            self._open.samples.append(_samples(bytes(self._recent.pcm)))
            self._told = ""

    def finish(self) -> None:
        """The utterance is over."""
        if self._open is not None:
            self._open.finished = True
            self._owed.append(self._open)
            self._open = None
            self._engine.changed()

    def cancel(self) -> None:
        """Forget the open utterance and what is owed."""
        for utterance in (*self._owed, *([self._open] if self._open is not None else [])):
            self._engine.forget(utterance)
        self._open = None
        self._owed.clear()
        self._done.clear()

    def expect(self, hints: Hints) -> None:
        """Not used: the model has its own language."""

    def close(self) -> None:
        """The call is over: reading ends."""
        self.cancel()
        self._closed = True
        self._out.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Transcript]:
        """Partials and finals, in order."""
        return self._out

    def partial(self, utterance: _Utterance, now: float) -> None:
        """From the engine: what it believes so far."""
        late = now - utterance.told_at >= self._engine.config.partial_ms / 1000
        if utterance is self._open and utterance.text and utterance.text != self._told and late:
            self._told, utterance.told_at = utterance.text, now
            self._out.put_nowait(Transcript(utterance.text, final=False))

    def failed(self, error: ProviderError) -> None:
        """From the engine: what is open and owed is lost."""
        self.cancel()
        self._out.put_nowait(error)

    def final(self, utterance: _Utterance) -> None:
        """From the engine: what it was."""
        if utterance not in self._owed:
            return
        self._done[utterance] = utterance.text
        while self._owed and self._owed[0] in self._done:
            text = self._done.pop(self._owed.popleft())
            self._out.put_nowait(Transcript(text, final=True))


def _samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
