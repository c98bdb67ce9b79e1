"""What every language model behind HTTP keeps: against a server that speaks its protocol, and fails."""

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from dialog.llm import anthropic, openai
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
from dialog.llm.http import Patience, Price
from tests.dialog.llm.server import Answer, LlmServer, Status, Stream, serving

QUICK = Patience(connect_s=1, first_token_s=0.3, pause_s=0.3, retries=1)
PRICE = Price(prompt=2.0, cached=0.5, completion=10.0)
Create = Callable[[str], LanguageModel]

ENGINES: dict[str, Create] = {
    "openai": lambda url: openai.create(
        openai.Config(base_url=f"{url}/v1", api_key="k-1", model="m", patience=QUICK, price=PRICE)
    ),
    "anthropic": lambda url: anthropic.create(
        anthropic.Config(base_url=url, api_key="k-1", model="m", patience=QUICK, price=PRICE)
    ),
}
engines = pytest.mark.parametrize("create", ENGINES.values(), ids=ENGINES.keys())

BOOK = ToolSpec("book", "Book a table.", {"type": "object", "properties": {"people": {"type": "integer"}}})
ASK = LlmRequest([Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "Hello?")])
HELLO = (Text("Hello, "), Text("how can I help? "), Text("Ünïcode — 🙂."))
END = Finished(StopReason.END, Usage(21, 9, 16), "")


async def chunks_of(model: LanguageModel, request: LlmRequest = ASK) -> list[Chunk]:
    async with aclosing(model.generate(request)) as chunks:
        return [chunk async for chunk in chunks]


def ask(create: Create, *answers: Answer, request: LlmRequest = ASK) -> tuple[list[Chunk], LlmServer]:
    async def run() -> tuple[list[Chunk], LlmServer]:
        async with serving(*answers) as server:
            model = create(server.url)
            try:
                return await chunks_of(model, request), server
            finally:
                await model.close()

    return asyncio.run(run())


def failure(create: Create, *answers: Answer) -> tuple[LlmError, LlmServer]:
    """The error, and how often the server was asked."""

    async def run() -> tuple[LlmError, LlmServer]:
        async with serving(*answers) as server:
            model = create(server.url)
            try:
                with pytest.raises(LlmError) as raised:
                    await chunks_of(model)
                return raised.value, server
            finally:
                await model.close()

    return asyncio.run(run())


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Text))


@engines
@pytest.mark.parametrize("bytewise", [False, True])
def test_text_comes_in_pieces_and_the_end_says_what_it_cost(create: Create, bytewise: bool) -> None:
    chunks, _ = ask(create, Stream([*HELLO, END], bytewise=bytewise))
    assert text(chunks) == "".join(chunk.text for chunk in HELLO)
    (last,) = (chunk for chunk in chunks if isinstance(chunk, Finished))
    assert chunks[-1] is last and last.reason is StopReason.END and last.usage == Usage(21, 9, 16)
    assert last.model.endswith(":m")
    assert last.cost == pytest.approx((5 * 2.0 + 16 * 0.5 + 9 * 10.0) / 1e6)


@engines
def test_an_answer_that_is_cut_by_its_limit_says_so(create: Create) -> None:
    chunks, _ = ask(create, Stream([*HELLO, Finished(StopReason.LENGTH)]))
    last = chunks[-1]
    assert isinstance(last, Finished) and last.reason is StopReason.LENGTH


@engines
def test_a_tool_call_comes_whole_with_words_before_it(create: Create) -> None:
    call = ToolCall("c1", "book", '{"people": 4, "when": "tonight"}')
    stream = Stream([Text("Let me see. "), call, Finished(StopReason.TOOLS)])
    chunks, server = ask(create, stream, request=LlmRequest(ASK.messages, tools=[BOOK]))
    assert [c for c in chunks if isinstance(c, ToolCall)] == [call]
    assert text(chunks) == "Let me see. "
    assert isinstance(chunks[-1], Finished) and chunks[-1].reason is StopReason.TOOLS
    assert "book" in json.dumps(server.bodies[0]["tools"])


