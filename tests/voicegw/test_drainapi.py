"""Draining over HTTP: the doors are closed and opened again, unless the process ends."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from voicegw.drainapi import DrainApi


def test_doors_are_closed_and_opened_again_unless_the_server_stops() -> None:
    doors: list[bool] = []
    stopping = False

    async def test() -> None:
        nonlocal stopping
        app = web.Application()
        app.add_routes(DrainApi(doors.append, lambda: 3, lambda: stopping).routes())
        async with TestClient(TestServer(app)) as client:
            answer = await client.post("/api/drain")
            assert await answer.json() == {"draining": True, "calls": 3}
            answer = await client.delete("/api/drain")
            assert await answer.json() == {"draining": False, "calls": 3}
            stopping = True
            assert (await client.delete("/api/drain")).status == 409

    asyncio.run(test())
    assert doors == [True, False]
