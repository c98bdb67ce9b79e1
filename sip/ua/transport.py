"""Sockets: UDP and TCP on one port. The source is judged before anything is parsed.

    datagram or stream -> SourceFilter -> (StreamFramer) -> Receiver.on_message
    send(data, flow) -> the UDP socket, or a TCP connection: the flow's own, one to that peer, or a new one

Unknown sources get nothing back, not even an error; they are counted.
"""

import asyncio
import errno
import logging
import socket
from itertools import count
from typing import Protocol, cast

from media.tasks import Start
from sip.errors import RemoteProtocolError
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.filter import SourceFilter
from sip.ua.flow import Flow
from sip.ua.stream import Ping, Pong, StreamFramer

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0  # well under timer B (32 s), so that a call fails with the reason
HALF_MESSAGE_S = 30.0  # a peer that stops in the middle of a message
IDLE_S = 3600.0  # a silent connection; peers that keep a flow open send keep-alives
UNSENT_BYTES = 1_000_000  # waiting for a peer that does not read
QUEUED = 200  # messages that wait for a connection to open
UDP_BUFFER = 4_194_304  # bytes: 100 calls at once, each with some messages of 2 KB, while the loop is busy
PORT_TRIES = 20  # any free UDP port may be taken on TCP


class Receiver(Protocol):
    """Takes what arrives. Returns at once, never raises."""

    def on_message(self, data: bytes, flow: Flow) -> None:
        """One message; it has not been parsed."""

    def on_flow_failed(self, flow: Flow) -> None:
        """What was sent to `flow` did not arrive."""


class Transport(Protocol):
    """What the user agent needs of the network."""

    @property
    def port(self) -> int:
        """The bound port."""

    async def open(self, receiver: Receiver, start: Start) -> None:
        """Bind. Raises OSError."""

    def send(self, data: bytes, flow: Flow) -> None:
        """Never blocks, never raises; a flow that cannot be reached is reported to the receiver."""

    def local_host(self, peer: str) -> str:
        """Our IP address as `peer` sees it, NAT aside."""

    def close(self) -> None:
        """Give up the sockets. Idempotent."""


class NetworkTransport:
    """The real one."""

    def __init__(self, config: SipConfig, sources: SourceFilter, counters: SipCounters) -> None:
        self._config, self._sources, self._counters = config, sources, counters
        self._receiver: Receiver | None = None
        self._start: Start | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._numbers = count(1)
        self._connections: dict[int, _Connection] = {}
        self._opening: dict[tuple[str, int], list[bytes]] = {}
        self._local_hosts: dict[str, str] = {}
        self.port = config.port

    async def open(self, receiver: Receiver, start: Start) -> None:
        self._receiver, self._start = receiver, start
        loop = asyncio.get_running_loop()
        udp, tcp = self._bind()
        if udp is not None:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        if tcp is not None:
            self._server = await loop.create_server(lambda: _Connection(self), sock=tcp, backlog=200)

    def send(self, data: bytes, flow: Flow) -> None:
        if flow.transport == "TCP":
            self._send_stream(data, flow)
            return
        if self._udp is None or self._udp.is_closing():
            self._fail(flow, "no UDP socket")
            return
        try:
            self._udp.sendto(data, (flow.host, flow.port))
        except (OSError, ValueError) as e:  # no route, a datagram too long, an address of the other family
            self._fail(flow, str(e))
            return
        self._counters.sent += 1

    def local_host(self, peer: str) -> str:
        if self._config.host not in ("0.0.0.0", "::"):
            return self._config.host
        if peer not in self._local_hosts:
            if len(self._local_hosts) > 1000:
                self._local_hosts.clear()
            self._local_hosts[peer] = route_host(peer)
        return self._local_hosts[peer]

    def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections.values()):
            connection.close()

    # For the protocols below

    def refuses(self, host: str) -> bool:
        """Whether this source is unknown; counted."""
        if self._sources.allows(host):
            return False
        self._counters.refused_source += 1
        return True

    def received(self, data: bytes, flow: Flow) -> None:
        assert self._receiver is not None
        self._receiver.on_message(data, flow)

    def garbled(self, flow: Flow, error: RemoteProtocolError) -> None:
        self._counters.unparsable += 1
        log.info("sip stream closed", extra={"peer": str(flow), "error": str(error)})

    def joined(self, connection: "_Connection") -> int:
        """Number of a new connection; 0 if there are too many."""
        if len(self._connections) >= self._config.max_connections:
            log.warning("too many sip connections", extra={"limit": self._config.max_connections})
            return 0
        number = next(self._numbers)
        self._connections[number] = connection
        return number

    def left(self, number: int) -> None:
        self._connections.pop(number, None)

    @property
    def max_message(self) -> int:
        return self._config.max_message_bytes

    # Streams

    def _send_stream(self, data: bytes, flow: Flow) -> None:
        connection = self._connections.get(flow.connection) or self._to(flow)
        if connection is not None:
            if connection.write(data):
                self._counters.sent += 1
            else:
                self._fail(flow, "the peer does not read")
            return
        queue = self._opening.get((flow.host, flow.port))
        if queue is None:
            assert self._start is not None
            self._opening[flow.host, flow.port] = [data]
            self._start(self._connect(flow), f"sip connect {flow}")
        elif len(queue) < QUEUED:
            queue.append(data)
        else:
            self._fail(flow, "too much waits for the connection")

    def _to(self, flow: Flow) -> "_Connection | None":
        for connection in self._connections.values():
            if (connection.flow.host, connection.flow.port) == (flow.host, flow.port):
                return connection
        return None

    async def _connect(self, flow: Flow) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(lambda: _Connection(self, outgoing=True), flow.host, flow.port)
        except OSError as e:  # TimeoutError is one too
            self._opening.pop((flow.host, flow.port), None)
            self._fail(flow, str(e) or type(e).__name__)
            return
        for data in self._opening.pop((flow.host, flow.port), ()):
            self._send_stream(data, flow)

    def _fail(self, flow: Flow, reason: str) -> None:
        self._counters.unsendable += 1
        log.info("sip message not sent", extra={"peer": str(flow), "error": reason})
        if self._receiver is not None:
            # Not at once: the sender is still in the middle of its step.
            asyncio.get_running_loop().call_soon(self._receiver.on_flow_failed, flow)

    def _bind(self) -> tuple[socket.socket | None, socket.socket | None]:
        wanted = {t.lower() for t in self._config.transports}
        for attempt in range(PORT_TRIES):
            udp = _socket(self._config, socket.SOCK_DGRAM, self._config.port) if "udp" in wanted else None
            port = udp.getsockname()[1] if udp is not None else self._config.port
            try:
                tcp = _socket(self._config, socket.SOCK_STREAM, port) if "tcp" in wanted else None
            except OSError as e:
                if udp is not None:
                    udp.close()
                if e.errno == errno.EADDRINUSE and self._config.port == 0 and attempt + 1 < PORT_TRIES:
                    continue
                raise
            bound = udp or tcp
            if bound is None:
                raise ValueError(f"no transport in {self._config.transports!r}")
            self.port = bound.getsockname()[1]
            return udp, tcp
        raise OSError(errno.EADDRINUSE, "no port that is free on UDP and TCP")


