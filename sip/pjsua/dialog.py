"""One call over pjsip, on the loop's side: signalling for its leg, and a call that rings here."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from media.errors import TransferError, TransferRefused
from media.leg import CallInfo, HangupCause
from sip.endpoint import CallProgress
from sip.errors import CallFailed, RemoteProtocolError, cause_of_status
from sip.pjsua.thread import PjsuaError
from sip.rtpleg import RtpLeg
from sip.rtpports import PortsExhausted
from sip.sdp import MediaDirection
from sip.ua.identity import call_info
from sip.ua.message import Request
from sip.ua.referral import target_uri

if TYPE_CHECKING:
    from sip.pjsua.endpoint import PjsuaEndpoint

log = logging.getLogger(__name__)

# pjsip tells the answer to REFER and the target's in the same way. So do far ends refuse REFER itself:
REFERS_NOT = frozenset({403, 405, 420, 501, 603})

RENEGOTIATE_S = 32.0  # RFC 3261, timer B: by then a re-INVITE has an answer or none


class Dialog:
    """Implements `sip.rtpleg.Signalling`."""

    def __init__(
        self,
        endpoint: "PjsuaEndpoint",
        peer_host: str,
        on_progress: Callable[[CallProgress], None] | None = None,
    ) -> None:
        self._endpoint, self._on_progress = endpoint, on_progress
        self.peer_host = peer_host
        self.number = 0
        self.leg: RtpLeg | None = None
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._confirmed = self._over = False
        self._hung_up: HangupCause | None = None
        self._renegotiated: asyncio.Future[None] | None = None
        self._transfer: asyncio.Future[int] | None = None

    def open_leg(self, info: CallInfo) -> RtpLeg:
        """Raises CallFailed when no RTP port is free."""
        endpoint, peer = self._endpoint, self.peer_host
        try:
            self.leg = RtpLeg(endpoint.media, info, self, endpoint.public_host(peer), peer, endpoint.codecs)
        except PortsExhausted as e:
            raise CallFailed(503, str(e)) from e
        return self.leg

    # Signalling

    def hangup(self, cause: HangupCause) -> None:
        self.hang_up()

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        self._endpoint.command(lambda thread: thread.call(self.number).press(digit, duration_ms))

    async def transfer(self, target: str) -> None:
        thread, limit_s = self._endpoint.thread, self._endpoint.config.transfer_timeout_s
        uri = target_uri(target, f"sip:{self.peer_host}")
        self._transfer = asyncio.get_running_loop().create_future()
        try:
            await thread.run(lambda: thread.call(self.number).refer(f"<{uri}>"))
            async with asyncio.timeout(limit_s):
                status = await self._transfer
        except PjsuaError as e:
            raise TransferError(str(e)) from e
        except TimeoutError:
            raise TransferError(f"no result within {limit_s:g} s") from None
        finally:
            self._transfer = None
        if status in REFERS_NOT:
            raise TransferRefused(f"refused: {status}")
        if status >= 300:
            raise TransferError(f"refused: {status}")

    # For the endpoint

    def hang_up(self, status: int = 0) -> None:
        """BYE, CANCEL or a refusal, whatever fits."""
        if not self._over and self.number:
            self._endpoint.command(lambda thread: thread.hang_up(self.number, status))

    def give_up(self, status: int = 0) -> None:
        """Nobody waits for the answer any more."""
        self.hang_up(status)
        if self.leg is not None:
            self.leg.discard()

    async def hold(self, direction: MediaDirection) -> None:
        """Send a re-INVITE. Raises CallFailed."""
        thread, leg = self._endpoint.thread, self.leg
        assert leg is not None
        self._renegotiated = asyncio.get_running_loop().create_future()
        description = leg.offer(direction)
        try:
            await thread.run(lambda: thread.call(self.number).renegotiate(description))
            async with asyncio.timeout(RENEGOTIATE_S):
                await self._renegotiated
        except (PjsuaError, TimeoutError, CallFailed) as e:
            leg.abandon_offer()
            raise e if isinstance(e, CallFailed) else CallFailed(0, str(e) or "no answer") from e
        finally:
            self._renegotiated = None

    def shut_down(self) -> None:
        """The endpoint is closing."""
        if self.leg is not None and self.answered.done():
            self.leg.ended(HangupCause.NORMAL)
        self.hang_up(0 if self.answered.done() else 503)

    def progressed(self, state: str, status: int) -> None:
        """180, 183, or the call is established."""
        if state == "confirmed":
            self._confirmed = True
            self._settle()
        elif self._on_progress is not None and status == 180:
            self._on_progress(CallProgress.RINGING)

    def described(self, description: str) -> None:
        """The answer to our offer."""
        if self.leg is None or (self.answered.done() and self._renegotiated is None):
            return
        try:
            self.leg.accept(description)
        except RemoteProtocolError as e:
            log.info("sip answer unusable", extra={"error": str(e)})
            self._fail(CallFailed(488, str(e)))
            return
        if self._renegotiated is not None and not self._renegotiated.done():
            self._renegotiated.set_result(None)
        # pjsip reports the state before the message: without it this is no 200 but a 183.
        if self._on_progress is not None and not self._confirmed:
            self._on_progress(CallProgress.EARLY_MEDIA)
        self._settle()

    def describe(self, offer: str) -> str | int:
        """Our answer to a new offer, or our offer where they sent none."""
        if self.leg is None:
            return ""  # pjsip prepares an answer before anybody has decided; ours follows with the 200
        try:
            return self.leg.answer(offer) if offer else self.leg.offer()
        except RemoteProtocolError as e:
            log.info("sip offer refused", extra={"error": str(e)})
            return e.status

    def transferred(self, status: int) -> None:
        """The final NOTIFY."""
        if self._transfer is not None and not self._transfer.done():
            self._transfer.set_result(status)

    def over(self, status: int, reason: str) -> None:
        """pjsip is done with the call."""
        self._over = True
        failure = CallFailed(status, reason)
        self.transferred(200 if self._confirmed and status < 300 else 487)
        if self._renegotiated is not None and not self._renegotiated.done():
            self._renegotiated.set_exception(failure)
        if not self.answered.done():
            self.answered.set_exception(failure)
            self.answered.exception()  # whoever waits hears of it; nobody has to
            if self.leg is not None:
                self.leg.discard()
        elif self.leg is not None:
            self.leg.ended(HangupCause.NORMAL if status < 300 else cause_of_status(status))

    def _settle(self) -> None:
        """Both are there: the ACK, and a description to send audio by."""
        if self._confirmed and not self.answered.done() and self.leg and self.leg.agreement:
            if self._on_progress is not None:
                self._on_progress(CallProgress.ANSWERED)
            self.answered.set_result(None)

    def _fail(self, failure: CallFailed) -> None:
        if self._renegotiated is not None and not self._renegotiated.done():
            self._renegotiated.set_exception(failure)
        elif not self.answered.done():
            self.answered.set_exception(failure)


class Incoming:
    """Implements `sip.endpoint.IncomingCall`."""

    def __init__(self, endpoint: "PjsuaEndpoint", dialog: Dialog, invite: Request, call_id: str) -> None:
        self._endpoint, self._dialog, self._invite = endpoint, dialog, invite
        self.info = call_info(endpoint.trunks, endpoint.trunks.of_host(dialog.peer_host), invite, call_id)
        self._decided = False

    def ring(self) -> None:
        """Send 180 Ringing."""
        number = self._dialog.number
        if not self._decided:
            self._endpoint.command(lambda thread: thread.call(number).respond(180))

    async def answer(self) -> RtpLeg:
        """Send 200 OK; returns when the caller has acknowledged it. Raises CallFailed."""
        dialog, thread = self._dialog, self._endpoint.thread
        if dialog.answered.done():
            await dialog.answered  # the caller gave up
        if self._decided:
            raise CallFailed(500, "decided before")
        self._decided = True
        leg = dialog.open_leg(self.info)
        offer = self._invite.body.decode("utf-8", "replace")
        try:
            sdp = leg.answer(offer) if offer else leg.offer()
        except RemoteProtocolError as e:
            leg.discard()
            dialog.hang_up(e.status)
            raise CallFailed(e.status, str(e)) from e
        try:
            await thread.run(lambda: thread.call(dialog.number).respond(200, sdp, offers=not offer))
            await dialog.answered
        except PjsuaError as e:
            dialog.give_up(500)
            raise CallFailed(500, str(e)) from e
        except (CallFailed, asyncio.CancelledError):
            dialog.give_up()
            raise
        return leg

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        """Refuse the call. Nothing after an answer."""
        number = self._dialog.number
        if self._decided:
            return
        self._decided = True
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self._endpoint.command(lambda thread: thread.hang_up(number, status, reason, headers))

    async def fail(self) -> None:
        """Whoever had to decide about the call has failed."""
        self.reject(500)
        if self._dialog.leg is not None:
            await self._dialog.leg.hangup(HangupCause.INTERNAL)
