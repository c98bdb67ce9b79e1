"""Connections: TCP and TLS, whoever opened them; one to a peer serves both directions.

    bytes -> StreamFramer -> Door.received
    send -> the flow's own connection, one to that peer, or a new one

A TLS handshake begins only once the source has been judged, and takes a connection's place from then on. It
gives way to a newer connection where there is no other place: who connects and says nothing shuts nobody out.
"""

import asyncio
import logging
import socket
import ssl
from itertools import count
from typing import Protocol, cast

from media.tasks import Start
from sip.errors import RemoteProtocolError
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.flow import Flow, TransportName
from sip.ua.stream import Ping, Pong, StreamFramer
from sip.ua.tls import TlsContexts

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0  # well under timer B (32 s), so that a call fails with the reason
HANDSHAKE_S = 10.0  # of a peer that connects by TLS; it takes a place meanwhile
HALF_MESSAGE_S = 30.0  # a peer that stops in the middle of a message
ACCEPT_PAUSE_S = 0.2  # until there may be file descriptors again
IDLE_S = 3600.0  # a silent connection; peers that keep a flow open send keep-alives
UNSENT_BYTES = 1_000_000  # waiting for a peer that does not read
PONG_S = 10.0  # RFC 5626, 4.4.1: within which a keep-alive is to be answered
QUEUED = 200  # messages that wait for a connection to open

Way = tuple[TransportName, str, int, str]  # transport, host, port, name in the certificate


class Door(Protocol):
    """Where messages come in; the transport."""

    def refuses(self, host: str) -> bool:
        """Whether this source is unknown or banned; counted."""

    def received(self, data: bytes, flow: Flow) -> bool:
        """One message. False: the source sends too much."""

    def malformed(self, flow: Flow) -> None:
        """What came was no SIP."""

    def failed(self, flow: Flow, reason: str) -> None:
        """What was sent to `flow` did not arrive."""

    def closed(self, flow: Flow) -> None:
        """A connection has ended."""


