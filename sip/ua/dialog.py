"""A dialog: what both ends of a call remember of each other (RFC 3261, section 12).

Cores: `Dialog` makes and judges requests, `AnswerTimer` repeats a 200 until its ACK has come.
"""

from dataclasses import dataclass, field

from sip.errors import RemoteProtocolError
from sip.ua.grammar import Address, CSeq, SipUri, parse_params
from sip.ua.message import Headers, Request, Response
from sip.ua.transaction import Timers

DialogKey = tuple[str, str, str]  # Call-ID, our tag, their tag


def named(value: str) -> DialogKey:
    """The dialog that a Replaces header means, on the side that gets it (RFC 3891, 3). Raises
    RemoteProtocolError."""
    call_id, _, rest = value.partition(";")
    params = parse_params(rest)
    ours, theirs = params.get("to-tag"), params.get("from-tag")
    if not ours or not theirs:
        raise RemoteProtocolError("Replaces without tags")
    return call_id.strip(), ours, theirs


@dataclass(slots=True)
class Dialog:
    """One side's view. `local` and `remote` carry the tags; `target` is where the peer wants requests."""

    call_id: str
    local: Address
    remote: Address
    target: str
    routes: list[str] = field(default_factory=list)
    local_number: int = 0  # CSeq of our latest request
    remote_number: int | None = None  # CSeq of the peer's latest request

    @classmethod
    def of_callee(cls, invite: Request, tag: str) -> "Dialog":
        """The dialog that our answer opens (12.1.1). Raises RemoteProtocolError without a Contact."""
        contact = invite.contact
        if contact is None:
            raise RemoteProtocolError("INVITE without Contact")
        return cls(
            invite.call_id,
            invite.to.with_tag(tag),
            invite.from_,
            contact.uri,
            invite.headers.values("record-route"),
            remote_number=invite.cseq.number,
        )

    @classmethod
    def of_caller(cls, invite: Request, response: Response) -> "Dialog":
        """The dialog that the peer's answer opens (12.1.2). Raises RemoteProtocolError."""
        contact = response.contact
        routes = response.headers.values("record-route")
        return cls(
            invite.call_id,
            invite.from_,
            response.to,
            # A 2xx must have a Contact; a peer that forgot it is reached where the INVITE went.
            contact.uri if contact else invite.uri,
            routes[::-1],
            local_number=invite.cseq.number,
        )

    @property
    def key(self) -> DialogKey:
        """What names the dialog."""
        return self.call_id, self.local.tag, self.remote.tag

    def next_hop(self) -> str:
        """The URI whose host gets the next request."""
        return Address.parse(self.routes[0]).uri if self.routes else self.target

    def request(self, method: str) -> Request:
        """A new request in the dialog (12.2.1.1), all but its Via."""
        self.local_number += 1
        return self._request(method, self.local_number)

    def ack(self, number: int) -> Request:
        """The ACK for a 2xx to our INVITE of that number (13.2.2.4), all but its Via."""
        return self._request("ACK", number)

    def receive(self, request: Request) -> None:
        """Judge a request of the peer (12.2.2). Raises RemoteProtocolError with the status."""
        number = request.cseq.number
        if self.remote_number is not None and number < self.remote_number:
            raise RemoteProtocolError(f"CSeq {number} after {self.remote_number}", 500)
        self.remote_number = number

    def refresh(self, message: Request | Response) -> None:
        """Take the new target of a re-INVITE or UPDATE or of the answer to ours."""
        contact = message.contact
        if contact is not None:
            self.target = contact.uri

    def _request(self, method: str, number: int) -> Request:
        uri, routes = self.target, self.routes
        if routes:
            first = Address.parse(routes[0]).uri
            if "lr" not in SipUri.parse(first).params:  # a strict router of RFC 2543
                uri, routes = first, [*routes[1:], f"<{self.target}>"]
        headers = Headers([("route", route) for route in routes])
        headers.add("from", str(self.local))
        headers.add("to", str(self.remote))
        headers.add("call-id", self.call_id)
        headers.add("cseq", str(CSeq(number, method)))
        return Request(headers, b"", method, uri)


class AnswerTimer:
    """Repeats a 2xx to an INVITE until it is acknowledged (13.3.1.4), on TCP as well: the ACK may be lost
    behind a proxy that speaks UDP."""

    def __init__(self, now: float, timers: Timers) -> None:
        self._timers = timers
        self._interval = timers.t1
        self._resend_at = now + timers.t1
        self._gives_up_at = now + timers.timeout

    def deadline(self) -> float:
        """When `tick` is due."""
        return min(self._resend_at, self._gives_up_at)

    def tick(self, now: float) -> bool | None:
        """True: send it again; False: nobody answers; None: too early."""
        if now >= self._gives_up_at:
            return False
        if now < self._resend_at:
            return None
        self._interval = min(2 * self._interval, self._timers.t2)
        self._resend_at = now + self._interval
        return True
