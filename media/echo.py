"""Echo guard: the bot's own voice, coming back in the caller's line, is not the caller.

Hybrids and speakerphones return what we send, 10 to 40 dB fainter and up to some hundred milliseconds
later. The guard keeps what was played on the call's clock, finds the delay by correlating what comes in
with it, and from then on knows how loud an echo can be: a frame that is not louder is silence. A caller who
speaks over the bot is louder than the echo of it, and passes whole.

    played  --> reference (ring) --.
    received --> short memory -----+--> delay, gain --> is this frame more than echo?

It works on every fourth sample: below 1 kHz speech has its power, and the cost is 8 us a frame. It does not
subtract anything: a canceller costs ten times as much, and what it leaves over still has to be judged.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from media.frames import AudioFrame

REFERENCE_S = 2.0  # what was played is kept for so long
WINDOW_MS = 160  # what came in and is searched for: long enough to be unmistakable, two syllables
SEARCH_EVERY = 2  # frames between searches while the echo is not known
CHECK_EVERY = 25  # where the echo is known
SURE = 3  # searches in a row that must agree: vowels of two people are alike for one, not for three
UNMISTAKABLE = 0.85  # where it is so alike, one search less
GRAIN = 2  # samples of 2 kHz by which they may differ
TAIL_MS = 60  # an echo outlasts its sound: rooms, and the search's own grain
FAINT = 20.0**2  # power; below, it is silence whatever it is
REANCHOR_S = 0.03  # received audio that is so far from where the clock wants it has jumped
FORGET = 0.9  # of what was learnt, at each search that confirms it: lines change slowly

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Config:
    """The bot's echo in the caller's line."""

    enabled: bool = True
    """Take echo for silence. Off where the line surely has none: WebRTC browsers cancel it themselves."""
    max_delay_ms: int = 400
    """Longest way out and back, 50 to 1000: networks take 50 to 300, jitter buffers are in it."""
    margin_db: float = 6.0
    """How much louder than the echo a frame must be to count as the caller, 0 to 20. More tames
    speakerphones, but swallows soft callers who speak at the same time as the bot."""
    correlation: float = 0.5
    """Likeness of what comes in and what was played from which on it is an echo, 0.2 to 0.9."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {getattr(self, name)}")


_RANGES = {"max_delay_ms": (50, 1000), "margin_db": (0, 20), "correlation": (0.2, 0.9)}


