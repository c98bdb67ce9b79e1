"""One channel of a recording: frames with their times go in, samples without a break come out.

A frame belongs where its time says. But times jitter (a late tick, a stall after which frames come in a
burst), and moving every frame by its jitter would tear the audio apart. So a frame simply continues the
one before while its time agrees within half a packet time. Where it does not, the times of the frames
that follow within half a second decide, by their median: if they agree with the contiguous place, this
one was only late; if not, there really is a gap (silence goes in), an overlap (its start is trimmed) or
drift (corrected by either, ten milliseconds at a time).

Sans-I/O and sans-clock. Positions are samples of the call clock; times are milliseconds.
"""

from collections import deque

WINDOW_MS = 500  # look ahead: longer than the burst after the longest stall that is caught up (200 ms)
SLACK_MS = 10  # half a packet: a lost packet is a whole one, late ticks are mostly under 10
LONGEST_GAP_MS = 3_600_000  # a time further ahead is an error, not a silence


class Track:
    """One channel."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._slack = SLACK_MS * rate // 1000
        self._window = WINDOW_MS * rate // 1000
        self._waiting: deque[tuple[int, bytes]] = deque()  # wanted position, audio
        self._placed: deque[tuple[int, bytes]] = deque()  # position, audio; ascending, without overlap
        self.end = 0  # where the next frame goes if it continues the last
        self._running = False  # whether there is a last frame to continue
        self.start = 0  # position of the next sample that `take` gives
        self.newest = 0  # end of the newest frame by its time
        self.trimmed = 0  # samples dropped because their place was taken
        self.misplaced = 0  # frames refused for an impossible time

    def put(self, pcm: bytes, at_ms: float) -> None:
        """A frame, and when its first sample was heard."""
        latest = self.newest * 1000 / self._rate + LONGEST_GAP_MS
        if not -LONGEST_GAP_MS <= at_ms <= latest:  # not-a-number included
            self.misplaced += 1
            return
        want = round(at_ms * self._rate / 1000)
        if want < 0:  # before the call began
            pcm, want = pcm[-2 * want :], 0
        self._waiting.append((want, pcm))
        self.newest = max(self.newest, want + len(pcm) // 2)

    def settle(self, until: int) -> None:
        """Place waiting frames. Those wanted before `until` wait no longer for frames after them."""
        waiting = self._waiting
        while waiting:
            want, pcm = waiting[0]
            shift = want - self.end
            if not self._running or abs(shift) > self._slack:
                if want >= until and waiting[-1][0] - want < self._window:
                    return
                shift = self._lasting(shift)
            else:
                shift = 0
            waiting.popleft()
            self._place(self.end + shift, pcm)

    def take(self, until: int) -> bytearray:
        """The samples from `start` to `until`, silence where nothing was placed."""
        start, placed = self.start, self._placed
        out = bytearray(2 * (until - start))
        while placed and placed[0][0] < until:
            position, pcm = placed.popleft()
            room = 2 * (until - position)
            if len(pcm) > room:
                placed.appendleft((until, pcm[room:]))
                pcm = pcm[:room]
            at = 2 * (position - start)
            out[at : at + len(pcm)] = pcm
        self.start = until
        if self.end < until:
            self.end, self._running = until, False
        return out

    def _lasting(self, shift: int) -> int:
        """How much of the first waiting frame's displacement the frames after it confirm."""
        slack = self._slack if self._running else 0
        first, position, shifts = self._waiting[0][0], self.end, []
        for want, pcm in self._waiting:
            if want - first > self._window:
                break
            shifts.append(want - position)
            position += len(pcm) // 2
        shifts.sort()
        median = shifts[(len(shifts) - 1) // 2]
        if abs(median) <= slack or (median > 0) != (shift > 0):
            return 0
        return min(shift, median) if shift > 0 else max(shift, median)

    def _place(self, position: int, pcm: bytes) -> None:
        overlap = self.end - position
        if overlap > 0:
            self.trimmed += min(overlap, len(pcm) // 2)
            pcm, position = pcm[2 * overlap :], self.end
        samples = len(pcm) // 2
        if samples:
            self._placed.append((position, pcm[: 2 * samples]))
            self.end, self._running = position + samples, True
