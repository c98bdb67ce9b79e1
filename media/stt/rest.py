"""The one driver of recognisers behind plain HTTP: a whole utterance goes out, a transcript comes back.

No partials, so interruptions are by duration of speech alone. What differs between services is a `RestCore`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from dialog.secrets import hide, secrets_of
from dialog.turn import Transcript
from dialog.types import Domain
from media.errors import UNREADABLE, ProviderError
from media.frames import AudioFormat
from media.refusal import Refused, refusal
from media.stt.base import SttStream
from media.stt.windows import Stretch, WindowConfig, WindowStream
from media.tasks import task_scope

LONGEST_WAIT_S = 1.0  # a service that asks for more is down, as far as a caller is concerned
SHORTEST_MS = 100  # shorter than any word; services refuse less


@dataclass(frozen=True, slots=True)
class RestConfig:
    """How long a request may take."""

    timeout_s: float = 6.0
    """Of one try."""
    retries: int = 1
    """Further tries, where the error may pass by itself."""
    back_off_s: float = 0.2
    """Before a further try; a Retry-After of up to 1 s is kept instead."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One request: JSON, or fields and files as multipart."""

    url: str
    headers: Mapping[str, str]
    json: Any = None
    fields: Mapping[str, str] = field(default_factory=dict)
    file: bytes = b""  # a WAV file, as the field `file`


class RestCore(Protocol):
    """What differs between services. Sans-I/O."""

    @property
    def name(self) -> str:
        """For logs and errors."""

    def upload(self, stretch: Stretch, domain: Domain) -> Upload:
        """The request for an utterance."""

    def understood(self, answer: Any) -> Transcript:
        """What came back, as JSON. Raises what `UNREADABLE` lists for what is none."""


@dataclass(slots=True)
class RestStats:
    """Counters since the start."""

    requests: int = 0
    failures: int = 0  # tries that failed
    finals: int = 0
    streams: int = 0  # gauge: calls


class RestEars:
    """Implements SpeechToText."""

    def __init__(self, core: RestCore, config: RestConfig) -> None:
        self._core, self._config = core, config
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._counters = RestStats()

    async def prepare(self, domain: Domain) -> None:
        """Nothing."""

    def stream(self, format: AudioFormat, domain: Domain) -> AbstractAsyncContextManager[SttStream]:
        """Ears for one call."""
        return self._stream(format, domain)

    @asynccontextmanager
    async def _stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[SttStream]:
        if self._closed:
            raise ProviderError(f"{self._core.name}: the recogniser is closed")

        async def recognise(stretch: Stretch) -> Transcript:
            if len(stretch.pcm) < 2 * stretch.rate * SHORTEST_MS // 1000:
                return Transcript("", final=True)
            return await self._ask(self._core.upload(stretch, domain))

        self._counters.streams += 1
        try:
            async with task_scope() as start:
                stream = WindowStream(recognise, format.rate, WindowConfig(partial_ms=0), start)
                try:
                    yield stream
                finally:
                    stream.close()
        finally:
            self._counters.streams -= 1

    def stats(self) -> RestStats:
        """Counters since the start."""
        return self._counters

    async def close(self) -> None:
        """Close connections. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, upload: Upload) -> Transcript:
        for attempt in range(self._config.retries + 1):
            self._counters.requests += 1
            try:
                found = await self._try(upload)
            except ProviderError as error:
                hide(error, secrets_of(upload.url, upload.headers))
                self._counters.failures += 1
                wait_s = error.wait_s if isinstance(error, Refused) else 0.0
                if not error.retryable or attempt == self._config.retries or wait_s > LONGEST_WAIT_S:
                    raise
                await asyncio.sleep(wait_s or self._config.back_off_s * 2**attempt)
            else:
                self._counters.finals += 1
                return found
        raise AssertionError("the last try returns or raises")

    async def _try(self, upload: Upload) -> Transcript:
        name = self._core.name
        try:
            async with asyncio.timeout(self._config.timeout_s), self._post(upload) as response:
                if response.status != 200:
                    text = (await response.content.read(4096)).decode(errors="replace")
                    raise refusal(name, response.status, response.headers, text)
                return self._core.understood(await response.json(content_type=None))
        except TimeoutError as error:
            raise ProviderError(
                f"{name}: no answer for {self._config.timeout_s:g} s", retryable=True
            ) from error
        except aiohttp.ClientError as error:
            raise ProviderError(f"{name}: {error or type(error).__name__}", retryable=True) from error
        except UNREADABLE as error:
            raise ProviderError(f"{name}: unreadable answer: {error}", retryable=True) from error

    def _post(self, upload: Upload) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            self._session = aiohttp.ClientSession()
        # A redirect would carry key and speech to somebody that was not named.
        options: dict[str, Any] = {"headers": upload.headers, "allow_redirects": False}
        if not upload.file:
            return self._session.post(upload.url, json=upload.json, **options)
        form = aiohttp.FormData()
        for name, value in upload.fields.items():
            form.add_field(name, value)
        form.add_field("file", upload.file, filename="speech.wav", content_type="audio/wav")
        return self._session.post(upload.url, data=form, **options)