class EchoGuard:
    """One call's. Times are in seconds of the loop's clock; any rate that is a multiple of 2 kHz."""

    def __init__(self, config: Config, rate: int) -> None:
        self._rate, self._step = rate, rate // 2000
        self._mean = np.full(self._step, 1 / self._step, np.float32)
        self._like, self._margin = config.correlation, 10 ** (config.margin_db / 10)
        self._lags = 2 * config.max_delay_ms  # at 2 kHz
        self._window = 2 * WINDOW_MS
        self._size = int(2000 * REFERENCE_S)
        self._reference = np.zeros(2 * self._size, np.float32)  # twice, so that any part is contiguous
        self._played_until = 0  # index of the first sample (2 kHz) that is not played yet
        self._loud_until = -1  # up to here something audible was played
        self._received = np.zeros(self._window, np.float32)
        self._offset: float | None = None  # from a frame's pts to the clock, in seconds
        self._since_search = 0
        self.delay_ms: float | None = None  # of the echo; None: none was found yet
        self._lag = 0  # the same in samples of 2 kHz
        self._candidate, self._agreed = 0, 0  # a lag, and how many searches in a row have found it
        self._likeness = 0.0  # best of the known lag: rooms smear an echo
        self._gain = 0.0  # power of the echo against that of its sound
        self.muted = 0  # frames taken for echo

    def played(self, pcm: bytes, at: float) -> None:
        """What has reached the far end's ear, and when its first sample did."""
        thin = self._thin(pcm)
        start = round(at * 2000)
        if not -self._size < start - self._played_until < self._size:
            self._reference[:] = 0
            self._played_until = start
        if start > self._played_until:
            self._write(self._played_until, np.zeros(start - self._played_until, np.float32))
        self._write(start, thin)
        self._played_until = start + len(thin)
        if float(np.dot(thin, thin)) > FAINT * len(thin):
            self._loud_until = self._played_until

    def received(self, frame: AudioFrame, now: float) -> bool:
        """The caller's next frame. True: there is nothing in it but echo."""
        start = round(self._begins(frame, now) * 2000)
        if start - self._loud_until > self._lags + 2 * TAIL_MS:
            return False  # nothing was played that could come back now
        if not frame.pcm.strip(b"\0"):  # digital silence: softphones and gateways send it between words
            self._received[:] = 0
            return False
        thin = self._thin(frame.pcm)
        count = len(thin)
        self._received[:-count] = self._received[count:]
        self._received[-count:] = thin
        power = float(np.dot(thin, thin)) / count
        if power < FAINT:
            return False
        self._since_search += 1
        if self._since_search >= (
            SEARCH_EVERY if self.delay_ms is None or self._agreed == 0 else CHECK_EVERY
        ):
            self._since_search = 0
            self._search(start + count)
        if self.delay_ms is None:
            return False
        echo = power <= self._margin * self._gain * self._loudest(start - self._lag, count)
        self.muted += echo
        return echo

    @property
    def gain_db(self) -> float:
        """How loud the echo is, against its sound."""
        return round(10 * math.log10(max(self._gain, 1e-9)), 1)

    def _begins(self, frame: AudioFrame, now: float) -> float:
        """When the frame's first sample came, on a clock without the loop's jitter."""
        at = frame.pts / self._rate
        offset = now - len(frame.pcm) / 2 / self._rate - at
        if self._offset is None or abs(offset - self._offset) > REANCHOR_S:
            self._offset = offset
        return at + self._offset

    def _thin(self, pcm: bytes) -> Samples:
        """2 kHz: the mean of a few samples is a low-pass that costs nothing."""
        samples = np.frombuffer(pcm, np.int16).astype(np.float32)
        return np.asarray(samples.reshape(-1, self._step) @ self._mean)

    def _write(self, start: int, samples: Samples) -> None:
        samples = samples[-self._size :]
        at = start % self._size
        head = min(len(samples), self._size - at)
        for base in (0, self._size):
            self._reference[base + at : base + at + head] = samples[:head]
            self._reference[base : base + len(samples) - head] = samples[head:]

    def _part(self, start: int, count: int) -> Samples:
        at = start % self._size
        return self._reference[at : at + count]

    def _loudest(self, start: int, count: int) -> float:
        """Power of what was played around there; the room and our own grain smear it."""
        part = self._part(start - 2 * TAIL_MS, count + 2 * TAIL_MS + 8)
        blocks = part[: len(part) // 20 * 20].reshape(-1, 20)
        return float(np.einsum("ij,ij->i", blocks, blocks).max()) / 20

    def _search(self, end: int) -> None:
        """Where in what was played is what came in? Normalised correlation over all delays."""
        window, lags = self._window, self._lags
        start = end - window - lags
        reference = self._part(start, window + lags)
        heard = self._received
        energy = float(np.dot(heard, heard))
        squares = np.cumsum(reference * reference, dtype=np.float64)
        energies = squares[window - 1 :].copy()
        energies[1:] -= squares[:-window]
        least = FAINT * window
        if energy < least or energies.max() < least:
            return
        size = _fast_size(window + lags)
        products: Any = np.fft.irfft(np.fft.rfft(reference, size) * np.conj(np.fft.rfft(heard, size)), size)[
            : lags + 1
        ]
        likeness = np.abs(products) / np.sqrt(np.maximum(energies, least) * energy)
        best = int(likeness.argmax())
        if likeness[best] < self._like:
            return
        projection = float(products[best]) / max(float(energies[best]), least)
        self._found(lags - best, float(likeness[best]), projection * projection)

    def _found(self, lag: int, likeness: float, gain: float) -> None:
        """One search's result. `gain` is what of the sound came back at this very lag: what the caller says
        meanwhile does not change it, and the rest of a smeared echo follows from the likeness."""
        if abs(lag - self._candidate) > GRAIN:
            self._candidate, self._agreed = lag, 0
        self._agreed += 1
        if self.delay_ms is None or abs(lag - self._lag) > GRAIN:
            if self._agreed < (SURE - 1 if likeness > UNMISTAKABLE else SURE):
                return
            self._likeness = self._gain = 0.0
        self._lag, self.delay_ms = lag, lag / 2
        self._likeness = max(likeness, self._likeness * FORGET)
        self._gain = max(gain / self._likeness**2, self._gain * FORGET)


def _fast_size(least: int) -> int:
    return 1 << (least - 1).bit_length()
