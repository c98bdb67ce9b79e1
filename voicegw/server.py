"""The web side of the server: health, metrics, calls. What is here only reads; carriers, the softphone and
whatever else answers requests of its own come in as mounts (voicegw/mount.py).

/health /health/live /health/ready /healthz     JSON; 503 when no call should come here
/metrics                                        Prometheus
/calls and /calls/{id}                          pages for people; / leads there without the softphone
/api/calls[?limit=], /api/calls/{id}[/timeline | /recording]
"""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from voicegw import page
from voicegw.archive import Archive, Call
from voicegw.config.model import HttpConfig
from voicegw.health import Health
from voicegw.httpauth import refusal
from voicegw.livecalls import LiveCalls
from voicegw.metrics import Metrics
from voicegw.mount import Mount
from voicegw.ownurl import own_url
from voicegw.storage.engine import StorageError

log = logging.getLogger(__name__)

LIST_LIMIT = 1000
PAGE_CALLS = 20
MAX_BODY = 65_536  # bytes of a request; webhooks and orders are a few hundred
SHUTDOWN_S = 1.0  # for requests in progress; a browser's idle connection must not hold us up

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    "Content-Security-Policy": page.CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # speech of callers does not belong into caches
}


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the pages tell about."""

    health: Health
    metrics: Metrics
    live: LiveCalls
    archive: Archive
    sip_uri: Callable[[], str]
    live_view: Callable[[str, Call | None], Call | None] = lambda call_id, call: call  # adds what lives


class HttpServer:
    """aiohttp on one port."""

    def __init__(self, config: HttpConfig, parts: WebParts, mounts: Sequence[Mount] = ()) -> None:
        self._config, self._parts = config, parts
        self._public = tuple(path for mount in mounts for path in mount.public)
        self._app = web.Application(
            client_max_size=MAX_BODY,
            middlewares=[web.normalize_path_middleware(append_slash=False), self._guard],
        )
        self._app.add_routes(
            [
                web.get("/calls", self._index),
                web.get("/calls/{id}", self._call_page),
                web.get("/health", self._ready),
                web.get("/health/ready", self._ready),
                web.get("/health/live", self._alive),
                web.get("/healthz", self._alive),
                web.get("/metrics", self._metrics),
                web.get("/api/calls", self._calls),
                web.get("/api/calls/{id}", self._call),
                web.get("/api/calls/{id}/timeline", self._timeline),
                web.get("/api/calls/{id}/recording", self._recording),
            ]
        )
        for mount in mounts:
            self._app.add_routes(mount.routes())
        self._app.add_routes([web.get("/", _to_calls)])  # unless the softphone is there
        self._app.on_response_prepare.append(_secure)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=SHUTDOWN_S)

    @property
    def url(self) -> str:
        """Where it can be reached, once started."""
        host, port = self._runner.addresses[0][:2]
        return f"{own_url(host, port)}/"

    async def start(self) -> None:
        """Listen. Raises OSError if that cannot be."""
        host, port = self._config.host, self._config.port
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            raise

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        denied = refusal(request, self._config.token, self._public)
        if denied is not None:
            log.warning("web request refused", extra={"path": request.path, "source": request.remote})
            return denied
        try:
            return await handler(request)
        except StorageError as error:
            log.error("calls cannot be read", extra={"error": str(error)})
            return web.Response(status=503, text="Calls cannot be read now.\n")

    # Health

    async def _ready(self, _: web.Request) -> web.Response:
        report = self._parts.health.report()
        return web.json_response(report, status=200 if Health.is_ready(report) else 503)

    async def _alive(self, _: web.Request) -> web.Response:
        return web.json_response(self._parts.health.report())

    async def _metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._parts.metrics.exposition(), headers=headers)

    # Calls

    async def _index(self, _: web.Request) -> web.Response:
        parts = self._parts
        recent = await parts.archive.recent(PAGE_CALLS)
        text = page.index(parts.health.report(), parts.sip_uri(), tuple(parts.live), recent)
        return web.Response(text=text, content_type="text/html")

    async def _call_page(self, request: web.Request) -> web.Response:
        return web.Response(text=page.call(await self._find(request)), content_type="text/html")

    async def _calls(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "50")
        if not re.fullmatch("[0-9]{1,9}", limit) or not 1 <= int(limit) <= LIST_LIMIT:
            raise web.HTTPBadRequest(text=f"limit must be 1 to {LIST_LIMIT}, not {limit[:20]!r}\n")
        calls = await self._parts.archive.recent(int(limit))
        return web.json_response({"calls": calls})

    async def _call(self, request: web.Request) -> web.Response:
        return web.json_response(await self._find(request))

    async def _find(self, request: web.Request) -> Call:
        call_id = request.match_info["id"]
        call = self._parts.live_view(call_id, await self._parts.archive.find(call_id))
        if call is None:
            raise web.HTTPNotFound(text="There is no such call.\n")
        return call

    async def _timeline(self, request: web.Request) -> web.FileResponse:
        path = await self._parts.archive.file(request.match_info["id"], "timeline")
        if path is None:
            raise web.HTTPNotFound(text="There is no timeline of this call.\n")
        return web.FileResponse(path, headers={"Content-Type": "application/x-ndjson"})

    async def _recording(self, request: web.Request) -> web.FileResponse:
        path = await self._parts.archive.file(request.match_info["id"], "recording")
        if path is None:
            raise web.HTTPNotFound(text="There is no recording of this call.\n")
        return web.FileResponse(path, headers={"Content-Type": "audio/wav"})


async def _to_calls(_: web.Request) -> web.Response:
    raise web.HTTPFound("/calls")


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
