"""A call that we place: INVITE, challenges, redirects, progress, answer, and all ways in which it ends early.

run() -> INVITE -> 401/407/422/3xx -> INVITE again -> 1xx ... -> 200 -> ACK -> leg
cancelled or too long: CANCEL as soon as the peer has reacted; a 200 that comes all the same is
acknowledged and hung up, as are the 200s of other branches of a forked call.
"""

import asyncio
import logging

from media.leg import CallInfo, Direction, HangupCause
from sip.endpoint import CallProgress, OnProgress, OutboundCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpports import PortsExhausted
from sip.ua import sessiontimer
from sip.ua.bindings import Binding
from sip.ua.branches import Branches
from sip.ua.digest import Credentials
from sip.ua.exchange import CHALLENGES, authorized
from sip.ua.failover import GivenUp, first_to_answer
from sip.ua.flow import Flow
from sip.ua.grammar import SipUri
from sip.ua.invite import InviteForm, trunk_of
from sip.ua.layer import ClientTransaction
from sip.ua.line import CallLine
from sip.ua.message import Request, Response
from sip.ua.redirect import Redirects, trunk_after
from sip.ua.session import Session
from sip.ua.sessiontimer import TimerPolicy
from sip.ua.stack import SDP, Stack, cause_in

log = logging.getLogger(__name__)


