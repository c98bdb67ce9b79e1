"""Where the servers of a domain are: NAPTR and SRV records (RFC 3263), addresses, and which of them answer.

    sip:example.com -> NAPTR: transports . SRV: hosts, by priority and weight . A and AAAA: flows, best first

Answers are kept for their TTL. A flow that failed stands behind the others for a while.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import ip_address

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from sip.errors import RemoteProtocolError
from sip.ua.config import DnsConfig
from sip.ua.flow import Flow, TransportName, default_port, transport_of
from sip.ua.grammar import SipUri

log = logging.getLogger(__name__)

CACHED = 1000  # answers
DEAD = 1000  # flows
SERVICES: dict[str, TransportName] = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
PREFIXES: dict[TransportName, str] = {"UDP": "_sip._udp.", "TCP": "_sip._tcp.", "TLS": "_sips._tcp."}
NO_ANSWER = (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN)


class _Unanswered(OSError):
    """No name server said anything of use."""


class Resolver:
    """Of one user agent."""

    def __init__(
        self,
        config: DnsConfig,
        families: Sequence[socket.AddressFamily],
        transports: Collection[str],
        now: Callable[[], float],
    ) -> None:
        """`families` that we have sockets of, best first; `transports` that we have a port for. Raises
        ValueError for a name server that is no address."""
        self._config, self._now = config, now
        self._families = tuple(families)
        # Without a wish of the URI or of NAPTR: UDP first, as RFC 3263, 4.1 has it.
        ours: tuple[TransportName, ...] = ("UDP", "TCP", "TLS")
        able = {"tls", *map(str.lower, transports)}  # calling by TLS takes no port of ours
        self._transports = tuple(t for t in ours if t.lower() in able)
        self._dead: dict[tuple[str, str, int], float] = {}
        self._resolver: dns.asyncresolver.Resolver | None = None
        if config.servers:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
            self._resolver.nameservers = [_server(text) for text in config.servers]
            self._set_up(self._resolver)

    async def ways(self, uri: SipUri, default: TransportName | None = None) -> list[Flow]:
        """All ways to a URI, best first; `default` is the transport unless the URI says one. Raises OSError
        if there is none, RemoteProtocolError for a URI that we cannot send to."""
        insists = uri.transport is not None or uri.scheme == "sips"
        wanted = transport_of(uri, default or "UDP") if insists or default is not None else None
        transport = transport_of(uri, default or "UDP")
        host = uri.host.strip("[]")
        if _is_address(host):
            host = str(ip_address(host))  # as the system writes it: peers are compared by it
            return [_flow(transport, host, uri.port, host)]
        found: list[Flow] = []
        if self._config.srv and not uri.port and "." in host:
            try:
                found = await self._by_services(host, wanted)
            except _Unanswered as e:  # whoever does not answer one question will not answer the next
                log.warning("dns question unanswered", extra={"error": str(e)})
        if not found:
            found = [_flow(transport, address, uri.port, host) for address in await self._addresses(host)]
        if not found:
            raise OSError(f"{host} has no address")
        return sorted(found, key=self._is_dead)

    async def resolve(self, uri: SipUri, default: TransportName | None = None) -> Flow:
        """The best way. Raises as `ways` does."""
        return (await self.ways(uri, default))[0]

    async def next_flow(self, hop: str, source: Flow, *, routed: bool) -> Flow:
        """The way of the next request in a dialog whose latest message came from `source`.

        A phone behind NAT writes its private address into Contact: without a Route, one that cannot be
        reached from here gives way to where its messages come from. A connection is kept, and a call that
        is signalled by TLS stays so.
        """
        try:
            ways = await self.ways(SipUri.parse(hop), source.transport)
        except (OSError, RemoteProtocolError):
            return source
        # Of several servers the one that knows the dialog.
        flow = next((way for way in ways if way.host == source.host), ways[0])
        if source.transport == "TLS" != flow.transport:
            return source
        if flow.reliable and source.transport == flow.transport:
            return replace(flow, connection=source.connection)
        if not routed and flow.host != source.host and _private(flow.host) and not _private(source.host):
            return source
        return flow

    def failed(self, flow: Flow) -> None:
        """It did not answer, or said that it is overloaded: others come first for a while."""
        if len(self._dead) >= DEAD:
            self._dead.clear()
        self._dead[flow.transport, flow.host, flow.port] = self._now() + self._config.dead_s

    def worked(self, flow: Flow) -> None:
        """It answers."""
        self._dead.pop((flow.transport, flow.host, flow.port), None)

    def _is_dead(self, flow: Flow) -> bool:
        return self._dead.get((flow.transport, flow.host, flow.port), 0) > self._now()

    # Services

    async def _by_services(self, domain: str, wanted: TransportName | None) -> list[Flow]:
        """RFC 3263, 4.1 and 4.2. Nothing if the domain has no SRV record of a transport of ours."""
        names: list[tuple[TransportName, str]] = []
        if wanted is None:
            for record in await self._query(domain, "NAPTR"):
                assert isinstance(record, NAPTR)
                transport = SERVICES.get(record.service.decode("ascii", "replace").upper())
                if record.flags.lower() == b"s" and transport in self._transports:
                    names.append((transport, str(record.replacement)))
        if not names:
            names = [(t, PREFIXES[t] + domain) for t in ((wanted,) if wanted else self._transports)]
        for transport, name in names:
            found = await self._servers(transport, name, domain)
            if found:
                return found  # 4.1: of several transports the first one that there is
        return []

    async def _servers(self, transport: TransportName, name: str, domain: str) -> list[Flow]:
        flows = []
        for record in await self._query(name, "SRV"):
            assert isinstance(record, SRV)
            target = str(record.target).rstrip(".")
            if target:  # RFC 2782: "." says that there is no such service
                addresses = await self._records(target) or await self._by_system(target)
                flows += [_flow(transport, address, record.port, domain) for address in addresses]
        return flows

    # Addresses

    async def _addresses(self, host: str) -> list[str]:
        """Of a name without service records. The system's resolver knows /etc/hosts; ours is asked first only
        if it has servers of its own."""
        if self._config.servers and (found := await self._records(host)):
            return found
        return await self._by_system(host)

    async def _records(self, host: str) -> list[str]:
        kinds = {socket.AF_INET: "A", socket.AF_INET6: "AAAA"}
        answers = await asyncio.gather(*(self._query(host, kinds[f]) for f in self._families))
        return [str(record) for answer in answers for record in answer]

    async def _by_system(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        family = self._families[0] if len(self._families) == 1 else 0
        try:
            found = await loop.getaddrinfo(host, None, family=family, type=socket.SOCK_DGRAM)
        except (socket.gaierror, UnicodeError) as e:  # the latter for what is no name, such as a..b
            raise OSError(f"{host} has no address: {e}") from e
        return list(dict.fromkeys(str(e[4][0]) for e in found if e[0] in self._families))

    async def _query(self, name: str, kind: str) -> list[object]:
        """Records in the order in which they are to be tried; none if there are none. Raises _Unanswered."""
        try:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver()
                self._set_up(self._resolver)
            answer = await self._resolver.resolve(name, kind, search=False)
        except NO_ANSWER:
            return []
        except (dns.exception.DNSException, OSError) as e:
            raise _Unanswered(f"{kind} of {name}: {e}") from e
        if answer.rrset is None:
            return []
        # RFC 2782 and 3403: SRV by priority and weighted chance, NAPTR by order and preference.
        return list(answer.rrset.processing_order() if kind in ("SRV", "NAPTR") else answer.rrset)

    def _set_up(self, resolver: dns.asyncresolver.Resolver) -> None:
        resolver.cache = dns.resolver.LRUCache(CACHED)
        resolver.timeout = resolver.lifetime = self._config.timeout_s


def _flow(transport: TransportName, host: str, port: int, name: str) -> Flow:
    # RFC 5922, 4: the certificate must be for the domain that was asked for, not for the server it named.
    name = name if transport == "TLS" else ""
    return Flow(transport, host, port or default_port(transport), name=name)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _private(host: str) -> bool:
    return ip_address(host).is_private


def _server(text: str) -> dns.nameserver.Nameserver:
    host, colon, port = text.rpartition(":")
    if not colon or ":" in host and not host.startswith("["):
        host, port = text, "53"
    host = host.strip("[]")
    if not _is_address(host) or not port.isdecimal():
        raise ValueError(f"dns.servers: {text!r} is no address of a name server")
    return dns.nameserver.Do53Nameserver(host, int(port))
