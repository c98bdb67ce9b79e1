"""Sockets: UDP and TCP on one port, TLS on another. The source is judged before anything is parsed.

    datagram or stream -> Sources -> (StreamFramer) -> Receiver.on_message
    send(data, flow) -> the UDP socket, or a connection (streams.py)

Unknown and banned sources get nothing back, not even an error; they are counted.
"""

import asyncio
import errno
import logging
import socket
from typing import Protocol, cast

from media.tasks import Start
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.flow import Flow, TransportName
from sip.ua.sources import Sources
from sip.ua.streams import Connection, Streams
from sip.ua.tls import TlsContexts

log = logging.getLogger(__name__)

UDP_BUFFER = 4_194_304  # bytes: 100 calls at once, each with some messages of 2 KB, while the loop is busy
BACKLOG = 200  # connections that wait to be accepted
PORT_TRIES = 20  # any free UDP port may be taken on TCP
RENEWAL_S = 15.0  # how often certificate files are looked at


class Receiver(Protocol):
    """Takes what arrives. Returns at once, never raises."""

    def on_message(self, data: bytes, flow: Flow) -> None:
        """One message; it has not been parsed."""

    def on_flow_failed(self, flow: Flow, reason: str) -> None:
        """What was sent to `flow` did not arrive."""


class Transport(Protocol):
    """What the user agent needs of the network."""

    @property
    def port(self) -> int:
        """The bound port of UDP and TCP."""

    def port_of(self, transport: TransportName) -> int:
        """The bound port of a transport."""

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

    def __init__(self, config: SipConfig, sources: Sources, counters: SipCounters) -> None:
        """Raises ValueError for TLS files that are no good."""
        self._config, self._sources, self._counters = config, sources, counters
        self.tls = TlsContexts(config.tls)
        self.streams = Streams(config, counters, self.tls)
        self._receiver: Receiver | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tls_socket: socket.socket | None = None
        self._local_hosts: dict[str, str] = {}
        self.port = config.port
        self._tls_port = 0

    async def open(self, receiver: Receiver, start: Start) -> None:
        self._receiver = receiver
        self.streams.open(self, start)
        loop = asyncio.get_running_loop()
        udp, tcp, tls = self._bind()
        if udp is not None:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        if tcp is not None:
            self._server = await loop.create_server(
                lambda: Connection(self.streams, "TCP"), sock=tcp, backlog=BACKLOG
            )
        if tls is not None:
            tls.listen(BACKLOG)
            self._tls_socket = tls
            start(self.streams.accept_tls(tls), "sip tls")
            start(self._renew(), "sip tls renewal")

    def port_of(self, transport: TransportName) -> int:
        # Without a port for TLS peers reach us on the connection that we have opened.
        return self._tls_port if transport == "TLS" and self._tls_port else self.port

    def send(self, data: bytes, flow: Flow) -> None:
        if flow.reliable:
            self.streams.send(data, flow)
            return
        if self._udp is None or self._udp.is_closing():
            self.failed(flow, "no UDP socket")
            return
        try:
            self._udp.sendto(data, (flow.host, flow.port))
        except (OSError, ValueError) as e:  # no route, a datagram too long, an address of the other family
            self.failed(flow, str(e))
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
        if self._tls_socket is not None:
            self._tls_socket.close()
        self.streams.close()

    # Door, for the protocols

    def refuses(self, host: str) -> bool:
        """Whether this source is unknown or banned; counted."""
        if self._sources.allows(host):
            return self._sources.banned(host)
        self._counters.refused_source += 1
        return True

    def received(self, data: bytes, flow: Flow) -> bool:
        """One message, from a source that is allowed. False: it sends too much, or is banned by now."""
        assert self._receiver is not None
        if flow.reliable and self._sources.banned(flow.host):
            return False
        # Only requests cost us an answer, and what they bring about; responses belong to requests of ours.
        if not data.startswith(b"SIP/2.0 ") and not self._sources.admits(flow.host):
            return False
        self._receiver.on_message(data, flow)
        return True

    def malformed(self, host: str) -> None:
        """What came on a stream was no SIP."""
        self._sources.malformed(host)

    def failed(self, flow: Flow, reason: str) -> None:
        """Count it, and tell the receiver."""
        self._counters.unsendable += 1
        log.info("sip message not sent", extra={"peer": str(flow), "error": reason})
        if self._receiver is not None:
            # Not at once: the sender is still in the middle of its step.
            asyncio.get_running_loop().call_soon(self._receiver.on_flow_failed, flow, reason)

    async def _renew(self) -> None:
        """Take new certificates as they appear; connections that are open keep theirs."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                if self.tls.refresh():
                    log.info("sip certificate renewed", extra={"file": self._config.tls.certificate})
            except ValueError as e:
                log.error("sip certificate not renewed", extra={"error": str(e)})

    def _bind(self) -> tuple[socket.socket | None, ...]:
        """The sockets of UDP, TCP and TLS, as far as they are wanted."""
        wanted = {t.lower() for t in self._config.transports}
        tls = _socket(self._config, "TLS", self._config.tls.port) if "tls" in wanted else None
        try:
            udp, tcp = self._bind_pair(wanted)
        except OSError:
            if tls is not None:
                tls.close()
            raise
        bound = udp or tcp or tls
        if bound is None:
            raise ValueError(f"no transport in {self._config.transports!r}")
        self.port = bound.getsockname()[1]
        self._tls_port = tls.getsockname()[1] if tls is not None else 0
        return udp, tcp, tls

    def _bind_pair(self, wanted: set[str]) -> tuple[socket.socket | None, socket.socket | None]:
        for attempt in range(PORT_TRIES):
            udp = _socket(self._config, "UDP", self._config.port) if "udp" in wanted else None
            port = udp.getsockname()[1] if udp is not None else self._config.port
            try:
                tcp = _socket(self._config, "TCP", port) if "tcp" in wanted else None
            except OSError as e:
                if udp is not None:
                    udp.close()
                if e.errno == errno.EADDRINUSE and self._config.port == 0 and attempt + 1 < PORT_TRIES:
                    continue
                raise
            return udp, tcp
        raise OSError(errno.EADDRINUSE, "no port that is free on UDP and TCP")


def _socket(config: SipConfig, transport: TransportName, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
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
        raise OSError(e.errno, f"cannot bind {transport} {config.host}:{port}: {e.strerror}") from e
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
        if len(data) > self._owner.streams.max_message:
            self._owner.streams.garbled(Flow("UDP", addr[0], addr[1]), f"message of {len(data)} bytes")
        elif data.strip(b"\r\n\0 "):  # else a keep-alive, which on UDP wants no answer
            self._owner.received(data, Flow("UDP", addr[0], addr[1]))
