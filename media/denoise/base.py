"""Noise suppression: the port. One a call, since it learns the line's noise. What is recorded is not
touched."""

from typing import Protocol

from media.frames import AudioFrame


class Denoiser(Protocol):
    """Takes noise out of what the caller's line brings, before detector and recogniser hear it."""

    def process(self, frame: AudioFrame) -> AudioFrame:
        """The next frame, in order; as long as the one that came in, at most 20 ms late. Under 100 us: runs
        on the audio plane."""
