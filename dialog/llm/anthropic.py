"""Anthropic's messages API. https://docs.anthropic.com/en/api/messages-streaming

Instructions are a field of their own, tool results are the user's, and messages of one role in a row are one
message: all that is turned here. Instructions and tools are marked for Anthropic's prompt cache.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dialog.llm.base import (
    Chunk,
    Finished,
    LanguageModel,
    LlmError,
    LlmRequest,
    Message,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolSpec,
    Usage,
)
from dialog.llm.http import HttpModel, Patience, Post, Price
from dialog.llm.sse import ServerEvent
from dialog.refusal import complaint

ANSWER = "answer"  # the tool that an answer by schema is given through
_REASONS = {
    "max_tokens": StopReason.LENGTH,
    "tool_use": StopReason.TOOLS,
    "refusal": StopReason.FILTERED,
}


@dataclass(frozen=True, slots=True)
class Config:
    """Anthropic's API, or a server that speaks it."""

    base_url: str = "https://api.anthropic.com"
    """Where it is, without /v1/messages."""
    api_key: str = ""
    """Write ${ANTHROPIC_API_KEY} to take it from the environment."""
    model: str = "claude-haiku-4-5"
    """As Anthropic calls it."""
    max_tokens: int = 400
    """Longest answer. Spoken, 400 tokens are two minutes: more is a monologue."""
    temperature: float | None = 0.3
    """Low, since callers want facts. null: none is sent."""
    version: str = "2023-06-01"
    """The anthropic-version header."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of the request."""
    patience: Patience = Patience()
    """Time-outs and retries."""
    price: Price = Price()
    """For counting costs."""


def create(config: Config) -> LanguageModel:
    """The engine. Nothing is sent until the first request."""
    return HttpModel(AnthropicCore(config), config.patience, config.price)


class AnthropicCore:
    """Implements ChatCore."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"anthropic:{self._config.model}"

    def post(self, request: LlmRequest) -> Post:
        """POST /v1/messages."""
        config = self._config
        temperature = config.temperature if request.temperature is None else request.temperature
        body: dict[str, Any] = {
            "model": config.model,
            "max_tokens": request.max_tokens or config.max_tokens,
            "messages": _messages(request.messages),
            "stream": True,
        }
        system = "\n\n".join(m.content for m in request.messages if m.role is Role.SYSTEM)
        if system:
            body["system"] = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
        if temperature is not None:
            body["temperature"] = temperature
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        body |= _tools(request)
        headers = {"x-api-key": config.api_key, "anthropic-version": config.version}
        return Post(f"{config.base_url.rstrip('/')}/v1/messages", headers, {**body, **config.extra})

    def reader(self) -> "AnthropicReader":
        """For one answer."""
        return AnthropicReader(self.name)


class AnthropicReader:
    """Implements AnswerReader. An answer by schema comes as the input of a tool, and is given out as text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._call: list[str] | None = None  # id, name, arguments of the tool call in progress
        self._prompt = self._cached = self._completion = 0
        self._reason = StopReason.END
        self._answered = False  # by the tool that takes an answer by schema

    def receive(self, event: ServerEvent) -> list[Chunk]:
        """One event. Unknown ones are skipped, as the API demands. Raises LlmError."""
        data = json.loads(event.data)
        if not isinstance(data, dict):
            raise LlmError(f"{self._name}: unreadable answer: {event.data[:80]!r}", retryable=True)
        match data.get("type"):
            case "message_start":
                self._started(data.get("message", {}).get("usage") or {})
            case "content_block_start":
                self._block(data.get("content_block") or {})
            case "content_block_delta":
                return self._delta(data.get("delta") or {})
            case "content_block_stop":
                return self._block_ended()
            case "message_delta":
                reason = str((data.get("delta") or {}).get("stop_reason"))
                if not self._answered:
                    self._reason = _REASONS.get(reason, StopReason.END)
                self._completion = (data.get("usage") or {}).get("output_tokens") or self._completion
            case "message_stop":
                usage = Usage(self._prompt, self._completion, self._cached)
                return [Finished(self._reason, usage, self._name)]
            case "error":
                raise LlmError(f"{self._name}: {complaint(event.data)}", retryable=True)
        return []

    def end(self) -> list[Chunk]:
        """The connection has ended before message_stop. Raises LlmError."""
        raise LlmError(f"{self._name}: the answer ended in the middle", retryable=True)

    def _started(self, usage: dict[str, Any]) -> None:
        self._cached = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
        self._prompt = (usage.get("input_tokens") or 0) + self._cached + written

    def _block(self, block: dict[str, Any]) -> None:
        if block.get("type") == "tool_use":
            self._call = [str(block.get("id")), str(block.get("name")), ""]

    def _delta(self, delta: dict[str, Any]) -> list[Chunk]:
        match delta.get("type"):
            case "text_delta" if delta.get("text"):
                return [Text(delta["text"])]
            case "input_json_delta" if self._call is not None:
                part = delta.get("partial_json") or ""
                self._call[2] += part
                if self._call[1] == ANSWER and part:
                    return [Text(part)]
        return []

    def _block_ended(self) -> list[Chunk]:
        call, self._call = self._call, None
        if call is None:
            return []
        if call[1] == ANSWER:
            self._answered = True
            return []
        return [ToolCall(call[0], call[1], call[2] or "{}")]


def _tools(request: LlmRequest) -> dict[str, Any]:
    """Tools; an answer by schema is a tool that must be called."""
    tools, choice = list(request.tools), request.tool
    if request.schema is not None:
        tools, choice = [ToolSpec(ANSWER, "Give the answer.", request.schema)], ANSWER
    if not tools:
        return {}
    listed: list[dict[str, Any]] = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        for tool in tools
    ]
    listed[-1]["cache_control"] = {"type": "ephemeral"}
    return {"tools": listed, **({"tool_choice": {"type": "tool", "name": choice}} if choice else {})}


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation without its instructions; neighbours of one role are joined."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if not found or found[-1]["role"] != role:
            found.append({"role": role, "content": []})
        found[-1]["content"] += _blocks(message)
    if found and found[0]["role"] == "assistant":  # the API wants the user to begin
        found.insert(0, {"role": "user", "content": [{"type": "text", "text": "(the call begins)"}]})
    return [entry for entry in found if entry["content"]]


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    calls = message.tool_calls
    return blocks + [
        {"type": "tool_use", "id": c.id, "name": c.name, "input": _object(c.arguments)} for c in calls
    ]


def _object(arguments: str) -> Any:
    """What a model wrote, as an object: the API refuses a conversation with anything else."""
    try:
        found = json.loads(arguments)
    except json.JSONDecodeError:
        return {"unreadable": arguments}
    return found if isinstance(found, dict) else {"value": found}
