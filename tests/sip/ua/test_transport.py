"""Real sockets on this machine: UDP, TCP, the source filter. On the standard loop and on uvloop."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from media.leg import HangupCause
from media.metronome import Metronome
from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua import streams
from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.filter import CACHE, SourceFilter
from sip.ua.message import Response, parse
from sip.ua.transport import NetworkTransport
from tests.sip.ua.wire import Callee, Ear

OPTIONS = (
    "OPTIONS sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{n};rport\r\n"
    "From: <sip:a@127.0.0.1>;tag=a\r\nTo: <sip:bot@127.0.0.1>\r\nCall-ID: c{n}\r\nCSeq: 1 OPTIONS\r\n"
    "X-Padding: {padding}\r\nContent-Length: 0\r\n\r\n"
)


def options(transport: str, n: int = 1, padding: int = 0, via: str = "10.9.8.7:9") -> bytes:
    return OPTIONS.format(via=f"{transport} {via}", n=n, padding="x" * padding).encode()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_on_loop(test: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return run_on_loop


def agent_on(**config: object) -> UserAgent:
    media = RtpMedia(RtpConfig(host="127.0.0.1", first_port=0, last_port=0), Metronome())
    return UserAgent(SipConfig(host="127.0.0.1", port=0, **config), media)  # type: ignore[arg-type]


def port_of(agent: UserAgent) -> int:
    return int(agent.uri.rpartition(":")[2])


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data)


async def udp_socket(port: int) -> tuple[asyncio.DatagramTransport, Datagrams]:
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Datagrams, remote_addr=("127.0.0.1", port))


async def message(reader: asyncio.StreamReader) -> Response:
    found = parse(await reader.readuntil(b"\r\n\r\n"))
    assert isinstance(found, Response)
    return found


async def closed(reader: asyncio.StreamReader) -> None:
    """The other side closes without a word."""
    try:
        assert await reader.read() == b""
    except ConnectionError:
        pass


def test_udp_answers_where_the_request_came_from_and_takes_large_ones(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        agent = agent_on()
        await agent.start(Callee())
        transport, peer = await udp_socket(port_of(agent))
        for n, padding in enumerate((0, 20_000)):
            transport.sendto(options("UDP", n, padding))
            response = parse(await peer.received.get())
            assert isinstance(response, Response) and response.status == 200
            own = transport.get_extra_info("sockname")
            assert (response.via.params["rport"], response.via.params["received"]) == (str(own[1]), own[0])
        transport.sendto(b"\r\n\r\n")
        transport.sendto(b"\0garbage\xff")
        transport.sendto(options("UDP", 9))
        await peer.received.get()
        assert (agent.counters.unparsable, agent.counters.received) == (1, 3)
        transport.close()
        await agent.close()

    run(test)


def test_tcp_answers_on_the_connection_whatever_the_via_says_and_however_it_is_split(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        agent = agent_on()
        await agent.start(Callee())
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(agent))
        data = options("TCP", 1) + options("TCP", 2) + b"\r\n\r\n" + options("TCP", 3)
        for at in range(0, len(data), 7):
            writer.write(data[at : at + 7])
            await writer.drain()
        assert [(await message(reader)).call_id for _ in range(2)] == ["c1", "c2"]
        assert await reader.readexactly(2) == b"\r\n"  # the pong
        assert (await message(reader)).call_id == "c3"
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""  # closed: where the next message begins is unknown
        assert agent.counters.unparsable == 1
        writer.close()
        await agent.close()

    run(test)


def test_a_call_over_one_tcp_connection(run: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
    async def test() -> None:
        alice, bob, callee = agent_on(), agent_on(), Callee(ring_s=0.05)
        await alice.start(Callee())
        await bob.start(callee)
        target = OutboundCall(f"{bob.uri};transport=tcp")
        caller = Ear(await alice.place(target))
        await callee.answered.wait()
        assert callee.calls[0].info.headers["contact"].endswith(";transport=tcp>")
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        await caller.closed.wait()
        await asyncio.sleep(0.05)
        assert (alice.calls, bob.calls) == (0, 0)
        network = alice._transport
        assert isinstance(network, NetworkTransport) and len(network.streams) == 1
        assert alice.counters.repeated == bob.counters.repeated == 0
        await alice.close()
        await bob.close()

    run(test)


def test_a_closed_port_fails_the_call_at_once(run: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
    async def test() -> None:
        agent = agent_on()
        await agent.start(Callee())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            target = f"sip:a@127.0.0.1:{free.getsockname()[1]};transport=tcp"
            with pytest.raises(CallFailed) as failed:
                await agent.place(OutboundCall(target))
        assert failed.value.status == 0 and agent.counters.unsendable == 1
        await agent.close()

    run(test)


def test_unknown_sources_get_nothing_back_and_are_counted(
    run: Callable[[Callable[[], Awaitable[None]]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(SourceFilter, "_judge", lambda self, host: False)  # even loopback is unknown
        agent = agent_on()
        await agent.start(Callee())
        transport, peer = await udp_socket(port_of(agent))
        for n in range(5):
            transport.sendto(options("UDP", n))
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(agent))
        writer.write(options("TCP"))
        await closed(reader)
        await asyncio.sleep(0.1)
        assert peer.received.empty()
        assert agent.counters == SipCounters(refused_source=6)
        writer.close()
        transport.close()
        await agent.close()

    run(test)


def test_too_many_connections_are_closed(run: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
    async def test() -> None:
        agent = agent_on(max_connections=2)
        await agent.start(Callee())
        streams = [await asyncio.open_connection("127.0.0.1", port_of(agent)) for _ in range(3)]
        for n, (_, writer) in enumerate(streams):
            writer.write(options("TCP", n))
        assert (await message(streams[0][0])).status == (await message(streams[1][0])).status == 200
        await closed(streams[2][0])
        for _, writer in streams:
            writer.close()
        await agent.close()

    run(test)


def test_a_call_beyond_the_connections_that_may_be_fails_after_one_try(
    run: Callable[[Callable[[], Awaitable[None]]], None],
) -> None:
    async def test() -> None:
        alice, bob = agent_on(max_connections=1), agent_on()
        await alice.start(Callee())
        await bob.start(Callee())
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(alice))
        writer.write(options("TCP"))
        await message(reader)
        with pytest.raises(CallFailed, match="connection is closed"):
            await alice.place(OutboundCall(f"{bob.uri};transport=tcp"))
        assert alice.counters.unsendable == 1
        writer.close()
        await alice.close()
        await bob.close()

    run(test)


def test_a_taken_port_is_an_error_that_names_it(run: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
    async def test() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            media = RtpMedia(RtpConfig(first_port=0, last_port=0), Metronome())
            with pytest.raises(OSError, match=f"UDP 127.0.0.1:{port}"):
                await UserAgent(SipConfig(host="127.0.0.1", port=port), media).start(Callee())

    run(test)


def test_after_close_the_port_is_free_again(run: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
    async def test() -> None:
        agent = agent_on()
        await agent.start(Callee())
        port = port_of(agent)
        await agent.close()
        await asyncio.sleep(0.05)
        media = RtpMedia(RtpConfig(first_port=0, last_port=0), Metronome())
        again = UserAgent(SipConfig(host="127.0.0.1", port=port), media)
        await again.start(Callee())
        await again.close()

    run(test)


def test_a_connection_that_stops_answering_keep_alives_is_given_up(
    run: Callable[[Callable[[], Awaitable[None]]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5626, 4.4.1; but a peer that has never answered one does not know them."""

    async def test() -> None:
        monkeypatch.setattr(streams, "PONG_S", 0.1)
        agent = agent_on()
        await agent.start(Callee())
        network = agent._transport
        assert isinstance(network, NetworkTransport)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(agent))
        writer.write(options("TCP"))
        await message(reader)
        (connection,) = network.streams._connections.values()
        for answer in (b"", b"\r\n", b"\r\n", b""):
            network.send(b"\r\n\r\n", connection.flow)
            assert await reader.readexactly(4) == b"\r\n\r\n"
            writer.write(answer)
            await asyncio.sleep(0.15)
        await closed(reader)
        assert agent.counters.unsendable == 1 and len(network.streams) == 0
        writer.close()
        await agent.close()

    run(test)


def test_the_filter() -> None:
    sources = SourceFilter(["192.0.2.0/24", "2001:db8::1"])
    for host in ("127.0.0.1", "127.9.9.9", "::1", "192.0.2.77", "2001:db8::1", "::ffff:192.0.2.1"):
        assert sources.allows(host), host
    for host in ("192.0.3.1", "8.8.8.8", "2001:db8::2", "10.0.0.1", "", "name", "::ffff:8.8.8.8"):
        assert not sources.allows(host), host
    sources.hold("8.8.8.8")
    sources.hold("8.8.8.8")
    sources.release("8.8.8.8")
    assert sources.allows("8.8.8.8")
    sources.release("8.8.8.8")
    assert not sources.allows("8.8.8.8")
    for n in range(3 * CACHE):
        assert not sources.allows(f"198.51.{n // 256}.{n % 256}")
    assert len(sources._verdicts) <= CACHE
    with pytest.raises(ValueError, match="host bits"):
        SourceFilter(["10.0.0.1/8"])
