"""From a URI to the way there. Addresses and A/AAAA records; SRV and NAPTR records are not asked for."""

import asyncio
import socket
from ipaddress import ip_address
from typing import cast

from sip.errors import RemoteProtocolError
from sip.ua.flow import Flow, TransportName
from sip.ua.grammar import SipUri


def flow_of(uri: SipUri, default: TransportName = "UDP") -> Flow | None:
    """The way to a URI whose host is an address; None if it is a name. Raises RemoteProtocolError."""
    if uri.scheme != "sip":
        raise RemoteProtocolError(f"cannot send to a {uri.scheme} URI", 416)
    transport = uri.transport or default
    if transport not in ("UDP", "TCP"):
        raise RemoteProtocolError(f"transport {transport} is not supported", 416)
    host = uri.host.strip("[]")
    try:
        ip_address(host)
    except ValueError:
        return None
    return Flow(cast(TransportName, transport), host, uri.port or 5060)


async def resolve(uri: SipUri, default: TransportName = "UDP", ipv6: bool = False) -> Flow:
    """The way to a URI. Raises OSError if its host has no address, RemoteProtocolError if we cannot go."""
    direct = flow_of(uri, default)
    if direct is not None:
        return direct
    hosts = await addresses(uri, ipv6)
    return Flow(cast(TransportName, uri.transport or default), hosts[0], uri.port or 5060)


async def addresses(uri: SipUri, ipv6: bool = False) -> list[str]:
    """All addresses of a URI's host, best first. Raises OSError if it has none."""
    direct = flow_of(uri)
    if direct is not None:
        return [direct.host]
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(uri.host, uri.port or 5060, family=family, type=socket.SOCK_DGRAM)
    if not found:
        raise OSError(f"{uri.host} has no address")
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def next_flow(hop: str, routed: bool, source: Flow, ipv6: bool = False) -> Flow:
    """The way of the next request in a dialog whose latest message came from `source`.

    A phone behind NAT writes its private address into Contact: without a Route, one that cannot be
    reached from here gives way to where its messages come from. A TCP connection is kept.
    """
    try:
        uri = SipUri.parse(hop)
        flow = await resolve(uri, source.transport, ipv6)
    except (OSError, RemoteProtocolError):
        return source
    if source.transport == "TCP" == flow.transport:
        return Flow("TCP", flow.host, flow.port, source.connection)
    if not routed and flow.host != source.host and _private(flow.host) and not _private(source.host):
        return source
    return flow


def _private(host: str) -> bool:
    return ip_address(host).is_private
