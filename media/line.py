"""What a call's line is like at the moment: is there anybody yet, are we on hold? And how we leave it."""

import asyncio
import logging
from collections.abc import Awaitable

from media.callconfig import SessionConfig
from media.leg import CallLeg, Direction, HangupCause

log = logging.getLogger(__name__)

GOODBYE_S = 5.0  # a goodbye that the far end does not confirm as heard holds the line for so long
CLOSE_TIMEOUT_S = 40  # a leg that does not report its end: longer than SIP's timer F (32 s)
HOLD_S = 0.5  # audio comes but the leg does not ask for any: the far end has put us on hold


class LineState:
    """Watches one leg. Times are in seconds of the loop's clock."""

    def __init__(self, leg: CallLeg, config: SessionConfig) -> None:
        self._leg, self._config = leg, config
        self._earliest = 0.0  # before which the bot says nothing
        self._opens_at = 0.0  # when it begins to speak, whether anybody is there or not
        self._ticked = 0.0  # when the leg last asked for audio
        self.on_hold = False

    def began(self, now: float) -> None:
        """The call is answered."""
        outbound = self._leg.info.direction is Direction.OUTBOUND
        self._ticked = now
        self._earliest = now + (self._config.greeting_delay_ms / 1000 if outbound else 0.0)
        self._opens_at = max(self._earliest, now + self._config.greeting_wait_ms / 1000)

    def may_speak(self, now: float) -> bool:
        """Not before the far end's media flows: nobody would hear the greeting's first words."""
        if now < self._opens_at and self._leg.flows:
            self._opens_at = self._earliest
        return now >= self._opens_at

    def received(self, now: float) -> bool:
        """Audio has come. True: we have been put on hold since."""
        if self.on_hold or now - self._ticked <= HOLD_S:
            return False
        self.on_hold = True
        return True

    def asked(self, now: float) -> bool:
        """The leg wants audio. True: we are back from hold."""
        self._ticked = now
        back, self.on_hold = self.on_hold, False
        return back

    async def hang_up(self, left_s: float, heard_all: Awaitable[None]) -> None:
        """Hang up once everything was heard; `left_s` of it still is to be. Returns only if the leg does not
        report its end."""
        call_id = self._leg.info.call_id
        try:
            async with asyncio.timeout(left_s + GOODBYE_S):
                await heard_all
        except TimeoutError:
            log.warning("hanging up before the last word was confirmed", extra={"call_id": call_id})
        await asyncio.sleep(self._config.hangup_delay_ms / 1000)
        await self._leg.hangup(HangupCause.NORMAL)
        await asyncio.sleep(CLOSE_TIMEOUT_S)
        log.error("leg did not report its end", extra={"call_id": call_id})
