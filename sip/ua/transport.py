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

    def on_flow_closed(self, flow: Flow) -> None:
        """A connection has ended, whether anything was to be sent on it or not."""


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
        self._udp: dict[bool, asyncio.DatagramTransport] = {}  # by whether it is of IPv6
        self._servers: list[asyncio.Server] = []
        self._tls_sockets: list[socket.socket] = []
        self._local_hosts: dict[str, str] = {}
        self.port = config.port
        self._tls_port = 0

    async def open(self, receiver: Receiver, start: Start) -> None:
        self._receiver = receiver
        self.streams.open(self, start)
        loop = asyncio.get_running_loop()
        bound = self._bind()
        for udp in bound["UDP"]:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
            self._udp[udp.family is socket.AF_INET6] = transport
        for tcp in bound["TCP"]:
            server = await loop.create_server(
                lambda: Connection(self.streams, "TCP"), sock=tcp, backlog=BACKLOG
            )
            self._servers.append(server)
        for tls in bound["TLS"]:
            tls.listen(BACKLOG)
            self._tls_sockets.append(tls)
            start(self.streams.accept_tls(tls), "sip tls")
        if self._tls_sockets:
            start(self._renew(), "sip tls renewal")

    def port_of(self, transport: TransportName) -> int:
        # Without a port for TLS peers reach us on the connection that we have opened.
        return self._tls_port if transport == "TLS" and self._tls_port else self.port

    def send(self, data: bytes, flow: Flow) -> None:
        if flow.reliable:
            self.streams.send(data, flow)
            return
        udp = self._udp.get(":" in flow.host)
        if udp is None or udp.is_closing():
            self.failed(flow, f"no UDP socket for {flow.host}")
            return
        try:
            udp.sendto(data, (flow.host, flow.port))
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
        for udp in self._udp.values():
            udp.close()
        for server in self._servers:
            server.close()
        for sock in self._tls_sockets:
            sock.close()
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
        # Requests cost us an answer, and what they bring about; responses of whoever we asked do not count.
        waited_for = data.startswith(b"SIP/2.0 ") and self._sources.holds(flow.host)
        if not waited_for and not self._sources.admits(flow):
            return False
        self._receiver.on_message(data, flow)
        return True

    def malformed(self, flow: Flow) -> None:
        """What came was no SIP."""
        self._sources.malformed(flow)

    def failed(self, flow: Flow, reason: str) -> None:
        """Count it, and tell the receiver."""
        self._counters.unsendable += 1
        log.info("sip message not sent", extra={"peer": str(flow), "error": reason})
        if self._receiver is not None:
            # Not at once: the sender is still in the middle of its step.
            asyncio.get_running_loop().call_soon(self._receiver.on_flow_failed, flow, reason)

    def closed(self, flow: Flow) -> None:
        """A connection has ended."""
        if self._receiver is not None:
            self._receiver.on_flow_closed(flow)

    async def _renew(self) -> None:
        """Take new certificates as they appear; connections that are open keep theirs."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                if self.tls.refresh():
                    log.info("sip certificate renewed", extra={"file": self._config.tls.certificate})
            except ValueError as e:
                log.error("sip certificate not renewed", extra={"error": str(e)})

    def _bind(self) -> "Bound":
        """The sockets of each transport, one for each IP version, as far as they are wanted."""
        wanted = {t.upper() for t in self._config.transports}
        bound: Bound = {"UDP": [], "TCP": [], "TLS": []}
        try:
            if "TLS" in wanted:
                self._tls_port = _bind_all(self._config, "TLS", self._config.tls.port, bound)
            pair: list[TransportName] = [t for t in ("UDP", "TCP") if t in wanted]
            self.port = self._bind_pair(pair, bound) if pair else self._tls_port
        except OSError:
            _close_all(bound, *bound)
            raise
        return bound

    def _bind_pair(self, transports: "list[TransportName]", bound: "Bound") -> int:
        """UDP and TCP on one port."""
        for attempt in range(PORT_TRIES):
            port = self._config.port
            try:
                for transport in transports:
                    port = _bind_all(self._config, transport, port, bound)
                return port
            except OSError as e:
                _close_all(bound, "UDP", "TCP")
                if e.errno != errno.EADDRINUSE or self._config.port or attempt + 1 == PORT_TRIES:
                    raise
        raise OSError(errno.EADDRINUSE, "no port that is free on UDP and TCP")


Bound = dict[TransportName, list[socket.socket]]


def _bind_all(config: SipConfig, transport: TransportName, port: int, bound: Bound) -> int:
    """One socket for each IP version, on the same port. Raises OSError that names what is taken."""
    hosts = ("0.0.0.0", "::") if len(config.families) > 1 else (config.host,)
    for host in hosts:
        try:
            sock = _socket(host, transport, port)
        except OSError as e:
            if e.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and host == "::" and bound[transport]:
                log.warning("no ipv6 on this machine", extra={"host": host})
                continue
            raise OSError(e.errno, f"cannot bind {transport} {host}:{port}: {e.strerror}") from e
        bound[transport].append(sock)
        port = sock.getsockname()[1]
    return port


def _close_all(bound: Bound, *transports: TransportName) -> None:
    for transport in transports:
        for sock in bound[transport]:
            sock.close()
        bound[transport].clear()


def _socket(host: str, transport: TransportName, port: int) -> socket.socket:
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if sock.family is socket.AF_INET6:  # IPv4 has a socket of its own: addresses look as people know them
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
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
