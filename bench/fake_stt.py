"""Ears that cost nothing: the answer to every utterance is known beforehand. For benchmarks only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.frames import AudioFormat, AudioFrame


@dataclass(frozen=True, slots=True)
class Config:
    text: str = "yes please"
    """What every caller says."""


class _Stream:
    def __init__(self, text: str) -> None:
        self._text, self._finals = text, asyncio.Queue[Transcript]()

    def push(self, frame: AudioFrame) -> None:
        """Not listening."""

    def begin(self) -> None:
        """Not listening."""

    def finish(self) -> None:
        self._finals.put_nowait(Transcript(self._text, final=True, confidence=1.0))

    def cancel(self) -> None:
        """Nothing to forget."""

    def expect(self, hints: Hints) -> None:
        """Not listening."""

    async def __aiter__(self) -> AsyncIterator[Transcript]:
        while True:
            yield await self._finals.get()


class FakeEars:
    """Implements `media.stt.base.SpeechToText`."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def prepare(self, domain: Domain) -> None:
        """Nothing to build."""

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[_Stream]:
        yield _Stream(self._config.text)

    async def close(self) -> None:
        """Nothing to stop."""


def create(config: Config) -> FakeEars:
    return FakeEars(config)
