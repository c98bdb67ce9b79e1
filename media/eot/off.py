"""No estimate: `turn.end_silence_ms` alone decides, whatever is said."""

from dataclasses import dataclass

from dialog.turn import Transcript
from dialog.types import Hints
from media.eot.base import EndOfTurn, Post
from media.frames import AudioFormat, AudioFrame


@dataclass(frozen=True, slots=True)
class Config:
    """Nothing to set."""


class Off:
    """Implements EndOfTurnStream."""

    def expect(self, hints: Hints, language: str) -> None:
        """Not asked."""

    def push(self, frame: AudioFrame) -> None:
        """Not listening."""

    def begin(self) -> None:
        """Not listening."""

    def partial(self, partial: Transcript) -> None:
        """Not listening."""

    def paused(self) -> None:
        """Says nothing."""

    def resumed(self) -> None:
        """Not listening."""

    def close(self) -> None:
        """Nothing to free."""


class _Engine:
    def stream(self, format: AudioFormat, post: Post) -> Off:
        return Off()

    async def close(self) -> None:
        """Nothing to free."""


def create(config: Config) -> EndOfTurn:
    """The engine."""
    return _Engine()
