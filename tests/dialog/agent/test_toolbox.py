import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from dialog.agent.spec import HttpTool, PythonTool, Tool
from dialog.agent.toolbox import LONGEST, Toolbox
from dialog.llm.base import ToolSpec

DAY = {"day": {"type": "string", "enum": ["monday", "tuesday"]}, "note": {"type": "string"}}
SPEC = ToolSpec("hours", "When", {"type": "object", "properties": DAY, "required": ["day"]})


async def hours(day: str, note: str = "") -> dict[str, str]:
    if note == "fail":
        raise ValueError("no such day")
    if note == "slow":
        await asyncio.sleep(10)
    return {"day": day, "open": "9 to 5"}


def use(tool: Tool, arguments: str) -> tuple[str, bool]:
    async def run() -> tuple[str, bool]:
        box = Toolbox()
        try:
            return await box.run(tool, arguments)
        finally:
            await box.close()
            await box.close()

    return asyncio.run(run())


def own(timeout_s: float = 5.0) -> PythonTool:
    return PythonTool(SPEC, f"{__name__}:hours", timeout_s)


def test_an_own_function_gets_arguments_and_gives_json() -> None:
    assert use(own(), '{"day": "monday"}') == ('{"day": "monday", "open": "9 to 5"}', True)


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("{", "no JSON"),
        ("[]", "must be an object"),
        ("{}", "missing: day"),
        ('{"day": "sunday"}', "day must be one of monday, tuesday"),
        ('{"day": "monday", "hour": 3}', "unknown argument hour; known are day, note"),
        ('{"day": "monday", "note": "fail"}', "hours failed: no such day"),
    ],
)
def test_the_model_is_told_what_is_wrong(arguments: str, says: str) -> None:
    result, ok = use(own(), arguments)
    assert result.startswith("error: ") and says in result and not ok


def test_a_slow_tool_is_stopped() -> None:
    assert use(own(0.02), '{"day": "monday", "note": "slow"}') == ("error: hours took too long", False)


HEADERS = {"X-Key": "k", "Authorization": "Bearer abc-secret"}


def over_http(
    method: str, arguments: str, path: str = "/hours/{day}", parameters: dict[str, Any] | None = None
) -> tuple[str, bool, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        seen.append({"path": request.raw_path, "body": body, "key": request.headers.get("X-Key")})
        if "endless" in request.raw_path:
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(100):
                await response.write(b"9 to 5 " * 1000)
            await asyncio.Event().wait()
        if "moved" in request.raw_path:
            raise web.HTTPFound("/elsewhere")
        if "fail" in request.raw_path:
            return web.Response(status=503, text="closed for repairs")
        if "echo" in request.raw_path:
            return web.Response(status=403, text=f"{request.path_qs} {request.headers['Authorization']}")
        return web.Response(text="9 to 5 " * 1000)

    async def run() -> tuple[str, bool]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        box = Toolbox()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        try:
            tool = SPEC if parameters is None else ToolSpec("hours", "When", parameters)
            return await box.run(HttpTool(tool, url, method, HEADERS), arguments)
        finally:
            await box.close()
            await runner.cleanup()

    return (*asyncio.run(run()), seen)


def test_get_sends_a_query_and_fills_the_path() -> None:
    result, ok, seen = over_http("GET", json.dumps({"day": "monday", "note": "a/b c"}))
    assert ok and len(result) == LONGEST
    assert seen == [{"path": "/hours/monday?note=a/b+c", "body": None, "key": "k"}]


def test_post_sends_json_and_a_path_cannot_be_escaped() -> None:
    spec = {"day": {"type": "string"}}
    tool = HttpTool(ToolSpec("t", "d", {"properties": spec}), "http://127.0.0.1:9/x/{day}")
    result, ok = use(tool, '{"day": "../admin"}')
    assert not ok and "failed" in result
    _, ok, seen = over_http("POST", '{"day": "monday", "note": "n"}', "/hours")
    assert ok and seen[0]["body"] == {"day": "monday", "note": "n"}


def test_a_server_that_refuses_is_quoted() -> None:
    result, ok, _ = over_http("GET", '{"day": "monday"}', "/fail")
    assert not ok and "HTTP 503: closed for repairs" in result


def test_neither_the_model_nor_the_log_learns_our_keys_from_a_server_that_repeats_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result, ok, _ = over_http("POST", "{}", "/echo?token=t-secret", {})
    assert not ok and "HTTP 403: /echo?token=*** ***" in result
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_a_path_cannot_be_climbed() -> None:
    spec = {"type": "object", "properties": {"day": {"type": "string"}}}
    result, ok, seen = over_http("GET", '{"day": ".."}', "/hours/{day}", spec)
    assert (result, ok, seen) == ("error: hours failed: day cannot be '..'", False, [])


def test_a_redirect_is_not_followed_for_it_would_carry_the_secrets_along() -> None:
    result, ok, seen = over_http("GET", '{"day": "monday"}', "/moved/{day}")
    assert result.startswith("error: hours failed: HTTP 302") and not ok and len(seen) == 1


def test_of_an_endless_answer_the_beginning_is_taken() -> None:
    result, ok, _ = over_http("GET", '{"day": "monday"}', "/endless/{day}")
    assert ok and result == ("9 to 5 " * LONGEST)[:LONGEST]


def test_no_cookie_of_one_caller_goes_along_with_the_request_of_another() -> None:
    cookies: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(dict(request.cookies))
        response = web.Response(text="9 to 5")
        response.set_cookie("session", "of the first caller")
        return response

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/hours", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        box = Toolbox()
        url = f"http://localhost:{runner.addresses[0][1]}/hours"  # by name: addresses never get cookies
        try:
            for _ in range(2):
                assert await box.run(HttpTool(SPEC, url, "GET"), '{"day": "monday"}') == ("9 to 5", True)
        finally:
            await box.close()
            await runner.cleanup()

    asyncio.run(run())
    assert cookies == [{}, {}]
