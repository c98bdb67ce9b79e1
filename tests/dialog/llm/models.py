"""Language models for tests that do what they are told."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from dialog.llm.base import Chunk, Finished, LlmError, LlmRequest, StopReason, Text, ToolCall, Usage

Step = Chunk | float | LlmError | Exception
"""A chunk to give, seconds to wait, an error to raise."""


def words(text: str, pause_s: float = 0.0) -> list[Step]:
    """An answer, word by word."""
    found: list[Step] = []
    for word in text.split():
        found += [pause_s, Text(f"{word} ")] if pause_s else [Text(f"{word} ")]
    return [*found, Finished(StopReason.END, Usage(10, len(text.split())), "scripted")]


def call(name: str, arguments: str = "{}", id: str = "c1") -> list[Step]:
    """An answer that calls one tool."""
    return [ToolCall(id, name, arguments), Finished(StopReason.TOOLS)]


@dataclass(eq=False)
class Scripted:
    """Gives these answers, one a request; the last one again and again."""

    answers: Sequence[Sequence[Step]]
    name: str = "scripted"
    requests: list[LlmRequest] = field(default_factory=list)
    stopped: int = 0  # answers that were closed before their end
    closed: bool = False

    async def prepare(self, request: LlmRequest) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def generate(self, request: LlmRequest) -> AsyncGenerator[Chunk, None]:
        steps = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(request)
        done = False
        try:
            for step in steps:
                if isinstance(step, Exception):
                    done = True
                    raise step
                if isinstance(step, float | int):
                    await asyncio.sleep(step)
                else:
                    done = isinstance(step, Finished)
                    yield step
        finally:
            self.stopped += not done
