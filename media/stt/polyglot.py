"""Ears for conversations that change their language: one engine's stream a language, one of them listens.

A stream of each language is open from the start, since a caller who has asked for another one should not wait
for it; only the one that is spoken gets audio.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Protocol, runtime_checkable

from dialog.breaker import Switched
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from media.stt.base import Outbox, SpeechToText, SttStream, heard_by
from media.tasks import task_scope


@runtime_checkable
class Multilingual(Protocol):
    """What a stream offers that hears several languages."""

    def speak(self, language: str) -> None:
        """From now on the caller speaks this."""


class PolyglotStream:
    """Implements SttStream and Multilingual."""

    def __init__(self, streams: Mapping[str, SttStream], own: str) -> None:
        self._streams, self._language = streams, own
        self._dead: dict[str, ProviderError] = {}
        self._heard: Outbox[Transcript | Switched] = Outbox()

    @property
    def _active(self) -> SttStream:
        return self._streams[self._language]

    def speak(self, language: str) -> None:
        if language != self._language and language in self._streams:
            self._active.cancel()
            self._language = language
            if (error := self._dead.get(language)) is not None:
                self._heard.put_nowait(error)

    def push(self, frame: AudioFrame) -> None:
        self._active.push(frame)

    def begin(self) -> None:
        self._active.begin()

    def finish(self) -> None:
        self._active.finish()

    def cancel(self) -> None:
        self._active.cancel()

    def expect(self, hints: Hints) -> None:
        self._active.expect(hints)

    async def listen(self, language: str) -> None:
        """Collect what the stream of one language hears. It gives nothing while it gets nothing, and who does
        not listen now may fail without anybody's loss."""
        async for heard in heard_by(self._streams[language]):
            if isinstance(heard, ProviderError) and not heard.retryable:
                self._dead[language] = heard
            if not isinstance(heard, ProviderError) or language == self._language:
                self._heard.put_nowait(heard)

    def __aiter__(self) -> AsyncIterator[Transcript | Switched]:
        return self._heard


class PolyglotEars:
    """Implements SpeechToText: `main`, and engines for languages that it does not hear."""

    def __init__(self, main: SpeechToText, others: Mapping[str, SpeechToText]) -> None:
        self._main, self._others = main, others

    async def prepare(self, domain: Domain) -> None:
        """In every language of `domain`. Raises ProviderError naming the one that cannot be heard."""
        for one in _by_language(domain):
            try:
                await self._engine(domain, one.language).prepare(one)
            except ProviderError as error:
                if one.language == domain.language:
                    raise
                hint = f"name an engine by stt_by_language.{one.language}"
                raise ProviderError(f"language {one.language!r}: {error}; {hint}") from error

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[SttStream]:
        """Ears for one call. Entering raises ProviderError."""
        async with AsyncExitStack() as stack:
            streams = {
                one.language: await stack.enter_async_context(
                    self._engine(domain, one.language).stream(format, one)
                )
                for one in _by_language(domain)
            }
            if len(streams) == 1:
                yield streams[domain.language]
                return
            ears = PolyglotStream(streams, domain.language)
            start = await stack.enter_async_context(task_scope())
            for language in streams:
                start(ears.listen(language), f"ears {language}")
            yield ears

    async def close(self) -> None:
        """Close the engines for other languages and the main one."""
        for engine in (*self._others.values(), self._main):
            await engine.close()

    def _engine(self, domain: Domain, language: str) -> SpeechToText:
        return self._main if language == domain.language else self._others.get(language, self._main)


def _by_language(domain: Domain) -> list[Domain]:
    """The domain once for each language."""
    return [replace(domain, language=code, others=()) for code in (domain.language, *domain.others)]
