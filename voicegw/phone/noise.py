"""What is heard behind the caller: generated noise, or a file, at a level below his voice.

Some seconds of it are made once and go round; the same seed gives the same noise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from voicegw.phone.script import Noise, NoiseKind
from voicegw.phone.sound import LEVEL_DBOV, read_sound

LOOP_S = 11  # longer than any word list: nothing hears that it goes round
HUM_HZ = (50, 100, 150, 250, 350)
VOICES = 8

Floats = npt.NDArray[np.floating[Any]]
Gain = Callable[[Floats], Floats]


class Background:
    """Noise without end at the leg's rate."""

    def __init__(self, noise: Noise, rate: int, seed: int) -> None:
        """Raises VoicegwError for a file that is no sound."""
        if isinstance(noise.source, NoiseKind):
            made = _make(noise.source, rate, np.random.default_rng(seed))
        else:
            made = read_sound(noise.source).at(rate).samples.astype(np.float64)
        rms = float(np.sqrt(np.mean(made**2))) or 1.0
        level = 32768 * 10 ** ((LEVEL_DBOV - noise.snr_db) / 20)
        self._loop = np.clip(made * (level / rms), -32768, 32767)
        self._at = 0

    def under(self, pcm: bytes) -> bytes:
        """`pcm` (s16le) with the next noise under it."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        take = (self._at + np.arange(len(samples))) % len(self._loop)
        self._at = (self._at + len(samples)) % len(self._loop)
        mixed = np.clip(np.round(samples + self._loop[take]), -32768, 32767)
        return bytes(mixed.astype("<i2").tobytes())


def _make(kind: NoiseKind, rate: int, random: np.random.Generator) -> Floats:
    count = LOOP_S * rate
    match kind:
        case NoiseKind.WHITE:
            return random.standard_normal(count)
        case NoiseKind.PINK:
            return _shaped(random, count, rate, lambda hz: 1 / np.sqrt(np.maximum(hz, 20)))
        case NoiseKind.HUM:
            at = np.arange(count) / rate
            waves = [np.sin(2 * np.pi * hz * at + random.uniform(0, 6)) / n for n, hz in enumerate(HUM_HZ, 1)]
            return np.asarray(np.sum(waves, axis=0))
        case NoiseKind.BABBLE:
            # The long-term spectrum of speech (flat to 500 Hz, then -9 dB an octave), with syllables.
            voices = [
                _shaped(random, count, rate, lambda hz: np.minimum(1, (np.maximum(hz, 80) / 500) ** -1.5))
                * np.abs(_shaped(random, count, rate, lambda hz: (hz < 4) * 1.0))
                for _ in range(VOICES)
            ]
            return np.asarray(np.sum([voice / np.std(voice) for voice in voices], axis=0))


def _shaped(random: np.random.Generator, count: int, rate: int, gain: Gain) -> Floats:
    spectrum = np.fft.rfft(random.standard_normal(count))
    return np.asarray(np.fft.irfft(spectrum * gain(np.fft.rfftfreq(count, 1 / rate)), count))
