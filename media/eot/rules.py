"""The estimate that comes along: what the words say (dialog/nlu/completeness.py), and how they sound
(media/eot/prosody.py). No model, no download; half a millisecond a pause."""

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np

from dialog.nlu.completeness import completeness, is_prepared, prepare
from dialog.turn import Transcript
from dialog.types import Hints
from media.eot import prosody
from media.eot.base import EndOfTurn, Post
from media.frames import AudioFormat, AudioFrame

REMEMBER_MS = 1600  # of audio: a second of speech, and the detector's wait after it
STALE_MS = (
    1200  # of audio since the last partial: the words of a recogniser that is so far behind tell nothing
)
SURE = 0.1  # words that say so clearly whether somebody goes on are not outvoted by his voice


@dataclass(frozen=True, slots=True)
class Config:
    """How much the voice counts beside the words."""

    prosody: float = 0.3
    """Weight of pitch, loudness and length against the words, 0 (none) to 1. Where there are no words yet,
    the voice alone is heard at twice this weight."""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not 0 <= self.prosody <= 1:
            raise ValueError(f"prosody must be 0 to 1, not {self.prosody}")


class RulesStream:
    """Implements EndOfTurnStream."""

    def __init__(self, config: Config, format: AudioFormat, post: Post) -> None:
        self._weight, self._rate, self._post = config.prosody, format.rate, post
        self._audio: deque[bytes] = deque(maxlen=REMEMBER_MS // format.ptime_ms)
        self._hints, self._language = Hints(), "en"
        self._partial = Transcript("", final=False)
        self._silent = False
        self._since_partial = 0  # frames
        self._stale = STALE_MS // format.ptime_ms
        self._sound = prosody.NEUTRAL  # of this pause

    def expect(self, hints: Hints, language: str) -> None:
        self._hints, self._language = hints, language
        if not is_prepared(hints):
            asyncio.get_running_loop().run_in_executor(None, prepare, hints)

    def push(self, frame: AudioFrame) -> None:
        self._audio.append(frame.pcm)
        self._since_partial += 1

    def begin(self) -> None:
        self._partial, self._silent = Transcript("", final=False), False

    def partial(self, partial: Transcript) -> None:
        self._partial, self._since_partial = partial, 0
        if self._silent:
            self._post(self._score())

    def paused(self) -> None:
        self._silent = True
        if self._weight:
            samples = np.frombuffer(b"".join(self._audio), np.int16).astype(np.float32)
            self._sound = prosody.score(prosody.signs(samples, self._rate))
        self._post(self._score())

    def resumed(self) -> None:
        self._silent = False

    def close(self) -> None:
        """Nothing to free."""

    def _score(self) -> float:
        partial = self._partial
        words = (
            None
            if self._since_partial > self._stale
            else completeness(
                partial.text,
                self._hints,
                self._language,
                complete=partial.complete,
                fragment=partial.fragment,
            )
        )
        lean = self._sound - prosody.NEUTRAL
        if words is None:
            return prosody.NEUTRAL + min(1.0, 2 * self._weight) * lean
        if min(words, 1 - words) <= SURE:
            return words
        return min(1.0, max(0.0, words + self._weight * lean))


class Rules:
    """Implements EndOfTurn."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def stream(self, format: AudioFormat, post: Post) -> RulesStream:
        return RulesStream(self._config, format, post)

    async def close(self) -> None:
        """Nothing to free."""


def create(config: Config) -> EndOfTurn:
    """The engine."""
    return Rules(config)
