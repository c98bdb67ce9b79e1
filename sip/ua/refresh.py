"""Keeps one call's session timer: refreshes, or hangs up on a far end that does not (RFC 4028, 10)."""

import asyncio
import logging
from typing import TYPE_CHECKING

from sip.errors import CallFailed
from sip.ua import sessiontimer
from sip.ua.message import Headers
from sip.ua.reinvite import renegotiate
from sip.ua.sessiontimer import Interval, TimerPolicy

if TYPE_CHECKING:
    from sip.ua.session import Session

log = logging.getLogger(__name__)

TRIES = 3  # a raised minimum, and glare


class Refresher:
    """Of one call."""

    def __init__(self, session: "Session", policy: TimerPolicy) -> None:
        self._session, self.policy = session, policy
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.interval: Interval | None = None

    def agree(self, interval: Interval | None) -> None:
        """From now on this holds; the time begins anew."""
        self.stop()
        self.interval = interval
        if interval is None or self._session.hung_up:
            return
        if interval.ours:
            self._timer = self._loop.call_later(interval.refresh_s, self._due)
        else:
            self._timer = self._loop.call_later(interval.patience_s, self._expired)

    def stop(self) -> None:
        """The call ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._session.stack.start(self._refresh(), f"sip refresh {self._session.call_id}")

    def _expired(self) -> None:
        log.warning("sip session expired", extra={"call_id": self._session.call_id})
        self._session.lost()

    async def _refresh(self) -> None:
        session, interval = self._session, self.interval
        assert interval is not None
        # Whatever comes of it, a call that nobody refreshes is over at the end of the interval.
        self._timer = self._loop.call_later(interval.seconds / 2, self._expired)
        try:
            if "UPDATE" not in session.allowed or not await self._update():
                await renegotiate(session, session.direction)
        except CallFailed as e:
            if not session.over:  # the time runs on
                log.warning("sip refresh refused", extra={"call_id": session.call_id, "error": str(e)})

    async def _update(self) -> bool:
        """Whether the far end took an UPDATE without a description. Raises CallFailed if it knows no call."""
        session = self._session
        for _ in range(TRIES):
            headers = Headers()
            self.ask(headers)
            headers.add("supported", "timer")
            headers.add("contact", session.stack.exchange.contact(await session.way()))
            response = await session.ask("UPDATE", dict(headers))
            if session.hung_up:
                return True
            if response is None or response.status in (408, 481):
                session.lost()
                raise CallFailed(response.status if response is not None else 0, "the call is gone")
            if response.status < 300:
                session.dialog.refresh(response)
                self.agree(sessiontimer.read(response))
                return True
            raised = sessiontimer.raised(response, self.policy) if response.status == 422 else None
            if raised is None:
                return False
            self.policy = raised
        return False

    def ask(self, headers: Headers) -> None:
        """Write into a refresh of ours that we go on refreshing."""
        sessiontimer.ask(headers, self.policy, "uac")
