"""Keys pressed, heard as tones in the audio (ITU-T Q.23, Q.24): for far ends that send no telephone
events. A core.

Goertzel's question, asked of all eight frequencies and four second harmonics at once: a frame's overlapping
windows of 20 ms times a matrix. A window is a key if one low and one high tone stand alone, about equally
loud, and hold nearly all of the energy. A press is two such windows in a row, and ends with two that are
none. Speech rarely does that, for its tones have harmonics and neighbours.
"""

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz
KEYS = ("123A", "456B", "789C", "*0#D")

WINDOW_MS = 20  # a key may be as short as 40 ms (Q.24): two windows lie within, however they fall
HOP_MS = 10
QUIET = 60.0  # RMS of a window (of 32768, -55 dBov): Q.24 wants -27 dBm; lines lose some
PURITY = 0.66  # of the energy lies in the two tones: at 15 dB of noise it is 0.9, 1.5 % off pitch 0.75
NORMAL_TWIST, REVERSE_TWIST = 10**1.05, 10**0.6  # low over high, high over low: 10.5 and 6 dB
ALONE = 10**0.7  # a tone over the others of its group: 7 dB
HARMONIC = 10**-1.2  # second harmonic of a high tone at most: speech has it as loud
HITS = 2  # windows in a row that begin a press
MISSES = 2  # that end it


class InbandKeys:
    """Of one direction of one call."""

    def __init__(self, rate: int) -> None:
        """`rate` in Hz."""
        self._window, self._hop = rate * WINDOW_MS // 1000, rate * HOP_MS // 1000
        taper = np.hanning(self._window + 2)[1:-1].astype(np.float32)
        # The low group's second harmonics lie among the high group: only the latter's are looked at.
        tones = np.array([*LOW, *HIGH, *(2 * f for f in HIGH)], np.float32)
        phase = 2 * np.pi * np.outer(np.arange(self._window), tones) / rate
        waves = np.concatenate((np.cos(phase), np.sin(phase)), axis=1)
        self._matrix = (taper[:, None] * waves).astype(np.float32)
        self._taper = taper
        # Of a pure tone, the squared sum over the energy: so that a share of 1 means all of it.
        self._scale = 2 / float(taper.sum()) ** 2 * float((taper**2).sum())
        self._tail: NDArray[np.float32] = np.zeros(self._window - self._hop, np.float32)
        self._candidate = ""
        self._hits = self._misses = 0
        self.pressed = ""
        """The key that is being pressed; "" if none."""

    def frame(self, pcm: bytes) -> str:
        """Take whole tens of milliseconds of audio; the keys that began to be pressed in it, mostly none."""
        sound = np.concatenate((self._tail, np.frombuffer(pcm, "<i2").astype(np.float32)))
        self._tail = sound[len(sound) - (self._window - self._hop) :]
        starts = range(0, len(sound) - self._window + 1, self._hop)
        windows = np.stack([sound[at : at + self._window] for at in starts])
        energy = ((windows * self._taper) ** 2).sum(axis=1)
        if not self.pressed and not self._hits and energy.max() < QUIET**2 * self._window * 0.375:
            return ""
        parts = windows @ self._matrix
        half = parts.shape[1] // 2
        power = (parts[:, :half] ** 2 + parts[:, half:] ** 2) * self._scale
        digits = ""
        for n in range(len(windows)):
            digits += self._heard(self._key(power[n], float(energy[n])))
        return digits

    def _heard(self, key: str) -> str:
        """One window's key; the key if a press begins with it."""
        if key and key == self._candidate:
            self._hits += 1
        else:
            self._candidate, self._hits = key, 1 if key else 0
        if self.pressed:
            self._misses = 0 if key == self.pressed else self._misses + 1
            if self._misses >= MISSES:
                self.pressed = ""
        if self._hits >= HITS and not self.pressed:
            self.pressed, self._misses = key, 0
            return key
        return ""

    def _key(self, power: NDArray[np.float32], energy: float) -> str:
        """The key that one window holds; "" if none."""
        if energy < QUIET**2 * self._window * 0.375:
            return ""
        low, high = power[:4], power[4:8]
        row, column = int(low.argmax()), int(high.argmax())
        a, b = float(low[row]), float(high[column])
        if a + b < PURITY * energy or a > NORMAL_TWIST * b or b > REVERSE_TWIST * a:
            return ""
        if power[8 + column] > HARMONIC * b:
            return ""
        for group, loudest, peak in ((low, row, a), (high, column, b)):
            rest = np.delete(group, loudest)
            if peak < ALONE * float(rest.max()):
                return ""
        return KEYS[row][column]
