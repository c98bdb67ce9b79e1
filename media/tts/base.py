"""Text to speech: the ports every engine implements.

An engine is one module with `Config` (a frozen dataclass) and `create(config) -> TextToSpeech`,
found by its name from the configuration (`tts: {engine: espeak}`).
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dialog.breaker import Switched


@dataclass(frozen=True, slots=True)
class WordMark:
    """Where in the audio a word begins."""

    chars: int  # characters of the text before this word
    sample: int  # position in the utterance's audio, at the engine's rate


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of synthesised audio, and the words that begin in it."""

    pcm: bytes  # s16le mono at the engine's rate
    words: tuple[WordMark, ...] = ()
    switched: Switched | None = None  # from here on another engine speaks


@runtime_checkable
class Multilingual(Protocol):
    """What an engine offers that speaks any language."""

    def in_language(self, language: str) -> "TextToSpeech":
        """The same engine for this language (BCP 47). Raises ProviderError: it does not speak it."""


@runtime_checkable
class Expressive(Protocol):
    """What an engine offers that understands some SSML."""

    @property
    def tags(self) -> frozenset[str]:
        """Which: break, prosody, phoneme, emphasis, lang, voice."""

    def perform(self, marked: str) -> "AsyncGenerator[Speech, None]":
        """As `synthesize`, for text with tags. Word marks count its characters, tags and all."""


class TextToSpeech(Protocol):
    """An engine, shared by all calls."""

    @property
    def rate(self) -> int:
        """Hz of what `synthesize` yields."""

    def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence, streaming. `aclose()` stops the engine within 2 ms and frees it.
        Raises ProviderError."""

    async def close(self) -> None:
        """Free the engine. Idempotent."""
