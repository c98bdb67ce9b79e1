"""Streaming change of sample rate (soxr), one object a stream and direction.

Costs about 3 us per 20 ms. Rates that are equal cost nothing. The library works in blocks and holds
back up to 120 ms of audio: no matter for synthesis, which is faster than life, but not for live audio.
"""

import numpy as np
import soxr

QUALITY = "MQ"  # flat to 3.4 kHz at 8 kHz output, half the delay of HQ


class Resampler:
    """s16le mono in, s16le mono out."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        """Rates in Hz."""
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="int16", quality=QUALITY)

    def process(self, pcm: bytes) -> bytes:
        """The samples that are ready; a few stay in the filter until more come or `flush`."""
        return self._run(pcm, last=False) if self._stream else pcm

    def flush(self) -> bytes:
        """What the filter still holds. The stream is over."""
        return self._run(b"", last=True) if self._stream else b""

    def _run(self, pcm: bytes, *, last: bool) -> bytes:
        assert self._stream is not None
        return bytes(self._stream.resample_chunk(np.frombuffer(pcm, "<i2"), last).tobytes())
