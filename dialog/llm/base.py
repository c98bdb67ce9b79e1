"""Language models: the port that every engine implements, and the words that go through it.

An engine is one module with `Config` (a frozen dataclass) and `create(config) -> LanguageModel`, found by its
name from the configuration (`llm: {engine: openai}`).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from dialog.breaker import Switched
from dialog.errors import DialogError


class LlmError(DialogError):
    """A language model failed.

    `retryable` says whether the same request may succeed later (overload, a lost connection) or never will
    (a wrong key, a request that is too long). `retry_after_s`: how long the server asks us to wait.
    """

    def __init__(
        self, message: str, *, retryable: bool = False, status: int = 0, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable, self.status, self.retry_after_s = retryable, status, retry_after_s


class Role(StrEnum):
    """Who a message is from."""

    SYSTEM = "system"  # instructions; only at the beginning
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"  # what a tool returned


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to run. Also a chunk: whole, once its arguments are complete."""

    id: str
    name: str
    arguments: str  # JSON, as the model wrote it: not validated


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()  # of the assistant
    tool_call_id: str = ""  # of a tool's answer


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it."""

    name: str  # letters, digits, _ and -; at most 64
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of the arguments, an object."""


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """What a model is asked. Messages are append-only from turn to turn: engines keep the prefix."""

    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    tool: str = ""  # the model must call this one; "" leaves it the choice
    schema: Mapping[str, Any] | None = None  # the answer must be JSON that fits; excludes `tools`
    max_tokens: int | None = None  # None: the engine's own limit
    temperature: float | None = None  # None: the engine's own
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, as it comes."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the request cost, in tokens of that model."""

    prompt: int
    completion: int
    cached: int = 0  # of `prompt`, read from a cache


class StopReason(StrEnum):
    """Why a model stopped."""

    END = "end"
    LENGTH = "length"  # `max_tokens` reached: the answer is cut
    TOOLS = "tools"  # it waits for tools
    FILTERED = "filtered"  # the provider refused


@dataclass(frozen=True, slots=True)
class Finished:
    """The last chunk, always."""

    reason: StopReason = StopReason.END
    usage: Usage | None = None  # None: the server does not count
    model: str = ""  # who answered
    cost: float | None = None  # in the currency of the configured price; None: no price, or not counted


Chunk = Text | ToolCall | Switched | Finished


class LanguageModel(Protocol):
    """An engine, shared by all calls."""

    @property
    def name(self) -> str:
        """For the timeline and metrics: engine and model."""

    async def prepare(self, request: LlmRequest) -> None:
        """Read what all conversations begin with (instructions, tools) ahead of the first call, where the
        engine can keep it. Raises LlmError if the engine can not be used at all."""

    def generate(self, request: LlmRequest) -> AsyncGenerator[Chunk, None]:
        """Answer, streaming; Finished comes last. `aclose()` stops the generation. Raises LlmError."""

    async def close(self) -> None:
        """Free the engine. Idempotent."""
