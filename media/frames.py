"""Audio as it travels inside one call.

All audio is 16-bit signed little-endian PCM, mono. Positions (``pts``) count samples since the
start of the stream, at the stream's own rate; they never wrap.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Rate and packet time agreed with one call leg."""

    rate: int = 8000  # Hz
    ptime_ms: int = 20

    @property
    def samples(self) -> int:
        """Samples in one frame."""
        return self.rate * self.ptime_ms // 1000

    @property
    def size(self) -> int:
        """Bytes in one frame."""
        return 2 * self.samples


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """One packet time of PCM."""

    pcm: bytes
    rate: int  # Hz
    pts: int  # samples

    @property
    def end(self) -> int:
        """Position of the first sample after this frame."""
        return self.pts + len(self.pcm) // 2
