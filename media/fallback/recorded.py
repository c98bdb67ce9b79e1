"""A voice that has its most important sentences recorded: what is said when all else fails must not fail."""

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from dialog.markup import split
from media.errors import ProviderError
from media.tts.base import Speech, TextToSpeech

log = logging.getLogger(__name__)


class RecordedVoice:
    """Implements TextToSpeech. Closing it closes the voice behind."""

    def __init__(self, voice: TextToSpeech) -> None:
        self._voice = voice
        self._recorded: dict[str, list[Speech]] = {}

    @property
    def rate(self) -> int:
        """Hz."""
        return self._voice.rate

    async def record(self, phrases: Iterable[str]) -> None:
        """Synthesise the phrases' sentences, to be kept. A voice that cannot now is said, not fatal."""
        for phrase in phrases:
            for sentence in split(phrase):
                try:
                    async with aclosing(self._voice.synthesize(sentence)) as speech:
                        self._recorded[sentence.strip()] = [chunk async for chunk in speech]
                except ProviderError as error:
                    log.warning("apology could not be recorded", extra={"error": str(error)})

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence; from the recording where the voice fails before its first sound. Raises
        ProviderError where there is none."""
        begun = False
        try:
            async with aclosing(self._voice.synthesize(text)) as speech:
                async for chunk in speech:
                    begun = begun or bool(chunk.pcm)
                    yield chunk
        except ProviderError as error:
            recorded = None if begun else self._recorded.get(text.strip())
            if recorded is None:
                raise
            log.warning("spoken from the recording", extra={"error": str(error)})
            for chunk in recorded:
                yield chunk

    async def close(self) -> None:
        """Close the voice."""
        await self._voice.close()
