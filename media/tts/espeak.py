"""espeak-ng: the voice that comes along. Robotic, instant, understood, over a hundred languages.

One thread speaks for all calls, piece by piece in the order of arrival (media/tts/text.py cuts long
sentences between clauses). A piece takes some 2 ms, so that nobody waits long for anybody; and the
next piece of an utterance is asked for only when the one before was taken, so that a book read out
holds no more memory than a line.

espeak-ng is GPL-3.0-or-later and comes with the extra `espeak`.
"""

import asyncio
import re
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache

from dialog.sentences import speakable
from media.errors import ProviderError
from media.tts.base import Speech, TextToSpeech, WordMark
from media.tts.espeaklib import Library, Style, Word, library
from media.tts.text import Piece, pieces

_WORD = re.compile(r"\S+")
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Config:
    """How the voice sounds."""

    voice: str = "en-us"
    """Language, with an optional variant: en-us, en-gb, de, fr, en-us+f3."""
    wpm: int = 165
    """Words a minute, 80 to 450. 175 is espeak's own; phone callers follow a little slower better."""
    pitch: int = 50
    """Base pitch, 0 to 99."""
    pitch_range: int = 50
    """Liveliness of the melody, 0 (monotone) to 99."""
    volume: int = 80
    """Loudness, 0 to 200. 80 is about -21 dBov while speaking, as recorded prompts are; from 120 it clips."""
    word_gap_ms: int = 0
    """Extra pause between words, 0 to 500 in steps of 10; some 50 for read-back numbers."""


_RANGES = {
    "wpm": (80, 450),
    "pitch": (0, 99),
    "pitch_range": (0, 99),
    "volume": (0, 200),
    "word_gap_ms": (0, 500),
}


def create(config: Config) -> TextToSpeech:
    """The engine, warmed up. Raises ProviderError: unknown voice, value out of range, MissingExtra."""
    for name, (low, high) in _RANGES.items():
        if not low <= (value := getattr(config, name)) <= high:
            raise ProviderError(f"espeak: {name} is {value}, outside of {low} to {high}")
    lib = library()
    style = Style(
        lib.find_voice(config.voice),
        config.wpm,
        config.pitch,
        config.pitch_range,
        config.volume,
        config.word_gap_ms // 10,
    )
    lib.speak("a", style, lambda pcm, words: True)  # loads the dictionary: 5 ms that no caller waits for
    return EspeakTts(lib, style, config)


class EspeakTts:
    """Speaks for all calls in one style."""

    tags = frozenset({"break", "prosody", "lang", "emphasis"})
    instant = True  # faster than a disk is read: nothing is gained by keeping prompts

    def __init__(self, lib: Library, style: Style, config: Config = Config()) -> None:
        self._lib, self._style, self._config = lib, style, config
        self._open: set[_Utterance] = set()
        self._closed = False

    def in_language(self, language: str) -> TextToSpeech:
        """The same style in another language. Raises ProviderError: espeak-ng does not speak it."""
        return create(replace(self._config, voice=language.lower()))

    @property
    def rate(self) -> int:
        """Hz of what `synthesize` yields: 22050."""
        return self._lib.rate

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak `text`, streaming. Text without anything to say yields nothing."""
        if self._closed:
            raise ProviderError("espeak: the engine is closed")
        offset = 0  # samples of the pieces before
        for piece in pieces(text):
            words = _Words(piece, offset)
            async with aclosing(self._piece(piece.text, words, ssml=False)) as speech:
                async for chunk in speech:
                    yield chunk
                    offset += len(chunk.pcm) // 2

    async def perform(self, marked: str) -> AsyncGenerator[Speech, None]:
        """Speak a sentence with tags, at once. Raises ProviderError."""
        spoken = _TAG.sub(lambda tag: " " * len(tag.group()), marked)
        words = _Words(Piece(spoken, range(len(spoken))), 0)
        async with aclosing(self._piece(marked, words, ssml=True)) as speech:
            async for chunk in speech:
                yield chunk

    async def _piece(self, text: str, words: "_Words", *, ssml: bool) -> AsyncGenerator[Speech, None]:
        if self._closed:
            raise ProviderError("espeak: the engine is closed")
        utterance = _Utterance(asyncio.get_running_loop())
        self._open.add(utterance)
        style = replace(self._style, ssml=ssml)
        work = utterance.loop.run_in_executor(_worker(), self._speak, text, style, utterance)
        try:
            while batch := await utterance.take():
                pcm = b"".join(buffer for buffer, _ in batch)
                yield Speech(pcm, words.marks(word for _, found in batch for word in found))
            await work
        finally:
            utterance.cancelled = True
            work.cancel()
            self._open.discard(utterance)
        if self._closed:
            raise ProviderError("espeak: the engine was closed while it spoke")

    async def close(self) -> None:
        """End what is being spoken. The library stays loaded: other engines may speak with it."""
        self._closed = True
        for utterance in self._open:
            utterance.cancelled = True

    def _speak(self, text: str, style: Style, utterance: "_Utterance") -> None:
        """In the worker thread."""
        try:
            if not utterance.cancelled:
                self._lib.speak(text, style, utterance.put)
        finally:
            utterance.finish()


class _Utterance:
    """One piece on its way from the worker thread (`put`, `finish`) to the loop (`take`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.cancelled = False
        self._buffers: deque[tuple[bytes, list[Word]]] = deque()
        self._finished = False
        self._ready = asyncio.Event()
        self._waking = False  # one wake-up for all buffers until the loop comes round

    def put(self, pcm: bytes, words: list[Word]) -> bool:
        """False ends the synthesis."""
        if self.cancelled:
            return False
        if pcm or words:
            self._buffers.append((pcm, words))
            return self._wake()
        return True

    def finish(self) -> None:
        self._finished = True
        self._wake()

    async def take(self) -> list[tuple[bytes, list[Word]]]:
        """All that has come since; empty at the end."""
        while not self._buffers and not self._finished:
            self._ready.clear()
            self._waking = False
            if self._buffers or self._finished:  # came between the check and the line above
                break
            await self._ready.wait()
        self._waking = False
        return [self._buffers.popleft() for _ in range(len(self._buffers))]

    def _wake(self) -> bool:
        if not self._waking:
            self._waking = True
            try:
                self.loop.call_soon_threadsafe(self._ready.set)
            except RuntimeError:  # the loop was closed: nobody listens any more
                self.cancelled = True
                return False
        return True


class _Words:
    """Places the library's word events in the text. It reports several for "10:30", and none for "of the"."""

    def __init__(self, piece: Piece, offset: int) -> None:
        spans = [match.span() for match in _WORD.finditer(piece.text) if speakable(match.group())]
        self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]
        self._positions = piece.positions
        self._offset = offset
        self._next = 0  # index of the first word without a mark

    def marks(self, words: Iterable[Word]) -> tuple[WordMark, ...]:
        return tuple(mark for word in words if (mark := self._mark(word)) is not None)

    def _mark(self, word: Word) -> WordMark | None:
        index = bisect_right(self._ends, word.char)  # a dash before a word counts as part of it
        if not self._next <= index < len(self._starts):
            return None  # another event of a word that has its mark
        self._next = index + 1
        return WordMark(self._positions[self._starts[index]], self._offset + word.sample)


@cache
def _worker() -> ThreadPoolExecutor:
    """The thread that speaks. The library has room for one."""
    return ThreadPoolExecutor(1, thread_name_prefix="espeak")
