"""The caller's audio on its way to whoever listens: detector and recogniser. Part of the audio plane: plain
calls, no queue, no await."""

from collections.abc import Callable

from dialog.turn import SpeechStarted, SpeechStopped
from dialog.types import Hints
from media.callconfig import Engines
from media.frames import AudioFrame


class Hearing:
    """What one call listens with."""

    def __init__(self, engines: Engines, post: Callable[[SpeechStarted | SpeechStopped], None]) -> None:
        """`post` takes what is noticed."""
        self._vad, self._ears, self._post = engines.vad, engines.ears, post

    def received(self, frame: AudioFrame) -> None:
        """The caller's next frame."""
        if event := self._vad.process(frame):
            self._post(event)
        self._ears.push(frame)

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
