"""Asking a server that does not answer as it should."""

import asyncio

import pytest
from aiohttp import ClientSession, ClientTimeout, web

from voicegw.errors import VoicegwError
from voicegw.simulate.served import Server


def test_a_server_that_never_answers_is_said_in_a_sentence() -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> None:
        app = web.Application()
        app.router.add_get("/api/calls", silent)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            async with ClientSession(url, timeout=ClientTimeout(total=0.1)) as session:
                with pytest.raises(VoicegwError, match="cannot be asked: TimeoutError"):
                    await Server(session).call_of("c1", "anna")
        finally:
            await runner.cleanup()

    asyncio.run(scenario())
