"""Sound to utterances, with ears that only count what they are given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from tests.clock import run
from tests.voicegw.phone.bot import spoken
from voicegw.phone.sound import Sound
from voicegw.transcribe import Utterance, for_files, transcribe

SILENCE = bytes(2 * 8000)  # 1 s


class CountingEars:
    """Understands how many frames there were since the utterance began. Slow: a final takes a second."""

    def __init__(self, dies: bool = False) -> None:
        self.frames, self.heard, self.expected = 0, 0, Hints()
        self.finals: asyncio.Queue[Transcript | None] = asyncio.Queue()
        self.dies = dies

    def push(self, frame: AudioFrame) -> None:
        self.frames += 1
        self.heard += 1
        assert self.finals.empty(), "went on before the final had come"

    def begin(self) -> None:
        self.heard = 0

    def finish(self) -> None:
        if self.dies:
            self.finals.put_nowait(None)
            return
        self.finals.put_nowait(Transcript("partial", final=False))
        final = Transcript(f"{self.heard} frames", final=True)
        asyncio.get_running_loop().call_later(1, self.finals.put_nowait, final)

    def cancel(self) -> None:
        raise NotImplementedError

    def expect(self, hints: Hints) -> None:
        self.expected = hints

    async def __aiter__(self) -> AsyncIterator[Transcript]:
        while (transcript := await self.finals.get()) is not None:
            yield transcript


class CountingEngine:
    def __init__(self, dies: bool = False) -> None:
        self.ears = CountingEars(dies)
        self.format = AudioFormat()

    async def prepare(self, domain: Domain) -> None:
        pass

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[CountingEars]:
        self.format = format
        yield self.ears

    async def close(self) -> None:
        pass


def sound(*parts: bytes) -> Sound:
    return Sound(np.frombuffer(b"".join(parts), "<i2"), 8000)


def hear(engine: CountingEngine, what: Sound, progress: list[int] | None = None) -> list[Utterance]:
    async def scenario() -> list[Utterance]:
        told = [] if progress is None else progress
        found = transcribe(engine, Domain("test"), what, Hints(phrases=("yes",)), told.append)
        async with aclosing(found) as utterances:
            return [utterance async for utterance in utterances]

    return run(scenario())


def test_utterances_come_with_their_times_and_one_after_the_other() -> None:
    one, two = spoken("good morning everybody"), spoken("see you on Tuesday then")
    engine, progress = CountingEngine(), []
    whole = sound(SILENCE, one, SILENCE, SILENCE, two)  # ends with the last word
    found = hear(engine, whole, progress)
    starts = [1000, 3000 + len(one) // 16]
    assert [u.start_ms for u in found] == [pytest.approx(start, abs=60) for start in starts]
    ends = [starts[0] + len(one) // 16, starts[1] + len(two) // 16]
    assert [u.end_ms for u in found] == [pytest.approx(end, abs=120) for end in ends]
    assert all(u.transcript.final and u.transcript.text.endswith("frames") for u in found)
    assert engine.ears.expected.phrases == ("yes",)
    assert progress == sorted(progress) and progress[-1] == whole.ms


@pytest.mark.parametrize("what", [sound(), sound(SILENCE), sound(SILENCE[:100])])
def test_without_speech_there_is_nothing(what: Sound) -> None:
    assert hear(CountingEngine(), what) == []


def test_speech_from_the_first_to_the_last_sample_is_found() -> None:
    (found,) = hear(CountingEngine(), sound(spoken("good morning everybody")))
    assert found.start_ms <= 60 and found.end_ms >= len(spoken("good morning everybody")) // 16 - 120


def test_ears_that_die_are_an_error() -> None:
    with pytest.raises(ProviderError, match="ended before it had answered"):
        hear(CountingEngine(dies=True), sound(spoken("good morning")))


def test_an_engine_for_files_drops_nothing_and_in_dictation_rejects_nothing() -> None:
    @dataclass(frozen=True)
    class Options:
        queue_ms: int = 10_000
        free_reject: float = -0.002
        workers: int = 3

    assert for_files(Options()) == Options(600_000, -0.002, 3)
    assert for_files(Options(), dictation=True) == Options(600_000, -1.0, 3)
    assert for_files(None) is None
