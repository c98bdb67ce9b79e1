"""The four transaction state machines of RFC 3261, section 17, with the Accepted states of RFC 6026.

Sans-I/O and sans-clock: each method takes `now` in seconds and returns what is to be done: `Send`
bytes, `Pass` a message up, or `Failed`. `deadline` says when `tick` is due. A machine whose state is
TERMINATED may be forgotten.

    client INVITE      CALLING -> PROCEEDING -> ACCEPTED (2xx) | COMPLETED (3xx-6xx)
    client other       TRYING  -> PROCEEDING -> COMPLETED
    server INVITE      PROCEEDING -> ACCEPTED (2xx) | COMPLETED -> CONFIRMED
    server other       TRYING  -> PROCEEDING -> COMPLETED
"""

from dataclasses import dataclass
from enum import Enum

from sip.errors import LocalProtocolError
from sip.ua.grammar import CSeq
from sip.ua.message import Headers, Request, Response


@dataclass(frozen=True, slots=True)
class Timers:
    """RFC 3261, table 4. All in seconds."""

    t1: float = 0.5
    """Round-trip time estimate: the first retransmission."""
    t2: float = 4.0
    """Longest interval between retransmissions."""
    t4: float = 5.0
    """How long a message may linger in the network."""

    @property
    def timeout(self) -> float:
        """64 * T1: when the other side is given up."""
        return 64 * self.t1


