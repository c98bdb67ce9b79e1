"""Voice activity detection: the port. One detector a call, since it learns the line's noise."""

from typing import Protocol

from dialog.turn import SpeechStarted, SpeechStopped
from media.frames import AudioFrame


class VoiceDetector(Protocol):
    """Tells when the caller begins and ceases to speak."""

    def process(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        """Take one frame in order; report a change. Under 10 us: runs on the audio plane."""
