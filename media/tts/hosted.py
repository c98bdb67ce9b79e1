"""The one driver of voices behind a network: retries before the first sound, time-outs, whole samples.

What differs between services is a small sans-I/O core, one file each, behind one of two transports: streamed
HTTP answers (media/tts/rest.py) and WebSockets (media/tts/socket.py). Both keep their connections: only the
first sentence pays for TCP and TLS. Closing the generator stops the service, by its own message for that or
by ending the connection. A sentence that fails after its first sound is not begun again: it has been heard;
the next voice in order goes on from the next word.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from typing import Literal, Protocol

import aiohttp

from dialog.secrets import hide
from dialog.sentences import speakable
from media.codecs.g711 import PCMA, PCMU
from media.errors import UNREADABLE, ProviderError
from media.refusal import Refused
from media.tts.base import Speech, WordMark
from media.tts.text import pieces

LONGEST = 1000  # characters of a request: services refuse from 2000 on
PATIENCE_S = 1.0  # a caller waits no longer in silence: services that ask for more are down

Encoding = Literal["s16le", "ulaw", "alaw"]
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class HostedConfig:
    """How the service is held to its word."""

    connect_s: float = 3.0
    """To be connected."""
    first_s: float = 3.0
    """Wait so long for the first sound of a sentence, with connecting."""
    pause_s: float = 3.0
    """The same between two pieces of its audio."""
    retries: int = 1
    """Further tries before the first sound, where the error may pass by itself."""
    back_off_s: float = 0.1
    """Before the first further try; doubles. A Retry-After of up to 1 s is kept instead."""
    idle: int = 16
    """Connections kept open while nobody speaks."""
    idle_s: float = 30.0
    """How long."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be spoken."""

    text: str
    marked: bool = False  # `text` is in the service's own markup, not plain


class Transport(Protocol):
    """Carries requests to a service. Raises ProviderError, aiohttp's errors, OSError; ValueError,
    LookupError, TypeError or AttributeError for what cannot be read."""

    def speak(self, wanted: Wanted) -> AsyncGenerator[Speech, None]:
        """The audio as it comes, as the service encodes it; word marks as places in `wanted.text`."""

    @property
    def secrets(self) -> Collection[str]:
        """What went out with requests to say who we are: its errors may repeat it."""

    async def close(self) -> None:
        """Close the connections. Idempotent."""


@dataclass(slots=True)
class HostedStats:
    """Counters since the start."""

    requests: int = 0  # tries
    failures: int = 0  # tries that failed
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """What a service's voice is."""

    name: str  # for logs and errors
    rate: int  # Hz
    encoding: Encoding = "s16le"
    tags: frozenset[str] = frozenset()  # of SSML that it understands
    normalises: bool = True  # reads numbers, dates and the like well by itself


