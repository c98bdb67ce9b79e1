"""Banned sources over HTTP.

GET /api/sip/bans              [{"host": "192.0.2.7", "reason": "wrong passwords", "seconds_left": 540}]
DELETE /api/sip/bans/{host}    listen to it again: 204, or 404
"""

import asyncio
from collections.abc import Iterable

from aiohttp import web

from sip.ua.sources import Sources


class BansApi:
    """A part of the web server (voicegw/mount.py)."""

    public: tuple[str, ...] = ()

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is answered."""
        return [web.get("/api/sip/bans", self._list), web.delete("/api/sip/bans/{host}", self._lift)]

    async def _list(self, _: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        return web.json_response(
            [
                {"host": ban.host, "reason": ban.reason, "seconds_left": round(ban.until - now)}
                for ban in self._sources.bans
            ]
        )

    async def _lift(self, request: web.Request) -> web.Response:
        if not self._sources.lift(request.match_info["host"]):
            return web.json_response({"error": "this source is not banned"}, status=404)
        return web.Response(status=204)
