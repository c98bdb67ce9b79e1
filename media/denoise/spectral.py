"""Spectral gate: each band is turned down by how much of it is steady noise.

Overlapping windows of two frames; the noise of a band is its quietest smoothed power of the last seconds.
Good against fans, hum, cars and line noise at 5 to 20 dB; voices in the background pass. White noise, the
hardest, falls by 7 dB. 40 us a frame, and one frame (20 ms) of delay. Off unless configured: recognisers
are trained on noise and mostly do better with it than with what a gate leaves of a soft syllable. Measure
on your own lines (`voicegw transcribe`)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from media.denoise.base import Denoiser
from media.errors import ProviderError
from media.frames import AudioFrame

SMOOTH = 0.7  # of a band's power, from frame to frame
ATTACK = 0.5  # of a frame's own power: speech begins at once, restless noise does not
RISE = 1.004  # a frame: what was noise a second ago may be 2 dB louder by now
BIAS = 2.4  # the quietest of a hundred lies so far below the mean
WIDTH = np.full(7, 1 / 7, np.float32)  # bands side by side are judged together: single ones are restless


@dataclass(frozen=True, slots=True)
class Config:
    """How strong the gate is."""

    reduction_db: float = 12.0
    """How far noise is turned down, 3 to 30. Above 15 speech begins to sound hollow."""
    strength: float = 1.5
    """How much of the estimated noise is taken out, 0.5 to 4. More catches restless noise and costs soft
    syllables."""


_RANGES = {"reduction_db": (3, 30), "strength": (0.5, 4)}


class SpectralGate:
    """Implements Denoiser; any rate and packet time, but always the same."""

    def __init__(self, config: Config) -> None:
        self._floor = 10 ** (-config.reduction_db / 20)
        self._strength = config.strength
        self._size = 0
        self._window: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self._before: npt.NDArray[np.float32] = self._window  # the last frame
        self._overlap: npt.NDArray[np.float32] = self._window  # what of the last window is still to come
        self._power: npt.NDArray[np.float32] | None = None
        self._noise: npt.NDArray[np.float32] = self._window

    def process(self, frame: AudioFrame) -> AudioFrame:
        samples = np.frombuffer(frame.pcm, np.int16).astype(np.float32)
        if len(samples) != self._size:
            self._resize(len(samples))
        spectrum = np.fft.rfft(np.concatenate((self._before, samples)) * self._window)
        power = np.convolve(spectrum.real**2 + spectrum.imag**2, WIDTH, "same").astype(np.float32) + 1.0
        if self._power is None:
            self._power, self._noise = power, power / BIAS
        self._power = SMOOTH * self._power + (1 - SMOOTH) * power
        self._noise = np.minimum(self._noise * RISE, self._power)
        loud = np.maximum(self._power, ATTACK * power)
        gain = np.maximum(1 - self._strength * BIAS * self._noise / loud, self._floor)
        cleaned = np.fft.irfft(spectrum * gain, 2 * self._size) * self._window
        out = self._overlap + cleaned[: self._size]
        self._before, self._overlap = samples, cleaned[self._size :].astype(np.float32)
        return AudioFrame(np.clip(out, -32768, 32767).astype("<i2").tobytes(), frame.rate, frame.pts)

    def _resize(self, size: int) -> None:
        self._size, self._power = size, None
        # Square root of a Hann window, applied twice: overlapping halves add up to one.
        self._window = np.sin(np.pi * (np.arange(2 * size) + 0.5) / (2 * size)).astype(np.float32)
        self._before, self._overlap = np.zeros(size, np.float32), np.zeros(size, np.float32)


def create(config: Config) -> Denoiser:
    """One call's gate. Raises ProviderError: value out of range."""
    for name, (low, high) in _RANGES.items():
        if not low <= (value := getattr(config, name)) <= high:
            raise ProviderError(f"spectral: {name} is {value}, outside of {low} to {high}")
    return SpectralGate(config)