class HostedVoice:
    """Implements TextToSpeech, and `media.tts.base.Expressive`."""

    def __init__(
        self, service: Service, transport: Callable[[HostedStats], Transport], config: HostedConfig
    ) -> None:
        self._service, self._config = service, config
        self.counters = HostedStats()
        self._transport = transport(self.counters)
        self._closed = False

    @property
    def rate(self) -> int:
        """Hz."""
        return self._service.rate

    @property
    def tags(self) -> frozenset[str]:
        """SSML that the service understands."""
        return self._service.tags

    @property
    def normalises(self) -> bool:
        """Whether it reads numbers well by itself."""
        return self._service.normalises

    def stats(self) -> HostedStats:
        """Counters since the start."""
        return self.counters

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence. Raises ProviderError."""
        at = 0  # samples
        for piece in pieces(text, LONGEST):
            async with aclosing(self._tries(Wanted(piece.text))) as speech:
                spoken = 0
                async for chunk in speech:
                    words = tuple(WordMark(piece.positions[w.chars], at + w.sample) for w in chunk.words)
                    yield Speech(chunk.pcm, words)
                    spoken += len(chunk.pcm) // 2
            at += spoken

    async def perform(self, marked: str) -> AsyncGenerator[Speech, None]:
        """Speak a sentence in the service's own markup. Raises ProviderError."""
        async with aclosing(self._tries(Wanted(marked, marked=True))) as speech:
            async for chunk in speech:
                yield chunk

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self._transport.close()

    async def _tries(self, wanted: Wanted) -> AsyncGenerator[Speech, None]:
        for attempt in count():
            begun = False
            try:
                async with aclosing(self._try(wanted)) as speech:
                    async for chunk in speech:
                        begun = begun or bool(chunk.pcm)
                        yield chunk
                if not begun:
                    raise ProviderError(f"{self._service.name}: answered without a sound", retryable=True)
                return
            except ProviderError as error:
                hide(error, self._transport.secrets)
                self.counters.failures += 1
                wait_s = error.wait_s if isinstance(error, Refused) else 0.0
                spent = attempt >= self._config.retries or wait_s > PATIENCE_S
                if begun or spent or self._closed or not error.retryable:
                    raise
            await asyncio.sleep(wait_s or self._config.back_off_s * 2**attempt)

    async def _try(self, wanted: Wanted) -> AsyncGenerator[Speech, None]:
        """One request, with its time-outs and in whole samples. Raises ProviderError."""
        service, config = self._service, self._config
        if self._closed:
            raise ProviderError(f"{service.name}: the voice is closed")
        self.counters.requests += 1
        samples, limit_s = Samples(service.encoding), config.first_s
        clock = asyncio.get_running_loop().time
        until = clock() + limit_s
        async with aclosing(self._transport.speak(wanted)) as speech:
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        chunk = await anext(speech, None)
                except TimeoutError as error:
                    reason = f"{service.name}: no sound for {limit_s:g} s"
                    raise ProviderError(reason, retryable=True) from error
                except (aiohttp.ClientError, OSError) as error:
                    reason = f"{service.name}: {error or type(error).__name__}"
                    raise ProviderError(reason, retryable=True) from error
                except UNREADABLE as error:
                    raise ProviderError(
                        f"{service.name}: unreadable answer: {error}", retryable=True
                    ) from error
                if chunk is None:
                    return
                if pcm := samples.decode(chunk.pcm):
                    limit_s = config.pause_s
                if pcm or chunk.words:
                    yield Speech(pcm, chunk.words)
                if limit_s == config.pause_s:
                    until = clock() + limit_s


class Samples:
    """Bytes as the network cuts them -> whole samples, s16le."""

    def __init__(self, encoding: Encoding) -> None:
        self._decode = {"s16le": bytes, "ulaw": PCMU.decoder(), "alaw": PCMA.decoder()}[encoding]
        self._size = 2 if encoding == "s16le" else 1
        self._left = b""

    def decode(self, data: bytes) -> bytes:
        """The samples that are whole."""
        data = self._left + data
        whole = len(data) // self._size * self._size
        self._left = data[whole:]
        return self._decode(data[:whole])


class WordPlaces:
    """Finds words, named by the service in order, in the text that it was given."""

    def __init__(self, text: str) -> None:
        self._text = text
        spans = [match.span() for match in _WORD.finditer(text) if speakable(match.group())]
        self._starts = [_first(text, start, end) for start, end in spans]
        self._next = 0

    def place(self, word: str) -> int | None:
        """Where it begins, among the next few words; else where the next one does. None at the end."""
        starts = self._starts[self._next : self._next + 4]
        if not starts:
            return None
        bare = word.strip().strip("\"'“‘([{¿¡").lower()[:4]
        found = next((n for n, at in enumerate(starts) if bare and self._is(at, bare)), 0)
        self._next += found + 1
        return starts[found]

    def _is(self, at: int, bare: str) -> bool:
        return self._text[at : at + len(bare)].lower() == bare


def _first(text: str, start: int, end: int) -> int:
    """The first letter or digit of a word."""
    return next((at for at in range(start, end) if text[at].isalnum()), start)


def need_key(name: str, key: str) -> None:
    """Raises ProviderError without a key."""
    if not key:
        raise ProviderError(f"{name}: set api_key")


def need_rate(name: str, rate: int, known: tuple[int, ...]) -> None:
    """Raises ProviderError for a rate that the service does not have."""
    if rate not in known:
        raise ProviderError(f"{name}: rate is {rate}, not one of {', '.join(map(str, known))}")
