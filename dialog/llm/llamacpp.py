"""A language model in worker processes of our own: any GGUF file, by llama.cpp.

What a conversation began with stays computed between its turns: each worker keeps `contexts` conversations,
and a request goes on where the longest common beginning ends. Cancelling takes effect at the next token, or
within `batch` tokens of a prompt. The engine comes with the extra `llamacpp`.
"""

import asyncio
import importlib.util
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dialog.errors import MissingExtra
from dialog.llm.base import Chunk, Finished, LanguageModel, LlmError, LlmRequest, StopReason, Text, Usage
from dialog.llm.openai import message_json, tool_json
from dialog.llm.tooltext import CLOSE, OPEN, ToolText
from media.workers.pool import PoolConfig, PoolStats, WorkerError, WorkerPool
from media.workers.wire import pack


@dataclass(frozen=True, slots=True)
class Config:
    """A GGUF file and how it is run."""

    model: str = ""
    """Path of the GGUF file; `voicegw models` lists and brings some."""
    context: int = 4096
    """Tokens of a conversation, answer included. Memory grows with it."""
    contexts: int = 2
    """Conversations that each worker keeps computed; one more makes the oldest be read again from its
    beginning."""
    max_tokens: int = 250
    """Longest answer. Spoken, 250 tokens are more than a minute."""
    temperature: float = 0.3
    """Low, since callers want facts. 0: always the likeliest word."""
    threads: int = 0
    """Threads of each worker. 0: as many as there are cores."""
    gpu_layers: int = 0
    """Layers on the GPU, where llama-cpp-python was built for one; -1: all."""
    batch: int = 64
    """Tokens of a prompt that are read at a time; a cancelled request ends after as many."""
    tool_tags: tuple[str, str] = (OPEN, CLOSE)
    """What the model writes around a tool call."""
    teach_tools: bool = True
    """Explain tools in the instructions, where the file's template does not know them. False for models that
    were trained on the tools that they will have."""
    pool: PoolConfig = field(default_factory=lambda: PoolConfig(hang_s=60.0))
    """The worker processes. Each holds the model; the file itself is in memory once."""


def create(config: Config) -> LanguageModel:
    """The engine; its workers start at the first use. Raises LlmError: no such file, MissingExtra."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise MissingExtra("llamacpp", "llama-cpp-python")
    if not config.model or not Path(config.model).is_file():
        raise LlmError(f"llamacpp: there is no model file {config.model!r}; set model to a GGUF file")
    return LlamaModel(config)


class LlamaModel:
    """Implements LanguageModel."""

    def __init__(self, config: Config) -> None:
        self._config = config
        settings = {k: v for k, v in asdict(config).items() if k != "pool"}
        settings["model"] = str(Path(config.model).absolute())
        self._pool = WorkerPool("dialog.llm.llama_worker", settings, config.pool, name="llamacpp")
        self._starting = asyncio.Lock()
        self._started = False

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"llamacpp:{Path(self._config.model).stem}"

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return self._pool.pids

    def stats(self) -> PoolStats:
        """Counters of the workers."""
        return self._pool.stats()

    def fault(self) -> str | None:
        """For /health."""
        return self._pool.fault() if self._started else None

    async def prepare(self, request: LlmRequest) -> None:
        """Start the workers and let each read the instructions. Raises LlmError."""
        await self._start()
        for _ in range(max(1, self._config.pool.workers)):
            await self._warm(request)

    async def close(self) -> None:
        """Stop the workers."""
        await self._pool.close()

    async def generate(self, request: LlmRequest) -> AsyncGenerator[Chunk, None]:
        """Answer, streaming."""
        await self._start()
        reader = ToolText(*self._config.tool_tags) if request.tools else None
        called = False
        async for found in self._ask(request, self._limit(request)):
            if "text" in found:
                chunks: list[Chunk] = [Text(found["text"])] if reader is None else reader.push(found["text"])
            else:
                chunks = [] if reader is None else reader.flush()
            for chunk in chunks:
                called = called or not isinstance(chunk, Text)
                yield chunk
            if "reason" in found:
                reason = StopReason.TOOLS if called else StopReason(found["reason"])
                usage = Usage(found["prompt"], found["completion"], found["cached"])
                yield Finished(reason, usage, self.name)

    async def _start(self) -> None:
        async with self._starting:
            if not self._started:
                try:
                    await self._pool.start()
                except WorkerError as error:
                    raise LlmError(f"llamacpp: {error}", retryable=error.retryable) from error
                self._started = True

    async def _warm(self, request: LlmRequest) -> None:
        async for _ in self._ask(request, 0):
            pass

    def _limit(self, request: LlmRequest) -> int:
        return request.max_tokens or self._config.max_tokens

    async def _ask(self, request: LlmRequest, max_tokens: int) -> AsyncGenerator[dict[str, Any], None]:
        """Pieces of the answer: {"text"}, at the end {"reason", "prompt", "completion", "cached"}."""
        header = {
            "messages": [message_json(message) for message in request.messages],
            "tools": [tool_json(tool) for tool in request.tools],
            "tool": request.tool,
            "schema": request.schema,
            "max_tokens": max_tokens,
            "temperature": self._config.temperature if request.temperature is None else request.temperature,
            "stop": list(request.stop),
        }
        try:
            async with aclosing(self._pool.stream(pack(header))) as pieces:
                async for piece in pieces:
                    if piece:  # empty: a sign of life while the prompt is read
                        yield json.loads(piece)
        except WorkerError as error:
            raise LlmError(f"llamacpp: {error}", retryable=error.retryable) from error
