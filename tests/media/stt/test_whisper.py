"""faster-whisper itself, with a model that understands sixteen phrases (tests/models)."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat
from media.stt import whisper, whisper_worker
from media.stt.windows import WindowConfig
from media.workers.wire import pack, unpack
from tests.callers import caller, frames

pytestmark = pytest.mark.real

MODEL = Path(__file__).parents[2] / "models" / "whisper"
PHRASES = (
    "i want to book a table",
    "what are your opening hours",
    "my name is john smith",
    "yes please",
    "no thank you",
    "goodbye",
)
DOMAIN = Domain("test")


def config(**more: Any) -> whisper.Config:
    return whisper.Config(model=str(MODEL), hotwords=False, **more)


def with_whisper(script: Callable[[whisper.Whisper], Awaitable[None]], **more: Any) -> None:
    async def run() -> None:
        engine = whisper.create(config(**more))
        assert isinstance(engine, whisper.Whisper)
        try:
            async with asyncio.timeout(60):
                await engine.prepare(DOMAIN)
                await script(engine)
        finally:
            await engine.close()

    asyncio.run(run())


async def hear(engine: whisper.Whisper, *utterances: bytes, pace_s: float = 0.0) -> list[Transcript]:
    """All that one call understands."""
    found: list[Transcript] = []
    async with engine.stream(AudioFormat(), DOMAIN) as stream:
        for pcm in utterances:
            stream.begin()
            for frame in frames(pcm):
                stream.push(frame)
                if pace_s:
                    await asyncio.sleep(pace_s)
            stream.finish()
        async for transcript in stream:
            assert isinstance(transcript, Transcript)
            found.append(transcript)
            if sum(t.final for t in found) == len(utterances):
                return found
    raise AssertionError("unreachable")


@pytest.mark.parametrize("window, right", [("short", 6), ("full", 4)])  # it has seen few full windows
def test_callers_are_understood(window: str, right: int) -> None:
    async def script(engine: whisper.Whisper) -> None:
        finals = [t for t in await hear(engine, *map(caller, PHRASES)) if t.final]
        assert sum(t.text == phrase for t, phrase in zip(finals, PHRASES, strict=True)) >= right
        assert all((t.confidence or 0) > 0.7 for t in finals)

    with_whisper(script, window=window)


def test_partials_come_while_the_caller_speaks() -> None:
    async def script(engine: whisper.Whisper) -> None:
        heard = await hear(engine, caller("what are your opening hours"), pace_s=0.012)
        assert [t.text for t in heard if not t.final], "half sentences, which this model does not know"
        assert heard[-1].text == "what are your opening hours"

    with_whisper(script, windows=WindowConfig(partial_ms=200))


def test_calls_that_wait_are_recognised_together() -> None:
    async def script(engine: whisper.Whisper) -> None:
        found = await asyncio.gather(*[hear(engine, caller(phrase)) for phrase in PHRASES])
        assert tuple(heard[-1].text for heard in found) == PHRASES
        assert engine.largest_batch > 1
        assert engine.stats().requests < len(PHRASES)

    with_whisper(script, windows=WindowConfig(partial_ms=0))


def test_what_other_calls_say_changes_nothing() -> None:
    settings = {"model": str(MODEL), "device": "cpu", "compute_type": "int8", "beam": 1, "window": "short"}
    worker = whisper_worker.create(settings | {"threads": 1})
    short, long = caller("yes please"), caller("what are your opening hours") + bytes(16000 * 7)

    def asked(*stretches: tuple[bytes, str]) -> dict[str, Any]:
        items = [{"language": "en", "hotwords": words, "rate": 8000} for _, words in stretches]
        header = {"items": items, "sizes": [len(pcm) for pcm, _ in stretches]}
        (answer,) = worker.answer(pack(header, b"".join(pcm for pcm, _ in stretches)))
        found, body = unpack(answer)
        told: dict[str, Any] = json.loads(body[: found["sizes"][0]])
        return told

    for words in ("", "yes"):
        alone = asked((short, words))
        for other in ((long, words), (short, "no thank you"), (long, "goodbye")):
            beside = asked((short, words), other)
            assert beside["text"] == alone["text"]
            assert beside["log_probability"] == pytest.approx(alone["log_probability"], abs=0.01)


def test_a_killed_worker_loses_no_utterance() -> None:
    async def script(engine: whisper.Whisper) -> None:
        (pid,) = engine.pids
        os.kill(pid, signal.SIGSTOP)  # it shall not be done before it dies
        hearing = asyncio.gather(*[hear(engine, caller(phrase)) for phrase in PHRASES])
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        assert tuple(heard[-1].text for heard in await hearing) == PHRASES
        assert engine.stats().restarts == 1

    with_whisper(script)


def test_noise_is_rejected_though_the_model_makes_words_of_it() -> None:
    noise = (np.random.default_rng(0).standard_normal(24_000) * 30).astype("<i2").tobytes()

    async def script(engine: whisper.Whisper) -> None:
        (final,) = await hear(engine, noise)
        assert final.text == "" and final.rejected

    with_whisper(script, windows=WindowConfig(partial_ms=0))


def answer(text: str, no_speech: float = 0.01, log_probability: float = -0.1) -> bytes:
    found = {"text": text, "no_speech": no_speech, "log_probability": log_probability}
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    "found",
    [
        answer("Yes please.", no_speech=0.9),
        answer("Yes please.", log_probability=-1.5),
        answer("I see. " * 20),
        answer("Thank you for watching!"),
        answer("Subtitles by the Amara.org community"),
        answer("Thanks for watching, and see you next time."),
    ],
)
def test_what_looks_made_up_is_rejected(found: bytes) -> None:
    judged = whisper.judged(found, config())
    assert judged.rejected and judged.text == ""


def test_what_people_say_is_not() -> None:
    for text in ("Thank you.", "No, no, no.", "One two two two two.", "My name is John Smith.", "Bye bye."):
        judged = whisper.judged(answer(text), config())
        assert judged.text == text and not judged.rejected
    assert whisper.judged(answer("  "), config()) == Transcript("", final=True, confidence=judged.confidence)


def test_hotwords_are_bounded() -> None:
    many = Hints(phrases=tuple(f"phrase {n}" for n in range(500)))
    assert whisper.hotwords(many).count(",") == whisper.HOTWORDS - 1
    assert whisper.hotwords(Hints()) == ""


def test_what_is_wrong_is_named_before_any_call(tmp_path: Path) -> None:
    for wrong, says in (
        (whisper.Config(), "cannot find a model"),
        (whisper.Config(model=str(tmp_path)), "model.bin, tokenizer.json in"),
        (config(window="long"), "window must be short or full"),
        (config(device="tpu"), "device must be cpu or cuda"),
    ):
        with pytest.raises(ProviderError, match=says):
            whisper.create(wrong)
