"""Waveform similarity: at which lag a piece of sound repeats itself, and what can be made of that. A core.

`shorten` and `lengthen` change the duration of sound by one period without changing its pitch: two periods
become one, or one becomes two, in a cross-fade. Speech bears that unheard; so a jitter buffer moves its
delay, and two clocks that differ stay together. Samples are float32.
"""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

SHORTEST_MS = 2.5  # 400 Hz, the highest pitch of a voice
LONGEST_MS = 15.0  # 66 Hz, the lowest
SEARCH_RATE = 8000  # Hz; a finer search gives nothing to the ear


def period(sound: Samples, rate: int, longest_ms: float = LONGEST_MS) -> int:
    """Samples after which the end of `sound` resembles what came before, best. `sound` holds two and a
    half times the longest period at least."""
    step = max(1, rate // SEARCH_RATE)
    coarse = sound[::step] if step > 1 else sound
    least, most = (int(SEARCH_RATE * ms / 1000) for ms in (SHORTEST_MS, longest_ms))
    most = min(most, len(coarse) // 2)
    if most <= least:
        return most * step
    template = coarse[len(coarse) - most :]
    field = coarse[len(coarse) - 2 * most : len(coarse) - least]
    match = np.correlate(field, template, "valid")  # by falling lag: most ... least
    squares = np.concatenate(([0.0], np.cumsum(field.astype(np.float64) ** 2)))
    energy = squares[most:] - squares[:-most]
    best = int(np.argmax(match / np.sqrt(energy + 1.0)))
    return (most - best) * step


def shorten(sound: Samples, rate: int) -> Samples:
    """`sound` without one of its periods; 30 ms of it at least."""
    lag = period(sound, rate)
    start = (len(sound) - 2 * lag) // 2
    fade = _ramp(lag)
    first, second = sound[start : start + lag], sound[start + lag : start + 2 * lag]
    merged = first * (1 - fade) + second * fade
    return np.concatenate((sound[:start], merged, sound[start + 2 * lag :]))


def lengthen(sound: Samples, rate: int) -> Samples:
    """`sound` with one of its periods twice; 20 ms of it at least."""
    lag = period(sound, rate, len(sound) * 500 / rate)
    start = (len(sound) - 2 * lag) // 2
    fade = _ramp(lag)
    first, second = sound[start : start + lag], sound[start + lag : start + 2 * lag]
    merged = second * (1 - fade) + first * fade
    return np.concatenate((sound[: start + lag], merged, sound[start + lag :]))


def crossfade(old: Samples, new: Samples) -> Samples:
    """From one sound to another of the same length."""
    fade = _ramp(len(old))
    return old * (1 - fade) + new * fade


def samples(pcm: bytes) -> Samples:
    """s16le -> float32."""
    return np.frombuffer(pcm, "<i2").astype(np.float32)


def pcm(sound: Samples) -> bytes:
    """float32 -> s16le."""
    return np.clip(sound, -32768, 32767).astype("<i2").tobytes()


_RAMPS: dict[int, Samples] = {}


def _ramp(length: int) -> Samples:
    """0 ... 1, made once for each length: there are a few hundred."""
    found = _RAMPS.get(length)
    if found is None:
        found = _RAMPS[length] = ((np.arange(length) + 0.5) / max(1, length)).astype(np.float32)
    return found
