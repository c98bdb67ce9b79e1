"""Comfort noise (RFC 3389): what a far end that sends no silence wants us to hear instead, and what we send
when we are silent ourselves. A core.

A payload is a noise level in -dBov (0 loudest, 127), then reflection coefficients of the spectrum, one
byte each: (byte - 127) / 128. Without any the noise is white.
"""

import math

import numpy as np

from media.pitch import Samples, pcm

FULL = 32768.0
TAPS = 48  # of the impulse response of the spectrum's filter; it has faded by then
MOST = 12  # coefficients that are used; RFC 3389 gives no limit, no sender has more
QUIET = 78  # -dBov; below, the noise is silence to any telephone


def payload(level: int) -> bytes:
    """White noise of this level in -dBov."""
    return bytes([max(0, min(127, level))])


class ComfortNoise:
    """Of one direction of one call."""

    __slots__ = ("_gain", "_random", "_response")

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._gain = 0.0
        self._response: Samples = np.ones(1, np.float32)

    def update(self, payload: bytes) -> None:
        """A comfort noise packet came. An empty one (some gateways send them) is silence."""
        level = payload[0] & 0x7F if payload else 127
        response = _response(payload[1 : 1 + MOST])
        gain = 0.0 if level >= QUIET else FULL * 10 ** (-level / 20)
        self._gain = gain / math.sqrt(float((response**2).sum()))
        self._response = response

    def frame(self, samples: int) -> bytes:
        """So many samples of it."""
        if not self._gain:
            return bytes(2 * samples)
        white = self._random.standard_normal(samples + len(self._response) - 1, np.float32)
        return pcm(np.convolve(white, self._response, "valid") * np.float32(self._gain))


def _response(coefficients: bytes) -> Samples:
    """The impulse response of the all-pole filter that these reflection coefficients describe."""
    if not coefficients:
        return np.ones(1, np.float32)
    predictor: list[float] = []
    for byte in coefficients:
        k = max(-0.99, min(0.99, (byte - 127) / 128))
        predictor = [a + k * b for a, b in zip(predictor, predictor[::-1], strict=True)] + [k]
    response = [1.0]
    for n in range(1, TAPS):
        response.append(-sum(a * response[n - 1 - i] for i, a in enumerate(predictor) if i < n))
    out = np.array(response, np.float32)
    return out if np.isfinite(out).all() else np.ones(1, np.float32)
