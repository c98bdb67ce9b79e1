"""The softphone's web requests (voicegw/mount.py).

/                       the page                        this machine, or `http.token`
/softphone/session      token, flows, ICE servers       the same
/embed/session          the same for another page       pages of `webrtc.origins`, by the Origin header
/softphone/ws           the call                        whoever has a token, from the origin it was made for
/softphone/static/...   scripts and styles; /embed.js   everybody
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from media.tasks import task_scope
from sip.webrtc.config import WebRtcConfig
from voicegw.softphone import messages
from voicegw.softphone.line import Line, LineParts
from voicegw.softphone.tokens import BadToken, Grant, TokenBox, allowed_flows, turn_credentials

log = logging.getLogger(__name__)

HELLO_S = 5.0
HEARTBEAT_S = 15.0  # a page whose network is gone is noticed after half as much again
MESSAGES_RATE, MESSAGES_BURST = 20, 120  # candidates come in a burst
TOKENS_RATE, TOKENS_BURST = 2, 30  # a second and address
ADDRESSES = 5000  # whose rate is remembered
SPARE_SOCKETS = 20  # beyond one a call: pages that have not called yet, and those that resume

_ASSETS = {"js": "text/javascript", "css": "text/css"}
_DATA = files("voicegw") / "data" / "softphone"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CLOSED_WELL, POLICY, TOO_BIG, BUSY = 1000, 1008, 1009, 1013  # RFC 6455, section 7.4.1


@dataclass(frozen=True, slots=True)
class SoftphoneParts:
    """What the page tells about, and what it needs."""

    line: LineParts
    flows: Sequence[str]  # that may be called, the default one first
    public_url: str
    sip_uri: Callable[[], str]
    unix_time: Callable[[], float]  # TURN credentials end by the wall clock


class Softphone:
    """A `Mount`. Belongs to one event loop."""

    public = ("/softphone/ws", "/softphone/static/", "/embed/", "/embed.js")

    def __init__(self, config: WebRtcConfig, parts: SoftphoneParts) -> None:
        self._config, self._parts = config, parts
        self.counters = parts.line.counters
        self._now = asyncio.get_running_loop().time
        self._tokens = TokenBox(secrets.token_bytes(32))
        self._lines: dict[str, Line] = {}  # by resume token
        self._sockets = 0
        self._rates: dict[str, messages.Bucket] = {}
        self._assets = {
            entry.name: entry.read_bytes() for entry in _DATA.iterdir() if entry.name[0] not in "._"
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is answered."""
        return [
            web.get("/", self._page),
            web.get("/softphone/session", self._session),
            web.get("/softphone/ws", self._socket),
            web.get("/softphone/static/{name}", self._static),
            web.get("/embed.js", self._embed_script),
            web.get("/embed/session", self._embed_session),
        ]

    # Files

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._assets["index.html"],
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": PAGE_POLICY, "Permissions-Policy": "microphone=(self)"},
        )

    async def _static(self, request: web.Request) -> web.Response:
        return self._asset(request, request.match_info["name"])

    async def _embed_script(self, request: web.Request) -> web.Response:
        return self._asset(request, "embed.js")

    def _asset(self, request: web.Request, name: str) -> web.Response:
        kind = _ASSETS.get(name.rpartition(".")[2])
        if kind is None or name not in self._assets:
            raise web.HTTPNotFound(text="There is no such file.\n")
        body = self._assets[name]
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        headers = {
            # Nothing secret, and pages of others load it: as a script, as modules, as a style.
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Cache-Control": "no-cache",  # ask each time; the tag spares the rest
            "ETag": tag,
        }
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    # Sessions

    async def _session(self, request: web.Request) -> web.Response:
        self._limit(request)
        return web.json_response(self._invite(Grant("", tuple(self._parts.flows))))

    async def _embed_session(self, request: web.Request) -> web.Response:
        origin = request.headers.get("Origin", "")
        if origin not in self._config.origins:
            self._refused(origin, request)
            readable = {"Access-Control-Allow-Origin": "*"}  # so that the script can say why
            text = "Pages of this origin may not call: see webrtc.origins.\n"
            raise web.HTTPForbidden(text=text, headers=readable)
        self._limit(request)
        allowed = self._config.embed_flows or tuple(self._parts.flows)
        wanted = [name for name in [request.query.get("flow", "")] if name]
        cors = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        try:
            grant = Grant(origin, allowed_flows(wanted, allowed))
        except BadToken as error:
            return web.json_response({"error": str(error)}, status=404, headers=cors)
        return web.json_response(self._invite(grant), headers=cors)

    def _invite(self, grant: Grant) -> dict[str, Any]:
        """What a page needs to call."""
        own = {} if grant.origin else {"sip": self._parts.sip_uri()}
        return {
            "token": self._tokens.issue(grant, secrets.token_urlsafe(12), self._now()),
            "flows": list(grant.flows),
            "ice_servers": self._ice_servers(),
            "relay_only": self._config.relay_only,
            "resume_s": self._config.resume_s,
            **own,
        }

    def _ice_servers(self) -> list[dict[str, Any]]:
        """As `RTCConfiguration.iceServers` has them."""
        config = self._config
        servers: list[dict[str, Any]] = [{"urls": list(config.stun)}] if config.stun else []
        if config.turn:
            label, now = secrets.token_hex(4), self._parts.unix_time()
            name, word = turn_credentials(config.turn_secret, label, config.turn_lifetime_s, now)
            servers.append({"urls": list(config.turn), "username": name, "credential": word})
        return servers

    def _limit(self, request: web.Request) -> None:
        """Raises HTTPTooManyRequests."""
        address, now = request.remote or "", self._now()
        bucket = self._rates.pop(address, None) or messages.Bucket(TOKENS_RATE, TOKENS_BURST, now)
        self._rates[address] = bucket  # at the end: the first one is the least recent
        if len(self._rates) > ADDRESSES:
            del self._rates[next(iter(self._rates))]
        if not bucket.take(now):
            self.counters.refused_rate += 1
            raise web.HTTPTooManyRequests(text="Too many calls from your address; wait a moment.\n")

    # The socket

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        own = self._is_own(origin, request)
        if not own and origin not in self._config.origins:
            self._refused(origin, request)
            raise web.HTTPForbidden(text="Pages of this origin may not call: see webrtc.origins.\n")
        if self._sockets >= self._config.max_calls + SPARE_SOCKETS:
            raise web.HTTPServiceUnavailable(text="Too many softphones.\n")
        socket = web.WebSocketResponse(max_msg_size=messages.MAX_BYTES, heartbeat=HEARTBEAT_S)
        self._sockets += 1
        try:
            await socket.prepare(request)
            line = await self._greet(socket, "" if own else origin)
            if line is not None:
                await self._serve(socket, line)
        finally:
            self._sockets -= 1
        return socket

    def _refused(self, origin: str, request: web.Request) -> None:
        self.counters.refused_origin += 1
        log.warning("softphone refused", extra={"origin": origin[:200], "source": request.remote})

    def _is_own(self, origin: str, request: web.Request) -> bool:
        """Whether the page came from us; a proxy may have taken the TLS off."""
        host = urlsplit(origin).netloc.lower()
        return bool(host) and host in {request.host.lower(), urlsplit(self._parts.public_url).netloc.lower()}

    async def _greet(self, socket: web.WebSocketResponse, origin: str) -> Line | None:
        """The first message says who it is; None: refused, and told so."""
        try:
            async with asyncio.timeout(HELLO_S):
                first = messages.parse(await socket.receive_str())
            match first:
                case messages.Hello(token):
                    line = self._new_line(token, origin)
                case messages.Resume(resume, seen):
                    line = self._old_line(resume, origin)
                    line.seen(seen)
                    self.counters.resumed += 1
                case _:
                    raise messages.BadMessage("the first message must be hello or resume")
        except (messages.BadMessage, BadToken) as error:
            self.counters.refused_token += 1
            log.warning("softphone refused", extra={"origin": origin, "error": str(error)})
            await socket.send_json({"type": "error", "code": "refused", "message": str(error)})
            await socket.close(code=POLICY, message=str(error).encode()[:120])
            return None
        except (TimeoutError, TypeError, ConnectionError):  # silence, bytes or a goodbye instead of words
            await socket.close(code=POLICY, message=b"hello was expected")
            return None
        return line

    def _new_line(self, token: str, origin: str) -> Line:
        grant = self._tokens.redeem(token, self._now())
        if grant.origin != origin:
            raise BadToken("the token was made for another page")
        if len(self._lines) >= self._config.max_calls + SPARE_SOCKETS:
            raise BadToken("all lines are busy")
        line = Line(self._parts.line, grant, self._full, self._forget)
        self._lines[line.resume] = line
        return line

    def _old_line(self, resume: str, origin: str) -> Line:
        line = self._lines.get(resume)
        if line is None or line.grant.origin != origin:
            raise BadToken("there is no such call")
        return line

    def _full(self) -> bool:
        return sum(line.calling for line in self._lines.values()) >= self._config.max_calls

    def _forget(self, line: Line) -> None:
        self._lines.pop(line.resume, None)

    async def _serve(self, socket: web.WebSocketResponse, line: Line) -> None:
        """Until the socket is gone, or another one has taken the line."""
        number = line.attach()
        bucket = messages.Bucket(MESSAGES_RATE, MESSAGES_BURST, self._now())
        try:
            line.post("welcome", calling=line.calling)
            async with task_scope() as start:
                start(self._write(socket, line, number), "softphone writer")
                async for received in socket:
                    if received.type is WSMsgType.ERROR:
                        break
                    if not bucket.take(self._now()):
                        await socket.close(code=POLICY, message=b"too many messages")
                        break
                    await self._received(received.data, line)
        finally:
            line.detach(number)

    async def _received(self, data: object, line: Line) -> None:
        try:
            if not isinstance(data, str):
                raise messages.BadMessage("messages are text")
            await line.handle(messages.parse(data))
        except messages.BadMessage as error:
            self.counters.bad_messages += 1
            line.error("message", str(error))

    async def _write(self, socket: web.WebSocketResponse, line: Line, number: int) -> None:
        try:
            while (batch := await line.outgoing(number)) is not None:
                for text in batch:
                    await socket.send_str(text)
            await socket.close(code=CLOSED_WELL, message=b"the call goes on elsewhere")
        except ConnectionError:
            await socket.close()


def session_flows(configured: Sequence[str], flows: Mapping[str, object]) -> tuple[str, ...]:
    """Flows that may be called. Raises ValueError for one that is not there."""
    for name in configured:
        if name not in flows:
            raise ValueError(f"there is no flow {name!r}; known: {', '.join(flows)}")
    return tuple(configured) or tuple(flows)
