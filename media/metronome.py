"""One pulse for all calls: a callback each packet time, on absolute deadlines.

A period of 20 ms is cut into slots of 5 ms. A call joins the emptiest slot: `receive` runs there,
`send` runs one slot later, so that whatever a received frame brings about (a barge-in, the end of a
turn) is on the wire 5 ms afterwards instead of up to 20 ms. Deadlines are start + n * 5 ms: a late
beat does not shift the next. After a stall the missed beats run at once, up to a limit.

Lateness of beats is the health figure of the whole process: it says how long samples waited.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

PERIOD_MS = 20
SLOTS = 4  # 5 ms each: fine enough to spread the load, coarse enough for uvloop's 1 ms timers
CATCH_UP = 10  # periods repeated after a stall; 200 ms is what far ends' jitter buffers forgive


Beat = tuple[Callable[[], None], Callable[[], None]]  # receive, send


@dataclass(slots=True)
class Pulse:
    """How well time was kept, since the last `take`."""

    beats: int = 0
    late_sum: float = 0.0  # seconds
    late_max: float = 0.0  # seconds
    skipped: int = 0  # periods lost to stalls longer than the catch-up


class Metronome:
    """Runs only while somebody has joined."""

    def __init__(self, on_late: Callable[[float], None] | None = None) -> None:
        """`on_late` is told the lateness of each beat, in seconds."""
        self._slots: list[dict[int, tuple[Callable[[], None], Callable[[], None]]]] = [
            {} for _ in range(SLOTS)
        ]
        self._on_late = on_late
        self._next_key = 0
        self._beat = 0  # number of the next beat
        self._start = 0.0  # loop time of beat 0
        self._timer: asyncio.TimerHandle | None = None
        self.pulse = Pulse()

    @property
    def calls(self) -> int:
        """How many have joined."""
        return sum(len(slot) for slot in self._slots)

    def join(self, receive: Callable[[], None], send: Callable[[], None]) -> Callable[[], None]:
        """Call both each packet time, `send` 5 ms after `receive`. Returns what leaves again."""
        key, slot = self._next_key, min(self._slots, key=len)
        self._next_key += 1
        slot[key] = (receive, send)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._start, self._beat = loop.time(), 0
            self._timer = loop.call_soon(self._tick, loop)  # type: ignore[assignment]

        def leave() -> None:
            slot.pop(key, None)

        return leave

    def take(self) -> Pulse:
        """The pulse since the last call."""
        pulse, self.pulse = self.pulse, Pulse()
        return pulse

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        step = PERIOD_MS / 1000 / SLOTS
        now = loop.time()
        behind = int((now - self._start) / step) - self._beat  # beats missed so far
        if behind > CATCH_UP * SLOTS:
            self.pulse.skipped += behind // SLOTS
            log.warning("metronome stalled", extra={"stalled_ms": round(behind * step * 1000)})
            self._beat += behind // SLOTS * SLOTS  # whole periods, so that slots keep their turn
        while self._start + self._beat * step <= now:
            self._run(now - (self._start + self._beat * step))
            self._beat += 1
        if not self.calls:
            self._timer = None
            return
        self._timer = loop.call_at(self._start + self._beat * step, self._tick, loop)

    def _run(self, late: float) -> None:
        pulse = self.pulse
        pulse.beats += 1
        pulse.late_sum += late
        pulse.late_max = max(pulse.late_max, late)
        if self._on_late is not None:
            self._on_late(late)
        for _, send in tuple(self._slots[(self._beat - 1) % SLOTS].values()):
            send()
        for receive, _ in tuple(self._slots[self._beat % SLOTS].values()):
            receive()
