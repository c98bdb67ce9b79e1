"""The caller's audio on its way to whoever listens: echo guard, detector, recogniser.

Part of the audio plane: plain calls, no queue, no await."""

from collections.abc import Callable

from dialog.turn import SpeechStarted, SpeechStopped
from dialog.types import Hints
from media.callconfig import Engines, SessionConfig
from media.echo import EchoGuard
from media.frames import AudioFormat, AudioFrame
from media.report import CallReport


class Hearing:
    """What one call listens with."""

    def __init__(
        self,
        engines: Engines,
        config: SessionConfig,
        format: AudioFormat,
        report: CallReport,
        post: Callable[[SpeechStarted | SpeechStopped], None],
    ) -> None:
        """`post` takes what is noticed."""
        self._vad, self._ears, self._report, self._post = engines.vad, engines.ears, report, post
        self._guard = EchoGuard(config.echo, format.rate) if config.echo.enabled else None
        self._echo_told = False

    def received(self, frame: AudioFrame, now: float) -> None:
        """The caller's next frame, at `now` in seconds of the loop's clock."""
        if self._guard is not None and self._guard.received(frame, now):
            frame = AudioFrame(bytes(len(frame.pcm)), frame.rate, frame.pts)
            if not self._echo_told:
                self._echo_told = True
                self._report.echo(self._guard.delay_ms or 0.0, self._guard.gain_db)
        if event := self._vad.process(frame):
            self._post(event)
        self._ears.push(frame)

    def played(self, pcm: bytes, at: float) -> None:
        """What has reached the caller's ear, and when its first sample did: it may come back."""
        if self._guard is not None:
            self._guard.played(pcm, at)

    # The recogniser's utterance, as decided by the turn engine

    def begin(self) -> None:
        """The caller speaks."""
        self._ears.begin()

    def finish(self) -> None:
        """He has finished."""
        self._ears.finish()

    def cancel(self) -> None:
        """What he said does not count."""
        self._ears.cancel()

    def expect(self, hints: Hints) -> None:
        """What he will probably say, from the next utterance on."""
        self._ears.expect(hints)
