"""Prompts that are spoken again and again are synthesised once, for all calls: voices with a memory.

A prompt is known by what it depends on: the engine, its settings, the text. What is being synthesised is
shared by everybody who wants it meanwhile, and stops when nobody does. Only what came whole is kept: in
memory by its last use and, of texts that a flow is known to say (`ahead`), on disk; others may hold what a
caller said.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from media.errors import ProviderError
from media.tts.base import Expressive, Speech, TextToSpeech
from media.tts.promptdisk import PromptDisk

SLICE_MS = 500  # of a prompt handed on at once: resampling more would hold the event loop up
PRIVATE = frozenset({"api_key", "connection", "pool"})  # settings that change nothing of how it sounds


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Prompts kept so that they start at once."""

    enabled: bool | None = None
    """null: with every voice that takes its time; espeak makes speech faster than a disk is read."""
    memory_mb: int = 64
    """In memory; a minute of 16 kHz speech takes 2 MB. The longest unused goes first."""
    disk_mb: int = 512
    """On disk, in data_dir/prompts: fixed texts of flows, nothing that depends on a call. 0: nothing."""
    ahead: int = 16
    """While a caller is listened to, so many texts that the flow may say next are synthesised. 0: none."""


@dataclass(slots=True)
class CacheStats:
    """Counters since the start; gauges where said so."""

    hits: int = 0
    shared: int = 0  # spoken while it was being synthesised for another call
    misses: int = 0
    disk_hits: int = 0
    ahead: int = 0  # synthesised before anybody asked
    prompts: int = 0  # gauge: in memory
    cache_bytes: int = 0  # gauge: in memory


def identity(engine: str, options: Any) -> str:
    """What the sound of an engine depends on beside the text. A model's file counts by size and date, too."""
    parts = [engine]
    for item in fields(options):
        if item.name in PRIVATE:
            continue
        value = getattr(options, item.name)
        parts.append(f"{item.name}={value!r}")
        if item.name == "model" and isinstance(value, str) and Path(value).is_file():
            stat = Path(value).stat()
            parts.append(f"{stat.st_size},{stat.st_mtime_ns}")
    return "\n".join(parts)


