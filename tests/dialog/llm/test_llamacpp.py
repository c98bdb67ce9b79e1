"""A real model in a real worker process. The model is small (tests/models) and holds one booking by heart."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from dialog.llm import llamacpp
from dialog.llm.base import (
    Finished,
    LlmError,
    LlmRequest,
    Message,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolSpec,
)
from media.workers.pool import PoolConfig
from tests.tools import need_module

pytestmark = pytest.mark.real

MODEL = Path(__file__).parents[2] / "models" / "dialog.gguf"
SYSTEM = Message(Role.SYSTEM, "You are a phone agent.")
BOOK = ToolSpec("book_table", "Book", {"type": "object", "properties": {"people": {"type": "integer"}}})


@pytest.fixture(autouse=True, scope="module")
def _installed() -> None:
    need_module("llama_cpp", "pip install 'voicegw[llamacpp]'")


def config(**more: Any) -> llamacpp.Config:
    settings = {"context": 1024, "temperature": 0.0, "threads": 1, "tool_tags": ("<tool>", "</tool>")}
    return llamacpp.Config(model=str(MODEL), **{**settings, "teach_tools": False, **more})


Model = llamacpp.LlamaModel


def with_model(scenario: Callable[[Model], Awaitable[None]], **more: Any) -> None:
    async def run() -> None:
        model = llamacpp.create(config(**more))
        assert isinstance(model, Model)
        try:
            await model.prepare(LlmRequest([SYSTEM]))
            await scenario(model)
        finally:
            await model.close()

    asyncio.run(run())


Found = tuple[str, list[ToolCall], Finished]


async def ask(model: Model, *said: str, before: Sequence[Message] = (), **more: Any) -> Found:
    messages = [SYSTEM, *before, *(Message(Role.USER, text) for text in said)]
    async with aclosing(model.generate(LlmRequest(messages, **more))) as chunks:
        found = [chunk async for chunk in chunks]
    last = found[-1]
    assert isinstance(last, Finished)
    text = "".join(chunk.text for chunk in found if isinstance(chunk, Text))
    return text, [chunk for chunk in found if isinstance(chunk, ToolCall)], last


def test_it_holds_a_conversation_and_reads_each_turn_only_once() -> None:
    async def scenario(model: Model) -> None:
        history: list[Message] = []
        for said, answer in (
            ("Hello", "Hello, how can I help you?"),
            ("I want to book a table", "For how many people?"),
            ("for two people", "At what time?"),
            ("tomorrow at eight", "Done. A table for two tomorrow at eight."),
        ):
            text, _, last = await ask(model, said, before=history)
            assert text == answer
            assert last.reason is StopReason.END and last.usage is not None
            new = last.usage.prompt - last.usage.cached
            assert new < 60, "only what is new is read"
            history += [Message(Role.USER, said), Message(Role.ASSISTANT, answer)]

    with_model(scenario)


def test_two_conversations_at_once_do_not_cost_each_other_their_cache() -> None:
    async def scenario(model: Model) -> None:
        one = [Message(Role.USER, "Hello"), Message(Role.ASSISTANT, "Hello, how can I help you?")]
        two = [Message(Role.USER, "Hi there"), Message(Role.ASSISTANT, "Hi, what can I do for you?")]
        for _ in range(2):
            for before in (one, two):
                _, _, last = await ask(model, "thank you", before=before)
        assert last.usage is not None and last.usage.cached > 100

    with_model(scenario, contexts=2)


def test_the_models_own_tool_calls_are_found() -> None:
    async def scenario(model: Model) -> None:
        text, calls, last = await ask(model, "book a table for six people", tools=[BOOK])
        assert text == "" and last.reason is StopReason.TOOLS
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [("book_table", {"people": 6})]

    with_model(scenario)


def test_an_answer_by_schema_fits_whatever_the_model_would_say() -> None:
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}

    async def scenario(model: Model) -> None:
        text, _, _ = await ask(model, "book a table for six people", schema=schema)
        assert json.loads(text) == {"people": 6}
        _, calls, last = await ask(model, "hello", tools=[BOOK], tool="book_table", max_tokens=80)
        assert last.reason is StopReason.TOOLS and calls[0].name == "book_table"
        assert isinstance(json.loads(calls[0].arguments), dict)

    with_model(scenario)


def test_a_limit_and_a_stop_text_end_the_answer() -> None:
    async def scenario(model: Model) -> None:
        text, _, last = await ask(model, "Hello", max_tokens=5)
        assert text == "Hello" and last.reason is StopReason.LENGTH
        assert last.usage is not None and last.usage.completion == 5
        text, _, last = await ask(model, "Hello", stop=(" how",))
        assert text == "Hello," and last.reason is StopReason.END

    with_model(scenario)


def test_cancelling_frees_the_worker_in_the_answer_and_in_the_prompt() -> None:
    long = [Message(Role.USER, "tell me " * 60), Message(Role.ASSISTANT, "no")]

    async def scenario(model: Model) -> None:
        async with aclosing(model.generate(LlmRequest([SYSTEM, Message(Role.USER, "Hello")]))) as chunks:
            async for _ in chunks:
                break
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await ask(model, "Hello", before=long)
        assert (await ask(model, "goodbye"))[0] == "Goodbye and thank you for calling."
        stats = model.stats()
        assert (stats.cancelled, stats.failed, stats.restarts) == (2, 0, 0)

    with_model(scenario, batch=32)


def test_a_killed_worker_comes_back_and_its_request_is_asked_again_or_fails_clearly() -> None:
    async def scenario(model: Model) -> None:
        for pid in model.pids:
            os.kill(pid, signal.SIGKILL)
        assert (await ask(model, "goodbye"))[0] == "Goodbye and thank you for calling."
        with pytest.raises(LlmError) as raised:
            async with aclosing(model.generate(LlmRequest([SYSTEM, Message(Role.USER, "Hello")]))) as chunks:
                async for _ in chunks:
                    for pid in model.pids:
                        os.kill(pid, signal.SIGKILL)
        assert raised.value.retryable

    with_model(scenario, pool=PoolConfig(retries=1))


def test_a_conversation_that_does_not_fit_is_an_error_that_says_so() -> None:
    async def scenario(model: Model) -> None:
        with pytest.raises(LlmError, match="the conversation has .* tokens, the context 512"):
            await ask(model, "x" * 3000)
        assert (await ask(model, "goodbye"))[0] == "Goodbye and thank you for calling."

    with_model(scenario, context=512)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(LlmError, match=r"there is no model file 'gone\.gguf'"):
        llamacpp.create(llamacpp.Config(model="gone.gguf"))
    (tmp_path / "bad.gguf").write_bytes(b"no model")

    async def run() -> None:
        model = llamacpp.create(llamacpp.Config(model=str(tmp_path / "bad.gguf")))
        try:
            with pytest.raises(LlmError, match=r"bad\.gguf"):
                await model.prepare(LlmRequest([SYSTEM]))
        finally:
            await model.close()

    asyncio.run(run())
