"""A call that we place: INVITE, challenges, progress, answer, and all the ways in which it ends early.

run() -> INVITE -> 401/407 -> INVITE with credentials -> 1xx ... -> 200 -> ACK -> leg
cancelled or too long: CANCEL as soon as the peer has reacted; a 200 that comes all the same is
acknowledged and hung up, as are the 200s of other branches of a forked call.
"""

import asyncio
import logging
import secrets

from media.errors import TransferError
from media.leg import CallInfo, Direction, HangupCause
from sip.endpoint import CallProgress, OnProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpports import PortsExhausted
from sip.ua.dialog import Dialog
from sip.ua.exchange import ALLOW, CHALLENGES, authorized
from sip.ua.flow import Flow
from sip.ua.grammar import Address, CSeq, SipUri
from sip.ua.layer import ClientTransaction
from sip.ua.message import Headers, Request, Response
from sip.ua.session import Session
from sip.ua.stack import SDP, Stack
from sip.ua.trunks import TrunkState

log = logging.getLogger(__name__)

OURS = frozenset({"via", "from", "to", "call-id", "cseq", "contact", "content-length", "content-type",
                  "max-forwards", "route", "authorization", "proxy-authorization"})  # fmt: skip


class OutgoingInvite:
    """One call that is being placed. Use `run` once."""

    def __init__(
        self, stack: Stack, call: OutboundCall, call_id: str, on_progress: OnProgress | None = None
    ) -> None:
        """Raises CallFailed if the target is no URI, LocalProtocolError for a header that is ours."""
        try:
            self._target = SipUri.parse(call.target)
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        if taken := OURS & {name.lower() for name in call.headers}:
            raise LocalProtocolError(f"these headers are the user agent's: {', '.join(sorted(taken))}")
        self._stack, self._call, self._on_progress = stack, call, on_progress
        self._trunk = _trunk(stack, call, self._target)
        self._sip_call_id = call.carrier_id or secrets.token_hex(12)
        self._tag = secrets.token_hex(8)
        self._number = 0
        self._call_id = call_id
        self._sessions: dict[str, Session] = {}  # of each branch that answered, by its tag
        self._final: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self._transaction: ClientTransaction | None = None
        self._abandoned = False
        self._reached = CallProgress.TRYING
        self._line = _Line()
        self._leg: RtpLeg | None = None

    async def run(self) -> RtpLeg:
        """The leg once the call is answered. Raises CallFailed; cancelling gives the call up."""
        flow = await self._way()
        self._stack.hold(flow)
        self._stack.calls += 1
        answered = False
        try:
            leg = self._open_leg(flow)
            try:
                async with asyncio.timeout(self._call.ring_timeout_s):
                    response = await self._invite(leg, flow)
            except TimeoutError:
                raise CallFailed(408, f"no answer within {self._call.ring_timeout_s:g} s") from None
            self._answered(leg, response)
            answered = True
        finally:
            if not answered:
                self._abandon()
            self._stack.calls -= 1
            self._stack.release(flow)
        return leg

    async def _way(self) -> Flow:
        hop = self._trunk.hop if self._trunk is not None else self._target
        transport = self._trunk.transport if self._trunk is not None else None
        try:
            return await self._stack.resolver.resolve(hop, transport)
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        except OSError as e:
            raise CallFailed(0, f"cannot resolve {hop.host}: {e}") from e

    def _open_leg(self, flow: Flow) -> RtpLeg:
        stack, call = self._stack, self._call
        info = CallInfo(
            self._call_id,
            call.caller,
            self._target.user or self._target.host,
            "sip",
            self._sip_call_id,
            Direction.OUTBOUND,
        )
        try:
            self._leg = RtpLeg(stack.media, info, self._line, stack.exchange.host(flow), flow.host)
            self._leg.encrypt(stack.encryption(flow, self._trunk))
        except PortsExhausted as e:
            raise CallFailed(503, str(e)) from e
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        return self._leg

    async def _invite(self, leg: RtpLeg, flow: Flow) -> Response:
        request = self._request(flow, leg.offer())
        credentials = self._trunk.credentials if self._trunk is not None else None
        tries = 0
        while True:
            tries += 1
            self._final = asyncio.get_running_loop().create_future()
            self._transaction = self._stack.exchange.send(request, flow, self._on_response)
            response = await self._final
            if response is None:
                raise CallFailed(0, self._stack.exchange.trouble(flow))
            if response.status not in (401, 407) or credentials is None or tries == CHALLENGES:
                return response
            retry = authorized(self._request(flow, request.body.decode()), request, response, credentials)
            if retry is None:
                return response
            request = retry

    def _request(self, flow: Flow, sdp: str) -> Request:
        call, trunk = self._call, self._trunk
        host, port = self._stack.exchange.address(flow)
        user, contact_user = call.caller, ""
        if trunk is not None:
            host, port = trunk.uri.host, trunk.uri.port
            contact_user = trunk.trunk.username
            if call.caller == OutboundCall.__dataclass_fields__["caller"].default:
                user = trunk.trunk.username or user  # a provider knows us by our account
        self._number += 1
        caller = Address(str(SipUri(host, user, 0 if port == 5060 else port)), call.display_name)
        headers = Headers([("from", str(caller.with_tag(self._tag))), ("to", f"<{self._target}>")])
        headers.add("call-id", self._sip_call_id)
        headers.add("cseq", str(CSeq(self._number, "INVITE")))
        headers.add("contact", self._stack.exchange.contact(flow, contact_user))
        headers.add("allow", ALLOW)
        if trunk is not None and trunk.trunk.proxy:
            headers.add("route", f"<sip:{trunk.trunk.proxy};lr>")
        for name, value in call.headers.items():
            headers.add(name, value)
        headers.add("content-type", SDP)
        return Request(headers, sdp.encode(), "INVITE", str(self._target))

    # Responses

    def _on_response(self, response: Response | None, flow: Flow) -> None:
        if response is not None and response.status < 200:
            self._provisional(response)
        elif response is not None and response.status < 300:
            self._success(response, flow)
        elif not self._final.done():
            self._final.set_result(response)

    def _provisional(self, response: Response) -> None:
        if self._abandoned:
            assert self._transaction is not None
            self._stack.exchange.cancel(self._transaction)  # 9.1: now is the time
            return
        if response.status == 100:
            self._report(CallProgress.TRYING, first=True)
        elif response.content_type == SDP and response.body:
            self._accept_early(response)
        elif response.status in (180, 181, 182):
            self._report(CallProgress.RINGING)

    def _accept_early(self, response: Response) -> None:
        assert self._leg is not None
        try:
            self._leg.accept(response.body)
        except RemoteProtocolError as e:
            log.info("sip early media unusable", extra={"call_id": self._call_id, "error": str(e)})
            return
        self._report(CallProgress.EARLY_MEDIA)

    def _success(self, response: Response, flow: Flow) -> None:
        tag = response.to.tag
        session = self._sessions.get(tag)
        number = response.cseq.number
        if session is None:
            session = Session(self._stack, Dialog.of_caller(self._sent(), response), flow, self._trunk)
            session.call_id = self._call_id
            self._sessions[tag] = session
            won = not self._abandoned and len(self._sessions) == 1 and not self._final.done()
            if won:
                session.leg = self._leg
                self._final.set_result(response)
            else:
                log.info("sip answer came too late", extra={"call_id": self._call_id})
                self._stack.start(self._decline(session, number), f"sip decline {self._call_id}")
                return
        self._stack.start(session.acknowledge(number), f"sip ack {self._call_id}")

    def _answered(self, leg: RtpLeg, response: Response) -> None:
        if response.status >= 300:
            raise CallFailed(response.status, response.reason)
        session = self._sessions[response.to.tag]
        try:
            # A 183 may have brought the answer before: then the 200 may come without.
            if response.body or leg.agreement is None:
                leg.accept(response.body)
        except RemoteProtocolError as e:
            session.leg = None
            session.hangup(HangupCause.INCOMPATIBLE)
            raise CallFailed(488, str(e)) from e
        self._line.session = session
        if not session.established.done():
            session.established.set_result(None)
        if session.over:
            raise CallFailed(487, "the far end hung up at once")
        self._report(CallProgress.ANSWERED)

    async def _decline(self, session: Session, number: int) -> None:
        await session.acknowledge(number)
        session.hangup(HangupCause.CANCELLED if self._abandoned else HangupCause.NORMAL)

    def _abandon(self) -> None:
        self._abandoned = True
        if self._leg is not None:
            self._leg.discard()
        if self._transaction is not None:
            self._stack.exchange.cancel(self._transaction)
        for session in self._sessions.values():
            session.leg = None
            session.hangup(HangupCause.CANCELLED)

    def _sent(self) -> Request:
        assert self._transaction is not None
        return self._transaction.machine.request

    def _report(self, progress: CallProgress, *, first: bool = False) -> None:
        if self._on_progress is not None and (first or progress is not self._reached):
            self._reached = progress
            self._on_progress(progress)


def _trunk(stack: Stack, call: OutboundCall, target: SipUri) -> TrunkState | None:
    """The trunk that is asked for by name, else the one that the target belongs to. Raises CallFailed."""
    if not call.trunk:
        return stack.trunks.of_uri(target)
    state = stack.trunks.named(call.trunk)
    if state is None:
        raise CallFailed(404, f"there is no trunk {call.trunk!r}")
    return state


class _Line:
    """The leg's `Signalling`, made before there is a dialog."""

    session: Session | None = None

    def hangup(self, cause: HangupCause) -> None:
        if self.session is not None:
            self.session.hangup(cause)

    async def transfer(self, target: str) -> None:
        if self.session is None:
            raise TransferError("the call is not answered")
        await self.session.transfer(target)

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        if self.session is not None:
            self.session.send_info_dtmf(digit, duration_ms)
