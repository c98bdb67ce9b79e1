"""Ears that hear nothing: for a call that the recogniser has no room for. It goes on by keys."""

from collections.abc import AsyncIterator

from dialog.turn import Transcript
from dialog.types import Hints
from media.errors import ProviderError
from media.frames import AudioFrame


class DeafEars:
    """Fails at once with the engine's own error, as an engine does that dies in mid-call: for good, though
    the engine may have room for the next call."""

    def __init__(self, error: ProviderError) -> None:
        self._error: ProviderError | None = ProviderError(str(error))

    def push(self, frame: AudioFrame) -> None:
        """Nobody listens."""

    def begin(self) -> None:
        """Nobody listens."""

    def finish(self) -> None:
        """No final will come; the turn engine does not wait for one forever."""

    def cancel(self) -> None:
        """Nothing to forget."""

    def expect(self, hints: Hints) -> None:
        """Nothing is expected."""

    def __aiter__(self) -> AsyncIterator[Transcript]:
        """Ends at the first step."""
        return self

    async def __anext__(self) -> Transcript:
        """Raises what the engine said, once."""
        error, self._error = self._error, None
        raise StopAsyncIteration if error is None else error
