"""Streaming over a recogniser of whole stretches, on a virtual clock."""

import asyncio
from collections.abc import Callable

import pytest

from dialog.turn import Transcript
from dialog.types import Hints
from media.errors import ProviderError
from media.frames import AudioFrame
from media.stt.windows import Stretch, WindowConfig, WindowStream
from media.tasks import task_scope
from tests import clock

WORDS = ["i", "want", "to", "book", "a", "table", "for", "two", "people", "tomorrow", "at", "eight"]


class Recogniser:
    """Hears four words a second; its last word is not to be trusted, but in a final."""

    def __init__(self, took_s: float = 0.1, fails: bool = False) -> None:
        self.took_s, self.fails = took_s, fails
        self.tries: list[tuple[float, bool]] = []  # seconds of audio, final
        self.busy = self.cancelled = 0

    async def __call__(self, stretch: Stretch) -> Transcript:
        seconds = len(stretch.pcm) / 2 / stretch.rate
        self.tries.append((round(seconds, 2), stretch.final))
        self.busy += 1
        try:
            await asyncio.sleep(self.took_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.busy -= 1
        if self.fails:
            raise ProviderError("the worker died", retryable=True)
        words = WORDS[: int(4 * seconds)]
        if not stretch.final and words:
            words = [*words[:-1], f"{words[-1]}{len(words)}"]
        return Transcript(" ".join(words), final=True, confidence=0.9)


def play(
    recogniser: Recogniser, config: WindowConfig, script: Callable[[WindowStream], "asyncio.Future[None]"]
) -> list[Transcript | ProviderError]:
    heard: list[Transcript | ProviderError] = []

    async def read(stream: WindowStream) -> None:
        try:
            async for transcript in stream:
                heard.append(transcript)  # noqa: PERF401  (as they come)
        except ProviderError as error:
            heard.append(error)
            await read(stream)

    async def run() -> None:
        async with task_scope() as start:
            stream = WindowStream(recogniser, 8000, config, start)
            start(read(stream), "reader")
            await script(stream)
            stream.close()

    clock.run(run())
    assert recogniser.busy == 0
    return heard


async def sounds(stream: WindowStream, seconds: float) -> None:
    for _ in range(round(seconds / 0.02)):
        stream.push(AudioFrame(bytes(320), 8000, 0))
        await asyncio.sleep(0.02)


def test_partials_are_what_two_tries_agree_on_and_the_final_is_the_whole() -> None:
    async def script(stream: WindowStream) -> None:
        stream.begin()
        await sounds(stream, 3.0)
        stream.finish()
        await asyncio.sleep(1)

    recogniser = Recogniser()
    heard = play(recogniser, WindowConfig(partial_ms=500), script)
    partials = [t.text for t in heard if isinstance(t, Transcript) and not t.final]
    assert partials == ["i", "i want to", "i want to book a", "i want to book a table for"]
    last = heard[-1]
    assert isinstance(last, Transcript) and last.final and last.text == " ".join(WORDS)
    assert recogniser.tries[-1] == (3.0, True)


def test_a_slow_recogniser_skips_partials_and_never_queues_them() -> None:
    async def script(stream: WindowStream) -> None:
        stream.begin()
        await sounds(stream, 4.0)
        stream.finish()
        await asyncio.sleep(3)

    recogniser = Recogniser(took_s=1.5)
    heard = play(recogniser, WindowConfig(partial_ms=500), script)
    assert [seconds for seconds, final in recogniser.tries if not final] == [0.5, 2.0, 3.5]
    assert recogniser.cancelled == 1, "the one in work when the utterance ended"
    assert sum(isinstance(t, Transcript) and t.final for t in heard) == 1


def test_finals_only_where_partials_are_off() -> None:
    async def script(stream: WindowStream) -> None:
        for _ in range(2):
            stream.begin()
            await sounds(stream, 1.0)
            stream.finish()
        await asyncio.sleep(1)

    heard = play(Recogniser(took_s=0.4), WindowConfig(partial_ms=0), script)
    assert [t.text for t in heard if isinstance(t, Transcript)] == ["i want to book", "i want to book a"]


def test_what_was_before_the_beginning_is_heard_and_what_is_too_long_is_cut() -> None:
    async def script(stream: WindowStream) -> None:
        await sounds(stream, 2.0)
        stream.begin()
        await sounds(stream, 5.0)
        stream.finish()
        await asyncio.sleep(1)

    recogniser = Recogniser()
    play(recogniser, WindowConfig(partial_ms=0, pre_roll_ms=300), script)
    assert recogniser.tries == [(5.3, True)]
    recogniser = Recogniser()
    play(recogniser, WindowConfig(partial_ms=0, max_s=2.0), script)
    assert recogniser.tries == [(2.0, True)]


def test_hints_are_those_of_the_utterances_beginning() -> None:
    seen: list[Hints] = []

    async def recognise(stretch: Stretch) -> Transcript:
        seen.append(stretch.hints)
        return Transcript("", final=True)

    async def run() -> None:
        async with task_scope() as start:
            stream = WindowStream(recognise, 8000, WindowConfig(), start)
            stream.expect(Hints(phrases=("one",)))
            stream.begin()
            stream.expect(Hints(phrases=("two",)))
            stream.finish()
            await asyncio.sleep(1)

    clock.run(run())
    assert seen == [Hints(phrases=("one",))]


def test_cancelling_drops_what_is_in_work() -> None:
    async def script(stream: WindowStream) -> None:
        stream.begin()
        await sounds(stream, 1.0)
        stream.finish()
        await asyncio.sleep(0.1)
        stream.cancel()
        await asyncio.sleep(2)

    recogniser = Recogniser(took_s=1.0)
    assert play(recogniser, WindowConfig(partial_ms=0), script) == []
    assert recogniser.cancelled == 1


@pytest.mark.parametrize("partial_ms", [0, 300])
def test_a_failed_partial_is_nothing_a_failed_final_is_lost_and_said(partial_ms: int) -> None:
    async def script(stream: WindowStream) -> None:
        stream.begin()
        await sounds(stream, 1.0)
        stream.finish()
        await asyncio.sleep(1)
        recogniser.fails = False
        stream.begin()
        await sounds(stream, 1.2)
        stream.finish()
        await asyncio.sleep(1)

    recogniser = Recogniser(fails=True)
    error, *heard = play(recogniser, WindowConfig(partial_ms=partial_ms), script)
    assert str(error) == "the worker died"
    assert [t.text for t in heard if isinstance(t, Transcript) and t.final] == ["i want to book a table"]
