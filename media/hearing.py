"""The caller's audio on its way to whoever listens.

    frame -> noise suppression -> echo guard -> detector ---> events
                                          '--> estimate of the end of the turn ---> scores
                                          '--> recogniser ---> transcripts

The audio plane's part is plain calls: no queue, no await.
"""

import logging
from collections.abc import Callable

from dialog.breaker import Switched
from dialog.turn import SpeechStarted, SpeechStopped, Transcript, TurnScore
from dialog.types import Hints
from media.callconfig import Engines, SessionConfig
from media.echo import EchoGuard
from media.eot.off import Off
from media.errors import ProviderError
from media.frames import AudioFrame
from media.leg import CallLeg
from media.report import CallReport
from media.stt.base import heard_by
from media.stt.polyglot import Multilingual

log = logging.getLogger(__name__)

Noticed = SpeechStarted | SpeechStopped | TurnScore | Transcript


class Hearing:
    """What one call listens with."""

    def __init__(
        self,
        engines: Engines,
        config: SessionConfig,
        leg: CallLeg,
        report: CallReport,
        post: Callable[[Noticed], None],
    ) -> None:
        """`post` takes what is noticed."""
        self._vad, self._ears, self._denoiser = engines.vad, engines.ears, engines.denoiser
        self._report, self._post, self._call_id = report, post, leg.info.call_id
        self._guard = EchoGuard(config.echo, leg.format.rate) if config.echo.enabled else None
        self._echo = self._echo_told = False
        self._eot = Off() if engines.eot is None else engines.eot.stream(leg.format, self._scored)

    def received(self, frame: AudioFrame, now: float) -> None:
        """The caller's next frame, at `now` in seconds of the loop's clock."""
        echo = self._guard is not None and self._guard.received(frame, now)
        if self._denoiser is not None:  # under an echo is the line's noise, too: silence would unteach it
            frame = self._denoiser.process(frame)
            echo, self._echo = echo or self._echo, echo  # it may be a frame late
        if echo:
            frame = self._muted(frame)
        self._eot.push(frame)
        if event := self._vad.process(frame):
            self._post(event)
            if isinstance(event, SpeechStopped):
                self._eot.paused()
            else:
                self._eot.resumed()
        self._ears.push(frame)

    def _muted(self, frame: AudioFrame) -> AudioFrame:
        if self._guard is not None and not self._echo_told:
            self._echo_told = True
            self._report.echo(self._guard.delay_ms or 0.0, self._guard.gain_db)
        return AudioFrame(bytes(len(frame.pcm)), frame.rate, frame.pts)

    def played(self, pcm: bytes, at: float) -> None:
        """What has reached the caller's ear, and when its first sample did: it may come back."""
        if self._guard is not None:
            self._guard.played(pcm, at)

    async def listen(self) -> None:
        """Pass on what the recogniser hears, until it is closed or has failed for good."""
        async for heard in heard_by(self._ears):
            if isinstance(heard, ProviderError):  # the call goes on by keys; silence prompts say so
                log.error("ears failed", extra={"call_id": self._call_id, "error": str(heard)})
                self._report.error("stt", str(heard))
            else:
                self._understood(heard)

    def _understood(self, heard: Transcript | Switched) -> None:
        if isinstance(heard, Switched):
            self._report.switched("stt", heard)
            return
        self._post(heard)
        if not heard.final:
            self._eot.partial(heard)

    def close(self) -> None:
        """The call is over."""
        self._eot.close()

    def _scored(self, score: float) -> None:
        self._post(TurnScore(score))

    # The recogniser's utterance, as decided by the turn engine

    def begin(self) -> None:
        """The caller speaks."""
        self._ears.begin()
        self._eot.begin()

    def finish(self) -> None:
        """He has finished."""
        self._ears.finish()

    def cancel(self) -> None:
        """What he said does not count."""
        self._ears.cancel()

    def expect(self, hints: Hints, language: str) -> None:
        """What he will probably say, from the next utterance on, and in which language."""
        if isinstance(self._ears, Multilingual):
            self._ears.speak(language)
        self._ears.expect(hints)
        self._eot.expect(hints, language)