@engines
def test_a_call_without_arguments_has_an_empty_object(create: Create) -> None:
    chunks, _ = ask(create, Stream([ToolCall("c1", "hang_up", ""), Finished(StopReason.TOOLS)]))
    assert ToolCall("c1", "hang_up", "{}") in chunks


@engines
def test_a_redirect_is_refused_and_nobody_else_reads(create: Create) -> None:
    error, server = failure(create, Status(307, {"Location": "/elsewhere"}))
    assert not error.retryable and error.status == 307
    assert len(server.bodies) == 1


@engines
def test_a_server_that_repeats_our_key_is_not_quoted_with_it(create: Create) -> None:
    error, _ = failure(create, Status(401, body="no: Bearer k-1, or x-api-key: k-1"))
    assert "no: " in str(error) and "***" in str(error) and "k-1" not in str(error)


@engines
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_will_never_work_is_not_tried_again(create: Create, status: int) -> None:
    error, server = failure(create, Status(status))
    assert not error.retryable and error.status == status and "you may not" in str(error)
    assert len(server.bodies) == 1
    assert "k-1" not in str(error)


@engines
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_may_pass_by_itself_is_tried_once_more(create: Create, status: int) -> None:
    busy = Status(status, {"Retry-After": "0.05"}, "busy")
    chunks, server = ask(create, busy, Stream([*HELLO, END]))
    assert text(chunks).startswith("Hello") and len(server.bodies) == 2
    error, server = failure(create, busy)
    assert error.retryable and error.retry_after_s == 0.05 and len(server.bodies) == 2


@engines
@pytest.mark.parametrize("wait", ["3600", "Wed, 21 Oct 2037 07:28:00 GMT"])
def test_a_server_that_asks_for_more_patience_than_a_caller_has_is_down(create: Create, wait: str) -> None:
    error, server = failure(create, Status(429, {"Retry-After": wait}))
    assert error.retryable and error.retry_after_s and error.retry_after_s > 2
    assert len(server.bodies) == 1


@engines
def test_silence_before_the_first_word_and_between_words_ends_the_wait(create: Create) -> None:
    error, server = failure(create, Stream([*HELLO, END], hang_s=5))
    assert error.retryable and "nothing came for 0.3 s" in str(error) and len(server.bodies) == 2
    error, server = failure(create, Stream([*HELLO, END], pause_s=5))
    assert "nothing came for 0.3 s" in str(error)


@engines
@pytest.mark.parametrize("cut", [0, 30, 400])
def test_a_connection_lost_in_the_middle_is_an_error_and_not_a_short_answer(create: Create, cut: int) -> None:
    error, _ = failure(create, Stream([*HELLO, END], cut=cut))
    assert error.retryable


@engines
def test_nothing_is_asked_again_once_words_are_out(create: Create) -> None:
    error, server = failure(create, Stream([*HELLO], error=True))
    assert "the GPU is on fire" in str(error) and len(server.bodies) == 1


@engines
@pytest.mark.parametrize("body", ["", "<html>gateway</html>", "[]", '{"error": "plain"}', "\xff" * 10])
def test_any_complaint_is_readable(create: Create, body: str) -> None:
    error, _ = failure(create, Status(400, {}, body))
    assert "HTTP 400" in str(error)


@engines
@pytest.mark.parametrize(
    "event", ["5", "[1]", '{"choices": [null], "type": "content_block_start"}', "{", "null"]
)
def test_events_of_another_shape_are_an_error_that_may_pass(create: Create, event: str) -> None:
    error, server = failure(create, Status(200, {"Content-Type": "text/event-stream"}, f"data: {event}\n\n"))
    assert error.retryable and len(server.bodies) == 2


@engines
def test_nobody_listening_is_an_error_that_may_pass(create: Create) -> None:
    async def run() -> None:
        model = create("http://127.0.0.1:9")
        with pytest.raises(LlmError) as raised:
            await chunks_of(model)
        assert raised.value.retryable
        await model.close()
        await model.close()

    asyncio.run(run())


