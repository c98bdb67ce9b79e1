"""Several language models in order: the first that is well answers; when it fails, the next goes on.

Nothing has come yet: the next is asked the same. Something was said already: the next is told what, and goes
on behind it, so that the caller hears one answer. With `hedge_ms` the next is asked already when the first is
slow, and whoever speaks first answers.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from dialog.breaker import Breaker, BreakerConfig, Health, Switched
from dialog.llm.base import (
    Chunk,
    Finished,
    LanguageModel,
    LlmError,
    LlmRequest,
    Message,
    Role,
    Text,
)

log = logging.getLogger(__name__)

GO_ON = "(Your answer was cut off after these words. Go on exactly there, without repeating them.)"


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """Several engines of one kind."""

    first_ms: int = 4000
    """Wait this long for the first piece of an engine's answer; then the next one is asked."""
    hedge_ms: int = 0
    """Ask the next engine too after this long, and take whoever speaks first. Costs a second request for slow
    answers only. 0: wait for `first_ms`."""
    breaker: BreakerConfig = BreakerConfig()
    """When an engine is left alone for a while."""


@dataclass(slots=True)
class Member:
    """An engine and how it has been doing."""

    model: LanguageModel
    breaker: Breaker
    answers: int = 0
    failures: int = 0


class FallbackModel:
    """Implements LanguageModel over others. Closing it closes them."""

    def __init__(
        self,
        models: Sequence[LanguageModel],
        config: FallbackConfig = FallbackConfig(),
    ) -> None:
        """`models` in order of preference, at least one."""
        self._config = config
        self.members = [Member(model, Breaker(config.breaker)) for model in models]

    @property
    def name(self) -> str:
        """Of all of them."""
        return " > ".join(member.model.name for member in self.members)

    def fault(self) -> str | None:
        """For /health: who is left alone now; None while all are well."""
        down = [m.model.name for m in self.members if m.breaker.health is Health.OPEN]
        return f"left alone: {', '.join(down)}" if down else None

    async def prepare(self, request: LlmRequest) -> None:
        """Prepare each. One that cannot be used now counts as failed; raises LlmError if none can."""
        errors = []
        for member in self.members:
            try:
                await member.model.prepare(request)
            except LlmError as error:
                errors.append(error)
                self._failed(member, error, "")
        if len(errors) == len(self.members):
            raise errors[0]

    async def close(self) -> None:
        """Close each."""
        for member in self.members:
            await member.model.close()

    async def generate(self, request: LlmRequest) -> AsyncGenerator[Chunk, None]:
        """Answer, streaming. Raises the last engine's LlmError when none could."""
        race = _Race(request, deque(self.members), self._config, self._failed)
        try:
            while True:
                chunk = await race.next()
                yield chunk
                if isinstance(chunk, Finished):
                    return
        finally:
            race.end()

    def _failed(self, member: Member, error: LlmError, to: str) -> None:
        member.failures += 1
        member.breaker.failed(asyncio.get_running_loop().time())
        failed = member.model.name
        log.warning("language model failed", extra={"model": failed, "next": to, "error": str(error)})


@dataclass(slots=True, eq=False)
class _Attempt:
    """One engine at work on one answer. A generator is driven by one task from its first step to its last."""

    member: Member
    began: float  # loop time
    task: "asyncio.Task[None]"


