"""Several recognisers in order: when one fails or owes its final for too long, the next one hears again what
is open or owed, from the audio kept here. Usually nothing is lost; at most the one utterance.

A call stays with the recogniser that it was given to; new calls find the preferred one when it is well again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from dialog.breaker import Switched
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.fallback.config import EarsFallback
from media.fallback.members import Fallback, Member, Members
from media.frames import AudioFormat, AudioFrame
from media.stt.base import Outbox, SpeechToText, SttStream
from media.tasks import Start, task_scope

BEFORE_MS = 400  # kept from before an utterance: detectors are up to 300 ms late
LONGEST_MS = 45_000  # kept of an utterance; turns are ended after 30 s
BURST = 25  # frames given at once when an utterance is heard again: engines' buffers are bounded


@dataclass(slots=True, eq=False)
class _Utterance:
    """Its audio: from before its beginning, and since."""

    before: list[AudioFrame]
    frames: list[AudioFrame] = field(default_factory=list)
    finished: bool = False


class FallbackEars(Fallback[SpeechToText]):
    """Implements SpeechToText over others."""

    def __init__(
        self, engines: Sequence[tuple[str, SpeechToText]], config: EarsFallback | None = None
    ) -> None:
        """`engines` by name, in order of preference, at least one."""
        self.config = config or EarsFallback()
        super().__init__("stt", engines, self.config.breaker)

    async def prepare(self, domain: Domain) -> None:
        """Prepare each. One that cannot is counted as failed; raises ProviderError if none can."""
        errors = []
        for member in self.members:
            try:
                await member.engine.prepare(domain)
            except ProviderError as error:
                errors.append(error)
                self.members.failed(member, error)
        if len(errors) == len(list(self.members)):
            raise errors[0]

    def stream(self, format: AudioFormat, domain: Domain) -> AbstractAsyncContextManager[SttStream]:
        """Ears for one call. Entering raises ProviderError when nobody has room."""
        return self._stream(format, domain)

    @asynccontextmanager
    async def _stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[SttStream]:
        async with task_scope() as start:
            stream = FallbackStream(self.members, self.config, (format, domain), start)
            await stream.open()
            try:
                yield stream
            finally:
                await stream.close()


class FallbackStream:
    """Implements SttStream: the ears of one call."""

    def __init__(
        self,
        members: Members[SpeechToText],
        config: EarsFallback,
        call: tuple[AudioFormat, Domain],
        start: Start,
    ) -> None:
        self._members, self._config, self._call, self._start = members, config, call, start
        self._loop = asyncio.get_running_loop()
        self._before: deque[AudioFrame] = deque(maxlen=BEFORE_MS // call[0].ptime_ms)
        self._longest = LONGEST_MS // call[0].ptime_ms
        self._open: _Utterance | None = None
        self._owed: deque[_Utterance] = deque()
        self._hints: Hints | None = None
        self._out: Outbox[Transcript | Switched] = Outbox()
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._member: Member[SpeechToText] | None = None
        self._current: SttStream | None = None  # of the one whose finals count
        self._inner: SttStream | None = None  # the same; None: it has not caught up, audio is only kept
        self._lost: tuple[Member[SpeechToText], ProviderError] | None = None  # all have failed
        self._stack = AsyncExitStack()
        self._tried: list[Member[SpeechToText]] = []

    async def open(self) -> None:
        """Find the first who takes the call. Raises ProviderError when nobody does."""
        error = await self._next(None)
        if error is not None:
            self._members.lost()
            raise error
        self._tried = [self._member] if self._member is not None else []  # the others may be asked again
        return error

    async def close(self) -> None:
        """Let go of the engine; reading ends."""
        self._closed = True
        self.cancel()
        self._out.put_nowait(None)
        if self._member is not None:
            self._member.breaker.abandoned()
        self._current = self._inner = None
        await self._stack.aclose()

    # SttStream

    def push(self, frame: AudioFrame) -> None:
        """One frame."""
        self._before.append(frame)
        if self._open is not None and len(self._open.frames) < self._longest:
            self._open.frames.append(frame)
        if self._inner is not None:
            self._inner.push(frame)

    def begin(self) -> None:
        """A new utterance."""
        if self._open is None and not self._closed:
            self._open = _Utterance(list(self._before))
            if self._inner is not None:
                self._inner.begin()
            elif self._lost is not None:
                (member, error), self._lost = self._lost, None
                self._start(self._switch(member, error, AsyncExitStack()), "ears again")

    def finish(self) -> None:
        """The utterance is over."""
        if self._open is None:
            return
        self._open.finished = True
        self._owed.append(self._open)
        self._open = None
        if self._inner is not None:
            self._inner.finish()
            self._start_timer()

    def cancel(self) -> None:
        """Forget the open utterance and what is owed."""
        self._open = None
        self._owed.clear()
        self._stop_timer()
        if self._inner is not None:
            self._inner.cancel()

    def expect(self, hints: Hints) -> None:
        """What the caller will probably say."""
        self._hints = hints
        if self._inner is not None:
            self._inner.expect(hints)

    def __aiter__(self) -> AsyncIterator[Transcript | Switched]:
        """Partials, finals and changes, in order."""
        return self._out

    # Engines

    async def _next(self, error: ProviderError | None) -> ProviderError | None:
        """Give the call to the next engine that takes it. Returns why none did."""
        while (member := self._members.next(self._tried)) is not None:
            self._tried.append(member)
            stack = AsyncExitStack()
            try:
                async with asyncio.timeout(self._config.open_ms / 1000):
                    inner = await stack.enter_async_context(member.engine.stream(*self._call))
            except TimeoutError:
                error = ProviderError(f"{member.name}: took too long to take the call", retryable=True)
                self._members.failed(member, error)
                continue
            except ProviderError as refused:
                error = refused
                self._members.failed(member, refused)
                continue
            except asyncio.CancelledError:
                member.breaker.abandoned()
                raise
            if self._closed:  # the call ended meanwhile
                member.breaker.abandoned()
                await stack.aclose()
                return None
            self._stack, self._member, self._current = stack, member, inner
            self._start(self._read(member, inner), f"ears {member.name}")
            if self._hints is not None:
                inner.expect(self._hints)
            await self._give(inner)
            if inner is self._current:  # else it has failed meanwhile, and another is being asked
                self._inner = inner
                if self._owed:
                    self._start_timer()
            return None
        return error or ProviderError("no recogniser is left", retryable=True)

    async def _give(self, inner: SttStream) -> None:
        """What is owed and open, again. Audio that comes meanwhile is kept with the open utterance."""
        given: list[_Utterance] = []
        while inner is self._current and (utterance := self._ungiven(given)) is not None:
            given.append(utterance)
            for frame in utterance.before:
                inner.push(frame)
            inner.begin()
            at = 0
            while at < len(utterance.frames):
                inner.push(utterance.frames[at])
                at += 1
                if at % BURST == 0:
                    await asyncio.sleep(0)
                    if not self._wanted(utterance):
                        break
            if not self._wanted(utterance):
                inner.cancel()
            elif utterance.finished:
                inner.finish()

    def _wanted(self, utterance: _Utterance) -> bool:
        """Whether it was not cancelled meanwhile."""
        return utterance is self._open or any(owed is utterance for owed in self._owed)

    def _ungiven(self, given: list[_Utterance]) -> _Utterance | None:
        waiting = [*self._owed] if self._open is None else [*self._owed, self._open]
        return next((utterance for utterance in waiting if utterance not in given), None)

    async def _read(self, member: Member[SpeechToText], inner: SttStream) -> None:
        error = ProviderError(f"{member.name}: stopped listening", retryable=True)
        try:
            async for heard in inner:
                if inner is not self._current:
                    return  # given up meanwhile: another one owes this
                if isinstance(heard, Transcript) and heard.final:
                    member.breaker.succeeded()
                    self._tried = [member]  # it is well: should it fail later, the others may be asked again
                    self._final()
                self._out.put_nowait(heard)
        except ProviderError as failed:
            error = failed
        if inner is self._current:
            self._failed(member, error)

    def _final(self) -> None:
        if self._owed:
            self._owed.popleft()
        self._stop_timer()
        if self._owed:
            self._start_timer()

    def _failed(self, member: Member[SpeechToText], error: ProviderError) -> None:
        """The engine that listens has failed: the next takes over."""
        self._members.failed(member, error)
        self._stop_timer()
        self._member = self._current = self._inner = None
        stack, self._stack = self._stack, AsyncExitStack()
        self._start(self._switch(member, error, stack), "ears switch")

    async def _switch(
        self, member: Member[SpeechToText], error: ProviderError, stack: AsyncExitStack
    ) -> None:
        try:
            lost = await self._next(error)
            if lost is not None:
                lost = ProviderError(str(lost), retryable=True)  # with the next utterance
                self._members.lost()
                self._owed.clear()
                self._tried, self._lost = [], (member, lost)
                self._out.put_nowait(lost)
            elif self._member is not None:
                self._members.switched()
                self._out.put_nowait(Switched(member.name, self._member.name, str(error)))
        finally:
            await stack.aclose()  # last: nobody waits for a dead engine to say goodbye

    # The final

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._config.final_ms / 1000, self._final_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _final_late(self) -> None:
        self._timer = None
        member = self._member
        if member is not None:
            reason = f"{member.name}: no final for {self._config.final_ms} ms"
            self._failed(member, ProviderError(reason, retryable=True))
