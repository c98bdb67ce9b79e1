"""sherpa-onnx itself, with a transducer of a few KB that tells low sounds from high ones (tests/models)."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dialog.turn import Transcript
from dialog.types import Domain
from media.errors import ProviderError
from media.frames import AudioFormat
from media.stt import sherpa
from tests.callers import frames
from tests.models.transducer import make_transducer

pytestmark = pytest.mark.real

SILENCE = bytes(2 * 8000 * 4 // 10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_transducer(tmp_path_factory.mktemp("models") / "tones")


def sound(*words: str) -> bytes:
    """Tones of 400 ms with silence around."""
    at = np.arange(3200) / 8000
    tones = {"low": np.sin(2 * np.pi * 300 * at), "high": np.sin(2 * np.pi * 2500 * at)}
    parts = [SILENCE]
    for word in words:
        parts += [(tones[word] * 10_000).astype("<i2").tobytes(), SILENCE]
    return b"".join(parts)


def with_sherpa(model: Path, script: Callable[[sherpa.Sherpa], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = sherpa.create(sherpa.Config(model=str(model)))
        assert isinstance(engine, sherpa.Sherpa)
        try:
            async with asyncio.timeout(30):
                await script(engine)
        finally:
            await engine.close()
            await engine.close()

    asyncio.run(run())


async def hear(engine: sherpa.Sherpa, *utterances: bytes, pace_s: float = 0.0) -> list[Transcript]:
    found: list[Transcript] = []
    async with engine.stream(AudioFormat(), Domain("test")) as stream:
        for pcm in utterances:
            stream.begin()
            for frame in frames(pcm):
                stream.push(frame)
                if pace_s:
                    await asyncio.sleep(pace_s)
            stream.finish()
        async for heard in stream:
            assert isinstance(heard, Transcript)
            found.append(heard)
            if sum(t.final for t in found) == len(utterances):
                return found
    raise AssertionError("unreachable")


def test_it_hears_word_by_word_and_utterance_by_utterance(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        said = sound("low", "high", "low"), sound("high"), bytes(16000), sound("high", "low")
        finals = [t.text for t in await hear(engine, *said) if t.final]
        assert finals == ["low high low", "high", "", "high low"]

    with_sherpa(model, script)


def test_partials_grow_while_the_caller_speaks(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        heard = await hear(engine, sound("low", "high", "low"), pace_s=0.01)
        partials = [t.text for t in heard if not t.final]
        assert partials == ["low", "low high", "low high low"][: len(partials)] and len(partials) >= 2

    with_sherpa(model, script)


def test_many_calls_are_decoded_together_and_hear_their_own(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        words = [("low",), ("high",), ("low", "low"), ("high", "low")] * 4
        found = await asyncio.gather(*[hear(engine, sound(*said)) for said in words])
        assert [heard[-1].text for heard in found] == [" ".join(said) for said in words]
        assert engine.stats().largest > 4 and engine.stats().streams == 0

    with_sherpa(model, script)


def test_what_was_cancelled_is_forgotten(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        async with engine.stream(AudioFormat(), Domain("test")) as stream:
            stream.begin()
            for frame in frames(sound("low")):
                stream.push(frame)
            stream.cancel()
            stream.finish()
            stream.begin()
            for frame in frames(sound("high")):
                stream.push(frame)
            stream.finish()
            async for heard in stream:
                if isinstance(heard, Transcript) and heard.final:
                    assert heard.text == "high"
                    break
            else:
                pytest.fail("no final came")

    with_sherpa(model, script)


def test_what_waits_for_a_thread_that_is_behind_is_bounded(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        go_on = threading.Event()
        engine._thread.submit(go_on.wait)
        async with engine.stream(AudioFormat(), Domain("test")) as stream:
            stream.begin()
            for frame in frames(bytes(320 * 2450) + sound("high")):
                stream.push(frame)
            stream.finish()
            assert engine.stats().dropped_frames > 200
            go_on.set()
            async for heard in stream:
                if isinstance(heard, Transcript) and heard.final:
                    assert heard.text == "high"
                    return

    with_sherpa(model, script)


class Failing:
    """The library, whose first decoding fails."""

    def __init__(self, recogniser: Any) -> None:
        self._recogniser, self.failed = recogniser, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recogniser, name)

    def decode_streams(self, streams: list[Any]) -> None:
        if not self.failed:
            self.failed = True
            raise RuntimeError("bad node")
        self._recogniser.decode_streams(streams)


def test_a_decoding_that_fails_is_said_and_the_next_utterance_is_heard(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        engine._recogniser = Failing(engine._recogniser)
        with pytest.raises(ProviderError, match="bad node"):
            await hear(engine, sound("low"))
        assert (await hear(engine, sound("high")))[-1].text == "high"

    with_sherpa(model, script)


def test_the_loop_is_not_held_up(model: Path) -> None:
    async def script(engine: sherpa.Sherpa) -> None:
        gaps: list[float] = []

        async def beat() -> None:
            loop = asyncio.get_running_loop()
            last = loop.time()
            while True:
                await asyncio.sleep(0.002)
                gaps.append(loop.time() - last)
                last = loop.time()

        async with asyncio.TaskGroup() as group:
            beating = group.create_task(beat())
            await asyncio.gather(*[hear(engine, sound("low", "high"), pace_s=0.002) for _ in range(8)])
            beating.cancel()
        assert np.median(gaps) < 0.01

    with_sherpa(model, script)


def test_what_is_wrong_is_named_at_the_start(model: Path, tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"")
    for config, says in (
        (sherpa.Config(), "there is no model folder ''"),
        (sherpa.Config(model=str(tmp_path)), r"has no decoder\*\.onnx"),
        (sherpa.Config(model=str(model), method="best"), "method must be"),
    ):
        with pytest.raises(ProviderError, match=says):
            sherpa.create(config)