class _Race:
    """One answer, from whoever gives it."""

    def __init__(
        self,
        request: LlmRequest,
        waiting: deque[Member],
        config: FallbackConfig,
        failed: Callable[[Member, LlmError, str], None],
    ) -> None:
        self._request, self._waiting, self._config, self._on_failed = request, waiting, config, failed
        self._clock = asyncio.get_running_loop().time
        self._queue: asyncio.Queue[tuple[Member, Chunk | BaseException]] = asyncio.Queue()
        self._running: list[_Attempt] = []
        self._leader: _Attempt | None = None
        self._said = ""
        self._switched: deque[Switched] = deque()  # to be told before the answer goes on
        self._error = LlmError("no language model is well", retryable=True)

    async def next(self) -> Chunk:
        """The next piece of the answer. Raises LlmError when nobody is left who could go on."""
        while True:
            if self._switched and self._running:
                return self._switched.popleft()
            if not self._running and not self._start():
                raise self._error
            try:
                async with asyncio.timeout(self._patience()):
                    member, item = await self._queue.get()
            except TimeoutError:
                self._slow()
                continue
            attempt = next((a for a in self._running if a.member is member), None)
            if attempt is None:
                continue  # the last words of one that was given up
            if isinstance(item, LlmError):
                self._lose(attempt, item)
            elif isinstance(item, BaseException):
                raise item
            else:
                self._lead(attempt, item)
                return item

    def end(self) -> None:
        """Stop whoever is still at it."""
        for attempt in self._running:
            attempt.task.cancel()
            attempt.member.breaker.abandoned()
        self._running.clear()

    def _start(self) -> bool:
        """Ask the next engine that is well; if none is, the next one. False: nobody is left."""
        now = self._clock()
        well = next((m for m in self._waiting if m.breaker.allows(now)), None)
        if well is None and (self._running or not self._waiting):
            return False
        member = well or self._waiting[0]
        self._waiting.remove(member)
        request = _continued(self._request, self._said) if self._said else self._request
        task = asyncio.create_task(self._pump(member, request), name=f"llm {member.model.name}")
        self._running.append(_Attempt(member, now, task))
        return True

    async def _pump(self, member: Member, request: LlmRequest) -> None:
        try:
            async with aclosing(member.model.generate(request)) as chunks:
                async for chunk in chunks:
                    self._queue.put_nowait((member, chunk))
            ended = LlmError(f"{member.model.name}: the answer ended in the middle", retryable=True)
            self._queue.put_nowait((member, ended))  # unread after Finished
        except Exception as error:  # raised in whoever reads the queue
            self._queue.put_nowait((member, error))

    def _patience(self) -> float | None:
        """Seconds until somebody is slow. Who has begun to answer keeps time by himself."""
        if self._leader is not None:
            return None
        limit_ms = self._config.first_ms
        if self._may_hedge():
            limit_ms = min(limit_ms, self._config.hedge_ms)
        return max(0.0, self._running[0].began + limit_ms / 1000 - self._clock())

    def _may_hedge(self) -> bool:
        return bool(self._config.hedge_ms and self._waiting and len(self._running) == 1)

    def _slow(self) -> None:
        first = self._running[0]
        if self._may_hedge() and self._clock() - first.began < self._config.first_ms / 1000 and self._start():
            return
        error = f"{first.member.model.name}: nothing came for {self._config.first_ms / 1000:g} s"
        self._lose(first, LlmError(error, retryable=True))

    def _lose(self, attempt: _Attempt, error: LlmError) -> None:
        attempt.task.cancel()
        self._running.remove(attempt)
        self._leader, self._error = None, error
        after = self._running[0].member if self._running else next(iter(self._waiting), None)
        to = after.model.name if after else ""
        self._switched.append(Switched(attempt.member.model.name, to, str(error)))
        self._on_failed(attempt.member, error, to)

    def _lead(self, attempt: _Attempt, chunk: Chunk) -> None:
        if self._leader is None:
            self._leader = attempt
            self._running.remove(attempt)
            self.end()
            self._running.append(attempt)
        if isinstance(chunk, Text):
            self._said += chunk.text
        elif isinstance(chunk, Finished):
            attempt.member.answers += 1
            attempt.member.breaker.succeeded()
            self._running.remove(attempt)


def _continued(request: LlmRequest, said: str) -> LlmRequest:
    """The same, for an engine that goes on where another was cut off."""
    more = (Message(Role.ASSISTANT, said), Message(Role.USER, GO_ON))
    return replace(request, messages=(*request.messages, *more))
