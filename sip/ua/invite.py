"""The INVITE of a call that we place, and which way it takes."""

import secrets
from dataclasses import dataclass, field

from sip.endpoint import OutboundCall
from sip.errors import CallFailed, LocalProtocolError
from sip.ua import sessiontimer
from sip.ua.exchange import ALLOW, SUPPORTED
from sip.ua.flow import Flow
from sip.ua.grammar import Address, CSeq, SipUri
from sip.ua.message import Headers, Request
from sip.ua.sessiontimer import TimerPolicy
from sip.ua.stack import SDP, Stack
from sip.ua.trunks import TrunkState

OURS = frozenset({"via", "from", "to", "call-id", "cseq", "contact", "content-length", "content-type",
                  "max-forwards", "route", "authorization", "proxy-authorization"})  # fmt: skip
NOBODY = Address("sip:anonymous@anonymous.invalid", "Anonymous")  # RFC 3323, 4.1.1.3


@dataclass(slots=True)
class InviteForm:
    """What the INVITEs of one call have in common: the first, those with credentials, redirected ones."""

    stack: Stack
    call: OutboundCall
    timer: TimerPolicy
    sip_call_id: str = ""
    tag: str = field(default_factory=lambda: secrets.token_hex(8))
    number: int = 0  # CSeq of the latest
    to: str = ""  # who is called, if that is not the address that is tried
    route: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises LocalProtocolError for a header that is the user agent's."""
        if taken := OURS & {name.lower() for name in self.call.headers}:
            raise LocalProtocolError(f"these headers are the user agent's: {', '.join(sorted(taken))}")
        self.sip_call_id = self.call.carrier_id or secrets.token_hex(12)

    def request(self, target: SipUri, trunk: TrunkState | None, flow: Flow, sdp: str) -> Request:
        """One more INVITE."""
        exchange, call = self.stack.exchange, self.call
        self.number += 1
        caller = self._caller(trunk, flow)
        shown = NOBODY if call.anonymous else caller
        headers = Headers([("from", str(shown.with_tag(self.tag))), ("to", f"<{self.to or target}>")])
        headers.add("call-id", self.sip_call_id)
        headers.add("cseq", str(CSeq(self.number, "INVITE")))
        headers.add("contact", exchange.contact(flow, trunk.trunk.username if trunk is not None else ""))
        headers.add("allow", ALLOW)
        headers.add("supported", SUPPORTED)
        sessiontimer.ask(headers, self.timer)
        if call.anonymous:
            headers.add("privacy", "id")
        if trunk is not None and trunk.trunk.trusted:  # RFC 3325, 9.1
            headers.add("p-asserted-identity", str(caller))
        elif trunk is not None and call.anonymous:
            headers.add("p-preferred-identity", str(caller))
        if trunk is not None and trunk.trunk.proxy:
            headers.add("route", f"<sip:{trunk.trunk.proxy};lr>")
        for route in self.route:
            headers.add("route", route)
        for name, value in call.headers.items():
            headers.add(name, value)
        headers.add("content-type", SDP)
        return Request(headers, sdp.encode(), "INVITE", str(target))

    def _caller(self, trunk: TrunkState | None, flow: Flow) -> Address:
        host, port = self.stack.exchange.address(flow)
        user = self.call.caller
        if trunk is not None:
            host, port = trunk.uri.host, trunk.uri.port
            if user == OutboundCall.__dataclass_fields__["caller"].default:
                user = trunk.trunk.username or user  # a provider knows us by our account
        return Address(str(SipUri(host, user, 0 if port == 5060 else port)), self.call.display_name)


def trunk_of(stack: Stack, name: str, target: SipUri) -> TrunkState | None:
    """The trunk that is asked for by name, else the one that the target belongs to. Raises CallFailed."""
    if not name:
        return stack.trunks.of_uri(target)
    state = stack.trunks.named(name)
    if state is None:
        raise CallFailed(404, f"there is no trunk {name!r}")
    return state
