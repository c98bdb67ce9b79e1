"""What every recogniser keeps, whichever engine it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.fallback.ears import FallbackEars
from media.frames import AudioFormat, AudioFrame
from media.stt import pocketsphinx, whisper
from media.stt.base import SpeechToText, SttStream
from tests.callers import caller, frames
from tests.media.stt.hosted import HOSTED
from tests.media.stt.services import serving

pytestmark = pytest.mark.real

WHISPER = Path(__file__).parents[1] / "models" / "whisper"  # it knows sixteen phrases, and no hotwords
ENGINES: dict[str, Callable[[], SpeechToText]] = {
    "pocketsphinx": lambda: pocketsphinx.create(pocketsphinx.Config(workers=1)),
    "whisper": lambda: whisper.create(whisper.Config(model=str(WHISPER), hotwords=False)),
    "fallback": lambda: FallbackEars(
        [("whisper", ENGINES["whisper"]()), ("pocketsphinx", ENGINES["pocketsphinx"]())]
    ),
}
ORDER = Hints(phrases=("i want to book a table", "what are your opening hours"))
CONFIRM = Hints(phrases=("yes please", "no thank you"))
DOMAIN = Domain("contract", "en-US", (ORDER, CONFIRM))
BOOK, YES = caller("i want to book a table"), caller("yes please")

NAMES = (*ENGINES, *HOSTED)
engines = pytest.mark.parametrize("create", NAMES)
Create = str


class Shared:
    """Engines with processes of their own start once for this module, and run in one loop."""

    runner: asyncio.Runner
    engines: dict[Create, SpeechToText]


@pytest.fixture(scope="module", autouse=True)
def shared() -> Iterator[None]:
    async def close() -> None:
        for engine in Shared.engines.values():
            await engine.close()

    Shared.engines = {}
    with asyncio.Runner() as Shared.runner:
        yield
        Shared.runner.run(close())


def play(create: Create, script: Callable[[SpeechToText], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        if create in ENGINES:
            if create not in Shared.engines:
                Shared.engines[create] = ENGINES[create]()
            await one(Shared.engines[create])
            return
        async with serving() as service:
            engine = HOSTED[create](service.url)
            try:
                await one(engine)
            finally:
                await engine.close()
            assert service.live == 0, "a closed engine leaves no connection"

    async def one(engine: SpeechToText) -> None:
        async with asyncio.timeout(60):
            await engine.prepare(DOMAIN)
            await script(engine)

    Shared.runner.run(main())


@asynccontextmanager
async def ears(engine: SpeechToText) -> AsyncIterator[tuple[SttStream, list[Transcript]]]:
    """A stream, and all that it understands as it comes."""
    heard: list[Transcript] = []
    async with engine.stream(AudioFormat(), DOMAIN) as stream:

        async def read() -> None:
            async for transcript in stream:
                if isinstance(transcript, Transcript):
                    heard.append(transcript)  # noqa: PERF401  (as they come)

        reading = asyncio.ensure_future(read())
        yield stream, heard
        reading.cancel()


async def finals(heard: list[Transcript], count: int) -> list[Transcript]:
    """Waits for `count` finals, and a little for one too many."""
    for _ in range(500):
        if sum(t.final for t in heard) >= count:
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    return [t for t in heard if t.final]


def speak(stream: SttStream, pcm: bytes) -> None:
    for frame in frames(pcm):
        stream.push(frame)


@engines
def test_partials_then_exactly_one_final(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.expect(ORDER)
            for n, frame in enumerate(frames(BOOK)):
                if n == 12:
                    stream.begin()
                stream.push(frame)
                await asyncio.sleep(0.002)
            stream.finish()
            assert [t.text for t in await finals(heard, 1)] == ["i want to book a table"]
            assert [t.final for t in heard] == [False] * (len(heard) - 1) + [True]
            assert all(t.text for t in heard)
            assert 0 <= (heard[-1].confidence or 0) <= 1

    play(create, script)


@engines
def test_without_an_utterance_nothing_comes(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            speak(stream, BOOK)
            stream.finish()
            stream.cancel()
            assert await finals(heard, 0) == []
            assert heard == []

    play(create, script)


@engines
def test_a_second_begin_changes_nothing(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.expect(ORDER)
            stream.begin()
            speak(stream, BOOK[: len(BOOK) // 3])
            stream.begin()
            speak(stream, BOOK[len(BOOK) // 3 :])
            stream.finish()
            stream.finish()
            assert [t.text for t in await finals(heard, 1)] == ["i want to book a table"]

    play(create, script)


@engines
def test_the_beginning_from_before_begin_is_heard(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.expect(CONFIRM)
            pcm = caller("no thank you", lead_ms=1000)
            late = (1000 + 200) * 16  # 200 ms into the speech: most of "no" is over
            speak(stream, pcm[:late])
            stream.begin()
            speak(stream, pcm[late:])
            stream.finish()
            assert [t.text for t in await finals(heard, 1)] == ["no thank you"]

    play(create, script)


@engines
@pytest.mark.parametrize("finished", [False, True])
def test_a_cancelled_utterance_gives_no_final_and_spoils_no_other(create: Create, finished: bool) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.expect(ORDER)
            stream.begin()
            speak(stream, BOOK)
            if finished:  # its final is owed
                stream.finish()
            stream.cancel()
            stream.finish()
            assert await finals(heard, 0) == []
            stream.expect(CONFIRM)
            speak(stream, bytes(16000))
            stream.begin()
            speak(stream, YES)
            stream.finish()
            assert [t.text for t in await finals(heard, 1)] == ["yes please"]

    play(create, script)


@engines
def test_an_utterance_without_audio_has_an_empty_final(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.begin()
            stream.finish()
            assert [(t.text, t.final) for t in await finals(heard, 1)] == [("", True)]

    play(create, script)


@engines
def test_silence_is_understood_as_nothing(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.begin()
            speak(stream, bytes(16000))
            stream.finish()
            assert [t.text for t in await finals(heard, 1)] == [""]

    play(create, script)


@engines
def test_expectations_count_from_the_next_utterance_on(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.expect(ORDER)
            stream.begin()
            speak(stream, BOOK)
            stream.expect(CONFIRM)
            stream.finish()
            stream.begin()
            speak(stream, YES)
            stream.finish()
            texts = [t.text for t in await finals(heard, 2)]
            assert texts == ["i want to book a table", "yes please"]

    play(create, script)


@engines
def test_finals_of_utterances_in_quick_succession_keep_their_order(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (stream, heard):
            stream.expect(Hints(phrases=ORDER.phrases + CONFIRM.phrases))
            for pcm in (BOOK, YES, BOOK, YES):
                stream.begin()
                speak(stream, pcm)
                stream.finish()
            texts = [t.text for t in await finals(heard, 4)]
            assert texts == ["i want to book a table", "yes please"] * 2

    play(create, script)


@engines
def test_calls_do_not_hear_each_other(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        async with ears(engine) as (one, heard_one), ears(engine) as (other, heard_other):
            one.expect(ORDER)
            other.expect(CONFIRM)
            one.begin()
            other.begin()
            silence = frames(bytes(len(BOOK) - len(YES)))
            for a, b in zip(frames(BOOK), [*frames(YES), *silence], strict=False):
                one.push(a)
                other.push(b)
            one.finish()
            other.finish()
            assert [t.text for t in await finals(heard_one, 1)] == ["i want to book a table"]
            assert [t.text for t in await finals(heard_other, 1)] == ["yes please"]

    play(create, script)


@engines
def test_reading_ends_with_the_stream_and_late_calls_do_no_harm(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        heard: list[Transcript] = []

        async def read(stream: SttStream) -> None:
            async for transcript in stream:
                if isinstance(transcript, Transcript):
                    heard.append(transcript)  # noqa: PERF401  (as they come)

        async with engine.stream(AudioFormat(), DOMAIN) as stream:
            reading = asyncio.ensure_future(read(stream))
            stream.begin()
            speak(stream, BOOK)
        await asyncio.wait_for(reading, 5)
        stream.push(AudioFrame(bytes(320), 8000, 0))
        stream.begin()
        stream.finish()
        stream.cancel()
        stream.expect(ORDER)
        await asyncio.sleep(0.1)
        assert not any(t.final for t in heard)

    play(create, script)


@engines
def test_close_is_idempotent_and_a_closed_engine_refuses_calls(create: Create) -> None:
    async def script(engine: SpeechToText) -> None:
        Shared.engines.pop(create, None)  # another test starts its own
        await engine.close()
        await engine.close()
        with pytest.raises(ProviderError):
            async with engine.stream(AudioFormat(), DOMAIN):
                pass

    play(create, script)
