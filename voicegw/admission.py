"""Who is let in: so many calls at a time and no more, and none while those in progress suffer.

    draining -> flow known -> room (some of it reserved) -> room for this flow, this caller -> ticker in time

A call that is refused costs a caller a moment, one too many costs all callers their sound. What closed the
door for lateness opens it again only well below the limit, and not at once: else every second call would
be let in.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from media.leg import CallInfo, Direction
from voicegw.config.model import Limits
from voicegw.livecalls import LiveCalls
from voicegw.metrics import Lateness

log = logging.getLogger(__name__)

REOPEN_SHARE = 0.6  # of the limit
REOPEN_S = 5.0  # as far as the lateness looks back


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call is turned away, and under which name that is counted."""

    reason: str
    status: int
    phrase: str
    retry: bool = False


DRAINING = Refusal("draining", 503, "Shutting Down", retry=True)
BUSY = Refusal("busy", 503, "All Lines Busy", retry=True)
FLOW_BUSY = Refusal("flow_busy", 486, "All Lines Of This Number Busy")
CALLER_BUSY = Refusal("caller_busy", 486, "Too Many Calls From This Number")
LATE = Refusal("late", 503, "Overloaded", retry=True)
NOT_FOUND = Refusal("not_found", 404, "Nobody Here By This Number")
FAILED = Refusal("error", 500, "Server Internal Error")


class Admission:
    """Belongs to one event loop."""

    def __init__(self, limits: Limits, live: LiveCalls, late: Lateness) -> None:
        self._limits, self._live, self._late = limits, live, late
        self._closed_at: float | None = None  # loop time at which lateness last exceeded the limit
        self.draining = False

    def refusal(self, flow: str | None, info: CallInfo | None = None) -> Refusal | None:
        """Why no further call can be taken; None: it can. Without `info` it is one that we place."""
        if self.draining:
            return DRAINING
        if flow is None:
            return NOT_FOUND
        limits = self._limits
        room = limits.max_calls - (0 if self._privileged(info) else limits.reserved)
        if len(self._live) >= room:
            return BUSY
        if flow in limits.per_flow and self._count(flow=flow) >= limits.per_flow[flow]:
            return FLOW_BUSY
        caller = info.caller if info is not None and info.direction is Direction.INBOUND else ""
        if limits.per_caller and caller and self._count(caller=caller) >= limits.per_caller:
            return CALLER_BUSY
        return LATE if self.late() else None

    def late(self) -> bool:
        """Whether the ticker is too late for further calls."""
        limit = self._limits.lateness_ms
        if not limit or not self._live:
            self._closed_at = None
            return False
        now, late_ms = asyncio.get_running_loop().time(), self._late.p99_ms()
        if late_ms > limit:
            if self._closed_at is None:
                log.error("too late for further calls", extra={"late_ms": round(late_ms), "limit_ms": limit})
            self._closed_at = now
        elif self._closed_at is not None and (
            late_ms < REOPEN_SHARE * limit and now - self._closed_at >= REOPEN_S
        ):
            log.warning("further calls are taken again", extra={"late_ms": round(late_ms)})
            self._closed_at = None
        return self._closed_at is not None

    def _privileged(self, info: CallInfo | None) -> bool:
        """Whether the reserved places are for this call too."""
        if info is None or info.direction is Direction.OUTBOUND:
            return True
        numbers = self._limits.priority
        return _listed(info.callee, numbers) or _listed(info.caller, numbers)

    def _count(self, *, flow: str = "", caller: str = "") -> int:
        return sum(
            (not flow or call.flow == flow) and (not caller or call.info.caller == caller)
            for call in self._live
        )


def _listed(number: str, patterns: Iterable[str]) -> bool:
    return any(
        number.startswith(pattern[:-1]) if pattern.endswith("*") else number == pattern
        for pattern in patterns
    )
