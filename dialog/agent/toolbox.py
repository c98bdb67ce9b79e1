"""Runs the tools of agents. Whatever happens, the model gets a text: the result, or what went wrong."""

import asyncio
import importlib
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import quote

import aiohttp

from dialog.agent.spec import HttpTool, PythonTool, Tool
from dialog.secrets import scrub, secrets_of

log = logging.getLogger(__name__)

LONGEST = 4000  # characters of a result: models read them all, callers wait meanwhile


class Toolbox:
    """Shared by all calls."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def run(self, tool: Tool, arguments: str) -> tuple[str, bool]:
        """The tool's result as text, and whether it is one (False: what went wrong). `arguments`: JSON of the
        model."""
        try:
            given = json.loads(arguments or "{}")
        except json.JSONDecodeError as error:
            return f"error: the arguments are no JSON: {error}", False
        if problem := _misfit(tool, given):
            return f"error: {problem}", False
        name = tool.spec.name
        try:
            async with asyncio.timeout(tool.timeout_s):
                run = self._http if isinstance(tool, HttpTool) else self._python
                return (await run(tool, given))[:LONGEST], True  # type: ignore[arg-type]
        except TimeoutError:
            log.warning("tool took too long", extra={"tool": name, "timeout_s": tool.timeout_s})
            return f"error: {name} took too long", False
        except Exception as error:  # a tool may do anything; the conversation goes on
            said = scrub(str(error), _secrets(tool))
            log.warning("tool failed", extra={"tool": name, "error": f"{type(error).__name__}: {said}"})
            return f"error: {name} failed: {said}"[:LONGEST], False

    async def _http(self, tool: HttpTool, given: dict[str, Any]) -> str:
        url, rest = tool.url, dict(given)
        for key in given:
            if f"{{{key}}}" in url:
                url = url.replace(f"{{{key}}}", _segment(key, str(rest.pop(key))))
        if self._session is None:  # no cookies: they would go from one caller's requests to another's
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        query = {key: _plain(value) for key, value in rest.items()} if tool.method == "GET" else None
        body = None if tool.method == "GET" else rest
        async with self._session.request(
            # A redirect would carry headers with secrets to somebody that was not named.
            tool.method,
            url,
            params=query,
            json=body,
            headers=tool.headers,
            allow_redirects=False,
        ) as response:
            text = (await _beginning(response.content)).decode(errors="replace")
            if response.status >= 300:
                raise RuntimeError(f"HTTP {response.status}: {text[:200]}")
            return text

    async def _python(self, tool: PythonTool, given: dict[str, Any]) -> str:
        result = await function(tool.function)(**given)
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)


def _secrets(tool: Tool) -> Collection[str]:
    return secrets_of(tool.url, tool.headers) if isinstance(tool, HttpTool) else ()


def function(dotted: str) -> Callable[..., Awaitable[Any]]:
    """The function `module:name`. Raises ValueError saying what is missing."""
    module, _, name = dotted.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no function {dotted!r}: {error}") from error
    if not asyncio.iscoroutinefunction(found):
        raise ValueError(f"{dotted} is no async function")
    return found  # type: ignore[no-any-return]


def _misfit(tool: Tool, given: Any) -> str:
    """What is wrong with the arguments at their first level, where models err; "" if nothing is."""
    if not isinstance(given, dict):
        return "the arguments must be an object"
    schema = tool.spec.parameters
    known = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if given.get(name) is None]
    if missing:
        return f"missing: {', '.join(missing)}"
    for name, value in given.items():
        if name not in known:
            return f"unknown argument {name}; known are {', '.join(known) or 'none'}"
        if (allowed := known[name].get("enum")) and value not in allowed:
            return f"{name} must be one of {', '.join(map(str, allowed))}"
    return ""


def _segment(name: str, value: str) -> str:
    """A value as part of a URL. The model chooses it, and callers talk with the model: it must not climb."""
    if value in {"", ".", ".."}:
        raise ValueError(f"{name} cannot be {value!r}")
    return quote(value, safe="")


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """As much as can be of use."""
    data = b""
    async for piece in content.iter_any():
        data += piece
        if len(data) >= 4 * LONGEST:
            break
    return data


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
