"""One pulse for all calls: a callback each packet time, on absolute deadlines.

A period of 20 ms is cut into slots of 5 ms. A call joins the emptiest slot: `receive` runs there,
`send` runs one slot later, so that whatever a received frame brings about (a barge-in, the end of a
turn) is on the wire 5 ms afterwards instead of up to 20 ms. Deadlines are start + n * 5 ms: a late
beat does not shift the next. After a stall the missed beats run at once, up to a limit; what is older
is skipped and counted.

Lateness of beats is the health figure of the whole process: it says how long samples waited.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

PERIOD_MS = 20
SLOTS = 4  # 5 ms each: fine enough to spread the load, coarse enough for uvloop's 1 ms timers
STEP = PERIOD_MS / 1000 / SLOTS  # seconds from beat to beat
EARLY = 0.0005  # seconds; timers of 1 ms and rounded floats come a little early: do not spin until then
CATCH_UP = 10  # periods repeated after a stall; 200 ms is what far ends' jitter buffers forgive


@dataclass(slots=True)
class Pulse:
    """How well time was kept, since the last `take`."""

    late_max: float = 0.0  # seconds
    skipped: int = 0  # periods lost to stalls longer than the catch-up


@dataclass(slots=True, eq=False)
class _Member:
    slot: "list[_Member]"
    receive: Callable[[], None]
    send: Callable[[], None]
    failed: Callable[[Exception], None]
    active: bool = True

    def leave(self) -> None:
        if self.active:
            self.active = False
            self.slot.remove(self)


class Metronome:
    """Runs only while somebody has joined. Belongs to the loop of the first `join`."""

    def __init__(self, on_late: Callable[[float], None] | None = None) -> None:
        """`on_late` is told the lateness of each beat, in seconds."""
        self._slots: list[list[_Member]] = [[] for _ in range(SLOTS)]
        self._on_late = on_late
        self._beat = 0  # number of the next beat
        self._start = 0.0  # loop time of beat 0
        self._timer: asyncio.Handle | None = None
        self.pulse = Pulse()
        self.late = 0.0
        """Lateness of the beat that runs now, in seconds."""
        self.skipped = 0
        """Periods that were never beaten, since the beginning."""

    @property
    def calls(self) -> int:
        """How many have joined."""
        return sum(len(slot) for slot in self._slots)

    def join(
        self,
        receive: Callable[[], None],
        send: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> Callable[[], None]:
        """Call both each packet time, `send` 5 ms after `receive`. Returns what leaves again.

        Whoever raises has left, and is told so through `failed`.
        """
        slot = min(self._slots, key=len)
        member = _Member(slot, receive, send, failed)
        slot.append(member)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._start, self._beat = loop.time(), 0
            self._timer = loop.call_soon(self._tick, loop)
        return member.leave

    def take(self) -> Pulse:
        """The pulse since the last call."""
        pulse, self.pulse = self.pulse, Pulse()
        return pulse

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        behind = int((now - self._start) / STEP) - self._beat  # beats missed so far
        excess = behind - CATCH_UP * SLOTS
        if excess > 0:
            periods = -(-excess // SLOTS)  # whole ones, so that slots keep their turn
            self.pulse.skipped += periods
            self.skipped += periods
            self._beat += periods * SLOTS
            log.warning(
                "metronome stalled", extra={"stalled_ms": round(behind * STEP * 1000), "skipped": periods}
            )
        while (late := now - (self._start + self._beat * STEP)) > -EARLY:
            self._run(max(0.0, late))
            self._beat += 1
        if not self.calls:
            self._timer = None
            return
        self._timer = loop.call_at(self._start + self._beat * STEP, self._tick, loop)

    def _run(self, late: float) -> None:
        self.late = late
        pulse = self.pulse
        pulse.late_max = max(pulse.late_max, late)
        if self._on_late is not None:
            self._on_late(late)
        # Copies: a call may join or leave from within a beat.
        for member in tuple(self._slots[(self._beat - 1) % SLOTS]):
            self._call(member, member.send)
        for member in tuple(self._slots[self._beat % SLOTS]):
            self._call(member, member.receive)

    def _call(self, member: _Member, beat: Callable[[], None]) -> None:
        if not member.active:
            return
        try:
            beat()
        except Exception as e:  # a bug in one call must not stop the clock of all
            log.exception("a call failed in its beat")
            member.leave()
            asyncio.get_running_loop().call_soon(member.failed, e)
