"""An engine of somebody else, of every kind, that fails as it is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dialog.llm.base import Finished, LlmError, Text
from dialog.turn import Transcript
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from media.tts.base import Speech
from tests.voicegw.fakes import QuietEars


@dataclass(frozen=True, slots=True)
class Config:
    """How it fails."""

    how: str = ""
    """made: it cannot be made; fails: when it is used; silent: it never answers; odd: it answers nonsense."""


class Ears(QuietEars):
    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    async def __anext__(self) -> Any:
        if self._how == "fails":
            raise ProviderError("ears fail")
        return await super().__anext__() if self._how == "silent" else Transcript("", final=True)


class Score:
    def __init__(self, how: str, post: Callable[[float], None]) -> None:
        self._how, self._post = how, post

    def nothing(self, *_: Any) -> None:
        pass

    expect = push = begin = partial = close = nothing

    def paused(self) -> None:
        if self._how == "fails":
            raise ProviderError("estimate fails")
        if self._how != "silent":
            self._post(7.0 if self._how == "odd" else 0.7)


class Faulty:
    rate, name = 8000, "faulty"
    closed = 0  # of all of them

    def __init__(self, how: str) -> None:
        self._how = how

    async def prepare(self, _: Any) -> None:
        pass

    def stream(self, format: AudioFormat, other: Any) -> Any:
        return Score(self._how, other) if callable(other) else self._ears()

    @asynccontextmanager
    async def _ears(self) -> Any:
        yield Ears(self._how)

    def process(self, frame: AudioFrame) -> AudioFrame:
        if self._how == "fails":
            raise ProviderError("frames fail")
        return AudioFrame(frame.pcm[2:], frame.rate, frame.pts) if self._how == "odd" else frame

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        if self._how == "fails":
            raise ProviderError("voice fails")
        if self._how != "silent":
            yield Speech(bytes(1600))

    async def generate(self, request: Any) -> AsyncGenerator[Any, None]:
        if self._how == "fails":
            raise LlmError("model fails")
        if self._how == "silent":
            await asyncio.Event().wait()
        yield Text("Yes.")
        yield Finished()

    async def close(self) -> None:
        Faulty.closed += 1


def create(config: Config) -> Faulty:
    if config.how == "made":
        raise ProviderError("it cannot be made")
    return Faulty(config.how)
