"""Piper itself, with a voice of tones (tests/models/voice.py) whose lengths are exact."""

import asyncio
import json
import os
import signal
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.errors import ProviderError
from media.tts import piper
from media.tts.base import Speech
from media.workers.pool import WorkerPool
from tests.models.voice import make_voice

TEXT = "Hello there, your table is booked for eight."


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voice(tmp_path_factory.mktemp("voices") / "tones.onnx", speakers=3)


async def speak(tts: Any, text: str) -> list[Speech]:
    async with aclosing(tts.synthesize(text)) as speech:
        return [chunk async for chunk in speech]


def spoken(path: Path, *texts: str, **config: Any) -> list[np.ndarray]:
    async def run() -> list[np.ndarray]:
        tts = piper.create(piper.Config(model=str(path), **config))
        try:
            return [
                np.frombuffer(b"".join(chunk.pcm for chunk in await speak(tts, text)), "<i2").astype(float)
                for text in texts
            ]
        finally:
            await tts.close()

    return asyncio.run(run())


def pitch(wave: np.ndarray, rate: int = 16000) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(wave))) * rate / len(wave))


def test_length_and_speaker_are_the_voices_own(voice: Path) -> None:
    (plain,) = spoken(voice, TEXT)
    (slow,) = spoken(voice, TEXT, length_scale=2.0)
    assert len(slow) == 2 * len(plain)
    pitches = [pitch(spoken(voice, "ma", speaker=name)[0]) for name in ("s0", "1", "s2")]
    assert pitches[1] == pytest.approx(1.25 * pitches[0], rel=0.02)
    assert pitches[2] == pytest.approx(1.5 * pitches[0], rel=0.02)
    assert len(spoken(voice, TEXT, TEXT, volume=0.5)) == 2


def test_long_sentences_come_clause_by_clause_with_marks_in_order(voice: Path) -> None:
    text = (
        "We are open on Monday and on Tuesday from nine to five, and on all the other days from ten to four."
    )

    async def run() -> list[Speech]:
        tts = piper.create(piper.Config(model=str(voice)))
        try:
            return await speak(tts, text)
        finally:
            await tts.close()

    speech = asyncio.run(run())
    assert len(speech) >= 2, "the first sound does not wait for the whole"
    words = [text[mark.chars :].split(maxsplit=1)[0] for chunk in speech for mark in chunk.words]
    assert words == text.split()
    total = sum(len(chunk.pcm) // 2 for chunk in speech)
    marks = [mark for chunk in speech for mark in chunk.words]
    assert max(abs(mark.sample / total - mark.chars / len(text)) for mark in marks) < 0.1


def test_a_killed_worker_is_replaced_and_nobody_notices(voice: Path) -> None:
    async def run() -> tuple[int, int, int]:
        tts = piper.create(piper.Config(model=str(voice)))
        assert isinstance(tts, piper.PiperTts)
        try:
            before = sum(len(chunk.pcm) for chunk in await speak(tts, TEXT))
            for pid in tts.pids:
                os.kill(pid, signal.SIGKILL)
            after = sum(len(chunk.pcm) for chunk in await speak(tts, TEXT))
            return before, after, tts.stats().restarts
        finally:
            await tts.close()

    before, after, restarts = asyncio.run(run())
    assert before == after and restarts == 1


def test_callers_who_cannot_wait_for_the_start_do_not_start_workers_anew(
    voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[WorkerPool] = []

    class Counted(WorkerPool):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            made.append(self)

    async def run() -> None:
        monkeypatch.setattr(piper, "WorkerPool", Counted)
        tts = piper.create(piper.Config(model=str(voice)))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await speak(tts, TEXT)
        assert await speak(tts, TEXT) and len(made) == 1
        await tts.close()
        assert not made[0].pids

    asyncio.run(run())


def test_closing_while_workers_start_leaves_none(voice: Path) -> None:
    async def run() -> None:
        tts = piper.create(piper.Config(model=str(voice)))
        assert isinstance(tts, piper.PiperTts)
        speaking = asyncio.ensure_future(speak(tts, TEXT))
        await asyncio.sleep(0.01)
        assert (pids := tts.pids)
        await tts.close()
        with pytest.raises(ProviderError, match="closed"):
            await speaking
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    asyncio.run(run())


def test_what_is_wrong_is_named_before_any_call(voice: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.onnx"
    bare.touch()
    for config, says in (
        (piper.Config(), "there is no voice ''"),
        (piper.Config(model=str(bare)), "does not describe the voice"),
        (piper.Config(model=str(voice), speaker="nobody"), "no speaker 'nobody'; known: s0, s1, s2"),
        (piper.Config(model=str(voice), length_scale=0), "length_scale must be above 0"),
    ):
        with pytest.raises(ProviderError, match=says):
            piper.create(config)


def test_a_broken_voice_is_an_error_and_no_endless_start(tmp_path: Path, voice: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    Path(f"{broken}.json").write_text(json.dumps(json.loads(Path(f"{voice}.json").read_text())))
    with pytest.raises(ProviderError, match="piper"):
        spoken(broken, TEXT)
