"""All transactions of a user agent: finds the one a message belongs to and keeps their timers.

Sans-I/O and sans-clock. Messages and `now` go in, events come out; what has to be sent collects in
`take_outgoing`. Memory is bounded: beyond `limit` transactions new requests are refused with 503.
"""

import heapq
from dataclasses import dataclass
from itertools import count

from sip.ua.counters import SipCounters
from sip.ua.flow import Flow, answer_flow
from sip.ua.message import BRANCH_COOKIE, Request, Response, reply
from sip.ua.transaction import (
    Absorbed,
    Action,
    Client,
    Failed,
    InviteClient,
    InviteServer,
    OtherClient,
    OtherServer,
    Pass,
    Send,
    Server,
    State,
    Timers,
    cancel_of,
)

OVERLOAD_RETRY_S = 5  # long enough to let a burst pass, short for a caller who tries again


@dataclass(slots=True, eq=False)
class ClientTransaction:
    """One request of ours under way. `machine.request` is what was sent."""

    key: tuple[str, ...]
    machine: Client
    flow: Flow
    due: float | None = None  # of its latest entry in the heap


@dataclass(slots=True, eq=False)
class ServerTransaction:
    """One request of the peer. `machine.request` is what was received, `flow` the way of answers."""

    key: tuple[str, ...]
    machine: Server
    flow: Flow
    due: float | None = None  # of its latest entry in the heap


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A new request. An ACK has no transaction to answer through."""

    request: Request
    transaction: ServerTransaction | None
    flow: Flow


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to one of our requests; of a final one no repetition comes, but of an INVITE's 2xx."""

    response: Response
    transaction: ClientTransaction
    flow: Flow


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """No final response, or the transport failed."""

    transaction: ClientTransaction | ServerTransaction


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """The transaction is forgotten; nothing more comes from it."""

    transaction: ClientTransaction | ServerTransaction


Event = RequestReceived | ResponseReceived | TransactionFailed | TransactionEnded
Transaction = ClientTransaction | ServerTransaction


