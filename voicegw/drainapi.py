"""Draining over HTTP, for deployments one server at a time: no new calls, those in progress go on, the
process stays.

    POST /api/drain      from now on calls, OPTIONS and /health/ready get 503; {"calls": in progress}
    DELETE /api/drain    calls are taken again
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DrainApi:
    """A mount of the web server."""

    close_doors: Callable[[bool], None]
    calls: Callable[[], int]  # in progress
    stopping: Callable[[], bool]
    """Whether the process is about to end: then the doors stay closed."""
    public: tuple[str, ...] = ()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Of the interface."""
        return [web.post("/api/drain", self._drain), web.delete("/api/drain", self._resume)]

    async def _drain(self, _: web.Request) -> web.Response:
        self.close_doors(True)  # noqa: FBT003 - a state, not an option
        log.info("draining, as asked over HTTP", extra={"calls": self.calls()})
        return web.json_response({"draining": True, "calls": self.calls()})

    async def _resume(self, _: web.Request) -> web.Response:
        if self.stopping():
            return web.json_response({"error": "the server is stopping"}, status=409)
        self.close_doors(False)  # noqa: FBT003
        log.info("calls are taken again, as asked over HTTP")
        return web.json_response({"draining": False, "calls": self.calls()})
