"""Concealment of missing audio: the last pitch period goes on, fading, until real audio takes over again.

After ITU-T G.711, appendix I: the sound of the last 45 ms is searched for its period (media/pitch.py),
which is repeated; from the second missing packet on two periods, so that it does not buzz. It fades to
nothing within 80 ms, and the first good frame is cross-faded in.

    good . good . [ lost: period, period, period ] . good (its first 5 ms mixed with one more period)
"""

from collections import deque

import numpy as np

from media.pitch import LONGEST_MS, Samples, crossfade, pcm, period, samples

FRAMES = 3  # remembered; three times the longest period, nearly
FULL_MS = 20  # as loud as before
SILENT_MS = 80  # a vowel that was held longer has ended meanwhile
JOIN_MS = 5  # of cross-fade back to real audio


class Concealment:
    """Of one direction of one call. `heard` after each good frame, `conceal` for each missing one."""

    __slots__ = ("_cycle", "_frames", "_missing", "_phase", "_rate", "_silence", "_sound")

    def __init__(self, size: int, rate: int) -> None:
        """`size`: bytes in a frame; `rate` in Hz."""
        self._rate = rate
        self._silence = bytes(size)
        self._frames: deque[bytes] = deque(maxlen=FRAMES)
        self._missing = 0  # samples concealed since the last good frame
        self._sound: Samples | None = None  # before the gap
        self._cycle: Samples | None = None  # what is being repeated
        self._phase = 0

    def heard(self, frame: bytes) -> bytes:
        """Remember a good frame; the first after a gap comes back joined to what was played in it."""
        if self._missing:
            frame = self._join(frame)
        self._frames.append(frame)
        return frame

    def conceal(self) -> bytes:
        """A frame in place of one that is missing."""
        size, rate = len(self._silence) // 2, self._rate
        if not self.fading:
            return self._silence
        self._prepare()
        at = np.arange(self._missing, self._missing + size) * (1000 / rate)
        gain = np.clip((SILENT_MS - at) / (SILENT_MS - FULL_MS), 0.0, 1.0)
        sound = self._continue(size) * gain.astype(np.float32)
        self._missing += size
        return pcm(sound)

    @property
    def fading(self) -> bool:
        """Whether `conceal` would give more than silence."""
        return len(self._frames) == FRAMES and self._missing < self._rate * SILENT_MS // 1000

    def forget(self) -> None:
        """The source has changed or fallen silent: conceal with silence."""
        self._frames.clear()
        self._missing = 0

    def _prepare(self) -> None:
        """Choose what to repeat: one period, and later two."""
        if not self._missing:
            self._sound = samples(b"".join(self._frames))
            lag = period(self._sound, self._rate)
            self._cycle, self._phase = self._sound[-lag:], 0
        elif self._missing * 1000 == 20 * self._rate:
            assert self._sound is not None and self._cycle is not None
            lag = len(self._cycle)
            if 2 * lag <= len(self._sound):
                self._cycle, self._phase = self._sound[-2 * lag :], self._phase % lag

    def _continue(self, size: int) -> Samples:
        cycle = self._cycle
        assert cycle is not None
        index = (self._phase + np.arange(size)) % len(cycle)
        self._phase = (self._phase + size) % len(cycle)
        return cycle[index]

    def _join(self, frame: bytes) -> bytes:
        missing, self._missing = self._missing, 0
        length = self._rate * JOIN_MS // 1000
        left = max(0.0, (SILENT_MS - missing * 1000 / self._rate) / (SILENT_MS - FULL_MS))
        old = self._continue(length) * np.float32(min(1.0, left))
        return pcm(crossfade(old, samples(frame[: 2 * length]))) + frame[2 * length :]


assert LONGEST_MS * 2.5 <= FRAMES * 20
