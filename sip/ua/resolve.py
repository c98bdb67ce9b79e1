"""From a URI to the way there. Addresses and A/AAAA records; SRV and NAPTR records are not asked for."""

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

from sip.errors import RemoteProtocolError
from sip.ua.flow import Flow, TransportName, default_port
from sip.ua.grammar import SipUri


def flow_of(uri: SipUri, default: TransportName = "UDP") -> Flow | None:
    """The way to a URI whose host is an address; None if it is a name. Raises RemoteProtocolError."""
    transport = transport_of(uri, default)
    host = uri.host.strip("[]")
    try:
        ip_address(host)
    except ValueError:
        return None
    return Flow(transport, host, uri.port or default_port(transport), name=host if transport == "TLS" else "")


def transport_of(uri: SipUri, default: TransportName = "UDP") -> TransportName:
    """How to send to a URI. Raises RemoteProtocolError if we cannot."""
    if uri.scheme not in ("sip", "sips"):
        raise RemoteProtocolError(f"cannot send to a {uri.scheme} URI", 416)
    transport = uri.transport or ("TLS" if uri.scheme == "sips" else default)
    if uri.scheme == "sips" and transport == "TCP":  # RFC 3261, 26.2.2: TLS over TCP
        transport = "TLS"
    if transport not in ("UDP", "TCP", "TLS") or (uri.scheme == "sips" and transport != "TLS"):
        raise RemoteProtocolError(f"transport {transport} is not supported for {uri.scheme}", 416)
    return cast(TransportName, transport)


async def resolve(uri: SipUri, default: TransportName = "UDP", ipv6: bool = False) -> Flow:
    """The way to a URI. Raises OSError if its host has no address, RemoteProtocolError if we cannot go."""
    direct = flow_of(uri, default)
    if direct is not None:
        return direct
    transport = transport_of(uri, default)
    hosts = await addresses(uri, ipv6)
    name = uri.host if transport == "TLS" else ""
    return Flow(transport, hosts[0], uri.port or default_port(transport), name=name)


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
    reached from here gives way to where its messages come from. A connection is kept, and a call that is
    signalled by TLS stays so.
    """
    try:
        uri = SipUri.parse(hop)
        flow = await resolve(uri, source.transport, ipv6)
    except (OSError, RemoteProtocolError):
        return source
    if source.transport == "TLS" != flow.transport:
        return source
    if flow.reliable and source.transport == flow.transport:
        return replace(flow, connection=source.connection)
    if not routed and flow.host != source.host and _private(flow.host) and not _private(source.host):
        return source
    return flow


def _private(host: str) -> bool:
    return ip_address(host).is_private
