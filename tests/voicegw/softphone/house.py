"""The softphone's web side on a free port, with calls that echo, and a page made of aiortc."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from media.leg import HangupCause
from media.observe import EventName
from sip.endpoint import IncomingCall
from sip.errors import CallFailed
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.leg import WebRtcLeg
from tests.sip.webrtc.peer import Peer, Sink, media, tone, until
from voicegw.config.model import HttpConfig
from voicegw.softphone.line import Counters, LineParts, Listener
from voicegw.softphone.mount import Softphone, SoftphoneParts

FRIEND, STRANGER = "https://friend.example", "https://stranger.example"


class EchoCalls:
    """Answers every call and echoes."""

    def __init__(self) -> None:
        self.flows: list[str | None] = []
        self.sinks: list[Sink] = []
        self.failures: list[CallFailed] = []
        self.refuse = False
        self.watchers: dict[str, Listener] = {}

    async def on_call(self, incoming: IncomingCall, flow: str | None = None) -> None:
        self.flows.append(flow)
        if self.refuse:
            incoming.reject(503, "All Lines Busy", 10)
            return
        incoming.ring()
        try:
            leg = await incoming.answer()
        except CallFailed as error:
            self.failures.append(error)
            return
        assert isinstance(leg, WebRtcLeg)
        sink = Sink(leg, echo=True)
        self.sinks.append(sink)
        leg.start(sink)
        await until(lambda: sink.closed is not None, 60)

    def watch(self, call_id: str, watcher: Listener) -> Callable[[], None]:
        self.watchers[call_id] = watcher
        return lambda: self.watchers.pop(call_id, None) and None

    def happen(self, name: EventName, /, **fields: object) -> None:
        """An event of every call."""
        for watcher in self.watchers.values():
            watcher(name, fields)


class Page:
    """One WebSocket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.closed: int | None = None

    async def say(self, kind: str, **fields: object) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def hear(self, kind: str, limit_s: float = 10) -> dict[str, Any]:
        """The next message of this type; those before it are kept."""
        async with asyncio.timeout(limit_s):
            while True:
                received = await self.socket.receive()
                if received.type is not WSMsgType.TEXT:
                    self.closed = self.socket.close_code
                    raise ConnectionError(f"closed while waiting for {kind}: {self.messages}")
                message: dict[str, Any] = received.json()
                self.messages.append(message)
                if message["type"] == kind:
                    return message

    async def call(self, peer: Peer, flow: str = "") -> dict[str, Any]:
        """Call, until media flows. Returns the answer."""
        await self.say("call", sdp=await peer.offer(), flow=flow)
        answer = await self.hear("answer")
        await self.say("candidate", candidate=None)
        await peer.answered(answer["sdp"])
        await self.hear("media")
        return answer


class House:
    """A server with a client."""

    def __init__(self, url: str, client: ClientSession, calls: EchoCalls, counters: Counters) -> None:
        self.url, self.client, self.calls, self.counters = url, client, calls, counters

    @property
    def origin(self) -> str:
        return self.url.rstrip("/")

    async def session(self) -> dict[str, Any]:
        answer = await self.client.get(f"{self.url}softphone/session")
        assert answer.status == 200
        session: dict[str, Any] = await answer.json()
        return session

    @asynccontextmanager
    async def socket(self, origin: str | None = None) -> AsyncIterator[Page]:
        """A WebSocket that has said nothing yet."""
        headers: Mapping[str, str] = {"Origin": self.origin if origin is None else origin}
        async with self.client.ws_connect(f"{self.url}softphone/ws", headers=headers) as socket:
            yield Page(socket)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """One that was let in."""
        async with self.socket() as page:
            await page.say("hello", token=(await self.session())["token"])
            await page.hear("welcome")
            yield page


@asynccontextmanager
async def house(config: WebRtcConfig | None = None) -> AsyncIterator[House]:
    config = config or WebRtcConfig(origins=(FRIEND,))
    calls, counters = EchoCalls(), Counters()
    async with media(config) as shared:
        parts = SoftphoneParts(
            LineParts(shared, calls, counters, calls.watch),
            ("clinic", "shop"),
            HttpConfig().public_url,
            lambda: "sip:bot@127.0.0.1:5060",
            lambda: 1_700_000_000.0,
        )
        app = web.Application()
        app.add_routes(Softphone(config, parts).routes())
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with ClientSession() as client:
            yield House(f"http://127.0.0.1:{port}/", client, calls, counters)
            for sink in calls.sinks:
                if sink.closed is None:
                    await sink._leg.hangup(HangupCause.NORMAL)
        await runner.cleanup()


def humming(hz: float = 400) -> Peer:
    return Peer(tone(hz, 1))
