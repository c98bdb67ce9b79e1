"""Says a sentence on a media leg that no session has: to a person who gets a caller handed over."""

import asyncio
from contextlib import aclosing

from media.frames import AudioFrame
from media.leg import CallLeg, HangupCause
from media.resample import Resampler
from media.tts.base import TextToSpeech

TAIL_MS = 300  # the far end's jitter buffer still holds the last word


async def spoken(voice: TextToSpeech, text: str, rate: int) -> bytes:
    """A text as audio of `rate` Hz. Raises ProviderError."""
    pcm, resampler = bytearray(), Resampler(voice.rate, rate)
    async with aclosing(voice.synthesize(text)) as speech:
        async for chunk in speech:
            pcm += resampler.process(chunk.pcm)
    pcm += resampler.flush()
    return bytes(pcm) + bytes(2 * rate * TAIL_MS // 1000)


class Whisper:
    """A `media.leg.LegSink` that plays one text and remembers keys."""

    def __init__(self, leg: CallLeg, pcm: bytes) -> None:
        size = leg.format.size
        padded = pcm + bytes(-len(pcm) % size)
        self._leg, self._at, self._pcm = leg, 0, padded
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keys = ""

    def on_audio(self, frame: AudioFrame) -> None:
        """Nobody listens."""

    def on_tick(self) -> None:
        """The next frame."""
        size = self._leg.format.size
        frame = self._pcm[self._at : self._at + size]
        if not frame:
            self._finish()
            return
        self._at += size
        self._leg.send(AudioFrame(frame, self._leg.format.rate, self._at // 2))

    def on_dtmf(self, digit: str) -> None:
        """Remembered."""
        self.keys += digit

    def on_played(self, pts: int) -> None:
        """RTP confirms nothing."""

    def on_closed(self, cause: HangupCause) -> None:
        """The person has hung up, or was connected."""
        self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
