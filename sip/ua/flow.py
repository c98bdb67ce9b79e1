"""Where a message came from, and the way for an answer (RFC 3261, 18.2; RFC 3581)."""

from dataclasses import dataclass, replace
from typing import Literal, cast

from sip.errors import RemoteProtocolError
from sip.ua.grammar import SipUri, Via
from sip.ua.message import Request

TransportName = Literal["UDP", "TCP", "TLS"]


def default_port(transport: str) -> int:
    """RFC 3261, 18.1.1."""
    return 5061 if transport == "TLS" else 5060


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


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to a peer: its IP address and port, and the connection to prefer (0: any)."""

    transport: TransportName
    host: str
    port: int
    connection: int = 0
    name: str = ""  # of TLS: whom the peer's certificate must be for; empty: its address

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats what is lost."""
        return self.transport != "UDP"

    def __str__(self) -> str:
        return f"{self.transport}:{self.host}:{self.port}"


def answer_flow(request: Request, source: Flow) -> Flow:
    """Where responses go. Notes in the top Via where the request really came from."""
    via = request.via
    params = dict(via.params)
    # RFC 3261, 18.2.1: `received` if it differs from sent-by; RFC 3581, 4: with rport always.
    if via.host.strip("[]") != source.host or "rport" in params:
        params["received"] = source.host
    port = via.port or default_port(source.transport)
    if "rport" in params:
        params["rport"] = str(source.port)
        port = source.port
    request.headers.set_first("via", str(Via(via.transport, via.host, via.port, params)))
    # RFC 3261, 18.2.2: a stream's answer takes the connection; only if that broke, the Via's port.
    return replace(source, port=port)
