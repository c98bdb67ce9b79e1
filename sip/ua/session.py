"""An answered call: its dialog, its media leg, and all requests between the two ends.

Implements `sip.rtpleg.Signalling` for the leg. Whatever happens to the peer, a hang-up ends here: an
unanswered BYE is given up after 64*T1.
"""

import asyncio
import logging

from media.leg import HangupCause
from sip.errors import CallFailed, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.sdp import MediaDirection
from sip.ua import sessiontimer
from sip.ua.answering import Answering
from sip.ua.dialog import Dialog
from sip.ua.flow import Flow
from sip.ua.keys import KeySender, receive_info
from sip.ua.layer import ServerTransaction
from sip.ua.line import CallLine
from sip.ua.message import Request, Response, reply
from sip.ua.refer import Move, receive_refer
from sip.ua.referral import Referral, receive_notify
from sip.ua.refresh import Refresher
from sip.ua.reinvite import receive_change
from sip.ua.sessiontimer import TimerPolicy
from sip.ua.stack import Stack, cause_of, describe, reason_of
from sip.ua.trunks import TrunkState

log = logging.getLogger(__name__)

KNOWN = {"REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH"}  # methods of SIP that we do not do


class Session:
    """One dialog with media. Registers itself as the one that takes the dialog's requests."""

    def __init__(self, stack: Stack, dialog: Dialog, flow: Flow, trunk: TrunkState | None = None) -> None:
        """`flow`: where the latest message of the peer came from. `leg` is set right after."""
        self.stack, self.dialog, self.trunk = stack, dialog, trunk
        self.leg: RtpLeg | None = None
        self.line = CallLine()
        self.moving: Move | None = None  # a REFER of the far end that we follow
        self.call_id = ""  # ours, for logs
        self.placed = dialog.local_number > 0  # we called them
        self.inviting = False  # an INVITE of ours is under way
        self.direction = MediaDirection.SENDRECV  # what we want; SENDONLY holds the far end
        self.allowed: set[str] = set()  # methods that the far end takes
        self.refresher = Refresher(self, TimerPolicy(stack.config.session_expires_s, stack.config.min_se_s))
        self.established = asyncio.get_running_loop().create_future()  # by the ACK; CallFailed if not
        self.established.add_done_callback(_retrieve)
        self.referral: Referral | None = None
        self.source = flow
        self._loop = asyncio.get_running_loop()
        self._answering = Answering(stack.exchange, self._unacknowledged)
        self._acks: dict[int, tuple[bytes, Flow]] = {}
        self._keys = KeySender(self)
        self.hung_up = False  # BYE was sent or received: nothing new begins
        self._over = False
        self._held: dict[str, Flow] = {}  # peers of this call that the source filter lets in
        self._hold(flow)
        stack.calls += 1
        stack.dialogs[dialog.key] = self

    @property
    def peer_host(self) -> str:
        return self.source.host

    def take(self, leg: RtpLeg, line: CallLine) -> None:
        """This call is the one that the leg signals through from now on."""
        self.leg, self.line = leg, line
        line.session = self
        leg.latch.signalling_host = self.source.host

    # Requests of the peer

    def receive(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        try:
            self.dialog.receive(request)
        except RemoteProtocolError as e:
            self.stack.refuse(request, transaction, e.status)
            return
        self.source = flow
        if request.method == "BYE":
            self._bye(request, transaction, flow)
        elif self.hung_up:
            self.stack.refuse(request, transaction, 481)
        else:
            match request.method:
                case "INVITE" | "UPDATE":
                    receive_change(self, request, transaction, flow)
                case "INFO":
                    receive_info(self, request, transaction)
                case "OPTIONS":
                    self.stack.exchange.respond(transaction, self.stack.ok(request, transaction, flow))
                case "NOTIFY":
                    receive_notify(self, request, transaction)
                case "REFER":
                    receive_refer(self, request, transaction)
                case "PRACK":  # for nothing that still waits
                    self.stack.refuse(request, transaction, 481)
                case method:
                    self.stack.refuse(request, transaction, 405 if method in KNOWN else 501)

    def acknowledged(self, ack: Request) -> None:
        waiting = self._answering.acknowledged(ack)
        if waiting is None:
            self.stack.exchange.counters.absorbed += 1  # the ACK of a repeated 200
            return
        if waiting.offered and not self.hung_up and self.leg is not None:
            try:
                self.leg.accept(ack.body)
            except RemoteProtocolError as e:
                log.info("sip answer unusable", extra={"call_id": self.call_id, "error": str(e)})
                self._fail(HangupCause.INCOMPATIBLE, CallFailed(488, str(e)))
                return
        if not self.established.done():
            self.established.set_result(None)

    def _bye(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        self.stack.exchange.respond(transaction, reply(request, 200))
        self._answering.settle()
        if self.referral is not None:
            self.referral.left()
        self.end(cause_of(request))

    @property
    def offering(self) -> bool:
        """Whether an offer of ours waits for its answer."""
        return self.inviting or self._answering.offering

    def answer(
        self, transaction: ServerTransaction, response: Response, sdp: str, *, offered: bool = False
    ) -> None:
        """Send a 2xx to an INVITE or UPDATE with our description and what we agree to about its session
        timer; that to an INVITE is repeated until its ACK comes."""
        request = transaction.machine.request
        self.heed(request)
        interval = sessiontimer.grant(request, self.refresher.policy)
        sessiontimer.write(response, interval)
        self.refresher.agree(interval)
        response.headers.add("contact", self.stack.exchange.contact(self.source))
        describe(response, sdp)
        if response.cseq.method == "INVITE":
            self._answering.send(transaction, response, offered=offered)
        else:
            self.stack.exchange.respond(transaction, response)

    def heed(self, message: Request | Response) -> None:
        """Remember which methods the far end takes."""
        if "allow" in message.headers:
            self.allowed = {method.upper() for method in message.headers.tokens("allow")}

    def _unacknowledged(self) -> None:
        log.warning("sip answer never acknowledged", extra={"call_id": self.call_id})
        self._fail(HangupCause.NETWORK, CallFailed(408, "no ACK"))

    # Signalling, for the leg

    def hangup(self, cause: HangupCause) -> None:
        """Send BYE, after the ACK if that is still missing (RFC 3261, 15)."""
        if not self.hung_up:
            self.hung_up = True
            self.refresher.stop()
            if self.moving is not None:
                self.moving.stop()
            self.stack.start(self._say_bye(cause), f"sip bye {self.call_id}")

    async def transfer(self, target: str, replaces: str = "") -> None:
        """Raises TransferError or Unsupported; returns when the target has answered. `replaces`: the call
        with the target that the far end shall take over (RFC 3891)."""
        self.referral = Referral(self, target, replaces)
        try:
            await self.referral.run(self.stack.config.transfer_timeout_s)
        finally:
            self.referral = None

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        """Press a key by INFO, one after the other."""
        self._keys.press(digit, duration_ms)

    # For the others of this package

    async def ask(
        self, method: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Response | None:
        """A request in the dialog other than INVITE; its final response, None if there is none."""
        return await self._ask(await self.way(), method, headers or {}, body)

    async def tell(self, method: str, headers: dict[str, str], body: bytes) -> None:
        """The same, for a request whose response is of no interest. Those that are told one after the other
        are sent in that order."""
        flow = await self.way()

        async def send() -> None:
            await self._ask(flow, method, headers, body)

        self.stack.start(send(), f"sip {method.lower()} {self.call_id}")

    async def _ask(self, flow: Flow, method: str, headers: dict[str, str], body: bytes) -> Response | None:
        def make() -> Request:
            request = self.dialog.request(method)
            for name, value in headers.items():
                request.headers.add(name, value)
            request.body = body
            return request

        credentials = self.trunk.credentials if self.trunk is not None else None
        return await self.stack.exchange.ask(make, flow, credentials)

    async def way(self) -> Flow:
        """Where the next request goes."""
        hop, routed = self.dialog.next_hop(), bool(self.dialog.routes)
        flow = await self.stack.resolver.next_flow(hop, self.source, routed=routed)
        self._hold(flow)
        return flow

    def _hold(self, flow: Flow) -> None:
        if flow.host not in self._held and not self._over:
            self._held[flow.host] = flow
            self.stack.hold(flow)

    async def acknowledge(self, number: int) -> None:
        """Send the ACK for a 2xx to our INVITE, or repeat it."""
        if number not in self._acks:
            flow = await self.way()
            ack = self.dialog.ack(number)
            self._acks = {number: (self.stack.exchange.send_ack(ack, flow), flow)}
            return
        self.stack.exchange.counters.absorbed += 1
        self.stack.exchange.send_raw(*self._acks[number])

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._over

    def end(self, cause: HangupCause) -> None:
        """The call is over, whoever ended it. Idempotent."""
        if self._over:
            return
        self._over = self.hung_up = True
        if not self.established.done():
            self.established.set_exception(CallFailed(487, "the caller hung up"))
        self._answering.settle()
        self.refresher.stop()
        self.stack.leave(self.dialog.key)
        for flow in self._held.values():
            self.stack.release(flow)
        self.stack.calls -= 1
        if self.leg is not None and self.moving is None:  # else it goes on with somebody else
            self.leg.ended(cause)

    def lost(self) -> None:
        """The far end knows nothing of the call, or has gone."""
        self._fail(HangupCause.NETWORK, CallFailed(0, "the far end has gone"))

    def shut_down(self) -> None:
        if self.leg is not None:
            self.leg.ended(HangupCause.NORMAL)
        self.hangup(HangupCause.NORMAL)

    # Tasks

    def _fail(self, cause: HangupCause, error: CallFailed) -> None:
        if not self.established.done():
            self.established.set_exception(error)
        if self.leg is not None:
            self.leg.ended(cause)
        self.hangup(cause)

    async def _say_bye(self, cause: HangupCause) -> None:
        await self._answering.settled()
        try:
            if not self._over and await self.ask("BYE", {"reason": reason_of(cause)}) is None:
                log.info("sip bye unanswered", extra={"call_id": self.call_id})
        finally:
            self.end(cause)


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()  # whoever does not wait does not want to know
