"""What every voice keeps, whichever engine it is. Hosted ones speak through local services."""

import asyncio
import gc
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from media.errors import ProviderError
from media.tts import espeak, piper
from media.tts.base import Speech, TextToSpeech
from tests.media.tts.hosted import HOSTED
from tests.media.tts.services import serving_aside
from tests.models.voice import make_voice

Create = Callable[[str], TextToSpeech]

ENGINES: dict[str, Create] = {
    "espeak": lambda _: espeak.create(espeak.Config()),
    "piper": lambda _: piper.create(piper.Config(model=str(tones()), volume=0.3)),
    **HOSTED,
}
SENTENCE = "Your appointment is on Tuesday at nine, is that right?"

engines = pytest.mark.parametrize("create", ENGINES.values(), ids=ENGINES.keys())
T = TypeVar("T")


@cache
def tones() -> Path:
    """A real Piper voice, made here."""
    return make_voice(Path(tempfile.mkdtemp()) / "tones.onnx")


def run(create: Create, scenario: Callable[[TextToSpeech], Awaitable[T]]) -> T:
    """Play with one engine, and close it."""

    async def play() -> T:
        tts = create(service.url)
        try:
            return await scenario(tts)
        finally:
            await tts.close()

    with serving_aside() as service:
        return asyncio.run(play())


async def speak(tts: TextToSpeech, text: str) -> list[Speech]:
    async with aclosing(tts.synthesize(text)) as speech:
        return [chunk async for chunk in speech]


def wave(speech: list[Speech]) -> np.ndarray:
    return np.frombuffer(b"".join(chunk.pcm for chunk in speech), "<i2").astype(float)


def said(create: Create, text: str) -> list[Speech]:
    return run(create, lambda tts: speak(tts, text))


@engines
def test_a_sentence_is_audible_and_of_human_speed(create: Create) -> None:
    async def scenario(tts: TextToSpeech) -> tuple[int, np.ndarray]:
        return tts.rate, wave(await speak(tts, SENTENCE))

    rate, pcm = run(create, scenario)
    assert rate in (8000, 16000, 22050, 24000, 44100, 48000)
    assert 2 < len(pcm) / rate < 7
    assert 500 < np.sqrt(np.mean(pcm**2)) < 12000


@engines
def test_chunks_hold_whole_samples_and_marks_rise_within_the_audio(create: Create) -> None:
    speech = said(create, SENTENCE)
    assert all(len(chunk.pcm) % 2 == 0 for chunk in speech)
    marks = [mark for chunk in speech for mark in chunk.words]
    assert all(SENTENCE[mark.chars].isalnum() for mark in marks)
    assert all(a.chars < b.chars and a.sample < b.sample for a, b in zip(marks, marks[1:], strict=False))
    assert all(0 <= mark.sample < len(wave(speech)) for mark in marks)


@engines
@pytest.mark.parametrize("text", ["", "  ", "...", "🙂"])
def test_nothing_to_say_yields_nothing(create: Create, text: str) -> None:
    assert said(create, text) == []


@engines
def test_speech_closed_early_leaves_no_task_and_the_engine_usable(create: Create) -> None:
    async def scenario(tts: TextToSpeech) -> int:
        await speak(tts, "Hello.")  # whatever the engine itself runs is running now
        before = asyncio.all_tasks()
        speech = tts.synthesize(f"{SENTENCE} " * 20)
        await anext(speech)
        await speech.aclose()
        assert asyncio.all_tasks() == before
        return len(wave(await speak(tts, SENTENCE)))

    assert run(create, scenario) > 10000


@engines
def test_sixteen_calls_at_once_each_get_their_own_words(create: Create) -> None:
    words = ["one", "good morning everybody", SENTENCE, "no"] * 4

    async def scenario(tts: TextToSpeech) -> tuple[list[int], list[int]]:
        alone = [len(wave(await speak(tts, text))) for text in words]
        return alone, [len(wave(s)) for s in await asyncio.gather(*[speak(tts, text) for text in words])]

    alone, together = run(create, scenario)
    assert together == pytest.approx(alone, rel=0.02, abs=0.02 * 22050)


@engines
def test_closing_is_idempotent_and_final(create: Create) -> None:
    async def scenario(tts: TextToSpeech) -> None:
        await tts.close()
        await tts.close()
        with pytest.raises(ProviderError):
            await speak(tts, SENTENCE)

    run(create, scenario)
    gc.collect()
