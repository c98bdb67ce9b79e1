"""Chat completions in OpenAI's form: OpenAI itself, vLLM, Ollama, the llama.cpp server, and others.

https://platform.openai.com/docs/api-reference/chat (streaming).
"""

import json
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

_REASONS = {
    "length": StopReason.LENGTH,
    "tool_calls": StopReason.TOOLS,
    "function_call": StopReason.TOOLS,
    "content_filter": StopReason.FILTERED,
}


@dataclass(frozen=True, slots=True)
class Config:
    """A server that speaks OpenAI's chat completions."""

    base_url: str = "https://api.openai.com/v1"
    """Where it is, without /chat/completions: http://127.0.0.1:11434/v1 for Ollama, http://127.0.0.1:8000/v1
    for vLLM."""
    api_key: str = ""
    """Write ${OPENAI_API_KEY} to take it from the environment. Empty: none is sent."""
    model: str = "gpt-4o-mini"
    """As the server calls it."""
    max_tokens: int = 400
    """Longest answer. Spoken, 400 tokens are two minutes: more is a monologue."""
    max_tokens_field: str = "max_tokens"
    """How the server calls that limit: max_tokens, or max_completion_tokens for OpenAI's reasoning models."""
    temperature: float | None = 0.3
    """Low, since callers want facts. null: none is sent (reasoning models take none)."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of the request, such as {reasoning_effort: low} or {keep_alive: 1h}."""
    patience: Patience = Patience()
    """Time-outs and retries."""
    price: Price = Price()
    """For counting costs."""


def create(config: Config) -> LanguageModel:
    """The engine. Nothing is sent until the first request."""
    return HttpModel(OpenAiCore(config), config.patience, config.price)


class OpenAiCore:
    """Implements ChatCore."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"openai:{self._config.model}"

    def post(self, request: LlmRequest) -> Post:
        """POST /chat/completions."""
        config = self._config
        headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        temperature = config.temperature if request.temperature is None else request.temperature
        body: dict[str, Any] = {
            "model": config.model,
            "messages": [message_json(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            config.max_tokens_field: request.max_tokens or config.max_tokens,
        }
        if temperature is not None:
            body["temperature"] = temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if request.tools:
            body["tools"] = [tool_json(tool) for tool in request.tools]
            if request.tool:
                body["tool_choice"] = {"type": "function", "function": {"name": request.tool}}
        if request.schema is not None:
            form = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return Post(f"{config.base_url.rstrip('/')}/chat/completions", headers, {**body, **config.extra})

    def reader(self) -> "OpenAiReader":
        """For one answer."""
        return OpenAiReader(self.name)


class OpenAiReader:
    """Implements AnswerReader. Pieces of a tool call are put together by their index."""

    def __init__(self, name: str) -> None:
        self._name, self._model = name, name
        self._tools: dict[int, list[str]] = {}  # index -> id, name, arguments
        self._reason: StopReason | None = None
        self._usage: Usage | None = None

    def receive(self, event: ServerEvent) -> list[Chunk]:
        """One `data:` line. Raises LlmError."""
        if event.data.strip() == "[DONE]":
            return self.end()
        data = json.loads(event.data)
        if not isinstance(data, dict):
            raise LlmError(f"{self._name}: unreadable answer: {event.data[:80]!r}", retryable=True)
        if data.get("error"):
            raise LlmError(f"{self._name}: {complaint(event.data)}", retryable=True)
        if isinstance(usage := data.get("usage"), dict):
            self._usage = _usage(usage)
        chunks: list[Chunk] = []
        for choice in data.get("choices") or ():
            chunks += self._choice(choice)
        return chunks

    def _choice(self, choice: dict[str, Any]) -> list[Chunk]:
        delta = choice.get("delta") or {}
        for part in delta.get("tool_calls") or ():
            call = self._tools.setdefault(int(part.get("index") or 0), ["", "", ""])
            function = part.get("function") or {}
            call[0] = call[0] or part.get("id") or ""
            call[1] = call[1] or function.get("name") or ""
            call[2] += function.get("arguments") or ""
        if reason := choice.get("finish_reason"):
            self._reason = _REASONS.get(reason, StopReason.END)
        return [Text(delta["content"])] if delta.get("content") else []

    def end(self) -> list[Chunk]:
        """The answer is over; some servers just close the connection. Raises LlmError."""
        if self._reason is None:
            raise LlmError(f"{self._name}: the answer ended in the middle", retryable=True)
        calls: list[Chunk] = [
            ToolCall(id or f"call_{index}", name, arguments or "{}")
            for index, (id, name, arguments) in sorted(self._tools.items())
        ]
        # Some servers say "stop" although they call tools.
        reason = StopReason.TOOLS if calls else self._reason
        return [*calls, Finished(reason, self._usage, self._name)]


def message_json(message: Message) -> dict[str, Any]:
    """A message in OpenAI's form, which llama-cpp-python takes too."""
    found: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.tool_calls:
        found["content"] = message.content or None
        found["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        found["tool_call_id"] = message.tool_call_id
    return found


def tool_json(tool: ToolSpec) -> dict[str, Any]:
    """A tool in OpenAI's form."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _usage(found: dict[str, Any]) -> Usage:
    cached = (found.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(found.get("prompt_tokens") or 0, found.get("completion_tokens") or 0, cached)
