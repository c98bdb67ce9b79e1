"""Log-mel spectrograms as Whisper and the models made from it want them: 16 kHz, 80 bands, 100 frames a
second.

Windows of 25 ms (Hann), bands after Slaney, the quietest 8 (log10) below the loudest cut off. Pure.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

RATE = 16_000
BANDS, WINDOW, HOP = 80, 400, 160

Array = npt.NDArray[np.float32]


def log_mel(samples: Array) -> Array:
    """(80, len / 160) of samples in -1..1, whose length is a multiple of 160."""
    padded = np.pad(samples, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(samples) // HOP]
    spectrum = np.fft.rfft(frames * _hann(), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    logs = np.log10(np.maximum(_filters() @ power.T, 1e-10))
    return np.asarray((np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0, dtype=np.float32)


@cache
def _hann() -> Array:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW), dtype=np.float32)


@cache
def _filters() -> Array:
    """Triangles, 200/3 Hz apart up to 1 kHz and in steps of 6.4^(1/27) above, of equal area."""
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)
    mels = np.linspace(0.0, 15 + np.log(RATE / 2 / 1000) / (np.log(6.4) / 27), BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    widths = np.diff(edges)
    slopes = edges[:, None] - bins[None, :]
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float32)
