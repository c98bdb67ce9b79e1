"""Drives the transaction layer: parses what arrives, sends what is due, keeps the one timer, and hands
each response to whoever waits for it."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable

from sip.errors import RemoteProtocolError
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.digest import Credentials, challenges
from sip.ua.flow import Flow, answer_flow
from sip.ua.grammar import Via
from sip.ua.layer import (
    ClientTransaction,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    TransactionEnded,
    TransactionFailed,
    TransactionLayer,
)
from sip.ua.layer import Event as LayerEvent
from sip.ua.message import BRANCH_COOKIE, Request, Response, check, parse, reply
from sip.ua.transaction import Timers
from sip.ua.transport import Transport

log = logging.getLogger(__name__)
wire = logging.getLogger("sip.wire")

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, NOTIFY, REFER"
SUPPORTED = "100rel, timer, replaces"
TROUBLES = 256  # failed ways whose reasons are remembered until somebody asks
CHALLENGES = 3  # a proxy's, the registrar's, and one stale nonce
_KEY = re.compile(r"(inline:)[^\s|;]+")  # of SRTP, in the SDP

OnResponse = Callable[[Response | None, Flow], None]  # None: no final answer, or unreachable


class Exchange:
    """Requests out, responses in, and the other way round. Belongs to one loop."""

    def __init__(
        self, config: SipConfig, transport: Transport, counters: SipCounters, timers: Timers | None = None
    ) -> None:
        self._config, self._transport, self.counters = config, transport, counters
        self.timers = timers or Timers()
        self.layer = TransactionLayer(self.timers, config.max_transactions, counters)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # loop time
        self._waiting: dict[ClientTransaction, OnResponse] = {}
        self._learned: dict[tuple[str, str], tuple[str, int]] = {}  # way to a peer -> how it sees us (rport)
        self._troubles: dict[str, str] = {}  # flow -> why it failed last
        self.on_closed: Callable[[Flow], None] = lambda flow: None
        self.on_malformed: Callable[[Flow], None] = lambda flow: None
        self.on_request: Callable[[Request, ServerTransaction | None, Flow], None] = lambda *_: None

    # Our address

    def address(self, flow: Flow) -> tuple[str, int]:
        """Host (IPv6 in brackets) and port for Via and Contact towards a peer."""
        learned = self._learned.get((flow.transport, flow.host))
        if learned is not None and not self._config.public_host:
            host, port = learned
        else:
            host, port = self.host(flow), self._transport.port_of(flow.transport)
        return (f"[{host}]" if ":" in host and not host.startswith("[") else host), port

    def host(self, flow: Flow) -> str:
        """Our address for SDP."""
        local = self._transport.local_host(flow.host)
        public = self._config.public_host
        return public if public and local not in ("127.0.0.1", "::1") else local

    def learn(self, flow: Flow, host: str, port: int) -> None:
        """The peer sees us under this address: that is what it can reach."""
        self._learned[flow.transport, flow.host] = (host, port)

    def contact(self, flow: Flow, user: str = "") -> str:
        """A Contact towards the peer."""
        host, port = self.address(flow)
        transport = f";transport={flow.transport.lower()}" if flow.reliable else ""
        return f"<sip:{user or self._config.user}@{host}:{port}{transport}>"

    # Requests of ours

    def send(self, request: Request, flow: Flow, on_response: OnResponse) -> ClientTransaction:
        """Send a request that still lacks its Via. Responses, even repeated 2xx to INVITE, go to
        `on_response`; None comes instead of a final one if there is none."""
        self._complete(request, flow)
        transaction = self.layer.request(request, flow, self._loop.time())
        self._waiting[transaction] = on_response
        self._flush()
        return transaction

    def send_ack(self, ack: Request, flow: Flow) -> bytes:
        """Send the ACK of a 2xx; the bytes are for repeating it."""
        self._complete(ack, flow)
        data = bytes(ack)
        self.send_raw(data, flow)
        return data

    def send_raw(self, data: bytes, flow: Flow) -> None:
        """Send outside any transaction."""
        _trace(">", data, flow)
        self._transport.send(data, flow)

    def cancel(self, transaction: ClientTransaction) -> bool:
        """Send CANCEL; False if it is too early (no provisional response yet) or too late."""
        cancel = self.layer.cancel(transaction, self._loop.time())
        if cancel is not None:
            self._waiting[cancel] = _ignore
            self._flush()
        return cancel is not None

    async def ask(
        self, make: Callable[[], Request], flow: Flow, credentials: Credentials | None = None
    ) -> Response | None:
        """A request other than INVITE; its final response, or None. Challenges are answered: `make` is
        called for each try, for a new CSeq. Cancelling gives up waiting, not the transaction."""
        request = make()
        for _ in range(CHALLENGES):
            answered: asyncio.Future[Response | None] = self._loop.create_future()

            def on_response(
                response: Response | None, flow: Flow, answered: asyncio.Future[Response | None] = answered
            ) -> None:
                if (response is None or response.status >= 200) and not answered.done():
                    answered.set_result(response)

            self.send(request, flow, on_response)
            response = await answered
            if response is None or response.status not in (401, 407) or credentials is None:
                return response
            retry = authorized(make(), request, response, credentials)
            if retry is None:
                return response
            request = retry
        return response

    def _complete(self, request: Request, flow: Flow) -> None:
        host, port = self.address(flow)
        branch = BRANCH_COOKIE + secrets.token_hex(10)
        via = Via(flow.transport, host, port, {"branch": branch, "rport": None})
        headers = request.headers
        headers.prepend("via", str(via))
        if "max-forwards" not in headers:
            headers.add("max-forwards", "70")
        headers.set("user-agent", self._config.user_agent)
        _secure_contact(request, request.uri)

    # Requests of the peer

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """Answer. Raises LocalProtocolError after a final response."""
        response.headers.set("server", self._config.user_agent)
        _secure_contact(response, transaction.machine.request.uri)
        self._handle(self.layer.respond(transaction, response, self._loop.time()))
        self._flush()

    # Receiver

    def on_message(self, data: bytes, flow: Flow) -> None:
        """From the transport."""
        _trace("<", data, flow)
        try:
            message = parse(data)
            self._check(message, flow)
        except RemoteProtocolError as e:
            self.counters.unparsable += 1
            self.on_malformed(flow)
            log.info("sip message unreadable", extra={"peer": str(flow), "pii_error": str(e)})
            return
        self.counters.received += 1
        self._handle(self.layer.receive(message, flow, self._loop.time()))
        self._flush()

    def on_flow_failed(self, flow: Flow, reason: str) -> None:
        """From the transport."""
        if len(self._troubles) >= TROUBLES:
            self._troubles.clear()
        self._troubles[str(flow)] = reason
        self._handle(self.layer.flow_failed(flow))
        self._flush()

    def on_flow_closed(self, flow: Flow) -> None:
        """From the transport."""
        self.on_closed(flow)

    def trouble(self, flow: Flow) -> str:
        """Why nothing has come back from a peer, for the log."""
        reason = self._troubles.pop(str(flow), "")
        return f"{flow} cannot be reached: {reason}" if reason else f"no answer from {flow}"

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, message: Request | Response, flow: Flow) -> None:
        try:
            check(message)
        except RemoteProtocolError as e:
            if isinstance(message, Request) and message.method != "ACK":
                way = answer_flow(message, flow)  # raises if there is nobody to answer
                self.send_raw(bytes(reply(message, e.status, tag="bad")), way)
            raise

    def _handle(self, events: list[LayerEvent]) -> None:
        for event in events:
            match event:
                case RequestReceived(request, transaction, flow):
                    self.on_request(request, transaction, flow)
                case ResponseReceived(response, client, flow):
                    self._waiting.get(client, _ignore)(response, flow)
                case TransactionFailed(ClientTransaction() as client):
                    self._waiting.get(client, _ignore)(None, client.flow)
                case TransactionEnded(ClientTransaction() as client):
                    self._waiting.pop(client, None)
                case _:
                    pass

    def _flush(self) -> None:
        for data, flow in self.layer.take_outgoing():
            self.send_raw(data, flow)
        due = self.layer.deadline()
        if self._timer is not None:
            if due is not None and due >= self._timer_at:
                return  # fires early enough, and arms itself again
            self._timer.cancel()
        # Remembered here: uvloop's handle of what is due at once knows no time.
        self._timer_at = due or 0.0
        self._timer = self._loop.call_at(due, self._tick) if due is not None else None

    def _tick(self) -> None:
        self._timer = None
        # Timers of some loops fire a little early; what is due within a millisecond is due.
        self._handle(self.layer.tick(self._loop.time() + 0.001))
        self._flush()


def authorized(
    retry: Request, refused: Request, response: Response, credentials: Credentials
) -> Request | None:
    """`retry` with answers to the challenges of `response`; None if there is nothing new to answer."""
    tried = refused.headers.all("authorization") + refused.headers.all("proxy-authorization")
    found = False
    for name in ("authorization", "proxy-authorization"):
        for value in refused.headers.all(name):
            retry.headers.add(name, value)
    for challenge in challenges(response):
        if not credentials.fits(challenge.realm):
            continue
        again = any(f'realm="{challenge.realm}"' in value for value in tried)
        if again and not challenge.stale:
            return None  # the password is wrong
        others = [v for v in retry.headers.all(challenge.header) if f'realm="{challenge.realm}"' not in v]
        retry.headers.remove(challenge.header)
        for value in others:
            retry.headers.add(challenge.header, value)
        cnonce = secrets.token_hex(8)
        answer = credentials.answer(challenge, retry.method, retry.uri, cnonce)
        retry.headers.add(challenge.header, answer)
        found = True
    return retry if found else None


def _secure_contact(message: Request | Response, uri: str) -> None:
    """RFC 3261, 8.1.1.8 and 12.1.1: whoever is called by a sips URI says one in the Contact too."""
    contact = message.headers.get("contact")
    if uri[:5].lower() == "sips:" and contact is not None:
        message.headers.set("contact", contact.replace("<sip:", "<sips:").replace(";transport=tls", ""))


def _ignore(response: Response | None, flow: Flow) -> None:
    pass


def _trace(direction: str, data: bytes, flow: Flow) -> None:
    if wire.isEnabledFor(logging.DEBUG):
        text = _KEY.sub(r"\1***", data.decode("utf-8", "replace"))
        wire.debug(direction, extra={"peer": str(flow), "pii_message": text})