def _socket(config: SipConfig, kind: socket.SocketKind, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        sock.bind((config.host, port))
    except OSError as e:
        sock.close()
        name = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
        raise OSError(e.errno, f"cannot bind {name} {config.host}:{port}: {e.strerror}") from e
    return sock


def route_host(peer: str) -> str:
    """The local address from which packets to `peer` leave. Nothing is sent."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((peer, 9))
            return cast(str, sock.getsockname()[0])
        except OSError:
            return "::1" if family is socket.AF_INET6 else "127.0.0.1"


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, owner: NetworkTransport) -> None:
        self._owner = owner

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._owner.refuses(addr[0]):
            return
        if data.strip(b"\r\n\0 "):  # else a keep-alive, which on UDP wants no answer
            self._owner.received(data, Flow("UDP", addr[0], addr[1]))


class _Connection(asyncio.Protocol):
    """One TCP connection, whoever opened it."""

    def __init__(self, owner: NetworkTransport, outgoing: bool = False) -> None:
        self._owner, self._outgoing = owner, outgoing
        self._framer = StreamFramer(owner.max_message)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.flow = Flow("TCP", "", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        host, port = (peer[0], peer[1]) if peer else ("", 0)
        # Whoever we connect to is a peer in use: the caller of `send` holds it in the filter.
        if not self._outgoing and self._owner.refuses(host):
            self._transport.abort()
            return
        number = self._owner.joined(self)
        if not number:
            self._transport.abort()
            return
        self.flow = Flow("TCP", host, port, number)
        self._arm(IDLE_S)

    def data_received(self, data: bytes) -> None:
        if not self.flow.connection:
            return
        try:
            items = self._framer.receive(data)
        except RemoteProtocolError as e:
            self._owner.garbled(self.flow, e)
            self.close()
            return
        self._arm(HALF_MESSAGE_S if self._framer.waiting else IDLE_S)
        for item in items:
            match item:
                case bytes():
                    self._owner.received(item, self.flow)
                case Ping():
                    self.write(b"\r\n")
                case Pong():
                    pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.left(self.flow.connection)
        if self._timer is not None:
            self._timer.cancel()

    def write(self, data: bytes) -> bool:
        """False if the peer has stopped reading; the connection is then given up."""
        assert self._transport is not None
        if self._transport.is_closing() or self._transport.get_write_buffer_size() > UNSENT_BYTES:
            self._transport.abort()
            return False
        if data == b"\r\n\r\n":
            self._framer.pings_sent += 1
        self._transport.write(data)
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._owner.left(self.flow.connection)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.close)
