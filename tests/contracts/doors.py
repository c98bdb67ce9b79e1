"""A carrier's webhooks and sockets on a real loopback server, and its REST interface faked beside them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import ClientSession, ClientWebSocketResponse, web

from media.leg import CallInfo, CallLeg, HangupCause
from media.metronome import Metronome
from media.tasks import Start, task_scope
from sip.carrier import Carrier
from sip.carrierdesk import CarrierHost
from sip.carrierweb import CarrierMount
from sip.endpoint import IncomingCall
from sip.medialine import StreamConfig
from tests.contracts.streams import Sink

PUBLIC = "https://voice.example.com"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the carrier."""

    method: str
    path: str
    fields: Mapping[str, Any]  # of the form, or of the JSON object
    pairs: list[tuple[str, str]] = field(default_factory=list)  # of the form, in order
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeRest:
    """A carrier's REST interface. `answer` decides; by default everything is accepted."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], tuple[int, Any]] = lambda asked: (200, {})
        self.pause: Callable[[], Awaitable[object]] | None = None  # before it answers
        self.url = ""
        self._came = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        if request.content_type == "application/json":
            fields, pairs = json.loads(body or "{}"), []
        else:
            pairs = parse_qsl(body, keep_blank_values=True)
            fields = dict(pairs)
        asked = Asked(request.method, request.path_qs, fields, pairs, dict(request.headers))
        self.asked.append(asked)
        self._came.set()
        status, answer = self.answer(asked)
        if self.pause is not None:
            await self.pause()
        if status == 0:  # the line breaks
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(answer, status=status or 500)

    async def until(self, count: int) -> list[Asked]:
        """The first `count` requests, once they have come."""
        async with asyncio.timeout(5):
            while len(self.asked) < count:
                self._came.clear()
                await self._came.wait()
        return self.asked[:count]


@dataclass(slots=True)
class Taken:
    """A call that came in, with the sink that listens to it."""

    info: CallInfo
    leg: CallLeg
    sink: Sink


class Door:
    """The server under test."""

    def __init__(self, carrier: Carrier, rest: FakeRest, stream: StreamConfig, start: Start) -> None:
        self.rest, self.carrier = rest, carrier
        self.calls: list[Taken] = []
        self.reports: list[tuple[str, str, Mapping[str, str]]] = []
        self.refusal = ""
        self.sockets: list[ClientWebSocketResponse] = []  # kept open
        self.came = asyncio.Event()
        host = CarrierHost(
            self._on_call,
            lambda info: self.refusal,
            Metronome(),
            lambda: PUBLIC,
            lambda: 1_700_000_000.0,
            lambda call, kind, data: self.reports.append((call, kind, data)),
            start,
            stream,
        )
        self.mount = CarrierMount(carrier, host)
        self.url = ""
        self.client: ClientSession

    async def _on_call(self, incoming: IncomingCall) -> None:
        leg = await incoming.answer()
        taken = Taken(incoming.info, leg, Sink(leg))  # type: ignore[arg-type]
        leg.start(taken.sink)
        self.calls.append(taken)
        self.came.set()
        await taken.sink.closed.wait()

    async def call(self) -> Taken:
        """The next call, once it is there."""
        async with asyncio.timeout(5):
            await self.came.wait()
        self.came.clear()
        return self.calls[-1]

    async def ended(self, taken: Taken) -> HangupCause:
        async with asyncio.timeout(5):
            await taken.sink.closed.wait()
        return taken.sink.causes[0]

    def local(self, public: str) -> str:
        """Where a public address really is, as a reverse proxy knows."""
        rest = public.split("://", 1)[1].partition("/")[2]
        return f"{self.url}/{rest}"


async def _serve(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@asynccontextmanager
async def door(make: Callable[[str], Carrier], stream: StreamConfig | None = None) -> AsyncIterator[Door]:
    """The carrier that `make` makes of its REST interface's address, open for calls."""
    rest = FakeRest()
    rest_app = web.Application()
    rest_app.router.add_route("*", "/{path:.*}", rest.handle)
    rest_runner, rest.url = await _serve(rest_app)
    async with task_scope() as start:
        made = Door(make(rest.url), rest, stream or StreamConfig(), start)
        app = web.Application()
        app.add_routes(made.mount.routes())
        runner, made.url = await _serve(app)
        await made.mount.start()
        try:
            async with ClientSession() as made.client:
                yield made
        finally:
            await made.mount.close()
            await runner.cleanup()
            await rest_runner.cleanup()