@dataclass(slots=True, eq=False)
class _Making:
    """A prompt that is being synthesised."""

    chunks: list[Speech] = field(default_factory=list)
    over: bool = False
    error: Exception | None = None
    given_up: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0
    callers: int = 0  # of the readers
    task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        self.changed.set()
        self.changed.clear()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One that is wanted, and how to make it."""

    key: str
    rate: int  # Hz
    make: Callable[[], AsyncGenerator[Speech, None]]


class PromptCache:
    """What all voices keep."""

    def __init__(self, config: CacheConfig, disk: PromptDisk | None = None) -> None:
        self._disk, self._limit = disk, config.memory_mb << 20
        self._kept: OrderedDict[str, list[Speech]] = OrderedDict()
        self._making: dict[str, _Making] = {}
        self._counters = CacheStats()
        self._idle = asyncio.Event()  # no call waits for an engine
        self._idle.set()
        self._waiting = 0  # calls

    def stats(self) -> CacheStats:
        """Counters since the start."""
        self._counters.prompts = len(self._kept)
        return self._counters

    async def speak(self, prompt: Prompt) -> AsyncGenerator[Speech, None]:
        """From memory or disk if it is there, else as it is made. Raises what making it raises."""
        kept = self._remembered(prompt.key) or await self._read(prompt)
        if kept is not None:
            self._counters.hits += 1
            for chunk in kept:
                yield chunk
            return
        async with aclosing(self._follow(prompt)) as speech:
            async for chunk in speech:
                yield chunk

    async def ahead(self, prompt: Prompt) -> None:
        """Make a fixed prompt if it is not there, while no call waits for an engine. Raises ProviderError."""
        key = prompt.key
        while key not in self._kept and await self._read(prompt) is None:
            await self._idle.wait()
            if await self._made_ahead(prompt):
                self._counters.ahead += 1
                break
        if self._disk is not None and key in self._kept:
            await self._disk.write(key, prompt.rate, self._kept[key])

    async def close(self) -> None:
        """Stop what is being made. Idempotent."""
        tasks = [making.task for making in self._making.values() if making.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._kept.clear()
        self._counters.cache_bytes = 0

    # What is kept

    def _remembered(self, key: str) -> list[Speech] | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    async def _read(self, prompt: Prompt) -> list[Speech] | None:
        found = await self._disk.read(prompt.key, prompt.rate) if self._disk is not None else None
        if found is None:
            return None
        self._counters.disk_hits += 1
        return self._keep(prompt, [found])

    def _keep(self, prompt: Prompt, chunks: list[Speech]) -> list[Speech]:
        sliced = slices(chunks, prompt.rate)
        size = sum(len(chunk.pcm) for chunk in sliced)
        if 0 < size <= self._limit:
            self._forget(prompt.key)
            self._kept[prompt.key] = sliced
            self._counters.cache_bytes += size
            while self._counters.cache_bytes > self._limit:
                self._forget(next(iter(self._kept)))
        return sliced

    def _forget(self, key: str) -> None:
        gone = self._kept.pop(key, [])
        self._counters.cache_bytes -= sum(len(chunk.pcm) for chunk in gone)

    # What is being made

    async def _follow(self, prompt: Prompt) -> AsyncGenerator[Speech, None]:
        """For a call."""
        making = self._making.get(prompt.key)
        if making is None:
            making = self._begin(prompt)
        else:
            self._counters.shared += 1
        self._join(making)
        try:
            done = 0
            while True:
                while done < len(making.chunks):
                    done += 1
                    yield making.chunks[done - 1]
                if making.error is not None:
                    raise making.error
                if making.over:
                    if making.task is not None:
                        await making.task  # an engine's bug is not the end of the prompt
                    return
                await making.changed.wait()
        finally:
            making.callers -= 1
            self._waiting -= 1
            if not self._waiting:
                self._idle.set()
            self._leave(prompt.key, making)

    async def _made_ahead(self, prompt: Prompt) -> bool:
        """Whether it was made; False: it had to give way to a call."""
        making = self._making.get(prompt.key) or self._begin(prompt)
        making.readers += 1
        try:
            while not making.over:
                await making.changed.wait()
        finally:
            self._leave(prompt.key, making)
        if making.error is not None and not making.given_up:
            raise making.error
        return not making.given_up

    def _begin(self, prompt: Prompt) -> _Making:
        self._counters.misses += 1
        making = self._making[prompt.key] = _Making()
        # One synthesis serves several calls: it belongs to none of them (`_give_up` and `close` end it).
        making.task = asyncio.create_task(self._make(prompt, making), name="prompt")
        return making

    def _join(self, making: _Making) -> None:
        """A call waits: what is only made ahead gives way."""
        making.readers += 1
        making.callers += 1
        self._waiting += 1
        self._idle.clear()
        for key, other in list(self._making.items()):
            if not other.callers:
                self._give_up(key, other)

    def _leave(self, key: str, making: _Making) -> None:
        making.readers -= 1
        if not making.readers and not making.over:
            self._give_up(key, making)

    def _give_up(self, key: str, making: _Making) -> None:
        if self._making.get(key) is making:
            del self._making[key]
        making.given_up = True
        if making.task is not None:
            making.task.cancel()

    async def _make(self, prompt: Prompt, making: _Making) -> None:
        try:
            async with aclosing(prompt.make()) as speech:
                async for chunk in speech:
                    making.chunks.append(chunk)
                    making.tell()
            self._keep(prompt, making.chunks)
        except ProviderError as error:
            making.error = error
        finally:
            if not making.over and making.error is None and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                making.error = ProviderError("the synthesis was given up", retryable=True)
            if self._making.get(prompt.key) is making:
                del self._making[prompt.key]
            making.over = True
            making.tell()


class CachedVoice:
    """Implements TextToSpeech. Closing it closes the engine, not the cache."""

    def __init__(self, engine: TextToSpeech, identity: str, cache: PromptCache) -> None:
        """`identity`: see the function of that name."""
        self._engine, self._identity, self._cache = engine, identity, cache

    @property
    def rate(self) -> int:
        """Hz."""
        return self._engine.rate

    @property
    def engine(self) -> TextToSpeech:
        """The one behind."""
        return self._engine

    def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence. Raises ProviderError."""
        return self._cache.speak(self._prompt(text))

    @property
    def tags(self) -> frozenset[str]:
        """The engine's."""
        return self._engine.tags if isinstance(self._engine, Expressive) else frozenset()

    def perform(self, marked: str) -> AsyncGenerator[Speech, None]:
        """Speak a sentence with tags. Raises ProviderError."""
        return self._cache.speak(self._prompt(marked, marked=True))

    async def ahead(self, text: str, *, marked: bool = False) -> None:
        """Make a fixed sentence that may be wanted. Raises ProviderError."""
        await self._cache.ahead(self._prompt(text, marked=marked))

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    def _prompt(self, text: str, *, marked: bool = False) -> Prompt:
        # White space around a sentence is not heard, but word marks count it.
        data = f"{self._identity}\0{marked}\0{text.rstrip()}".encode(errors="replace")
        key, engine = hashlib.sha256(data).hexdigest(), self._engine
        if marked and isinstance(engine, Expressive):
            return Prompt(key, self.rate, lambda: engine.perform(text))
        return Prompt(key, self.rate, lambda: engine.synthesize(text))


def slices(chunks: list[Speech], rate: int) -> list[Speech]:
    """The same speech in pieces of at most `SLICE_MS`, each with the words that begin in it."""
    pcm = b"".join(chunk.pcm for chunk in chunks)
    words = [word for chunk in chunks for word in chunk.words]
    size = rate * SLICE_MS // 1000  # samples
    found = []
    for at in range(0, len(pcm) // 2, size):
        end = at + size if at + size < len(pcm) // 2 else 1 << 62
        begun = tuple(word for word in words if at <= word.sample < end)
        found.append(Speech(pcm[2 * at : 2 * min(end, len(pcm))], begun))
    return found
