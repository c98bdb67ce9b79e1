"""A call that rings here: from the INVITE to the answer or the refusal."""

import asyncio
import logging
import secrets

from media.leg import CallInfo, Direction, HangupCause
from sip.errors import CallFailed, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpports import PortsExhausted
from sip.ua.dialog import Dialog
from sip.ua.flow import Flow
from sip.ua.grammar import SipUri
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, readable, reply
from sip.ua.session import Session
from sip.ua.stack import SDP, Stack

log = logging.getLogger(__name__)

# Not passed on with the call: addresses of hops, secrets, and what describes the body.
PRIVATE = ("via", "route", "record-route", "authorization", "proxy-authorization", "content-")


class IncomingInvite:
    """Implements `sip.endpoint.IncomingCall`. Takes the dialog's requests until there is a session."""

    def __init__(
        self, stack: Stack, request: Request, transaction: ServerTransaction, flow: Flow, call_id: str
    ) -> None:
        """Raises RemoteProtocolError with the status to refuse it by."""
        if request.body and request.content_type != SDP:
            raise RemoteProtocolError(f"body of type {request.content_type!r}", 415)
        self._stack, self._request, self._transaction, self._flow = stack, request, transaction, flow
        self._dialog = Dialog.of_callee(request, secrets.token_hex(8))
        self.info = call_info(stack.trunks.user_names(), request, call_id)
        self._failure: CallFailed | None = None  # why it can be answered no more
        self._session: Session | None = None
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(stack.config.ring_limit_s, self._undecided)
        stack.calls += 1
        stack.dialogs[self._dialog.key] = self

    @property
    def open(self) -> bool:
        """Whether it may still be answered."""
        return self._failure is None and self._session is None

    @property
    def peer_host(self) -> str:
        return self._flow.host

    def ring(self) -> None:
        """Send 180 Ringing."""
        if self.open:
            response = reply(self._request, 180, tag=self._dialog.local.tag)
            response.headers.add("contact", self._stack.exchange.contact(self._flow))
            self._stack.exchange.respond(self._transaction, response)

    async def answer(self) -> RtpLeg:
        """Send 200 OK; returns when the caller has acknowledged it. Raises CallFailed."""
        if self._failure is not None:
            raise self._failure
        if self._session is not None:
            raise CallFailed(500, "answered twice")
        leg, session = self._open_session()
        try:
            await session.established
        except CallFailed as e:
            self._failure = e
            raise
        except asyncio.CancelledError:
            leg.ended(HangupCause.INTERNAL)
            session.hangup(HangupCause.INTERNAL)
            raise
        return leg

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        """Refuse the call. Nothing after an answer."""
        if not self.open:
            return
        if not 300 <= status <= 699:
            raise ValueError(f"{status} is no refusal")
        self._close(CallFailed(status, reason or "refused"))
        response = reply(self._request, status, reason, tag=self._dialog.local.tag)
        if retry_after_s is not None:
            response.headers.add("retry-after", str(retry_after_s))
        self._stack.exchange.respond(self._transaction, response)

    # For the user agent

    def cancelled(self, cancel: Request) -> None:
        """The caller has given up (RFC 3261, 9.2); after an answer that means nothing."""
        if self.open:
            self._give_up()

    def receive(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        match request.method:
            case "BYE":  # 15.1.2; some phones prefer it to CANCEL
                self._stack.exchange.respond(transaction, reply(request, 200))
                self._give_up()
            case "INVITE":  # 14.2: a second one before the first is answered
                response = reply(request, 500)
                response.headers.add("retry-after", str(secrets.randbelow(11)))
                self._stack.exchange.respond(transaction, response)
            case "OPTIONS":
                self._stack.exchange.respond(transaction, self._stack.ok(request, transaction, flow))
            case "UPDATE":  # RFC 3311, 5.2: our answer to the first offer is still due
                self._stack.refuse(request, transaction, 491 if request.body else 200)
            case _:
                self._stack.refuse(request, transaction, 481)

    def acknowledged(self, ack: Request) -> None:
        self._stack.exchange.counters.stray += 1

    def shut_down(self) -> None:
        self.reject(503)

    async def fail(self) -> None:
        """Whoever had to decide about the call has failed."""
        self.reject(500)
        session = self._session
        if session is not None and session.leg is not None:
            await session.leg.hangup(HangupCause.INTERNAL)

    def _open_session(self) -> tuple[RtpLeg, Session]:
        stack, request = self._stack, self._request
        host = stack.exchange.host(self._flow)
        session = Session(stack, self._dialog, self._flow, stack.trunks.of_host(self._flow.host))
        session.call_id = self.info.call_id
        leg: RtpLeg | None = None
        try:
            leg = session.leg = RtpLeg(stack.media, self.info, session, host, self._flow.host)
            leg.encrypt(stack.encryption(self._flow, session.trunk))
            sdp = leg.answer(request.body) if request.body else leg.offer()
        except (PortsExhausted, RemoteProtocolError) as e:
            status = e.status if isinstance(e, RemoteProtocolError) else 503
            if leg is not None:
                leg.discard()
            session.end(HangupCause.INCOMPATIBLE)
            log.info("sip call refused", extra={"call_id": self.info.call_id, "error": str(e)})
            self.reject(status)
            raise CallFailed(status, str(e)) from e
        self._limit.cancel()
        stack.calls -= 1  # the session counts from now on
        self._session = session
        response = stack.ok(request, self._transaction, self._flow, self._dialog.local.tag)
        session.answer(self._transaction, response, sdp, offered=not request.body)
        return leg, session

    def _give_up(self) -> None:
        self._close(CallFailed(487, "the caller gave up"))
        response = reply(self._request, 487, tag=self._dialog.local.tag)
        self._stack.exchange.respond(self._transaction, response)

    def _undecided(self) -> None:
        log.warning("sip call rang too long", extra={"call_id": self.info.call_id})
        self.reject(480)

    def _close(self, failure: CallFailed) -> None:
        self._failure = failure
        self._limit.cancel()
        self._stack.calls -= 1
        self._stack.leave(self._dialog.key)


def call_info(trunk_users: set[str], request: Request, call_id: str) -> CallInfo:
    """Who calls whom. A registered trunk calls our user name there; the number is then in the To."""
    callee = _user(request.uri)
    if callee in trunk_users:
        callee = _user(request.to.uri) or callee
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if not name.startswith(PRIVATE):
            text = readable(value)
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    caller = _user(request.from_.uri)
    return CallInfo(call_id, caller, callee, "sip", readable(request.call_id), Direction.INBOUND, headers)


def _user(uri: str) -> str:
    try:
        return readable(SipUri.parse(uri).user.partition(";")[0])
    except RemoteProtocolError:
        return ""
