"""A circuit breaker: stops asking whoever keeps failing, and looks now and then whether he is well again.

Sans-I/O and sans-clock; times are seconds of any steady clock.

    closed --failures in a row--> open --cool-down--> half-open --a probe succeeds--> closed
                                   ^------------------a probe fails-----|
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When an engine counts as down."""

    failures: int = 3
    """In a row, over all calls; then it is left alone."""
    cool_down_s: float = 5.0
    """How long it is left alone before one request may try again. Doubles with every try that fails."""
    longest_s: float = 60.0
    """The doubling ends here: an engine that is back is found within a minute."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.failures < 1:
            raise ValueError(f"failures must be at least 1, not {self.failures}")
        if not 0 < self.cool_down_s <= self.longest_s:
            raise ValueError(f"cool_down_s must be above 0 and at most longest_s, not {self.cool_down_s}")


@dataclass(frozen=True, slots=True)
class Switched:
    """One engine gave way to another, which goes on where it failed."""

    failed: str
    to: str  # "" if there is no further one
    reason: str


class Health(StrEnum):
    """Whether an engine is asked."""

    CLOSED = "closed"  # it is well
    OPEN = "open"  # it is left alone
    HALF_OPEN = "half_open"  # one request is trying it


class Breaker:
    """Of one engine, shared by all calls."""

    def __init__(self, config: BreakerConfig = BreakerConfig()) -> None:
        self._config = config
        self._failures = 0  # in a row
        self._probes = 0  # that failed, in a row
        self._until = 0.0  # left alone until then
        self.health = Health.CLOSED
        self.opened = 0
        """How often it went from closed to open."""

    def allows(self, now: float) -> bool:
        """Whether it may be asked. True while half-open means: you are the probe, so tell how it went."""
        if self.health is not Health.CLOSED and now >= self._until:
            self.health = Health.HALF_OPEN
            self._until = now + self._config.longest_s  # a probe that does not tell shuts nobody out for ever
            return True
        return self.health is Health.CLOSED

    def succeeded(self) -> None:
        """It answered."""
        self._failures = self._probes = 0
        self.health = Health.CLOSED

    def failed(self, now: float) -> None:
        """It did not."""
        self._failures += 1
        if self.health is Health.HALF_OPEN:
            self._probes += 1
            self._open(now)
        elif self.health is Health.CLOSED and self._failures >= self._config.failures:
            self.opened += 1
            self._open(now)

    def abandoned(self) -> None:
        """It was asked, but nobody waited for the outcome: a probe that says nothing. Another may try."""
        if self.health is Health.HALF_OPEN:
            self.health, self._until = Health.OPEN, 0.0

    def _open(self, now: float) -> None:
        self.health = Health.OPEN
        self._until = now + min(self._config.cool_down_s * 2**self._probes, self._config.longest_s)