class State(Enum):
    """Of any transaction."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Send:
    """Put these bytes on the wire."""

    data: bytes
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """Give this to whoever uses the transaction."""

    message: Request | Response


@dataclass(frozen=True, slots=True)
class Failed:
    """No final response came (client), or no ACK for an error response (server)."""


@dataclass(frozen=True, slots=True)
class Absorbed:
    """A retransmission that needed no answer."""


Action = Send | Pass | Failed | Absorbed


class Machine:
    """What the four have in common: a state, one retransmission timer, one that ends the state."""

    def __init__(self, state: State, reliable: bool, timers: Timers) -> None:
        self.state = state
        self._reliable = reliable
        self._timers = timers
        self._resend_at: float | None = None
        self._interval = timers.t1
        self._expires_at: float | None = None

    def deadline(self) -> float | None:
        """When `tick` is due next."""
        if self.state is State.TERMINATED:
            return None
        due = [at for at in (self._resend_at, self._expires_at) if at is not None]
        return min(due, default=None)

    def fail(self) -> list[Action]:
        """The transport cannot reach the peer (RFC 3261, 17.1.4)."""
        if self.state is State.TERMINATED:
            return []
        self._enter(State.TERMINATED)
        return [Failed()]

    def _enter(self, state: State, expires_at: float | None = None) -> None:
        self.state = state
        self._resend_at = None
        self._expires_at = expires_at

    def _linger(self, state: State, now: float, seconds: float) -> None:
        """Enter a final state that only absorbs; on a reliable transport nothing needs absorbing."""
        if self._reliable:
            self._enter(State.TERMINATED)
        else:
            self._enter(state, now + seconds)

    def _expired(self, now: float) -> bool:
        return self._expires_at is not None and now >= self._expires_at

    def _resend_due(self, now: float) -> bool:
        return self._resend_at is not None and now >= self._resend_at

    def _back_off(self, now: float, longest: float) -> None:
        self._interval = min(2 * self._interval, longest)
        self._resend_at = now + self._interval


class InviteClient(Machine):
    """RFC 3261, 17.1.1; RFC 6026, 7.2."""

    def __init__(self, request: Request, reliable: bool, timers: Timers) -> None:
        super().__init__(State.CALLING, reliable, timers)
        self.request = request
        self._data = bytes(request)
        self._ack = b""

    def start(self, now: float) -> list[Action]:
        """Send it. Timers A and B."""
        if not self._reliable:
            self._resend_at = now + self._interval
        self._expires_at = now + self._timers.timeout
        return [Send(self._data)]

    def cancelled(self, now: float) -> None:
        """A CANCEL was sent. RFC 3261, 9.1: without a final answer in 64*T1 the call is gone."""
        if self.state is State.PROCEEDING:
            self._expires_at = now + self._timers.timeout

    def receive(self, response: Response, now: float) -> list[Action]:
        status = response.status
        if self.state in (State.CALLING, State.PROCEEDING):
            if status < 200:
                if self.state is State.CALLING:
                    self._enter(State.PROCEEDING)
                return [Pass(response)]
            if status < 300:
                self._enter(State.ACCEPTED, now + self._timers.timeout)  # timer M
                return [Pass(response)]
            self._ack = bytes(ack_of_error(self.request, response))
            # Timer D: at least 32 s, whatever T1 is; the peer repeats its answer that long.
            self._linger(State.COMPLETED, now, max(32.0, self._timers.timeout))
            return [Send(self._ack), Pass(response)]
        if self.state is State.ACCEPTED and 200 <= status < 300:
            return [Pass(response)]  # the user repeats the ACK, or ends a forked call
        if self.state is State.COMPLETED and status >= 300:
            return [Absorbed(), Send(self._ack, repeated=True)]
        return [Absorbed()]

    def tick(self, now: float) -> list[Action]:
        if self._expired(now):
            silent = self.state in (State.CALLING, State.PROCEEDING)
            self._enter(State.TERMINATED)
            return [Failed()] if silent else []
        if self._resend_due(now):
            # Timer A doubles without the bound of T2; timer B ends it.
            self._back_off(now, self._timers.timeout)
            return [Send(self._data, repeated=True)]
        return []


class OtherClient(Machine):
    """RFC 3261, 17.1.2: every request but INVITE and ACK."""

    def __init__(self, request: Request, reliable: bool, timers: Timers) -> None:
        super().__init__(State.TRYING, reliable, timers)
        self.request = request
        self._data = bytes(request)

    def start(self, now: float) -> list[Action]:
        """Send it. Timers E and F."""
        if not self._reliable:
            self._resend_at = now + self._interval
        self._expires_at = now + self._timers.timeout
        return [Send(self._data)]

    def receive(self, response: Response, now: float) -> list[Action]:
        if self.state not in (State.TRYING, State.PROCEEDING):
            return [Absorbed()]
        if response.status < 200:
            self.state = State.PROCEEDING
        else:
            self._linger(State.COMPLETED, now, self._timers.t4)  # timer K
        return [Pass(response)]

    def tick(self, now: float) -> list[Action]:
        if self._expired(now):
            silent = self.state is not State.COMPLETED
            self._enter(State.TERMINATED)
            return [Failed()] if silent else []
        if self._resend_due(now):
            if self.state is State.PROCEEDING:
                self._interval = self._timers.t2
            self._back_off(now, self._timers.t2)
            return [Send(self._data, repeated=True)]
        return []


class InviteServer(Machine):
    """RFC 3261, 17.2.1; RFC 6026, 7.1."""

    def __init__(self, request: Request, reliable: bool, timers: Timers) -> None:
        super().__init__(State.PROCEEDING, reliable, timers)
        self.request = request
        self._last = b""

    def receive(self, request: Request, now: float) -> list[Action]:
        """A repeated INVITE, or an ACK that belongs to this transaction."""
        if request.method == "ACK":
            if self.state is State.COMPLETED:
                self._linger(State.CONFIRMED, now, self._timers.t4)  # timer I
                return []
            # An ACK with the branch of the INVITE (RFC 2543) for a 2xx is the dialog's.
            return [Pass(request)] if self.state is State.ACCEPTED else [Absorbed()]
        if self.state in (State.PROCEEDING, State.COMPLETED) and self._last:
            return [Absorbed(), Send(self._last, repeated=True)]
        return [Absorbed()]

    def respond(self, response: Response, now: float) -> list[Action]:
        """Send a response. A 2xx may be sent again and again until the dialog has its ACK."""
        data, status = bytes(response), response.status
        if self.state is State.ACCEPTED and 200 <= status < 300:
            return [Send(data, repeated=True)]
        if self.state is not State.PROCEEDING:
            raise LocalProtocolError(f"{status} in state {self.state.value}")
        if status >= 300:
            self._enter(State.COMPLETED, now + self._timers.timeout)  # timer H
            if not self._reliable:
                self._interval = self._timers.t1
                self._resend_at = now + self._interval  # timer G
        elif status >= 200:
            self._enter(State.ACCEPTED, now + self._timers.timeout)  # timer L
        self._last = data
        return [Send(data)]

    def tick(self, now: float) -> list[Action]:
        if self._expired(now):
            unacknowledged = self.state is State.COMPLETED
            self._enter(State.TERMINATED)
            return [Failed()] if unacknowledged else []
        if self._resend_due(now):
            self._back_off(now, self._timers.t2)
            return [Send(self._last, repeated=True)]
        return []


class OtherServer(Machine):
    """RFC 3261, 17.2.2: every request but INVITE and ACK."""

    def __init__(self, request: Request, reliable: bool, timers: Timers) -> None:
        super().__init__(State.TRYING, reliable, timers)
        self.request = request
        self._last = b""

    def receive(self, request: Request, now: float) -> list[Action]:
        """The request again."""
        if self._last:
            return [Absorbed(), Send(self._last, repeated=True)]
        return [Absorbed()]

    def respond(self, response: Response, now: float) -> list[Action]:
        """Send a response."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            raise LocalProtocolError(f"{response.status} in state {self.state.value}")
        self._last = bytes(response)
        if response.status < 200:
            self.state = State.PROCEEDING
        else:
            self._linger(State.COMPLETED, now, self._timers.timeout)  # timer J
        return [Send(self._last)]

    def tick(self, now: float) -> list[Action]:
        if self._expired(now):
            self._enter(State.TERMINATED)
        return []


Client = InviteClient | OtherClient
Server = InviteServer | OtherServer


def _same_hop(request: Request, method: str) -> Request:
    """A request that takes the way of `request`: same branch, URI and route (RFC 3261, 9.1, 17.1.1.3)."""
    headers = Headers([("via", str(request.via))])
    for name in ("from", "to", "call-id"):
        headers.add(name, request.headers.get(name) or "")
    headers.add("cseq", str(CSeq(request.cseq.number, method)))
    headers.add("max-forwards", "70")
    for route in request.headers.all("route"):
        headers.add("route", route)
    return Request(headers, b"", method, request.uri)


def ack_of_error(request: Request, response: Response) -> Request:
    """The ACK for a response of 300 and above."""
    ack = _same_hop(request, "ACK")
    ack.headers.set("to", response.headers.get("to") or "")
    return ack


def cancel_of(request: Request) -> Request:
    """The CANCEL for an INVITE."""
    return _same_hop(request, "CANCEL")
