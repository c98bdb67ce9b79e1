"""The one driver of language models behind HTTP: a request, a stream of events, time-outs and retries.

What differs between servers is a sans-I/O `ChatCore`, one file each. Retries happen only while nothing of the
answer is out, and only for what may pass by itself: a refused connection, 408, 409, 429, 5xx.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import aiohttp

from dialog.llm.base import Chunk, Finished, LlmError, LlmRequest, Usage
from dialog.llm.sse import ServerEvent, SseDecoder
from dialog.refusal import refusal
from dialog.secrets import hide, secrets_of

BACK_OFF_S = 0.25  # before the first repetition; a caller is waiting
WAIT_S = 2.0  # a server that asks for more is down, as far as a caller is concerned


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a model may take."""

    connect_s: float = 3.0
    """To be connected with the server."""
    first_token_s: float = 8.0
    """From the request to the first piece of the answer. A caller hears silence meanwhile: 8 s is the end of
    anybody's patience, and a second engine (a list under `llm`) wants its time too."""
    pause_s: float = 8.0
    """Between two pieces of an answer."""
    retries: int = 1
    """Repetitions where nothing has come yet and the error may pass by itself."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in a currency of yours. All 0: costs are not counted."""

    prompt: float = 0.0
    """Read."""
    cached: float = 0.0
    """Read, but from the provider's cache."""
    completion: float = 0.0
    """Written."""

    def of(self, usage: Usage | None) -> float | None:
        """Of one request."""
        if usage is None or not (self.prompt or self.completion):
            return None
        read = (usage.prompt - usage.cached) * self.prompt + usage.cached * self.cached
        return (read + usage.completion * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class AnswerReader(Protocol):
    """Reads the events of one answer. Sans-I/O."""

    def receive(self, event: ServerEvent) -> list[Chunk]:
        """Chunks that the event brings. Finished ends the answer. Raises LlmError."""

    def end(self) -> list[Chunk]:
        """The connection has ended without Finished. Raises LlmError if the answer is not whole."""


class ChatCore(Protocol):
    """What differs between servers."""

    @property
    def name(self) -> str:
        """Engine and model."""

    def post(self, request: LlmRequest) -> Post:
        """The request in the server's form."""

    def reader(self) -> AnswerReader:
        """For one answer."""


class HttpModel:
    """Implements LanguageModel."""

    def __init__(self, core: ChatCore, patience: Patience, price: Price | None = None) -> None:
        self._core, self._patience, self._price = core, patience, price or Price()
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """Engine and model."""
        return self._core.name

    async def prepare(self, request: LlmRequest) -> None:
        """Nothing: the server keeps what it likes."""

    async def close(self) -> None:
        """Close idle connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def generate(self, request: LlmRequest) -> AsyncGenerator[Chunk, None]:
        """Answer, streaming. Closing it closes the connection, which stops the server."""
        post = self._core.post(request)
        failures = 0
        while True:
            begun = False
            try:
                async with aclosing(self._attempt(post)) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield self._priced(chunk)
                return
            except LlmError as error:
                hide(error, secrets_of(post.url, post.headers))
                wait = error.retry_after_s or BACK_OFF_S * 2**failures
                if begun or not error.retryable or failures >= self._patience.retries or wait > WAIT_S:
                    raise
                failures += 1
                await asyncio.sleep(wait)

    def _priced(self, chunk: Chunk) -> Chunk:
        return replace(chunk, cost=self._price.of(chunk.usage)) if isinstance(chunk, Finished) else chunk

    async def _attempt(self, post: Post) -> AsyncGenerator[Chunk, None]:
        reader, patience = self._core.reader(), self._patience
        limit = patience.first_token_s
        try:
            async with asyncio.timeout(None) as timer:
                loop = asyncio.get_running_loop()
                timer.reschedule(loop.time() + limit)
                async with self._open(post) as response:
                    await self._check(response)
                    async for event in _events(response):
                        for chunk in reader.receive(event):
                            limit = patience.pause_s
                            timer.reschedule(None)  # whoever takes the chunk may take his time
                            yield chunk
                            if isinstance(chunk, Finished):
                                return
                            timer.reschedule(loop.time() + limit)
        except TimeoutError as error:
            raise LlmError(f"{self.name}: nothing came for {limit:g} s", retryable=True) from error
        except aiohttp.ClientError as error:
            raise LlmError(f"{self.name}: {error or type(error).__name__}", retryable=True) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:  # SseError is the first
            raise LlmError(f"{self.name}: unreadable answer: {error}", retryable=True) from error
        for chunk in reader.end():
            yield chunk

    def _open(self, post: Post) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._patience.connect_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        # A redirect would carry keys and the conversation to somebody that was not named.
        return self._session.post(post.url, headers=post.headers, json=post.body, allow_redirects=False)

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 200:
            return
        text = (await response.content.read(65_536)).decode(errors="replace")
        found = refusal(response.status, response.headers, text)
        raise LlmError(
            f"{self.name}: {found.reason}",
            retryable=found.retryable,
            status=response.status,
            retry_after_s=found.wait_s,
        )


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[ServerEvent]:
    decoder = SseDecoder()
    async for data in response.content.iter_any():
        for event in decoder.feed(data):
            yield event
