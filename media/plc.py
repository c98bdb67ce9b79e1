"""Concealment of missing audio: the last frame again, quieter each time, then silence.

Over 60 ms a repetition is heard as a buzz, so it fades out by then (ITU-T G.711 appendix I does too).
"""

import numpy as np

GAINS = (0.7, 0.4, 0.15)  # of the first, second and third frame in a row


class Concealment:
    """Of one direction of one call. `heard` after each good frame, `conceal` for each missing one."""

    __slots__ = ("_last", "_missing", "_silence")

    def __init__(self, size: int) -> None:
        """`size`: bytes in a frame."""
        self._silence = bytes(size)
        self._last = self._silence
        self._missing = len(GAINS)

    def heard(self, pcm: bytes) -> None:
        """Remember a good frame."""
        self._last = pcm
        self._missing = 0

    def conceal(self) -> bytes:
        """A frame in place of one that is missing."""
        if self._missing >= len(GAINS):
            return self._silence
        gain = GAINS[self._missing]
        self._missing += 1
        return (np.frombuffer(self._last, "<i2") * gain).astype("<i2").tobytes()

    def forget(self) -> None:
        """The source has changed or fallen silent: conceal with silence."""
        self._missing = len(GAINS)
