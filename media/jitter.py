"""Jitter buffer: packets in at any time, out in order at the pace of the metronome. A core.

`put` on arrival, `get` when audio is due. A packet is known by its sequence number, its place in time
by its timestamp: a lost packet and a pause of a sender that suppresses silence both leave a gap in the
timestamps, which is waited out; only the former counts as lost.

The delay follows the line (media/delay.py): it grows at once to what 97 % of the packets need, and by a
packet when the buffer runs dry in mid-speech; it shrinks a packet at a time once it was not needed for
seconds. What is waiting beyond that, or is missing to it, is `excess`: whoever plays the audio takes it
out, or puts it in, where nobody hears it. Far too much (a burst after a stall) is dropped here.
Sequence numbers: RFC 3550, section A.1. Times in ticks of the RTP clock.
"""

from media.delay import DelayMeter
from media.rtp import ReceptionStats

JUMP = 100  # packets: further from the last one means that the sender has started anew
CAPACITY = 64  # packets: 200 ms of the smallest in use (5 ms), and some events
CALM = 100  # packets, 2 s, in which the delay was deeper than needed: then it shrinks by one
REMEMBERED = 256  # lost packets that may still turn up


class JitterBuffer:
    """Of one direction of one call."""

    def __init__(self, stats: ReceptionStats, clock: int, min_ms: int = 40, max_ms: int = 200) -> None:
        """`min_ms` is the delay to begin with; over `max_ms` the oldest packets are dropped."""
        self._stats = stats
        self._min, self._max = clock * min_ms // 1000, clock * max_ms // 1000
        self._depth = self._min  # ticks of delay aimed at
        self._meter = DelayMeter(clock, self._max)
        self._calm = 0  # packets since the depth was too small, or was changed
        self._packets: dict[int, tuple[int, bytes, int, int]] = {}  # timestamp, payload, ticks, kind
        self._waiting = 0  # ticks of audio in `_packets`
        self._fresh = True  # no packet of this source yet
        self._played = False  # a packet of this source has left
        self._filling = True
        self._dry = False  # ran out; the next packet tells why
        self._next = 0  # extended sequence number due
        self._highest = 0
        self._position = 0  # timestamp due
        self._lost: dict[int, None] = {}  # in order of loss
        self.missing = 0
        """After `get` returned None: how many ticks have no audio."""
        self.kind = 0
        """After `get` returned a payload: its payload type."""

    @property
    def waiting(self) -> int:
        """Ticks of audio in the buffer."""
        return self._waiting

    @property
    def depth(self) -> int:
        """Ticks of delay aimed at."""
        return self._depth

    @property
    def excess(self) -> float:
        """Ticks by which the delay is longer than aimed at; negative: shorter. 0 while that is not known."""
        depth = self._meter.depth
        return 0.0 if depth is None or self._filling else depth - self._depth

    def moved(self, ticks: int) -> None:
        """The player has put in `ticks` of audio of its own (or, negative, has left some out)."""
        self._meter.moved(ticks)

    def put(
        self, sequence: int, timestamp: int, payload: bytes, ticks: int, now: float, kind: int = 0
    ) -> None:
        """Take a packet that plays for `ticks`. With 0 it is no audio (a telephone event, comfort
        noise), yet has its place in the sequence. `now` in seconds of any clock."""
        extended = self._place(sequence)
        if extended is None:
            return
        if self._dry:
            self._learn(timestamp, ticks)
        if not ticks and self._filling and extended == self._next:
            self._next += 1  # nothing waits for it
            return
        self._packets[extended] = (timestamp, payload, ticks, kind)
        self._waiting += ticks
        if ticks:
            self._measure(timestamp, ticks, now, newest=extended == self._highest)
        if self._waiting > self._max or len(self._packets) > CAPACITY:
            self._catch_up()

    def get(self, need: int) -> bytes | None:
        """The next packet's payload, or None: then `missing` ticks, `need` at most, have no audio."""
        packets = self._packets
        self.missing = need
        if self._filling and not self._filled():
            return None
        while packets:
            packet = packets.get(self._next)
            if packet is None:
                self._skip_lost()
                packet = packets[self._next]
            timestamp, payload, ticks, kind = packet
            gap = (timestamp - self._position + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            # A gap is waited out only while that does not make the delay longer than it should be:
            # so a sender with wrong timestamps is heard too, and a delay too long shrinks in pauses.
            if ticks and 0 < gap <= self._max and self._waiting <= self._depth:
                self.missing = min(gap, need)
                self._position = self._position + self.missing & 0xFFFFFFFF
                return None
            del packets[self._next]
            self._next += 1
            if ticks:
                self._waiting -= ticks
                self._position = timestamp + ticks & 0xFFFFFFFF
                self.kind = kind
                return payload
            if self._waiting <= self._depth:
                self._position = self._position + need & 0xFFFFFFFF
                return None  # an event takes the place of audio for one packet time
        self._filling = self._dry = True
        self._meter.forget_depth()
        return None

    def reset(self) -> None:
        """Forget all packets: another source speaks now."""
        self._packets.clear()
        self._lost.clear()
        self._waiting = 0
        self._fresh = self._filling = True
        self._played = self._dry = False
        self._meter.forget_depth()

    def _place(self, sequence: int) -> int | None:
        """The packet's extended sequence number; None: it is too late, or known."""
        if self._fresh:
            return self._begin(sequence)
        extended = self._highest + ((sequence - self._highest + 0x8000 & 0xFFFF) - 0x8000)
        if not -JUMP < extended - self._highest < JUMP:
            self._stats.resets += 1
            self.reset()
            return self._begin(sequence)
        if extended < self._next:
            if not self._useful(extended):
                return None
            self._stats.reordered += 1
        elif extended in self._packets:
            self._stats.duplicate += 1
            return None
        elif extended > self._highest:
            self._highest = extended
        else:
            self._stats.reordered += 1
        return extended

    def _begin(self, sequence: int) -> int:
        self._fresh = False
        self._next = self._highest = sequence
        return sequence

    def _measure(self, timestamp: int, ticks: int, now: float, *, newest: bool) -> None:
        """What this arrival says about the delay needed, and about the delay there is."""
        meter = self._meter
        longer = meter.arrived(timestamp, now)
        if newest and not self._filling:
            meter.waits(self._waiting + longer)
        # Of long packets not even two fit below the longest delay; the shortest one holds all the same.
        wanted = int(max(min(meter.spread + ticks, self._max - 2 * ticks), self._min))
        self._calm += 1
        if wanted > self._depth:
            self._depth, self._calm = wanted, 0
        elif self._calm >= CALM and self._depth > wanted:
            self._depth = max(wanted, self._depth - ticks)
            self._calm = 0

    def _filled(self) -> bool:
        """Whether enough is waiting to begin; then begin with the first."""
        if self._waiting < self._depth or not self._packets:
            return False
        self._skip_lost()
        self._position = self._packets[self._next][0]
        self._filling = self._dry = False
        self._played = True
        return True

    def _useful(self, extended: int) -> bool:
        """Whether a packet from before the one due can still be played; if not, count it."""
        if extended in self._lost:
            del self._lost[extended]
            self._stats.lost -= 1
            self._stats.late += 1
            return False
        if self._played or extended in self._packets:
            self._stats.duplicate += 1
            return False
        self._next = extended  # overtaken by the first packet that we saw
        return True

    def _skip_lost(self) -> None:
        """Give up the packets before the first that we have."""
        first = min(self._packets)
        self._stats.lost += first - self._next
        for number in range(max(self._next, first - REMEMBERED), first):
            self._lost[number] = None
        while len(self._lost) > REMEMBERED:
            del self._lost[next(iter(self._lost))]
        self._next = first

    def _learn(self, timestamp: int, ticks: int) -> None:
        """The buffer had run dry: if this packet follows without a pause, the delay was too short."""
        self._dry = False
        if ticks and timestamp == self._position:
            self._depth = max(self._depth, min(self._depth + ticks, self._max - 2 * ticks))
            self._calm = 0

    def _catch_up(self) -> None:
        """Drop the oldest: after a stall old audio would delay all that follows."""
        while len(self._packets) > 1 and (self._waiting > self._depth or len(self._packets) > CAPACITY // 2):
            self._skip_lost()
            self._drop()
        self._played, self._filling = True, False
        self._meter.forget_depth()

    def _drop(self) -> None:
        timestamp, _, ticks, _ = self._packets.pop(self._next)
        self._next += 1
        self._waiting -= ticks
        self._position = timestamp + ticks & 0xFFFFFFFF
        self._stats.discarded += ticks > 0
