"""A voice that costs nothing: a tone, made once. For benchmarks only."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import numpy as np

from media.tts.base import Speech


@dataclass(frozen=True, slots=True)
class Config:
    seconds: float = 4.0
    """Length of what is spoken for a sentence."""
    rate: int = 8000
    """Hz."""


class FakeVoice:
    """Implements `media.tts.base.TextToSpeech`."""

    def __init__(self, config: Config) -> None:
        self.rate = config.rate
        # A cosine, so that the very first sample is audible.
        wave = 8000 * np.cos(2 * np.pi * 440 * np.arange(int(config.seconds * config.rate)) / config.rate)
        self._tone = wave.astype("<i2").tobytes()

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        yield Speech(self._tone)

    async def close(self) -> None:
        """Nothing to free."""


def create(config: Config) -> FakeVoice:
    return FakeVoice(config)
