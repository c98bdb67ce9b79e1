"""A server that speaks OpenAI's and Anthropic's protocol and fails in every way they do."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dialog.llm.base import Chunk, Finished, StopReason, Text, ToolCall


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an error."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "you may not"}}'


@dataclass(frozen=True, slots=True)
class Stream:
    """Answer with these chunks."""

    chunks: Sequence[Chunk]
    cut: int | None = None  # close the connection after so many bytes
    error: bool = False  # an error event after the chunks
    hang_s: float = 0.0  # before the first byte
    pause_s: float = 0.0  # between events
    bytewise: bool = False  # one byte a write
    bare: bool = False  # end without the protocol's last word


Answer = Status | Stream


@dataclass
class LlmServer:
    """Gives these answers, one a request; the last one again and again."""

    answers: Sequence[Answer]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a client has left before the end

    async def answer(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers[min(len(self.bodies), len(self.answers) - 1)]
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        if isinstance(answer, Status):
            return web.Response(status=answer.status, headers=answer.headers, text=answer.body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await asyncio.sleep(answer.hang_s)
            await response.prepare(request)
            await self._stream(request, response, answer)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, answer: Stream) -> None:
        events = (_anthropic if request.path.endswith("/messages") else _openai)(answer)
        sent = 0
        for event in events:
            step = 1 if answer.bytewise else len(event)
            for at in range(0, len(event), step):
                part = event[at : at + step]
                if answer.cut is not None and sent + len(part) > answer.cut:
                    assert request.transport is not None
                    request.transport.close()
                    return
                await response.write(part)
                sent += len(part)
            if answer.pause_s:
                await asyncio.sleep(answer.pause_s)


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[LlmServer]:
    """A server on a free port of the loopback interface."""
    server = LlmServer(answers)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    app.router.add_post("/v1/messages", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def _openai(answer: Stream) -> list[bytes]:
    found: list[dict[str, Any]] = [_delta({"role": "assistant", "content": ""})]
    for chunk in answer.chunks:
        match chunk:
            case Text(text):
                found.append(_delta({"content": text}))
            case ToolCall(id, name, arguments):
                head = {"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
                found.append(_delta({"tool_calls": [head]}))
                parts = [{"index": 0, "function": {"arguments": a}} for a in (arguments[:7], arguments[7:])]
                found += [_delta({"tool_calls": [part]}) for part in parts]
            case Finished(reason, usage, _):
                word = {StopReason.END: "stop", StopReason.TOOLS: "tool_calls"}.get(reason, reason.value)
                found.append({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]})
                if usage is not None:
                    cached = {"cached_tokens": usage.cached}
                    counted = {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion}
                    found.append({"choices": [], "usage": {**counted, "prompt_tokens_details": cached}})
    if answer.error:
        found.append({"error": {"message": "the GPU is on fire"}})
    events = [b": keep-alive\n\n", *(f"data: {json.dumps(event)}\n\n".encode() for event in found)]
    return events if answer.bare else [*events, b"data: [DONE]\n\n"]


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _anthropic(answer: Stream) -> list[bytes]:
    usage = next((c.usage for c in answer.chunks if isinstance(c, Finished) and c.usage), None)
    cached = usage.cached if usage else 0
    start = {
        "input_tokens": (usage.prompt if usage else 0) - cached,
        "cache_read_input_tokens": cached,
        "output_tokens": 1,
    }
    found: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": start}}, {"type": "ping"}]
    block = -1
    for chunk in answer.chunks:
        block += 1
        match chunk:
            case Text(text):
                found.append(_block(block, {"type": "text", "text": ""}))
                found.append(_part(block, {"type": "text_delta", "text": text}))
                found.append({"type": "content_block_stop", "index": block})
            case ToolCall(id, name, arguments):
                found.append(_block(block, {"type": "tool_use", "id": id, "name": name, "input": {}}))
                halves = (arguments[:7], arguments[7:])
                found += [_part(block, {"type": "input_json_delta", "partial_json": p}) for p in halves]
                found.append({"type": "content_block_stop", "index": block})
            case Finished(reason, used, _):
                word = {StopReason.END: "end_turn", StopReason.TOOLS: "tool_use"}.get(reason, "max_tokens")
                tokens = {"output_tokens": used.completion if used else 0}
                found.append({"type": "message_delta", "delta": {"stop_reason": word}, "usage": tokens})
    if answer.error:
        found.append(
            {"type": "error", "error": {"type": "overloaded_error", "message": "the GPU is on fire"}}
        )
    if not answer.bare:
        found.append({"type": "message_stop"})
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in found]


def _block(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _part(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}