class OutgoingInvite:
    """One call that is being placed. Use `run` once."""

    def __init__(
        self,
        stack: Stack,
        call: OutboundCall,
        call_id: str,
        on_progress: OnProgress | None = None,
        moved: Session | None = None,
        binding: Binding | None = None,
    ) -> None:
        """`moved`: its leg shall talk to the target, once that answers; `binding`: the phone to call. Raises
        CallFailed if the target is no URI, LocalProtocolError for a header that is ours."""
        try:
            self._target = SipUri.parse(binding.contact if binding is not None else call.target)
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        timer = TimerPolicy(stack.config.session_expires_s, stack.config.min_se_s)
        self._form = InviteForm(stack, call, timer)
        self.stack, self.call_id = stack, call_id
        self._call, self._on_progress, self._moved, self._binding = call, on_progress, moved, binding
        if binding is not None:
            self._form.to, self._form.route = call.target, binding.path
        self._trunk = trunk_of(stack, call.trunk, self._target)
        self._branches = Branches(self)
        self._given_up = GivenUp(stack, call_id)
        self._patience: asyncio.Timeout | None = None
        self._redirects = Redirects(stack.config, self._target)
        self._final: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self._transaction: ClientTransaction | None = None
        self._abandoned = False
        self._reached = CallProgress.TRYING
        self._line = CallLine() if moved is None else moved.line
        self._description = b""  # what a branch said before its answer
        self.leg = None if moved is None else moved.leg

    @property
    def credentials(self) -> Credentials | None:
        """For challenges."""
        return self._trunk.credentials if self._trunk is not None else None

    async def run(self) -> RtpLeg:
        """The leg once the call is answered. Raises CallFailed; cancelling gives the call up."""
        self.stack.calls += 1
        answered = False
        try:
            try:
                async with asyncio.timeout(self._call.ring_timeout_s):
                    response = await self._try_all()
            except TimeoutError:
                raise CallFailed(408, f"no answer within {self._call.ring_timeout_s:g} s") from None
            leg = self._answered(response)
            answered = True
        finally:
            if not answered:
                self._abandon()
            self._branches.close_early()
            self.stack.calls -= 1
        return leg

    def refused(self, status: int, reason: str) -> None:
        """The call will not be answered, though no final response says so."""
        if not self._final.done():
            self._final.set_exception(CallFailed(status, reason))

    # One address after the other

    async def _try_all(self) -> Response:
        """The final response, redirects followed as far as they may be."""
        waiting = [self._target]
        while True:
            self._target = waiting.pop(0)
            response = await first_to_answer(self.stack, await self._ways(), self._invite)
            if 300 <= response.status < 400:
                found = self._redirects.follow(response, self._target, self._trunk)
                log.info("sip call redirected", extra={"call_id": self.call_id, "targets": len(found)})
                waiting[:0] = found
            if response.status < 300 or response.status >= 600 or not waiting:
                return response
            self._branches.close_early()
            self._trunk = trunk_after(self.stack.trunks, self._trunk, waiting[0])

    async def _ways(self) -> list[Flow]:
        if self._binding is not None:
            return [self._binding.flow]
        trunk = self._trunk
        hop, transport = (trunk.hop, trunk.transport) if trunk is not None else (self._target, None)
        try:
            return await self.stack.resolver.ways(hop, transport)
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        except OSError as e:
            raise CallFailed(0, f"cannot resolve {hop.host}: {e}") from e

    def _open_leg(self, flow: Flow) -> RtpLeg:
        stack, called = self.stack, self._target.user or self._target.host
        ids = (self.call_id, self._call.caller, called, "sip", self._form.sip_call_id, Direction.OUTBOUND)
        try:
            if self.leg is None:
                host = stack.exchange.host(flow)
                self.leg = RtpLeg(stack.media, CallInfo(*ids), self._line, host)
            if self._moved is None:  # else the leg still talks to somebody
                self.leg.latch.signalling_host = flow.host
            self.leg.encrypt(stack.encryption(flow, self._trunk))
        except (PortsExhausted, RemoteProtocolError) as e:
            raise CallFailed(getattr(e, "status", 503), str(e)) from e
        return self.leg

    async def _invite(self, flow: Flow, patience_s: float | None) -> Response:
        """The final response of one server, challenges answered. Raises CallFailed."""
        sdp = self._open_leg(flow).offer()
        request = self._form.request(self._target, self._trunk, flow, sdp)
        for _ in range(CHALLENGES):
            response = await self._send(request, flow, patience_s)
            retry: Request | None = None
            if response.status in (401, 407) and self.credentials is not None:
                again = self._form.request(self._target, self._trunk, flow, sdp)
                retry = authorized(again, request, response, self.credentials)
            elif response.status == 422 and (raised := sessiontimer.raised(response, self._form.timer)):
                self._form.timer = raised
                retry = self._form.request(self._target, self._trunk, flow, sdp)
            if retry is None:
                return response
            request = retry
        return await self._send(request, flow, patience_s)

    async def _send(self, request: Request, flow: Flow, patience_s: float | None) -> Response:
        self._final = asyncio.get_running_loop().create_future()
        self._transaction = transaction = self.stack.exchange.send(
            request, flow, lambda response, flow: self._on_response(transaction, response, flow)
        )
        try:
            async with asyncio.timeout(patience_s) as self._patience:
                response = await self._final
        except TimeoutError:
            raise CallFailed(0, f"no sign of life from {flow} within {patience_s:g} s") from None
        finally:
            self._patience = None
        if response is None:
            raise CallFailed(0, self.stack.exchange.trouble(flow))
        return response

    # Responses

    def _on_response(self, transaction: ClientTransaction, response: Response | None, flow: Flow) -> None:
        if transaction is not self._transaction:
            self._given_up.receive(transaction, response, flow, self._trunk)
        elif response is not None and response.status < 200:
            self._provisional(response, flow)
        elif response is not None and response.status < 300:
            self._success(response, flow)
        elif not self._final.done():
            self._final.set_result(response)

    def _provisional(self, response: Response, flow: Flow) -> None:
        if self._abandoned:
            assert self._transaction is not None
            self.stack.exchange.cancel(self._transaction)  # 9.1: now is the time
            return
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(None)  # it lives
        if self._final.done() or not self._branches.in_order(self._sent(), response, flow):
            return
        if response.status == 100:
            self._report(CallProgress.TRYING, first=True)
        elif response.content_type == SDP and response.body:
            self._accept_early(response)
        elif response.status in (180, 181, 182):
            self._report(CallProgress.RINGING)

    def _accept_early(self, response: Response) -> None:
        leg = self.leg
        assert leg is not None
        self._description = response.body
        if self._moved is None:  # else the leg still talks to somebody
            first = leg.agreement is None
            try:
                leg.accept(response.body)
            except RemoteProtocolError as e:
                log.info("sip early media unusable", extra={"call_id": self.call_id, "error": str(e)})
                return
            if first and self._call.on_early is not None:
                self._call.on_early(leg)
        self._report(CallProgress.EARLY_MEDIA)

    def _success(self, response: Response, flow: Flow) -> None:
        session = self._branches.answered(self._sent(), response, flow, self._trunk)
        number = response.cseq.number
        if session is None:
            return  # repeated; its ACK is on the way
        if self._abandoned or self._branches.winner is not session or self._final.done():
            log.info("sip answer came too late", extra={"call_id": self.call_id})
            self.stack.start(self._decline(session, number), f"sip decline {self.call_id}")
            return
        if self._moved is None:
            session.leg = self.leg
        # The ACK first: whoever waits for the answer may ask for something else at once.
        self.stack.start(session.acknowledge(number), f"sip ack {self.call_id}")
        self._final.set_result(response)

    def _answered(self, response: Response) -> RtpLeg:
        if response.status >= 300:
            raise CallFailed(response.status, response.reason, cause_in(response))
        session, leg = self._branches.winner, self.leg
        assert leg is not None and session is not None
        if session.over:  # before the leg changes hands: whoever it talks to keeps it
            raise CallFailed(487, "the far end hung up at once")
        try:
            # A 183 may have brought the answer before: then the 200 may come without.
            if response.body or leg.agreement is None or self._moved is not None:
                leg.accept(response.body or self._description)
        except RemoteProtocolError as e:
            session.leg = None
            session.hangup(HangupCause.INCOMPATIBLE)
            raise CallFailed(488, str(e)) from e
        if self._moved is not None:
            self._moved.leg = None
        session.take(leg, self._line)
        session.heed(response)
        session.refresher.policy = self._form.timer
        session.refresher.agree(sessiontimer.read(response))
        if not session.established.done():
            session.established.set_result(None)
        self._report(CallProgress.ANSWERED)
        return leg

    async def _decline(self, session: Session, number: int) -> None:
        await session.acknowledge(number)
        session.hangup(HangupCause.CANCELLED if self._abandoned else HangupCause.NORMAL)

    def _abandon(self) -> None:
        self._abandoned = True
        if self.leg is not None and self._moved is None:
            self.leg.discard()
        elif self.leg is not None:
            self.leg.abandon_offer()
        if self._transaction is not None:
            self.stack.exchange.cancel(self._transaction)
        self._branches.hang_up()

    def _sent(self) -> Request:
        assert self._transaction is not None
        return self._transaction.machine.request

    def _report(self, progress: CallProgress, *, first: bool = False) -> None:
        if self._on_progress is not None and (first or progress is not self._reached):
            self._reached = progress
            self._on_progress(progress)
