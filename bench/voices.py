"""What voices cost, and how fast they start and stop. Hosted ones speak through local services in a process
of their own: what is measured is our side.

    first      ms until the first sound of a sentence, nothing kept                        (hosted: <= 20)
    cpu        ms of CPU for a second of speech, workers included
    stop       ms from closing the speech until that is done                               <= 20
    kept       ms until the first sound of a kept prompt                                   <= 20
    stall      longest time that the event loop stood still meanwhile, beyond its timer    <= 5

    .venv/bin/python -m bench.voices [--quick]
"""

import argparse
import asyncio
import gc
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from media.tts.lexicon import Lexicon
from rich.console import Console
from rich.table import Table

from media.tts import espeak, piper
from media.tts.base import TextToSpeech
from media.tts.cache import CacheConfig, CachedVoice, PromptCache
from media.tts.spoken import SpokenVoice
from tests.media.tts.hosted import HOSTED
from tests.media.tts.services import serving
from tests.models.voice import make_voice

SENTENCE = "Your appointment number {} is on Tuesday at half past nine, is that right?"
BEAT_S = 0.002
STOP_MS, KEPT_MS, STALL_MS = 20.0, 20.0, 5.0


@dataclass
class Row:
    """One engine."""

    first: list[float] = field(default_factory=list)  # ms
    stop: list[float] = field(default_factory=list)  # ms
    kept: list[float] = field(default_factory=list)  # ms
    cpu: float = 0.0  # s
    speech: float = 0.0  # s
    stall: float = 0.0  # ms


def serve(pipe: Connection) -> None:
    """The process of the services."""

    async def run() -> None:
        async with serving() as service:
            pipe.send(service.url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


def cpu(pids: list[int]) -> float:
    """Seconds, of this process and of workers."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = used.ru_utime + used.ru_stime
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """How late a timer of the loop was, in ms."""
    late: list[float] = [0.0]

    async def tick() -> None:
        while True:
            due = time.perf_counter() + BEAT_S
            await asyncio.sleep(BEAT_S)
            late.append((time.perf_counter() - due) * 1000)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(tick())
        try:
            yield late
        finally:
            task.cancel()


async def first_ms(voice: TextToSpeech, text: str) -> float:
    began = time.perf_counter()
    async with aclosing(voice.synthesize(text)) as speech:
        async for chunk in speech:
            if chunk.pcm:
                break
        return (time.perf_counter() - began) * 1000


async def measure(create: Callable[[], TextToSpeech], rounds: int) -> Row:
    row, engine = Row(), create()
    voice = SpokenVoice(engine, "en-US", Lexicon(), normalised=False, tags=frozenset())
    cached = CachedVoice(engine, "bench", PromptCache(CacheConfig()))
    await first_ms(voice, "Hello.")  # connections, workers
    pids = getattr(engine, "pids", [])
    gc.collect()
    async with ticking() as late:
        began = cpu(pids)
        for n in range(rounds):
            asked, first = time.perf_counter(), True
            async with aclosing(voice.synthesize(SENTENCE.format(n))) as speech:
                async for chunk in speech:
                    if first and chunk.pcm:
                        row.first.append((time.perf_counter() - asked) * 1000)
                        first = False
                    row.speech += len(chunk.pcm) / 2 / voice.rate
        row.cpu = cpu(pids) - began
        for n in range(rounds):
            speech = voice.synthesize(SENTENCE.format(n))
            await anext(speech)
            closed = time.perf_counter()
            await speech.aclose()
            row.stop.append((time.perf_counter() - closed) * 1000)
        await cached.ahead("Which day suits you?")
        row.kept = [await first_ms(cached, "Which day suits you?") for _ in range(rounds)]
    row.stall = max(late)
    await engine.close()
    return row


def engines(folder: Path, url: str) -> dict[str, Callable[[], TextToSpeech]]:
    model = make_voice(folder / "tones.onnx")
    local: dict[str, Callable[[], TextToSpeech]] = {
        "espeak": lambda: espeak.create(espeak.Config()),
        "piper (a voice of 4 KB)": lambda: piper.create(piper.Config(model=str(model))),
    }
    hosted = {name: _hosted(create, url) for name, create in HOSTED.items()}
    return {**local, **hosted}


def _hosted(create: Callable[[str], TextToSpeech], url: str) -> Callable[[], TextToSpeech]:
    return lambda: create(url)


def run(awaitable: Awaitable[Row]) -> Row:
    async def main() -> Row:
        return await awaitable

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def main() -> int:
    """Returns 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds")
    rounds = 10 if parser.parse_args().quick else 40
    table = Table("voice", "first p50/p95 ms", "cpu ms/s", "stop p95 ms", "kept p95 ms", "stall ms")
    missed = False
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    services = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    services.start()
    with tempfile.TemporaryDirectory() as folder:
        for name, create in engines(Path(folder), ours.recv()).items():
            row = run(measure(create, rounds))
            first, stop, kept = (_p95(values) for values in (row.first, row.stop, row.kept))
            missed = missed or stop > STOP_MS or kept > KEPT_MS or row.stall > STALL_MS
            table.add_row(
                name,
                f"{statistics.median(row.first):.1f} / {first:.1f}",
                f"{1000 * row.cpu / row.speech:.2f}",
                f"{stop:.2f}",
                f"{kept:.2f}",
                f"{row.stall:.1f}",
            )
    ours.send("over")
    services.join()
    Console().print(table)
    return int(missed)


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


if __name__ == "__main__":
    sys.exit(main())
