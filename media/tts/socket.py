"""Voices behind a WebSocket: connections are kept, one sentence at a time on each.

`media.tts.hosted` drives it. Nobody reads an idle connection; before it is used again, what has come
meanwhile is read off (late audio of a sentence that was cancelled, pings, a close), and one that has ended
is replaced.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import aiohttp

from dialog.secrets import secrets_of
from media.refusal import Refused, refusal
from media.tts.base import Speech
from media.tts.hosted import HostedConfig, HostedStats, Service, Wanted

REFUSED = 1008  # RFC 6455, 7.4.1: policy violation; services use it for wrong keys and missing credit
_CLOSE_S = 0.002  # for the far end to say goodbye: whoever cancels waits for it


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """The service has said all of a sentence."""


class Utterance(Protocol):
    """One sentence on a connection. Sans-I/O."""

    def begin(self) -> list[str]:
        """Messages that ask for it."""

    def receive(self, message: str) -> list[Speech | Done]:
        """What the service says, of this sentence or of one before, which is skipped. Raises Refused;
        ValueError and the like for what cannot be read."""

    def cancel(self) -> list[str] | None:
        """Messages that stop it. None: only the end of the connection does."""


class SocketCore(Protocol):
    """What differs between services. Sans-I/O."""

    service: Service

    def address(self) -> Address:
        """Where to connect."""

    def utterance(self, context: str, wanted: Wanted) -> Utterance:
        """`context`: a name that no other sentence has."""


@dataclass(slots=True, eq=False)
class _Idle:
    socket: aiohttp.ClientWebSocketResponse
    since: float  # loop time


class SocketTransport:
    """Implements media.tts.hosted.Transport."""

    def __init__(self, core: SocketCore, config: HostedConfig, counters: HostedStats) -> None:
        self._core, self._config, self._counters = core, config, counters
        self._session: aiohttp.ClientSession | None = None
        self._idle: list[_Idle] = []
        self._numbers = count(1)
        address = core.address()
        self.secrets: Collection[str] = secrets_of(address.url, address.headers)

    async def speak(self, wanted: Wanted) -> AsyncGenerator[Speech, None]:
        """One sentence on a connection of its own. Leaving early stops the service."""
        utterance = self._core.utterance(f"u{next(self._numbers)}", wanted)
        socket = await self._take()
        ended = lost = False
        try:
            for message in utterance.begin():
                await socket.send_str(message)
            while not ended:
                received = await socket.receive()
                if received.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    lost = True
                    raise self._gone(socket.close_code, str(received.extra or ""))
                for event in utterance.receive(received.data):
                    ended = ended or isinstance(event, Done)
                    if isinstance(event, Speech):
                        yield event
        finally:
            await self._leave(socket, [] if ended else None if lost else utterance.cancel())

    async def close(self) -> None:
        """Close the connections."""
        idle, self._idle = self._idle, []
        session, self._session = self._session, None
        for kept in idle:
            await kept.socket.close()
        if session is not None:
            await session.close()

    def _gone(self, code: int | None, reason: str) -> Refused:
        text = f"{self._core.service.name}: the connection was closed ({code})"
        return Refused(f"{text}: {reason[:200]}" if reason else text, retryable=code != REFUSED)

    async def _take(self) -> aiohttp.ClientWebSocketResponse:
        """A connection that is open."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            kept = self._idle.pop()
            if now - kept.since < self._config.idle_s and await _alive(kept.socket):
                return kept.socket
            await kept.socket.close()
        return await self._connect()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        address, connect_s = self._core.address(), self._config.connect_s
        try:
            async with asyncio.timeout(connect_s):
                socket = await self._session.ws_connect(
                    address.url,
                    headers=address.headers,
                    max_msg_size=1 << 22,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise refusal(self._core.service.name, error.status, error.headers or {}) from None
        self._counters.connections += 1
        return socket

    async def _leave(self, socket: aiohttp.ClientWebSocketResponse, last: list[str] | None) -> None:
        """Keep the connection for the next sentence, after the `last` words of this one; or end it."""
        keep = last is not None and not socket.closed and len(self._idle) < self._config.idle
        if not keep or self._session is None:
            await socket.close()
            return
        try:
            for message in last or ():
                await socket.send_str(message)
        except (aiohttp.ClientError, OSError):  # lost: nobody needs it any more
            await socket.close()
            return
        self._idle.append(_Idle(socket, asyncio.get_running_loop().time()))


async def _alive(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Read off what has come, and say whether the connection still stands."""
    try:
        async with asyncio.timeout(0):
            while True:
                received = await socket.receive()
                if received.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    return False
    except TimeoutError:
        return not socket.closed
