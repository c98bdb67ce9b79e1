"""A call that rings here: from the INVITE over ringing and early media to the answer or the refusal."""

import asyncio
import logging
import secrets

from media.errors import TransferError
from media.leg import CallInfo, HangupCause
from sip.errors import CallFailed, RemoteProtocolError, status_of_cause
from sip.rtpleg import RtpLeg
from sip.rtpports import PortsExhausted
from sip.ua import sessiontimer
from sip.ua.dialog import Dialog
from sip.ua.flow import Flow
from sip.ua.layer import ServerTransaction
from sip.ua.line import CallLine
from sip.ua.message import Request, Response, reply
from sip.ua.referral import target_uri
from sip.ua.reliable import Reliable
from sip.ua.session import Session
from sip.ua.sessiontimer import TimerPolicy
from sip.ua.stack import SDP, Stack, describe, reason_of

log = logging.getLogger(__name__)


class IncomingInvite:
    """Implements `sip.endpoint.IncomingCall`. Takes the dialog's requests until there is a session."""

    def __init__(
        self, stack: Stack, request: Request, transaction: ServerTransaction, flow: Flow, info: CallInfo
    ) -> None:
        """Raises RemoteProtocolError with the status to refuse it by."""
        if request.body and request.content_type != SDP:
            raise RemoteProtocolError(f"body of type {request.content_type!r}", 415)
        sessiontimer.check(request, TimerPolicy(stack.config.session_expires_s, stack.config.min_se_s))
        self._stack, self._request, self._transaction, self._flow = stack, request, transaction, flow
        self._dialog = Dialog.of_callee(request, secrets.token_hex(8))
        self._trunk = stack.trunks.of_host(flow.host)
        self.info = info
        self._failure: CallFailed | None = None  # why it can be answered no more
        self._session: Session | None = None
        self._line = CallLine(self._leg_hung_up, self._redirect)
        self._leg: RtpLeg | None = None
        self._sdp = ""  # ours: the answer, or the offer where the INVITE had none
        self._answered_early: RtpLeg | None = None
        self._told = False  # the caller has our description for certain
        self._reliable = Reliable(stack.exchange, transaction, self._unacknowledged)
        self._limit = asyncio.get_running_loop().call_later(stack.config.ring_limit_s, self._undecided)
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
        if self.open and self._leg is None:
            must = "100rel" in self._request.headers.tokens("require")
            if must and not self._request.body:  # RFC 3262, 5: the first reliable response has the offer
                try:
                    self._open_leg()
                except CallFailed:
                    return
            self._provisional(180, self._sdp, reliable=must)

    async def early(self) -> RtpLeg:
        """Send 183 with our description; the caller hears what the leg sends, and is not billed. Where the
        caller leaves no way to do so the call is answered. Raises CallFailed."""
        reliable = any("100rel" in self._request.headers.tokens(name) for name in ("supported", "require"))
        if not (self._request.body or reliable):
            self._answered_early = await self.answer()
            return self._answered_early
        self._check()
        leg = self._open_leg()
        self._provisional(183, self._sdp, reliable=reliable)
        if not self._request.body:
            await self._reliable.settled()
            self._check()
        return leg

    async def answer(self) -> RtpLeg:
        """Send 200 OK; returns when the caller has acknowledged it. Raises CallFailed."""
        if self._answered_early is not None:
            return self._answered_early
        self._check()
        await self._reliable.settled()  # RFC 3262, 3: what carries a description has to arrive before
        self._check()
        session = self._open_session(leg := self._open_leg())
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
        response = reply(self._request, status, reason, tag=self._dialog.local.tag)
        if retry_after_s is not None:
            response.headers.add("retry-after", str(retry_after_s))
        self._refuse(response, CallFailed(status, reason))

    # For the user agent

    def cancelled(self, cancel: Request) -> None:
        """The caller has given up (RFC 3261, 9.2); after an answer that means nothing."""
        if self.open:
            self._give_up()

    def receive(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        try:
            self._dialog.receive(request)
            self._take(request, transaction, flow)
        except RemoteProtocolError as e:
            self._stack.refuse(request, transaction, e.status)

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

    # Requests before the answer

    def _take(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        """Raises RemoteProtocolError with the status to answer."""
        match request.method:
            case "BYE":  # 15.1.2; some phones prefer it to CANCEL
                self._stack.exchange.respond(transaction, reply(request, 200))
                self._give_up()
            case "INVITE":  # 14.2: a second one before the first is answered
                self._stack.refuse(request, transaction, 500)
            case "OPTIONS":
                self._stack.exchange.respond(transaction, self._stack.ok(request, transaction, flow))
            case "PRACK":
                acknowledged = self._reliable.acknowledged(request)
                self._respond(request, transaction, flow, self._described(request, acknowledged))
            case "UPDATE":
                self._respond(request, transaction, flow, self._changed(request))
            case _:
                raise RemoteProtocolError("not before the answer", 481)

    def _described(self, prack: Request, acknowledged: Response) -> str:
        """What a PRACK says about the media: the answer to our offer, or an offer of its own."""
        first = bool(acknowledged.body) and not self._told
        self._told = self._told or first
        if first and not self._request.body and self._leg is not None:
            self._leg.accept(prack.body)
            return ""
        return self._changed(prack)

    def _changed(self, request: Request) -> str:
        """Our answer to an offer before the answer to the call."""
        if request.body:
            self._sdp = _answer(self._leg if self._told else None, request, asked=bool(self._request.body))
            return self._sdp
        return ""

    def _respond(self, request: Request, transaction: ServerTransaction, flow: Flow, sdp: str) -> None:
        self._dialog.refresh(request)  # an UPDATE's; a PRACK has no Contact
        response = self._stack.ok(request, transaction, flow)
        response.headers.add("contact", self._stack.exchange.contact(flow))
        describe(response, sdp)
        self._stack.exchange.respond(transaction, response)

    # Responses

    def _provisional(self, status: int, sdp: str, *, reliable: bool) -> None:
        response = reply(self._request, status, tag=self._dialog.local.tag)
        response.headers.add("contact", self._stack.exchange.contact(self._flow))
        describe(response, sdp)
        if reliable:
            self._reliable.send(response)
        else:
            self._stack.exchange.respond(self._transaction, response)

    def _open_leg(self) -> RtpLeg:
        """The leg, with our description. Raises CallFailed after it has refused the call."""
        if self._leg is not None:
            return self._leg
        stack, request, leg = self._stack, self._request, None
        try:
            host = stack.media_host(self._flow, request.body)
            leg = RtpLeg(stack.media, self.info, self._line, host, self._flow.host)
            leg.encrypt(stack.encryption(self._flow, self._trunk))
            self._sdp = leg.answer(request.body) if request.body else leg.offer()
        except (PortsExhausted, RemoteProtocolError) as e:
            status = e.status if isinstance(e, RemoteProtocolError) else 503
            if leg is not None:
                leg.discard()
            log.info("sip call refused", extra={"call_id": self.info.call_id, "error": str(e)})
            self.reject(status)
            raise CallFailed(status, str(e)) from e
        self._leg = leg
        return leg

    def _open_session(self, leg: RtpLeg) -> Session:
        stack, request = self._stack, self._request
        session = Session(stack, self._dialog, self._flow, self._trunk)
        session.call_id = self.info.call_id
        session.take(leg, self._line)
        self._limit.cancel()
        stack.calls -= 1  # the session counts from now on
        self._session = session
        response = stack.ok(request, self._transaction, self._flow, self._dialog.local.tag)
        sdp, offered = "" if self._told else self._sdp, not (request.body or self._told)
        session.answer(self._transaction, response, sdp, offered=offered)
        return session

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._session is not None:
            raise CallFailed(500, "answered twice")

    # The end without an answer

    def _leg_hung_up(self, cause: HangupCause) -> None:
        """Whoever speaks before the answer has hung up."""
        if self.open:
            response = reply(self._request, status_of_cause(cause), tag=self._dialog.local.tag)
            response.headers.add("reason", reason_of(cause))
            self._refuse(response, CallFailed(response.status, "hung up before the answer"))

    def _redirect(self, target: str) -> None:
        """Transferred before the answer: whoever calls shall call somebody else. Raises TransferError."""
        uri = target_uri(target, self._dialog.target)
        if not self.open:
            raise TransferError("the call is over")
        response = reply(self._request, 302, tag=self._dialog.local.tag)
        response.headers.add("contact", f"<{uri}>")
        self._refuse(response, CallFailed(302, "redirected"))

    def _give_up(self) -> None:
        response = reply(self._request, 487, tag=self._dialog.local.tag)
        self._refuse(response, CallFailed(487, "the caller gave up"))

    def _unacknowledged(self) -> None:
        log.warning("sip provisional response never acknowledged", extra={"call_id": self.info.call_id})
        self.reject(504)

    def _undecided(self) -> None:
        log.warning("sip call rang too long", extra={"call_id": self.info.call_id})
        self.reject(480)

    def _refuse(self, response: Response, failure: CallFailed) -> None:
        self._failure = failure
        self._limit.cancel()
        self._reliable.stop()
        self._stack.calls -= 1
        self._stack.leave(self._dialog.key)
        self._stack.exchange.respond(self._transaction, response)
        if self._leg is not None:
            self._leg.ended(failure.cause)


def _answer(leg: RtpLeg | None, request: Request, *, asked: bool) -> str:
    """Our answer to an offer in UPDATE or PRACK (RFC 3311, 5.2); no leg while the first offer, theirs
    if `asked`, has no certain answer. Raises RemoteProtocolError."""
    if request.content_type != SDP:
        raise RemoteProtocolError("no SDP", 415)
    if leg is None:
        raise RemoteProtocolError("the first offer has no answer yet", 500 if asked else 491)
    return leg.answer(request.body)
