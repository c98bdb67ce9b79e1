"""Banned sources over HTTP: seen, and let in again."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sip.ua.counters import SipCounters
from sip.ua.sources import SourceLimits, Sources
from voicegw.bansapi import BansApi


def test_bans_are_listed_and_lifted() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        sources = Sources((), SourceLimits(auth_failures=1, ban_s=60), SipCounters(), loop.time)
        app = web.Application()
        app.add_routes(BansApi(sources).routes())
        async with TestClient(TestServer(app)) as client:
            assert await (await client.get("/api/sip/bans")).json() == []
            sources.failed_auth("192.0.2.7")
            (ban,) = await (await client.get("/api/sip/bans")).json()
            assert ban == {"host": "192.0.2.7", "reason": "wrong passwords", "seconds_left": 60}
            assert (await client.delete("/api/sip/bans/192.0.2.7")).status == 204
            assert (await client.delete("/api/sip/bans/192.0.2.7")).status == 404
            assert not sources.banned("192.0.2.7")

    asyncio.run(test())
