"""Whisper through faster-whisper (CTranslate2), in worker processes of our own, on CPU or GPU.

Utterances are as the voice detector cuts them: silence is never recognised, since Whisper makes up words in
it. What still looks made up (no speech by the model's own account, text that repeats itself, sentences that
its training videos end with, low probability) is rejected. While all workers are busy, finals of several
calls wait together and are recognised as one batch. The engine comes with the extra `whisper`.
"""

import asyncio
import importlib.util
import json
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import MissingExtra, ProviderError
from media.frames import AudioFormat
from media.stt.base import SpeechToText, SttStream
from media.stt.batch import Batcher
from media.stt.windows import Stretch, WindowConfig, WindowStream
from media.tasks import task_scope
from media.workers.pool import PoolConfig, PoolStats, WorkerPool

MADE_UP = (
    "thank you for watching",
    "thanks for watching",
    "please subscribe",
    "like and subscribe",
    "subtitles by",
    "amara.org",
    "see you in the next video",
)
SHORTEST_MS = 60  # shorter than any word
HOTWORDS = 40  # phrases of a node that the model is told; more would crowd out the speech


@dataclass(frozen=True, slots=True)
class Config:
    """A model and how it listens."""

    model: str = ""
    """Folder of a CTranslate2 model (model.bin, tokenizer.json, ...); `voicegw models` brings some."""
    language: str = ""
    """BCP 47, such as en. Empty: the flow's."""
    device: str = "cpu"
    """cpu or cuda."""
    compute_type: str = "int8"
    """int8 on CPUs, float16 or int8_float16 on GPUs."""
    beam: int = 1
    """Hypotheses kept: 5 errs a little less and takes twice as long."""
    window: str = "short"
    """short: the model sees the utterance, filled up to a multiple of 2 s; 10 to 25 times cheaper. full:
    filled up to 30 s, as Whisper was trained."""
    hotwords: bool = True
    """Tell the model the phrases that the dialog expects."""
    no_speech: float = 0.6
    """Rejected above this probability, by the model's own account, that nobody spoke."""
    log_probability: float = -1.2
    """Rejected below this mean log probability of a token."""
    compression: float = 2.4
    """Rejected when the text is more repetitive than this (length over compressed length)."""
    made_up: tuple[str, ...] = MADE_UP
    """Rejected when the whole text is one of these, or holds it."""
    batch: int = 8
    """Utterances of different calls that one worker may recognise together; 32 on a GPU."""
    windows: WindowConfig = WindowConfig()
    """Partials."""
    pool: PoolConfig = field(default_factory=lambda: PoolConfig(threads=1, hang_s=30.0))
    """The worker processes; each holds the model."""


def create(config: Config) -> SpeechToText:
    """Its workers start with the first flow. Raises ProviderError: no such model, MissingExtra."""
    if importlib.util.find_spec("faster_whisper") is None:
        raise MissingExtra("whisper", "faster-whisper")
    folder = Path(config.model)
    missing = [name for name in ("model.bin", "tokenizer.json") if not (folder / name).is_file()]
    if not config.model or missing:
        what = f"{', '.join(missing)} in {folder}" if config.model else "a model"
        raise ProviderError(f"whisper: cannot find {what}; set model to the folder of a CTranslate2 model")
    if config.window not in {"short", "full"}:
        raise ProviderError(f"whisper: window must be short or full, not {config.window!r}")
    if config.device not in {"cpu", "cuda", "auto"}:
        raise ProviderError(f"whisper: device must be cpu or cuda, not {config.device!r}")
    return Whisper(config)


class Whisper:
    """Implements SpeechToText."""

    def __init__(self, config: Config) -> None:
        self._config = replace(config, model=str(Path(config.model).absolute()))
        self._pool: WorkerPool | None = None  # belongs to the loop of the first call
        self._batcher: Batcher | None = None
        self._starting, self._closed = asyncio.Lock(), False

    async def prepare(self, domain: Domain) -> None:
        """Start the workers. Raises ProviderError."""
        await self._running()

    def stream(self, format: AudioFormat, domain: Domain) -> AbstractAsyncContextManager[SttStream]:
        """Ears for one call."""
        return self._stream(format, domain)

    @asynccontextmanager
    async def _stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[SttStream]:
        batcher = await self._running()
        language = (self._config.language or domain.language).partition("-")[0].lower()

        async def recognise(stretch: Stretch) -> Transcript:
            if len(stretch.pcm) < 2 * stretch.rate * SHORTEST_MS // 1000:
                return Transcript("", final=True)
            words = hotwords(stretch.hints) if self._config.hotwords else ""
            header = {"language": language, "hotwords": words, "rate": stretch.rate}
            answer = await batcher.ask(header, stretch.pcm, urgent=stretch.final)
            return judged(answer, self._config)

        async with task_scope() as start:
            stream = WindowStream(recognise, format.rate, self._config.windows, start)
            try:
                yield stream
            finally:
                stream.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return self._pool.pids if self._pool is not None else []

    @property
    def largest_batch(self) -> int:
        """Utterances recognised together, at most so far."""
        return self._batcher.largest if self._batcher is not None else 0

    def stats(self) -> PoolStats:
        """Counters of the workers."""
        return self._pool.stats() if self._pool is not None else PoolStats()

    def fault(self) -> str | None:
        """For /health."""
        return self._pool.fault() if self._pool is not None else None

    async def close(self) -> None:
        """Stop the workers. Idempotent."""
        self._closed = True
        pool, self._pool, self._batcher = self._pool, None, None
        if pool is not None:
            await pool.close()

    async def _running(self) -> Batcher:
        async with self._starting:
            if self._closed:
                raise ProviderError("whisper: the recogniser is closed")
            if self._pool is None or self._batcher is None:
                names = ("model", "device", "compute_type", "beam", "window")
                settings: dict[str, Any] = {k: v for k, v in asdict(self._config).items() if k in names}
                settings["threads"] = self._config.pool.threads
                pool = WorkerPool("media.stt.whisper_worker", settings, self._config.pool, name="whisper")
                # Kept while it starts: for who comes after one who could not wait.
                self._pool, self._batcher = pool, Batcher(pool, self._config.batch)
            pool, batcher = self._pool, self._batcher
            try:
                await pool.start()
            except ProviderError:
                self._pool = self._batcher = None
                await pool.close()
                raise
            return batcher


def hotwords(hints: Hints) -> str:
    """What the model is told to expect."""
    return ", ".join((*hints.phrases, *hints.sentences)[:HOTWORDS])


def judged(answer: bytes, config: Config) -> Transcript:
    """What a worker heard, unless it looks made up."""
    found = json.loads(answer)
    text = " ".join(found["text"].split())
    confidence = min(1.0, 2.0 ** found["log_probability"])
    if not text:
        return Transcript("", final=True, confidence=confidence)
    rejected = (
        found["no_speech"] > config.no_speech
        or found["log_probability"] < config.log_probability
        or repetition(text) > config.compression
        or is_made_up(text, config.made_up)
    )
    return Transcript("" if rejected else text, final=True, confidence=confidence, rejected=rejected)


def repetition(text: str) -> float:
    """Length over compressed length: above 2.4 a text says the same again and again."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_made_up(text: str, known: tuple[str, ...]) -> bool:
    """Whether the text is one of the sentences that Whisper hears in noise."""
    plain = " ".join(re.sub(r"[^\w\s.']", " ", text.lower()).replace(". ", " ").strip(" .").split())
    return any(sentence in plain for sentence in known)
