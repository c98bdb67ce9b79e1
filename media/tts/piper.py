"""Piper: neural voices that run on a CPU, in worker processes of our own. https://github.com/OHF-Voice/piper1-gpl

Piper speaks a sentence at a time; sentences are cut between clauses here, so that the first sound does not
wait for a long one. Word marks are laid evenly over the audio of each clause. piper-tts is GPL-3.0-or-later
and comes with the extra `piper`.
"""

import asyncio
import importlib.util
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from media.errors import MissingExtra, ProviderError
from media.tts.base import Speech, TextToSpeech, WordMark
from media.tts.text import pieces
from media.workers.pool import PoolConfig, PoolStats, WorkerPool
from media.workers.wire import pack, unpack

CLAUSE = 70  # characters: 4.5 s of speech, 0.3 s of work for a medium voice


@dataclass(frozen=True, slots=True)
class Config:
    """A voice and how it speaks."""

    model: str = ""
    """Path of the voice's .onnx file, with its .onnx.json beside it; `voicegw models` brings some."""
    speaker: str = ""
    """Name or number of the speaker, in voices that have several. Empty: the first."""
    length_scale: float = 1.0
    """Slowness: 1.2 takes a fifth longer, which phone callers follow better."""
    noise_scale: float | None = None
    """Variation of the voice. null: as the voice has it."""
    noise_w: float | None = None
    """Variation of the rhythm. null: as the voice has it."""
    volume: float = 1.0
    """Loudness, above 0."""
    pool: PoolConfig = field(default_factory=lambda: PoolConfig(threads=1, hang_s=20.0))
    """The worker processes. A medium voice takes 0.08 CPU-seconds for a second of speech: one worker serves
    some ten callers who hear the bot at the same time."""


def create(config: Config) -> TextToSpeech:
    """The engine; its workers start at the first sentence. Raises ProviderError: no such voice or speaker, a
    value out of range, MissingExtra."""
    if importlib.util.find_spec("piper") is None:
        raise MissingExtra("piper", "piper-tts")
    path = Path(config.model)
    if not config.model or not path.is_file():
        raise ProviderError(f"piper: there is no voice {config.model!r}; set model to a voice's .onnx file")
    described = Path(f"{path}.json")
    try:
        voice = json.loads(described.read_text(encoding="utf-8"))
        rate, speakers = int(voice["audio"]["sample_rate"]), dict(voice.get("speaker_id_map") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProviderError(f"piper: {described} does not describe the voice: {error}") from error
    for name in ("length_scale", "volume"):
        if getattr(config, name) <= 0:
            raise ProviderError(f"piper: {name} must be above 0, not {getattr(config, name)}")
    return PiperTts(config, rate, _speaker(config.speaker, speakers))


def _speaker(wanted: str, known: dict[str, int]) -> int | None:
    if not wanted:
        return None
    if wanted in known:
        return known[wanted]
    if wanted.isdecimal() and int(wanted) in known.values():
        return int(wanted)
    some = ", ".join(list(known)[:10]) or "this voice has one speaker"
    raise ProviderError(f"piper: there is no speaker {wanted!r}; known: {some}")


class PiperTts:
    """Speaks for all calls with one voice."""

    def __init__(self, config: Config, rate: int, speaker: int | None) -> None:
        self._rate, self._config = rate, config
        settings = {k: v for k, v in asdict(config).items() if k != "pool"}
        settings |= {"model": str(Path(config.model).absolute()), "speaker": speaker}
        self._settings = settings
        self._pool: WorkerPool | None = None  # belongs to the loop of the first sentence
        self._starting, self._closed = asyncio.Lock(), False

    @property
    def rate(self) -> int:
        """Hz, of the voice."""
        return self._rate

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return self._pool.pids if self._pool is not None else []

    def stats(self) -> PoolStats:
        """Counters of the workers."""
        return self._pool.stats() if self._pool is not None else PoolStats()

    def fault(self) -> str | None:
        """For /health."""
        return self._pool.fault() if self._pool is not None else None

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence, a clause at a time. Raises ProviderError."""
        pool = await self._running()
        at = 0  # samples
        for piece in pieces(text, CLAUSE):
            request = pack({"text": piece.text})
            async with aclosing(pool.stream(request)) as answer:
                async for found in answer:
                    header, pcm = unpack(found)
                    spoken = len(pcm) // 2
                    words = _marks(header["start"], header["end"], piece.text, piece.positions, at, spoken)
                    yield Speech(pcm, words)
                    at += spoken

    async def close(self) -> None:
        """Stop the workers."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def _running(self) -> WorkerPool:
        async with self._starting:
            if self._closed:
                raise ProviderError("piper: the voice is closed")
            if self._pool is None:  # kept while it starts: for who comes after one who could not wait
                config = self._config.pool
                self._pool = WorkerPool("media.tts.piper_worker", self._settings, config, name="piper")
            pool = self._pool
            try:
                await pool.start()
            except ProviderError:
                self._pool = None
                await pool.close()
                raise
            return pool


def _marks(
    start: int, end: int, text: str, positions: "tuple[int, ...] | range", at: int, samples: int
) -> tuple[WordMark, ...]:
    """Word beginnings in text[start:end], evenly over `samples` from `at`."""
    marks = []
    for index in range(start, end):
        begins = text[index].isalnum() and (index == 0 or text[index - 1].isspace())
        if begins:
            marks.append(WordMark(positions[index], at + samples * (index - start) // max(1, end - start)))
    return tuple(marks)