class TransactionLayer:
    """RFC 3261, section 17: matching (17.1.3, 17.2.3) and timers."""

    def __init__(
        self, timers: Timers | None = None, limit: int = 20_000, counters: SipCounters | None = None
    ) -> None:
        self._timers = timers or Timers()
        self._limit = limit
        self._counters = counters or SipCounters()
        self._clients: dict[tuple[str, ...], ClientTransaction] = {}
        self._servers: dict[tuple[str, ...], ServerTransaction] = {}
        self._marks: dict[tuple[str, ...], ServerTransaction] = {}  # see `merged`
        self._outgoing: list[tuple[bytes, Flow]] = []
        self._heap: list[tuple[float, int, Transaction]] = []
        self._order = count()  # breaks ties in the heap

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def take_outgoing(self) -> list[tuple[bytes, Flow]]:
        """What has to be sent since the last call, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, message: Request | Response, flow: Flow, now: float) -> list[Event]:
        """A message that has passed `message.check`."""
        if isinstance(message, Response):
            return self._receive_response(message, flow, now)
        key = server_key(message)
        transaction = self._servers.get(key)
        if transaction is not None:
            return self._apply(transaction, transaction.machine.receive(message, now), flow)
        if message.method == "ACK":
            return [RequestReceived(message, None, flow)]
        way = answer_flow(message, flow)
        if len(self) >= self._limit:
            self._counters.overloaded += 1
            refusal = reply(message, 503, tag="overload")
            refusal.headers.add("retry-after", str(OVERLOAD_RETRY_S))
            self._outgoing.append((bytes(refusal), way))
            return []
        kind = InviteServer if message.method == "INVITE" else OtherServer
        transaction = ServerTransaction(key, kind(message, flow.reliable, self._timers), way)
        self._servers[key] = transaction
        self._marks.setdefault(_mark(message), transaction)
        self._counters.transactions = len(self)
        return [RequestReceived(message, transaction, flow)]

    def invite_of(self, cancel: Request) -> ServerTransaction | None:
        """The INVITE that a CANCEL is meant for (RFC 3261, 9.2)."""
        return self._servers.get((*server_key(cancel)[:-1], "INVITE"))

    def merged(self, transaction: ServerTransaction) -> bool:
        """Whether the same request came before on another way (RFC 3261, 8.2.2.2)."""
        return self._marks.get(_mark(transaction.machine.request)) is not transaction

    def request(self, request: Request, flow: Flow, now: float) -> ClientTransaction:
        """Send a request. Its top Via carries the branch."""
        kind = InviteClient if request.method == "INVITE" else OtherClient
        key = (request.via.branch, request.method)
        transaction = ClientTransaction(key, kind(request, flow.reliable, self._timers), flow)
        self._clients[key] = transaction
        self._apply(transaction, transaction.machine.start(now), flow)
        return transaction

    def cancel(self, transaction: ClientTransaction, now: float) -> ClientTransaction | None:
        """Send CANCEL for an INVITE that has got a provisional response; else None: too early or late."""
        machine = transaction.machine
        if not isinstance(machine, InviteClient) or machine.state is not State.PROCEEDING:
            return None
        machine.cancelled(now)
        self._schedule(transaction)
        return self.request(cancel_of(machine.request), transaction.flow, now)

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> list[Event]:
        """Send a response. Raises LocalProtocolError after a final one."""
        return self._apply(transaction, transaction.machine.respond(response, now), transaction.flow)

    def flow_failed(self, flow: Flow) -> list[Event]:
        """The transport cannot reach `flow`: every client transaction on it fails."""
        events: list[Event] = []
        way = (flow.transport, flow.host, flow.port)
        for transaction in list(self._clients.values()):
            theirs = transaction.flow
            if (theirs.transport, theirs.host, theirs.port) == way:
                events += self._apply(transaction, transaction.machine.fail(), theirs)
        return events

    def deadline(self) -> float | None:
        """When `tick` is due next; perhaps a little early."""
        return self._heap[0][0] if self._heap else None

    def tick(self, now: float) -> list[Event]:
        """Run the timers that are due."""
        events: list[Event] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, transaction = heapq.heappop(self._heap)
            if transaction.due != at:
                continue  # an earlier entry has taken its place
            transaction.due = None
            due = transaction.machine.deadline()
            actions = transaction.machine.tick(now) if due is not None and due <= now else []
            events += self._apply(transaction, actions, transaction.flow)
        return events

    def _receive_response(self, response: Response, flow: Flow, now: float) -> list[Event]:
        transaction = self._clients.get((response.via.branch, response.cseq.method))
        if transaction is None:
            self._counters.stray += 1
            return []
        return self._apply(transaction, transaction.machine.receive(response, now), flow)

    def _apply(self, transaction: Transaction, actions: list[Action], flow: Flow) -> list[Event]:
        events: list[Event] = []
        for action in actions:
            match action:
                case Send(data, repeated):
                    self._counters.repeated += repeated
                    self._outgoing.append((data, transaction.flow))
                case Pass(message):
                    events.append(_passed(message, transaction, flow))
                case Failed():
                    events.append(TransactionFailed(transaction))
                case Absorbed():
                    self._counters.absorbed += 1
        if transaction.machine.state is not State.TERMINATED:
            self._schedule(transaction)
        elif self._forget(transaction):
            events.append(TransactionEnded(transaction))
        return events

    def _forget(self, transaction: Transaction) -> bool:
        if isinstance(transaction, ClientTransaction):
            known = self._clients.pop(transaction.key, None) is not None
        else:
            known = self._servers.pop(transaction.key, None) is not None
            mark = _mark(transaction.machine.request)
            if self._marks.get(mark) is transaction:
                del self._marks[mark]
        self._counters.transactions = len(self)
        return known

    def _schedule(self, transaction: Transaction) -> None:
        due = transaction.machine.deadline()
        if due is not None and (transaction.due is None or due < transaction.due):
            transaction.due = due
            heapq.heappush(self._heap, (due, next(self._order), transaction))


def _mark(request: Request) -> tuple[str, ...]:
    return (request.call_id, request.from_.tag, str(request.cseq), request.to.tag)


def _passed(message: Request | Response, transaction: Transaction, flow: Flow) -> Event:
    if isinstance(transaction, ClientTransaction):
        assert isinstance(message, Response)
        return ResponseReceived(message, transaction, flow)
    assert isinstance(message, Request)
    return RequestReceived(message, None, flow)


def server_key(request: Request) -> tuple[str, ...]:
    """RFC 3261, 17.2.3. The last element is the method; an ACK counts as its INVITE."""
    via = request.via
    method = "INVITE" if request.method == "ACK" else request.method
    host, port = via.sent_by
    if via.branch.startswith(BRANCH_COOKIE):
        return (via.branch, host, str(port), method)
    # A peer of RFC 2543 has no unique branch.
    return (request.call_id, request.from_.tag, str(request.cseq.number), host, str(port), method)