@engines
def test_closing_an_answer_early_stops_the_server(create: Create) -> None:
    async def run() -> LlmServer:
        async with serving(Stream([*HELLO * 50, END], pause_s=0.02)) as server:
            model = create(server.url)
            async with aclosing(model.generate(ASK)) as chunks:
                async for _ in chunks:
                    break
            async with asyncio.timeout(2):
                await server.left.wait()
            await model.close()
            return server

    assert asyncio.run(run()).left.is_set()


@engines
def test_two_answers_at_once_do_not_mix(create: Create) -> None:
    async def run() -> list[list[Chunk]]:
        streams = [Stream([Text("one "), Text("two"), END], pause_s=0.01), Stream([Text("three"), END])]
        async with serving(*streams) as server:
            model = create(server.url)
            found = await asyncio.gather(chunks_of(model), chunks_of(model))
            await model.close()
            return found

    assert [text(chunks) for chunks in asyncio.run(run())] == ["one two", "three"]


TALK = LlmRequest(
    [
        Message(Role.SYSTEM, "You are a waiter."),
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.ASSISTANT, "Hello."),
        Message(Role.USER, "A table for four."),
        Message(Role.ASSISTANT, "Let me see.", (ToolCall("c1", "book", '{"people": 4}'),)),
        Message(Role.TOOL, "booked", tool_call_id="c1"),
        Message(Role.USER, "Thanks."),
    ],
    tools=[BOOK],
    tool="book",
    stop=("###",),
    temperature=0.0,
    max_tokens=50,
)


def test_a_conversation_in_openais_form() -> None:
    _, server = ask(ENGINES["openai"], Stream([*HELLO, END]), request=TALK)
    (body,) = server.bodies
    assert server.headers[0]["Authorization"] == "Bearer k-1"
    assert [m["role"] for m in body["messages"]] == [
        *("system", "system", "assistant", "user", "assistant", "tool", "user")
    ]
    assert body["messages"][4]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "book", "arguments": '{"people": 4}'}}
    ]
    assert body["messages"][5] == {"role": "tool", "content": "booked", "tool_call_id": "c1"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "book"}}
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (50, 0.0, ["###"])
    assert body["stream"] and body["stream_options"] == {"include_usage": True}


def test_a_conversation_in_anthropics_form() -> None:
    _, server = ask(ENGINES["anthropic"], Stream([*HELLO, END]), request=TALK)
    (body,) = server.bodies
    assert server.headers[0]["x-api-key"] == "k-1" and server.headers[0]["anthropic-version"]
    assert body["system"][0]["text"] == "You are a waiter.\n\nBe brief."
    roles = [m["role"] for m in body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"], "the user begins, roles alternate"
    assert body["messages"][3]["content"][1] == {
        "type": "tool_use",
        "id": "c1",
        "name": "book",
        "input": {"people": 4},
    }
    assert body["messages"][4]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "booked"},
        {"type": "text", "text": "Thanks."},
    ]
    assert body["tool_choice"] == {"type": "tool", "name": "book"}


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_an_answer_by_schema_is_text_whichever_way_the_server_gives_it() -> None:
    request = LlmRequest(ASK.messages, schema=SCHEMA)
    chunks, server = ask(ENGINES["openai"], Stream([Text('{"n": 4}'), END]), request=request)
    assert json.loads(text(chunks)) == {"n": 4}
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    answer = [ToolCall("c1", "answer", '{"n": 4}'), Finished(StopReason.TOOLS)]
    chunks, server = ask(ENGINES["anthropic"], Stream(answer), request=request)
    assert json.loads(text(chunks)) == {"n": 4}
    assert isinstance(chunks[-1], Finished) and chunks[-1].reason is StopReason.END
    assert server.bodies[0]["tool_choice"]["name"] == "answer"


def test_servers_of_openais_kind_that_just_close_have_answered() -> None:
    chunks, _ = ask(ENGINES["openai"], Stream([*HELLO, Finished()], bare=True))
    assert text(chunks).startswith("Hello") and isinstance(chunks[-1], Finished)
