"""Voices behind plain HTTP: text goes out, raw audio streams back. `media.tts.hosted` drives it."""

import struct
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from dialog.secrets import secrets_of
from media.refusal import Refused, refusal
from media.tts.base import Speech
from media.tts.hosted import HostedConfig, HostedStats, Service, Wanted

_HEADER = 4096  # bytes: a WAV header that has not ended by then is none
_PACKED = ("audio/mpeg", "audio/ogg", "audio/opus", "audio/aac", "audio/flac", "audio/mp3", "text/html")


@dataclass(frozen=True, slots=True)
class Upload:
    """One request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    body: bytes | None = None  # instead of json


class RestCore(Protocol):
    """What differs between services. Sans-I/O."""

    service: Service

    def upload(self, wanted: Wanted) -> Upload:
        """The request for a sentence."""


class RestTransport:
    """Implements media.tts.hosted.Transport."""

    def __init__(self, core: RestCore, config: HostedConfig, counters: HostedStats) -> None:
        self._core, self._config, self._counters = core, config, counters
        self._session: aiohttp.ClientSession | None = None
        self.secrets: Collection[str] = ()

    async def speak(self, wanted: Wanted) -> AsyncGenerator[Speech, None]:
        """One request. Leaving early ends its connection, which is how HTTP stops a service."""
        upload, name = self._core.upload(wanted), self._core.service.name
        self.secrets = secrets_of(upload.url, upload.headers)
        options: dict[str, Any] = {"json": upload.json} if upload.body is None else {"data": upload.body}
        # A redirect would carry key and text to somebody that was not named.
        options |= {"headers": upload.headers, "allow_redirects": False}
        async with self._connected().post(upload.url, **options) as response:
            if response.status != 200:
                text = (await response.content.read(4096)).decode(errors="replace")
                raise refusal(name, response.status, response.headers, text)
            if response.content_type in (*_PACKED, "application/json"):
                reason = f"{name}: answers with {response.content_type} instead of raw audio"
                raise Refused(reason, retryable=False)
            wav = WavHeader(self._core.service)
            async for data in response.content.iter_any():
                if pcm := wav.strip(data):
                    yield Speech(pcm)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(self._on_connection)
            config = self._config
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=config.idle_s),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_s),
                trace_configs=[trace],
            )
        return self._session

    async def _on_connection(self, *_: object) -> None:
        self._counters.connections += 1


class WavHeader:
    """Takes the header off where a server answers with WAV although raw audio was asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._head: bytes | None = b""  # None: it is over

    def strip(self, data: bytes) -> bytes:
        """The audio in `data`. Raises Refused for audio of another kind than announced."""
        if self._head is None:
            return data
        self._head += data
        if not self._head.startswith(b"RIFF"[: len(self._head)]):
            return self._over(0)
        at = self._head.find(b"data", 12)
        if at < 0 or len(self._head) < at + 8:
            if len(self._head) > _HEADER:
                raise Refused(f"{self._service.name}: a WAV header without end", retryable=False)
            return b""
        channels, rate = struct.unpack_from("<HI", self._head, 22)
        (bits,) = struct.unpack_from("<H", self._head, 34)
        if (channels, rate, bits) != (1, self._service.rate, 16):
            found = f"{rate} Hz, {channels} channels, {bits} bits"
            wanted = f"{self._service.rate} Hz, mono, 16 bits"
            raise Refused(f"{self._service.name}: audio is {found}; configured: {wanted}", retryable=False)
        return self._over(at + 8)

    def _over(self, size: int) -> bytes:
        head, self._head = self._head or b"", None
        return head[size:]
