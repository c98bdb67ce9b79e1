"""Several voices in order: a voice that fails in mid-sentence is followed by the next, from the next word."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from dialog.breaker import Switched
from dialog.markup import plain, rest
from media.errors import ProviderError
from media.fallback.config import VoiceFallback
from media.fallback.members import Fallback, Member
from media.playout import CHARS_PER_SECOND
from media.resample import Resampler
from media.tts.base import Speech, TextToSpeech, WordMark

SPOKEN = 0.5  # of a word's expected length: more, and it was understood


@dataclass(slots=True)
class _Said:
    """What of a text one voice has given."""

    text: str
    rate: int
    samples: int = 0
    marks: list[WordMark] = field(default_factory=list)

    def rest(self) -> int:
        """Where the next voice goes on: characters of the text."""
        if not self.samples:
            return 0
        if not self.marks:
            return self._word_at(self.samples * CHARS_PER_SECOND // self.rate)
        begun = [mark for mark in self.marks if mark.sample < self.samples]
        if not begun:
            return 0
        last = begun[-1]
        word = self.text[last.chars :].split(maxsplit=1)[0] if self.text[last.chars :].split() else ""
        expected = len(word) * self.rate // CHARS_PER_SECOND
        after = last.chars + len(word)
        return after if self.samples - last.sample > SPOKEN * expected else last.chars

    def _word_at(self, chars: int) -> int:
        return 0 if chars <= 0 else len(self.text) if chars >= len(self.text) else self._space(chars)

    def _space(self, chars: int) -> int:
        return self.text.rfind(" ", 0, chars + 1) + 1


class FallbackVoice(Fallback[TextToSpeech]):
    """Implements TextToSpeech over others."""

    def __init__(
        self, voices: Sequence[tuple[str, TextToSpeech]], config: VoiceFallback | None = None
    ) -> None:
        """`voices` by name, in order of preference, at least one."""
        self._config = config or VoiceFallback()
        super().__init__("tts", voices, self._config.breaker)

    @property
    def rate(self) -> int:
        """Hz: that of the preferred voice."""
        return self.members.first.engine.rate

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence. Raises the last voice's ProviderError when none could."""
        tried: list[Member[TextToSpeech]] = []
        begun = samples = 0  # characters spoken, samples given
        switched: Switched | None = None
        while (member := self.members.next(tried)) is not None:
            left = rest(text, begun)
            said = _Said(plain(left), member.engine.rate)
            tried.append(member)
            try:
                async with aclosing(self._speak(member, left, said)) as speech:
                    async for chunk in speech:
                        moved = tuple(WordMark(w.chars + begun, w.sample + samples) for w in chunk.words)
                        yield replace(chunk, words=moved, switched=switched)
                        switched = None
                        samples += len(chunk.pcm) // 2
                member.breaker.succeeded()
                return
            except ProviderError as error:
                begun += said.rest()
                switched = self._failed(member, error, tried)
                if not plain(text)[begun:].strip():
                    return  # it had said it all
                if not switched.to:
                    self.members.lost()
                    raise
            except (GeneratorExit, asyncio.CancelledError):
                member.breaker.abandoned()
                raise

    def _failed(
        self, member: Member[TextToSpeech], error: ProviderError, tried: list[Member[TextToSpeech]]
    ) -> Switched:
        self.members.failed(member, error)
        after = next((m for m in self.members if m not in tried), None)
        if after is not None:
            self.members.switched()
        return Switched(member.name, after.name if after else "", str(error))

    async def _speak(
        self, member: Member[TextToSpeech], text: str, said: _Said
    ) -> AsyncGenerator[Speech, None]:
        """One voice's try, at our rate. `said` keeps what it has given, at its own."""
        resampler = Resampler(said.rate, self.rate)
        scale = self.rate / said.rate
        limit_ms = self._config.first_ms
        async with aclosing(member.engine.synthesize(text)) as speech:
            while True:
                try:
                    async with asyncio.timeout(limit_ms / 1000):
                        chunk = await anext(speech, None)
                except TimeoutError as error:
                    raise ProviderError(
                        f"{member.name}: no sound for {limit_ms} ms", retryable=True
                    ) from error
                if chunk is None:
                    break
                said.samples += len(chunk.pcm) // 2
                said.marks += chunk.words
                words = tuple(WordMark(w.chars, round(w.sample * scale)) for w in chunk.words)
                yield Speech(resampler.process(chunk.pcm), words)
                limit_ms = self._config.pause_ms
        yield Speech(resampler.flush())
