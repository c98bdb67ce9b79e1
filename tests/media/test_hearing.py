"""What a call's engines are given of the caller's line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np

from dialog.turn import Transcript
from media.callconfig import Engines, SessionConfig
from media.denoise import spectral
from media.errors import ProviderError
from media.frames import AudioFrame
from media.hearing import Hearing
from media.report import CallReport
from tests.clock import run
from tests.fakes import FakeEars, FakeLeg, FakeObserver, FakeVad, FakeVoice


class Guard:
    """Takes what it is told for echo."""

    delay_ms, gain_db = 100.0, -20.0
    echo = False

    def received(self, frame: AudioFrame, now: float) -> bool:
        return self.echo


class Ears(FakeEars):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[np.ndarray[Any, Any]] = []

    def push(self, frame: AudioFrame) -> None:
        self.heard.append(np.frombuffer(frame.pcm, "<i2").astype(float))


def test_the_noise_of_the_line_is_not_unlearnt_while_the_bot_echoes() -> None:
    async def main() -> list[float]:
        ears, guard = Ears(), Guard()
        engines = Engines(FakeVad(), ears, FakeVoice(), denoiser=spectral.create(spectral.Config()))
        report = CallReport(FakeObserver())
        hearing = Hearing(engines, SessionConfig(), FakeLeg(), report, lambda event: None)
        hearing._guard = guard  # type: ignore[assignment]
        noise = np.random.default_rng(1).standard_normal(160 * 500) * 300
        for n in range(500):
            guard.echo = 200 <= n < 400
            pcm = noise[160 * n : 160 * n + 160].astype("<i2").tobytes()
            hearing.received(AudioFrame(pcm, 8000, 160 * n), n / 50)
        return [float(np.sqrt(np.mean(frame**2))) for frame in ears.heard]

    loud = run(main())
    assert np.mean(loud[405:425]) < np.mean(loud[150:200]) < 150
    assert not any(loud[200:401]), "and nothing of the echo is heard"


def test_ears_that_fail_for_ever_are_not_asked_without_end() -> None:
    class Failing(FakeEars):
        async def __aiter__(self) -> AsyncIterator[Transcript]:
            raise ProviderError("out of order", retryable=True)
            yield  # a generator

    async def main() -> int:
        observer = FakeObserver()
        engines = Engines(FakeVad(), Failing(), FakeVoice())
        hearing = Hearing(engines, SessionConfig(), FakeLeg(), CallReport(observer), lambda event: None)
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await hearing.listen()
        return len(observer.of("error"))

    assert 0 < run(main()) <= 101
