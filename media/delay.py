"""How much delay a jitter buffer needs, measured: the spread of transit times over the last seconds. A core.

A packet's transit is arrival minus timestamp; the fastest of the window is the base, what others took
longer is what a buffer must bridge. The base follows the window, so the drift of two clocks is no jitter.
A stall is none either: what comes later than any buffer could bridge is left out.
"""

from collections import deque

WINDOW = 250  # packets, 5 s: long enough for the rare late ones, short enough to forget a bad moment
FIRST = 25  # packets before anything is concluded
SHARE = 0.97  # of the packets shall be there in time; the rest is concealed
EVERY = 10  # packets between two looks
STALLED = 50  # packets in a row beyond the limit: this is no stall, the way has become longer
STALL_S = 0.12  # without any packet, and then a late one: the line stood still
CAUGHT_UP_S = 0.03  # this late or less: it runs again
SMOOTH = 1 / 32  # of the measured depth: its samples saw-tooth by a packet


class DelayMeter:
    """Of one source. All in ticks of the RTP clock."""

    __slots__ = (
        "_base",
        "_before",
        "_bursting",
        "_clock",
        "_count",
        "_limit",
        "_longer",
        "_now",
        "_stalled",
        "_transits",
        "depth",
        "spread",
    )

    def __init__(self, clock: int, limit: int) -> None:
        """`clock` in Hz; `limit`: the longest delay that a buffer may bridge, in ticks."""
        self._clock, self._limit = clock, limit
        self._transits: deque[float] = deque(maxlen=WINDOW)
        self._longer: deque[float] = deque(maxlen=WINDOW)  # than the fastest when it came
        self._now = 0.0  # of the arrival before
        self._bursting = False  # after a stall: what was held up comes at once
        self._base = 0.0  # fastest of the window
        self._before = 0.0  # the transit before
        self._count = self._stalled = 0
        self.spread = 0.0
        """What 97 % of the packets took longer than the fastest, at most."""
        self.depth: float | None = None
        """Delay that the buffer has now: from the fastest arrival to playing, measured; None: not yet."""

    def arrived(self, timestamp: int, now: float) -> float:
        """A packet came at `now`, in seconds of any clock. Returns how much longer than the fastest it
        took."""
        transit = now * self._clock - timestamp
        transits = self._transits
        if transits and abs(transit - self._before) > self._clock:  # 1 s: a jump, or the timestamps wrap
            self._restart()
        self._before = transit
        if not transits or transit < self._base:
            self._base = transit
        longer = transit - self._base
        silent, self._now = now - self._now, now
        if longer > self._clock * STALL_S and silent > STALL_S:
            self._bursting = True
        elif longer < self._clock * CAUGHT_UP_S:
            self._bursting = False
        if longer > self._limit or self._bursting:
            self._stalled += 1
            if self._stalled >= STALLED:
                self._restart()
            return min(longer, self._limit)
        self._stalled = 0
        transits.append(transit)
        self._longer.append(longer)
        self._count += 1
        if self._count % EVERY == 0 and len(transits) >= FIRST:
            self._base = min(transits)
            self.spread = sorted(self._longer)[int(SHARE * (len(self._longer) - 1))]
        return longer

    def waits(self, ticks: float) -> None:
        """A packet will be played `ticks` after the fastest way it could have come."""
        self.depth = ticks if self.depth is None else self.depth + (ticks - self.depth) * SMOOTH

    def moved(self, ticks: int) -> None:
        """The buffer was made deeper, or shallower, by hand."""
        if self.depth is not None:
            self.depth += ticks

    def forget_depth(self) -> None:
        """The buffer fills anew."""
        self.depth = None

    def _restart(self) -> None:
        self._transits.clear()
        self._longer.clear()
        self._bursting = False
        self._stalled = 0
        self.spread = 0.0
        self.depth = None
