"""Brings other people into a call: transfers by bridge, conferences, supervisors.

The caller is never released before somebody else has answered: he hears music meanwhile, and comes back to
the bot when nobody does. Who leaves whom: the caller's hang-up ends everything; an agent's hang-up ends the
call too, a supervisor's or guest's only takes him out.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

from dialog.types import Transfer, TransferFailed, TransferMode
from media.callconfig import Engines, TransferConfig, TransferHow
from media.company import Company, Party, Role
from media.errors import MediaError, TransferError, TransferRefused, Unsupported
from media.leg import CallInfo, CallLeg, HandsOver, HangupCause
from media.music import music
from media.report import CallReport
from media.resample import Resampler
from media.tasks import Start

log = logging.getLogger(__name__)


class Dialler(Protocol):
    """Calls somebody on behalf of a call in progress."""

    async def place(self, target: str, call: CallInfo, timeout_s: float) -> CallLeg:
        """The leg once it is answered. Cancelling gives up. Raises TransferError: busy, no answer, ..."""


class Switchboard:
    """Of one call."""

    def __init__(
        self,
        leg: CallLeg,
        engines: Engines,
        config: TransferConfig,
        report: CallReport,
        new_company: Callable[[], Company],
    ) -> None:
        self._leg, self._voice, self._dialler = leg, engines.voice, engines.dialler
        self._config, self._report, self._new_company = config, report, new_company
        self._company: Company | None = None
        self.handing_over = False
        """A transfer is under way, or the caller talks with whom he was handed over to."""
        self.start: Start | None = None
        """Starts tasks of the call; the session sets it when it runs."""

    @property
    def company(self) -> Company | None:
        """Whoever else is in the call; None: nobody."""
        return self._company

    def hand_over(
        self,
        order: Transfer,
        say_aloud: Callable[[str], Awaitable[None]],
        close: Callable[[str], None],
        failed: Callable[[TransferFailed], None],
    ) -> None:
        """Hand the caller over. If he stays with us, `failed` is told why; `close` when he was connected here
        and the other party has hung up. By REFER he leaves, and nothing is told."""
        self._begin(self._hand_over(order, say_aloud, close, failed), "transfer")

    async def _hand_over(
        self,
        order: Transfer,
        say_aloud: Callable[[str], Awaitable[None]],
        close: Callable[[str], None],
        failed: Callable[[TransferFailed], None],
    ) -> None:
        self.handing_over = True
        try:
            if await self.transfer(order, say_aloud):
                close("transferred")
        except MediaError as error:
            log.warning("transfer failed", extra={"call_id": self._leg.info.call_id, "error": str(error)})
            self._report.error("transfer", str(error))
            self.handing_over = False
            failed(TransferFailed(order.target, str(error)))

    def call_in(self, target: str, role: Role, name: str) -> None:
        """Call one more party in; the timeline tells how it went."""
        self._begin(self._call_in(target, role, name), "party")

    async def _call_in(self, target: str, role: Role, name: str) -> None:
        try:
            await self.invite(target, role, name)
        except MediaError as error:
            log.warning("nobody came", extra={"call_id": self._leg.info.call_id, "error": str(error)})
            self._report.error("party", f"{name}: {error}")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self.start is not None, "the session runs"
        self.start(work, name)

    async def transfer(self, order: Transfer, say_aloud: Callable[[str], Awaitable[None]]) -> bool:
        """Hand the caller over. Returns False when he has left with the target's address (REFER), True when
        he was connected here and the target has hung up. Raises MediaError: he is still with us.

        `say_aloud` says something to everybody in the call.
        """
        how = self._config.how
        if isinstance(self._leg, HandsOver) and self._leg.hands_over:
            await self._leg.transfer(order)
            return False
        if order.mode is TransferMode.BLIND and how is not TransferHow.BRIDGE:
            try:
                await self._leg.transfer(order)
                return False
            except (TransferRefused, Unsupported) as error:
                if how is TransferHow.REFER or self._dialler is None:
                    raise
                log.info(
                    "transfer by bridge",
                    extra={"call_id": self._leg.info.call_id, "reason": str(error)},
                )
        await self._bridge(order, say_aloud)
        return True

    async def _bridge(self, order: Transfer, say_aloud: Callable[[str], Awaitable[None]]) -> None:
        """Call the target, connect, and wait until it hangs up."""
        rate = self._leg.format.rate
        meanwhile = music(order.music or self._config.music, rate)
        attended = order.mode is TransferMode.ATTENDED
        with_company = self._enter_company()
        with_company.play(meanwhile)
        try:
            async with self._called(order.target, order.timeout_s or self._config.timeout_s) as leg:
                whispered = attended and not order.aloud
                party = with_company.enter(leg, Role.AGENT, "agent", apart=whispered)
                try:
                    if whispered:
                        await self._whisper(party, order.summary)
                        with_company.admit(party)
                    with_company.play(None)
                    with_company.hold_with(music(self._config.music, rate))
                    if attended and order.aloud:
                        await say_aloud(order.summary)
                    await asyncio.wait([party.closed])
                finally:
                    cause = party.closed.result() if party.closed.done() else HangupCause.NORMAL
                    with_company.leave(party, cause)
        finally:
            with_company.play(None)
            self._tidy()

    async def _whisper(self, party: Party, summary: str) -> None:
        """Raises TransferError if he hangs up meanwhile."""
        await party.tell(await self._speech(summary, party.leg.format.rate))
        if party.closed.done():
            raise TransferError("the target hung up before it was connected")

    async def _speech(self, text: str, rate: int) -> bytes:
        resampler = Resampler(self._voice.rate, rate)
        async with aclosing(self._voice.synthesize(text)) as speech:
            parts = [resampler.process(chunk.pcm) async for chunk in speech]
        return b"".join(parts) + resampler.flush()

    @property
    def rate(self) -> int:
        """Of the caller's line, in Hz."""
        return self._leg.format.rate

    def hold(self, *, on: bool, name: str = "") -> None:
        """Let the caller wait with music, heard by nobody; or take him back."""
        company = self._enter_company()
        company.wait(music(name or self._config.music, self.rate) if on else None)
        self._tidy()

    def mute(self, *, on: bool) -> None:
        """Nobody hears the caller, the bot neither; or everybody does again."""
        company = self._enter_company()
        company.caller.muted = on
        self._tidy()

    async def invite(self, target: str, role: Role, name: str) -> None:
        """Call one more party in, and stay until it leaves. Raises MediaError if it does not come."""
        async with self._called(target, self._config.timeout_s) as leg:
            company = self._enter_company()
            party = company.enter(leg, role, name)
            try:
                await asyncio.wait([party.closed])
            finally:
                cause = party.closed.result() if party.closed.done() else HangupCause.NORMAL
                company.leave(party, cause)
                self._tidy()

    @asynccontextmanager
    async def _called(self, target: str, timeout_s: float) -> AsyncIterator[CallLeg]:
        """A leg to the target, hung up in the end whatever happens. Raises MediaError."""
        if self._dialler is None:
            raise Unsupported("this server cannot place calls")
        leg = await self._dialler.place(target, self._leg.info, timeout_s)
        try:
            yield leg
        finally:
            await asyncio.shield(leg.hangup(HangupCause.NORMAL))

    def _enter_company(self) -> Company:
        if self._company is None:
            self._company = self._new_company()
        return self._company

    def _tidy(self) -> None:
        """The last one has left: the session talks to its leg directly again."""
        if self._company is not None and not self._company.needed:
            self._company = None
