"""Has the caller finished? The port of estimates of the end of a turn.

An engine is one module with `Config` (a frozen dataclass) and `create(config) -> EndOfTurn`, found by its
name from the configuration (`eot: {engine: rules}`). Its scores go to the turn engine, whose patience
follows them (`TurnPolicy.silence_ms`).
"""

from collections.abc import Callable
from typing import Protocol

from dialog.turn import Transcript
from dialog.types import Hints
from media.frames import AudioFormat, AudioFrame

Post = Callable[[float], None]
"""Takes a score: 0 for "goes on" to 1 for "has finished". On the call's loop."""


class EndOfTurnStream(Protocol):
    """The estimate of one call. Every method returns at once."""

    def expect(self, hints: Hints, language: str) -> None:
        """What the caller will probably say, and in which language."""

    def push(self, frame: AudioFrame) -> None:
        """One frame of the caller's audio, speech or not. Under 5 us: runs on the audio plane."""

    def begin(self) -> None:
        """A new turn of the caller: what was said before does not belong to it."""

    def partial(self, partial: Transcript) -> None:
        """What the recogniser believes so far."""

    def paused(self) -> None:
        """The caller has fallen silent: say how finished he sounds, now, later, or again when more is
        known."""

    def resumed(self) -> None:
        """He speaks on: no score is wanted any more."""

    def close(self) -> None:
        """The call is over. Idempotent."""


class EndOfTurn(Protocol):
    """An engine, shared by all calls."""

    def stream(self, format: AudioFormat, post: Post) -> EndOfTurnStream:
        """The estimate of one call; `post` takes its scores."""

    async def close(self) -> None:
        """Stop workers. Idempotent."""
