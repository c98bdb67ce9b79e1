"""The one driver of recognisers behind a WebSocket: reconnects, keep-alives, and a buffer to be heard again.

What differs between services is a sans-I/O `SttCore`, one file each. Audio is sent only while an utterance is
open (with what came just before it): the voice detector is ours, and silence costs money. When the
connection is lost, the next one hears again what is open or owed. Services cut utterances into segments as
they like; the driver puts them together and gives one final an utterance.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from dialog.secrets import hide, secrets_of
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import UNREADABLE, ProviderError
from media.frames import AudioFormat, AudioFrame
from media.refusal import refusal
from media.resample import Resampler
from media.stt.base import Outbox, Recent, SttStream
from media.stt.socketcore import Flushed, Interim, Message, Segment, SocketConfig, SttCore, SttEvent
from media.tasks import Start, task_scope

log = logging.getLogger(__name__)

REFUSED = 1008  # RFC 6455, 7.4.1: policy violation; services use it for wrong keys and missing credit


@dataclass(slots=True)
class SocketStats:
    """Counters since the start."""

    connections: int = 0
    failures: int = 0  # connections that could not be made, or were lost
    replayed: int = 0  # utterances heard again
    finals: int = 0
    streams: int = 0  # gauge: calls


@dataclass(slots=True, eq=False)
class _Utterance:
    hints: Hints
    audio: bytearray
    sent: int = 0  # bytes
    begun: bool = False  # told the service
    finished: bool = False
    flushed: bool = False  # the service was asked for the rest
    segments: list[Segment] = field(default_factory=list)

    def restart(self) -> None:
        """Everything again, on another connection."""
        self.sent, self.begun, self.flushed = 0, False, False
        self.segments.clear()


class SocketEars:
    """Implements SpeechToText for a service."""

    def __init__(
        self, name: str, core: Callable[[AudioFormat, Domain], SttCore], config: SocketConfig
    ) -> None:
        """`core` makes the protocol of one connection."""
        self._name, self._core, self._config = name, core, config
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self.counters = SocketStats()

    async def prepare(self, domain: Domain) -> None:
        """Nothing: the service knows every word."""

    def stream(self, format: AudioFormat, domain: Domain) -> AbstractAsyncContextManager[SttStream]:
        """Ears for one call; connected in the background."""
        return self._stream(format, domain)

    @asynccontextmanager
    async def _stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[SttStream]:
        if self._closed:
            raise ProviderError(f"{self._name}: the recogniser is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession()
        self.counters.streams += 1
        try:
            async with task_scope() as start:
                stream = SocketStream(self, lambda: self._core(format, domain), format.rate, start)
                start(stream.run(self._session), f"ears {self._name}")
                try:
                    yield stream
                finally:
                    stream.close()
        finally:
            self.counters.streams -= 1

    @property
    def name(self) -> str:
        """For logs and errors."""
        return self._name

    @property
    def config(self) -> SocketConfig:
        """As given."""
        return self._config

    def stats(self) -> SocketStats:
        """Counters since the start."""
        return self.counters

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class SocketStream:
    """Implements SttStream."""

    def __init__(self, engine: SocketEars, core: Callable[[], SttCore], rate: int, start: Start) -> None:
        self._engine, self._new_core, self._start = engine, core, start
        self._name, self._config = engine.name, engine.config
        self._core = core()
        self._resampler = Resampler(rate, self._core.rate)
        self._recent = Recent(self._config.pre_roll_ms, self._core.rate)
        self._most = int(2 * self._core.rate * self._config.max_utterance_s)
        self._hints = Hints()
        self._open: _Utterance | None = None
        self._owed: deque[_Utterance] = deque()
        self._changed = asyncio.Event()
        self._told = ""  # the last partial
        self._failures = 0  # in a row
        self._closed = self._dropped = False
        self._out: Outbox[Transcript] = Outbox()

    def push(self, frame: AudioFrame) -> None:
        """One frame."""
        pcm = self._resampler.process(frame.pcm)
        self._recent.push(pcm)
        if self._open is not None and len(self._open.audio) < self._most:
            self._open.audio += pcm
            self._changed.set()

    def begin(self) -> None:
        """A new utterance, with what came before it."""
        if self._open is None and not self._closed:
            self._open = _Utterance(self._hints, bytearray(self._recent.pcm))
            self._told = ""
            self._changed.set()

    def finish(self) -> None:
        """The utterance is over."""
        if self._open is not None:
            self._open.finished = True
            self._owed.append(self._open)
            self._open = None
            self._changed.set()

    def cancel(self) -> None:
        """Forget the open utterance and what is owed. What the service still says of them is skipped, since a
        new connection is made where it has heard anything of them."""
        heard = any(utterance.begun for utterance in self._waiting())
        self._open = None
        self._owed.clear()
        if heard:
            self._dropped = True
            self._changed.set()

    def expect(self, hints: Hints) -> None:
        """From the next utterance on."""
        self._hints = hints

    def close(self) -> None:
        """The call is over: reading ends."""
        self._closed = True
        self._open = None
        self._owed.clear()
        self._out.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Transcript]:
        """Partials and finals, in order."""
        return self._out

    # The connection

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Hold a connection until the call is over, or the service has failed for good. Where it may come
        back, the next utterance is tried again."""
        while True:
            self._dropped = False
            for utterance in self._waiting():
                self._engine.counters.replayed += utterance.begun
                utterance.restart()
            try:
                await self._connection(session)
                self._failures = 0  # we wanted another one
                self._core = self._new_core()
                continue
            except ProviderError as error:
                failed = error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = str(error) or type(error).__name__
                failed = ProviderError(f"{self._name}: {reason}", retryable=True)
            request = self._core.request()
            hide(failed, secrets_of(request.url, request.headers))
            self._engine.counters.failures += 1
            self._failures += 1
            if not failed.retryable or self._failures > self._config.retries:
                self._out.put_nowait(failed)
                if not failed.retryable:
                    return
                await self._next_utterance()
                self._failures = 0
                self._core = self._new_core()
                continue
            log.warning("recogniser reconnects", extra={"engine": self._name, "error": str(failed)})
            await asyncio.sleep(self._config.back_off_s * 2 ** (self._failures - 1))
            self._core = self._new_core()

    async def _next_utterance(self) -> None:
        """What was said is lost."""
        self._owed.clear()
        lost = self._open
        while all(utterance is lost for utterance in self._waiting()):
            self._changed.clear()
            await self._changed.wait()

    async def _connection(self, session: aiohttp.ClientSession) -> None:
        """One connection. Returns when another one is wanted."""
        request = self._core.request()
        try:
            async with asyncio.timeout(self._config.connect_s):
                socket = await session.ws_connect(request.url, headers=request.headers, max_msg_size=1 << 20)
        except aiohttp.WSServerHandshakeError as error:
            raise refusal(self._name, error.status, error.headers or {}) from error
        self._engine.counters.connections += 1
        self._lost: ProviderError | None = None
        reading = self._start(self._read(socket), "read")
        try:
            await self._write(socket)
        finally:
            reading.cancel()
            await socket.close()

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Until the connection is lost, or another one is wanted. Raises ProviderError."""
        await self._send(socket, self._core.opened())
        while self._lost is None:
            self._changed.clear()
            if self._dropped:
                await self._send(socket, self._core.closing())
                return
            if await self._send_due(socket):
                continue
            try:
                async with asyncio.timeout(self._config.keepalive_s):
                    await self._changed.wait()
            except TimeoutError:
                await self._send(socket, self._core.keepalive())
        raise self._lost

    async def _send_due(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Send what an utterance has for us. False: nothing is left to send now."""
        size = 2 * self._core.rate * self._core.chunk_ms // 1000
        for utterance in self._waiting():
            if not utterance.begun:
                utterance.begun = True
                await self._send(socket, self._core.begin(utterance.hints))
            left = len(utterance.audio) - utterance.sent
            if left >= size or (utterance.finished and left):
                part = bytes(utterance.audio[utterance.sent : utterance.sent + size])
                utterance.sent += len(part)
                await self._send(socket, self._core.audio(part))
                return True
            if utterance.finished and not utterance.flushed:
                utterance.flushed = True
                await self._send(socket, self._core.finish())
                return True
            if not utterance.finished:
                return False
        return False

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, messages: list[Message]) -> None:
        """Raises TimeoutError: the service takes nothing any more, or the network has gone without a word."""
        async with asyncio.timeout(self._config.connect_s):
            for message in messages:
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """What the service says, until it has gone."""
        try:
            async for message in socket:
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    for event in self._core.receive(message.data):
                        self._understood(event)
            code = socket.close_code
            reason = f"{self._name}: the connection was closed ({code})"
            self._lost = ProviderError(reason, retryable=code != REFUSED)
        except ProviderError as error:
            self._lost = error
        except UNREADABLE as error:
            self._lost = ProviderError(f"{self._name}: unreadable message: {error}", retryable=True)
        self._changed.set()

    def _understood(self, event: SttEvent) -> None:
        self._failures = 0
        waiting = self._waiting()
        if not waiting:
            return
        utterance = waiting[0]
        match event:
            case Interim(text):
                self._partial(utterance, text)
            case Segment():
                utterance.segments.append(event)
                self._partial(utterance, "")
            case Flushed():
                if utterance.flushed:
                    self._owed.popleft()
                    self._final(utterance)

    def _partial(self, utterance: _Utterance, interim: str) -> None:
        text = " ".join(part for part in (*(s.text for s in utterance.segments), interim) if part)
        if utterance is self._open and text and text != self._told:
            self._told = text
            self._out.put_nowait(Transcript(text, final=False))

    def _final(self, utterance: _Utterance) -> None:
        self._engine.counters.finals += 1
        text = " ".join(segment.text for segment in utterance.segments if segment.text)
        scores = [s.confidence for s in utterance.segments if s.confidence is not None and s.text]
        self._out.put_nowait(Transcript(text, final=True, confidence=min(scores, default=None)))

    def _waiting(self) -> list[_Utterance]:
        return [*self._owed] if self._open is None else [*self._owed, self._open]
