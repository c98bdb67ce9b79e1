"""The engines of one kind, and how they have been doing."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dialog.breaker import Breaker, BreakerConfig, Health

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What is known of any."""

    async def close(self) -> None:
        """Free it."""


E = TypeVar("E", bound=Engine)


@dataclass(slots=True, eq=False)
class Member(Generic[E]):
    """One engine."""

    name: str
    engine: E
    breaker: Breaker
    failures: int = 0


@dataclass(slots=True)
class FallbackStats:
    """Counters since the start."""

    switched: int = 0  # an engine gave way to another
    failed: int = 0  # requests that an engine failed at
    opened: int = 0  # an engine was left alone
    lost: int = 0  # nobody was left


class Members(Generic[E]):
    """In order of preference."""

    def __init__(self, kind: str, engines: Sequence[tuple[str, E]], config: BreakerConfig) -> None:
        self._kind = kind
        self._members = [Member(name, engine, Breaker(config)) for name, engine in engines]
        self._counters = FallbackStats()

    def __iter__(self) -> Iterator[Member[E]]:
        return iter(self._members)

    @property
    def first(self) -> Member[E]:
        """The preferred one."""
        return self._members[0]

    def next(self, tried: Sequence[Member[E]]) -> Member[E] | None:
        """Whom to ask now: the first that is well; if nobody is, the first that has not been tried. None: all
        have been."""
        left = [member for member in self._members if member not in tried]
        now = asyncio.get_running_loop().time()
        return next((member for member in left if member.breaker.allows(now)), left[0] if left else None)

    def failed(self, member: Member[E], error: Exception) -> None:
        """It failed at a request."""
        opened = member.breaker.opened
        member.failures += 1
        member.breaker.failed(asyncio.get_running_loop().time())
        self._counters.failed += 1
        self._counters.opened += member.breaker.opened - opened
        log.warning("engine failed", extra={"kind": self._kind, "engine": member.name, "error": str(error)})

    def switched(self) -> None:
        """Another one has taken over."""
        self._counters.switched += 1

    def lost(self) -> None:
        """Nobody is left for a request."""
        self._counters.lost += 1

    def stats(self) -> FallbackStats:
        """Counters since the start."""
        return self._counters

    def fault(self) -> str | None:
        """For /health: who is left alone now; None while all are well."""
        down = [member.name for member in self._members if member.breaker.health is Health.OPEN]
        return f"left alone: {', '.join(down)}" if down else None


class Fallback(Generic[E]):
    """Several engines that look like one. Closing it closes them."""

    def __init__(self, kind: str, engines: Sequence[tuple[str, E]], config: BreakerConfig) -> None:
        self.members = Members(kind, engines, config)

    def stats(self) -> FallbackStats:
        """Counters since the start."""
        return self.members.stats()

    def fault(self) -> str | None:
        """For /health: who is left alone now."""
        return self.members.fault()

    async def close(self) -> None:
        """Close each."""
        for member in self.members:
            await member.engine.close()
