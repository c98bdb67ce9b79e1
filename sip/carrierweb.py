"""A carrier's part of the web server: /NAME/HOOK for its webhooks, /NAME/media[/PASS] for its sockets.

Signatures are over the address by which the carrier knows us, so it is rebuilt from `http.public_url`: what a
proxy makes of the request on its way says nothing. Mounted by voicegw/mount.py.
"""

import asyncio
import logging
from collections.abc import Iterable

from aiohttp import web

from media.tasks import task_scope
from sip.carrier import Carrier, Refused, WebRequest, told
from sip.carrierdesk import CarrierDesk, CarrierHost
from sip.carriertcp import CarrierPort
from sip.medialine import Line
from sip.mediasocket import close_socket, open_socket, read_socket
from sip.mediastream import MediaStreamLeg
from sip.webpeer import is_local

log = logging.getLogger(__name__)


class CarrierMount:
    """Implements `voicegw.mount.Mount` for one carrier."""

    def __init__(self, carrier: Carrier, host: CarrierHost) -> None:
        self.carrier, self._host = carrier, host
        self.desk = CarrierDesk(carrier, host)
        self.port = CarrierPort(carrier, host, self.desk) if carrier.listens is not None else None

    @property
    def public(self) -> tuple[str, ...]:
        """All of it: the carrier's signature decides."""
        return (f"/{self.carrier.name}/",)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Webhooks and sockets."""
        base = f"/{self.carrier.name}"
        if self.port is None:
            yield web.get(f"{base}/media", self._media)
            yield web.get(f"{base}/media/{{token}}", self._media)
        for hook in self.carrier.hooks:
            yield web.route("*", f"{base}/{hook}", self._hook)

    async def start(self) -> None:
        """Open the carrier's own port, if it has one. Raises OSError if it is taken."""
        if self.port is not None:
            await self.port.start()

    async def close(self) -> None:
        """Close the carrier's connections."""
        if self.port is not None:
            await self.port.close()
        await self.carrier.close()

    async def _hook(self, request: web.Request) -> web.Response:
        stats, hook = self.desk.stats, request.path.rpartition("/")[2]
        stats.webhooks += 1
        try:
            asked = await self._asked(request)
            self.carrier.check(asked)
            answer = await self.carrier.hook(hook, asked, self.desk)
        except Refused as error:
            stats.webhooks_refused += 1
            return self._refuse(hook, request, error)
        return web.Response(text=answer.text, content_type=answer.content_type, status=answer.status)

    async def _media(self, request: web.Request) -> web.StreamResponse:
        carrier, stats = self.carrier, self.desk.stats
        stats.sockets += 1
        try:
            asked = await self._asked(request)
            carrier.check_socket(asked)
            token = request.match_info.get("token", "") or request.query.get("pass", "")
            announced = self.desk.admit(token) if token or carrier.announced else told(asked.query)
        except Refused as error:
            stats.sockets_refused += 1
            return self._refuse("media", request, error)
        ws, channel = await open_socket(request, carrier.subprotocols)
        try:
            async with task_scope() as start:
                core = carrier.core()
                line = Line(
                    core,
                    channel,
                    carrier.capabilities,
                    self._host.metronome,
                    start,
                    self._host.stream,
                )
                leg = MediaStreamLeg(line)
                reading = start(read_socket(ws, leg), "media")
                await self.desk.attend(leg, announced)
                if core.linger_s:
                    await asyncio.wait({reading}, timeout=core.linger_s)
        finally:
            await close_socket(ws, request)
        return ws

    async def _asked(self, request: web.Request) -> WebRequest:
        try:
            body = await request.read() if request.body_exists else b""
        except web.HTTPRequestEntityTooLarge:
            raise Refused("too long", 413) from None
        url = f"{self._host.public_url()}{request.raw_path}"
        return WebRequest(request.method, url, request.headers, body, self._host.now(), is_local(request))

    def _refuse(self, what: str, request: web.Request, error: Refused) -> web.Response:
        log.warning(
            "carrier request refused",
            extra={
                "carrier": self.carrier.name,
                "what": what,
                "reason": str(error),
                "source": request.remote,
            },
        )
        return web.Response(status=error.status, text="Refused.\n")
