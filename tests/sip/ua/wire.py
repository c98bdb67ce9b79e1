"""A network in memory: user agents and scripted peers, with loss and delay, on the virtual clock."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from media.frames import AudioFrame
from media.leg import CallLeg, HangupCause
from media.metronome import Metronome
from media.tasks import Start
from sip.endpoint import IncomingCall
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua.agent import UserAgent
from sip.ua.config import DnsConfig, SipConfig
from sip.ua.counters import SipCounters
from sip.ua.flow import Flow
from sip.ua.message import Request, Response, parse, reply
from sip.ua.sources import Sources
from sip.ua.transport import Receiver
from tests.clock import run as run_virtual

T = TypeVar("T")
HOST = "127.0.0.1"  # media is real UDP on this machine
UA_PORT, PEER_PORT = 5060, 5070

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP {types}\r\na={direction}\r\n"
)


def sdp(types: str = "0 8", direction: str = "sendrecv") -> bytes:
    return OFFER.format(types=types, direction=direction).encode()


class Wire:
    """Carries datagrams between ports of HOST."""

    def __init__(self, loss: float = 0.0, seed: int = 0) -> None:
        self.loss = loss
        self.log: list[tuple[float, int, int, str]] = []  # when, from, to, start line; lost ones too
        self._random = random.Random(seed)
        self._ends: dict[int, Callable[[bytes, Flow], None]] = {}

    def join(self, port: int, deliver: Callable[[bytes, Flow], None]) -> None:
        self._ends[port] = deliver

    def send(self, data: bytes, source: int, target: int) -> None:
        loop = asyncio.get_running_loop()
        self.log.append((loop.time(), source, target, data.split(b"\r\n")[0].decode(errors="replace")))
        if self._random.random() < self.loss:
            return
        # A bad line also changes the order.
        delay = self._random.uniform(0.001, 0.03) if self.loss else 0.01 + len(self.log) * 1e-9
        loop.call_later(delay, self.deliver, data, source, target)

    def deliver(self, data: bytes, source: int, target: int, host: str = HOST) -> None:
        """At once."""
        end = self._ends.get(target)
        if end is not None:
            end(data, Flow("UDP", host, source))

    def lines(self, prefix: str) -> list[float]:
        """When messages whose start line begins so were sent."""
        return [round(at, 2) for at, _, _, line in self.log if line.startswith(prefix)]


class WireTransport:
    """A `Transport` on the wire."""

    def __init__(self, wire: Wire, port: int, sources: Sources, counters: SipCounters) -> None:
        self.wire, self.port, self._sources, self._counters = wire, port, sources, counters

    def port_of(self, transport: str) -> int:
        return self.port

    async def open(self, receiver: Receiver, start: Start) -> None:
        def deliver(data: bytes, flow: Flow) -> None:
            if self._sources.allows(flow.host) and data.strip():
                receiver.on_message(data, flow)

        self.wire.join(self.port, deliver)

    def send(self, data: bytes, flow: Flow) -> None:
        self._counters.sent += 1
        self.wire.send(data, self.port, flow.port)

    def local_host(self, peer: str) -> str:
        return HOST

    def close(self) -> None:
        self.wire.join(self.port, lambda *_: None)


def user_agent(wire: Wire, port: int = UA_PORT, **config: Any) -> UserAgent:
    media = RtpMedia(RtpConfig(host=HOST, first_port=0, last_port=0, inactivity_s=0), Metronome())
    return UserAgent(
        SipConfig(host=HOST, port=port, dns=DnsConfig(srv=False), **config),
        media,
        lambda config, sources, counters: WireTransport(wire, port, sources, counters),
    )


class Ear:
    """A `LegSink` that remembers."""

    def __init__(self, leg: CallLeg) -> None:
        self.leg = leg
        self.digits = ""
        self.causes: list[HangupCause] = []
        self.closed = asyncio.Event()
        leg.start(self)

    def on_audio(self, frame: AudioFrame) -> None:
        pass

    def on_tick(self) -> None:
        pass

    def on_dtmf(self, digit: str) -> None:
        self.digits += digit

    def on_played(self, pts: int) -> None:
        pass

    def on_closed(self, cause: HangupCause) -> None:
        self.causes.append(cause)
        self.closed.set()


class Callee:
    """An application that answers every call after a while."""

    def __init__(self, ring_s: float = 0.5) -> None:
        self.ring_s = ring_s
        self.calls: list[IncomingCall] = []
        self.ears: list[Ear] = []
        self.failures: list[Exception] = []
        self.answered = asyncio.Event()

    async def __call__(self, call: IncomingCall) -> None:
        self.calls.append(call)
        call.ring()
        await asyncio.sleep(self.ring_s)
        try:
            leg = await call.answer()
        except Exception as e:
            self.failures.append(e)
            raise
        self.ears.append(Ear(leg))
        self.answered.set()


class Peer:
    """A SIP peer that does exactly what the test says."""

    def __init__(self, wire: Wire, port: int = PEER_PORT) -> None:
        self.wire, self.port = wire, port
        self._inbox: asyncio.Queue[Request | Response] = asyncio.Queue()
        self._number = 0
        self.tag = ""  # the other side's, once there is a dialog
        self.call_id = "call-1"
        wire.join(port, lambda data, flow: self._inbox.put_nowait(parse(data)) if data.strip() else None)

    def send(self, message: Request | Response, target: int = UA_PORT) -> None:
        self.wire.send(bytes(message), self.port, target)

    def request(
        self,
        method: str,
        body: bytes = b"",
        *,
        headers: tuple[tuple[str, str], ...] = (),
        number: int = 0,
        branch: str = "",
        kind: str = "application/sdp",
    ) -> Request:
        """A request of this peer, in its dialog if it has one. Not sent yet."""
        if not number:
            self._number += 1
        number = number or self._number
        message = Request(method=method, uri=f"sip:bot@{HOST}:{UA_PORT}", body=body)
        add = message.headers.add
        branch = branch or f"z9hG4bK{method}{number}"
        add("via", f"SIP/2.0/UDP {HOST}:{self.port};branch={branch}")
        add("from", f"<sip:+4930123@{HOST}:{self.port}>;tag=peer")
        add("to", f"<sip:bot@{HOST}>" + (f";tag={self.tag}" if self.tag else ""))
        add("call-id", self.call_id)
        add("cseq", f"{number} {method}")
        add("contact", f"<sip:peer@{HOST}:{self.port}>")
        if body:
            add("content-type", kind)
        for name, value in headers:
            add(name, value)
        return message

    async def response(self, status: int, *, within: float = 60.0) -> Response:
        """The next message but provisional responses; it must be a response of that status."""
        async with asyncio.timeout(within):
            while True:
                message = await self._inbox.get()
                if isinstance(message, Response) and message.status < 200 and status >= 200:
                    continue
                assert isinstance(message, Response) and message.status == status, message
                if message.cseq.method == "INVITE" and message.status < 300:
                    self.tag = self.tag or message.to.tag
                return message

    async def finals(self, count: int) -> dict[str, int]:
        """The next final responses by method, in whatever order the wire brings them."""
        found: dict[str, int] = {}
        async with asyncio.timeout(60):
            while len(found) < count:
                message = await self._inbox.get()
                if isinstance(message, Response) and message.status >= 200:
                    found[message.cseq.method] = message.status
        return found

    async def receive(self, method: str, *, within: float = 60.0) -> Request:
        """The next message; it must be a request of that method."""
        async with asyncio.timeout(within):
            message = await self._inbox.get()
        assert isinstance(message, Request) and message.method == method, message
        return message

    def came(self, method: str) -> list[Request]:
        """The requests of that method that have come by now, each once; all that has come is forgotten."""
        found: dict[str, Request] = {}
        while not self._inbox.empty():
            message = self._inbox.get_nowait()
            if isinstance(message, Request) and message.method == method:
                found.setdefault(message.via.branch, message)
        return list(found.values())

    async def nothing(self, seconds: float) -> None:
        """Nothing comes for so long."""
        await asyncio.sleep(seconds)
        assert self._inbox.empty(), self._inbox.get_nowait()

    async def ask(self, message: Request, status: int) -> Response:
        """Send a request; its final response must have that status."""
        self.send(message)
        response = await self.response(status)
        if message.method == "INVITE":
            ack = self.request(
                "ACK", number=message.cseq.number, branch="" if status < 300 else message.via.branch
            )
            self.send(ack)
        return response

    def answer(
        self,
        request: Request,
        status: int,
        body: bytes = b"",
        *,
        tag: str = "peer",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Respond to a request."""
        response = reply(request, status, tag=tag)
        response.headers.add("contact", f"<sip:peer@{HOST}:{self.port}>")
        response.body = body
        if body:
            response.headers.add("content-type", "application/sdp")
        for name, value in headers:
            response.headers.add(name, value)
        self.send(response, request.via.port)

    def follow(self, request: Request) -> None:
        """From now on requests of this peer belong to the dialog of this INVITE."""
        self.call_id, self.tag = request.call_id, request.from_.tag
        self._number = 100


def run(test: Callable[[], Coroutine[Any, Any, T]], hours: float = 2) -> T:
    """A whole test on the virtual clock, so many hours of it at most."""

    async def bounded() -> T:
        async with asyncio.timeout(3600 * hours):
            return await test()

    return run_virtual(bounded())