class Streams:
    """All connections of a user agent."""

    def __init__(self, config: SipConfig, counters: SipCounters, tls: TlsContexts | None) -> None:
        self._config, self.counters, self._tls = config, counters, tls
        self._numbers = count(1)
        self._connections: dict[int, Connection] = {}
        self._shaking: dict[Connection, asyncio.Task[None]] = {}  # handshakes of peers, the oldest first
        self._opening: dict[Way, list[bytes]] = {}
        self.door: Door
        self._start: Start

    def __len__(self) -> int:
        return len(self._connections)

    def open(self, door: Door, start: Start) -> None:
        """Before anything else."""
        self.door, self._start = door, start

    async def accept_tls(self, listening: socket.socket) -> None:
        """Take connections that peers open by TLS, for ever. A loop's own server would shake hands first."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as e:  # no file descriptors, or the peer has gone already
                log.warning("sip connection not accepted", extra={"error": str(e)})
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            if self.door.refuses(address[0]) or not self.room():
                sock.close()
            else:
                connection = Connection(self, "TLS")
                shaking = self._shake_hands(connection, sock, address[0])
                self._shaking[connection] = self._start(shaking, f"sip tls {address[0]}")
                await asyncio.sleep(0)  # it has the socket from now on: a task that never began closes none

    def send(self, data: bytes, flow: Flow) -> None:
        """On the flow's connection, or another one to that peer, or a new one. Never raises."""
        connection = self._connections.get(flow.connection) or self._to(flow)
        if connection is not None:
            self._write(connection, data, flow)
            return
        way = _way(flow)
        queue = self._opening.get(way)
        if queue is None:
            self._opening[way] = [data]
            self._start(self._connect(flow, way), f"sip connect {flow}")
        elif len(queue) < QUEUED:
            queue.append(data)
        else:
            self.door.failed(flow, "too much waits for the connection")

    def close(self) -> None:
        """Close all. Idempotent."""
        for connection in list(self._connections.values()):
            connection.close()

    def _to(self, flow: Flow) -> "Connection | None":
        """A connection that leads there; one by TLS must have been verified for the same name (RFC 5923)."""
        way = _way(flow)
        return next((c for c in self._connections.values() if _way(c.flow) == way), None)

    def _write(self, connection: "Connection", data: bytes, flow: Flow) -> None:
        if connection.write(data):
            self.counters.sent += 1
        else:
            self.door.failed(flow, "the connection is closed, or the peer does not read")

    async def _connect(self, flow: Flow, way: Way) -> None:
        loop = asyncio.get_running_loop()
        context = self._tls.client if self._tls is not None and flow.transport == "TLS" else None
        try:
            if flow.transport == "TLS" and context is None:
                raise OSError("TLS is not set up")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, flow.transport, way[3], outgoing=True),
                    flow.host,
                    flow.port,
                    ssl=context,
                    server_hostname=way[3] if context is not None else None,
                )
        except OSError as e:  # TimeoutError and ssl.SSLError are such too
            self.counters.tls_failed += isinstance(e, ssl.SSLError)
            self._opening.pop(way, None)
            self.door.failed(flow, str(e) or type(e).__name__)
            return
        # On this one whatever becomes of it: another look for a way would only lead back here.
        for data in self._opening.pop(way, ()):
            self._write(connection, data, flow)

    # For the protocols below

    async def _shake_hands(self, connection: "Connection", sock: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        assert self._tls is not None
        try:
            await loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._tls.server, ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError as e:  # ssl.SSLError and time-outs are such too
            self.counters.tls_failed += 1
            log.info("sip tls handshake failed", extra={"peer": host, "error": str(e) or type(e).__name__})
        finally:
            self._shaking.pop(connection, None)

    def room(self) -> bool:
        """Whether there may be one more connection; the oldest handshake gives way to it."""
        limit = self._config.max_connections
        if len(self._connections) + len(self._shaking) < limit:
            return True
        log.warning("too many sip connections", extra={"limit": limit, "handshakes": len(self._shaking)})
        if not self._shaking:
            return False
        self._shaking.pop(next(iter(self._shaking))).cancel()
        self.counters.tls_failed += 1
        return True

    def shaken(self, connection: "Connection") -> None:
        """Its handshake is over: the place that it had is free, for itself first of all."""
        self._shaking.pop(connection, None)

    def joined(self, connection: "Connection") -> int:
        """Number of a new connection."""
        number = next(self._numbers)
        self._connections[number] = connection
        return number

    def left(self, number: int) -> None:
        """It is closed."""
        self._connections.pop(number, None)

    def garbled(self, flow: Flow, error: str) -> None:
        """What came was no SIP."""
        self.counters.unparsable += 1
        self.door.malformed(flow)
        log.info("sip message refused", extra={"peer": str(flow), "error": error})

    @property
    def max_message(self) -> int:
        """Bytes."""
        return self._config.max_message_bytes


def _way(flow: Flow) -> Way:
    name = (flow.name or flow.host) if flow.transport == "TLS" else ""
    return flow.transport, flow.host, flow.port, name


class Connection(asyncio.Protocol):
    """One connection, whoever opened it."""

    def __init__(
        self, streams: Streams, transport: TransportName, name: str = "", outgoing: bool = False
    ) -> None:
        """`name`: whom the peer's certificate was verified for."""
        self._streams, self._kind, self._name, self._outgoing = streams, transport, name, outgoing
        self._framer = StreamFramer(streams.max_message)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pong: asyncio.TimerHandle | None = None  # when an answer to our keep-alive is overdue
        self._answers_pings = False
        self.flow = Flow(transport, "", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        host, port = (peer[0], peer[1]) if peer else ("", 0)
        # Whoever we connect to is a peer in use: the caller of `send` holds it in the filter. One that comes
        # by TLS was judged before the handshake.
        self._streams.shaken(self)
        stranger = not self._outgoing and self._kind == "TCP" and self._streams.door.refuses(host)
        if stranger or not self._streams.room():
            self._transport.abort()
            return
        number = self._streams.joined(self)
        self.flow = Flow(self._kind, host, port, number, self._name)
        self._arm(IDLE_S)

    def data_received(self, data: bytes) -> None:
        if not self.flow.connection:
            return
        try:
            items = self._framer.receive(data)
        except RemoteProtocolError as e:
            self._streams.garbled(self.flow, str(e))
            self.close()
            return
        self._arm(HALF_MESSAGE_S if self._framer.waiting else IDLE_S)
        for item in items:
            match item:
                case bytes():
                    if not self._streams.door.received(item, self.flow):
                        self.abort()  # a stream cannot drop: the peer would wait for an answer
                        return
                case Ping():
                    self.write(b"\r\n")
                case Pong():
                    self._answers_pings = True
                    self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.left(self.flow.connection)
        if self.flow.connection:
            self._streams.door.closed(self.flow)
        self._stop_waiting()
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
            # RFC 5626, 4.4.1. Peers that do not know it never answer: only silence after an answer tells.
            if self._answers_pings and self._pong is None:
                self._pong = asyncio.get_running_loop().call_later(PONG_S, self._dead)
        self._transport.write(data)
        return True

    def close(self) -> None:
        """Once what was written has been sent."""
        if self._transport is not None:
            self._transport.close()
        self._streams.left(self.flow.connection)

    def abort(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()
        self._streams.left(self.flow.connection)

    def _dead(self) -> None:
        self.abort()
        self._streams.door.failed(self.flow, "no answer to a keep-alive")

    def _stop_waiting(self) -> None:
        if self._pong is not None:
            self._pong.cancel()
            self._pong = None

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.close)
