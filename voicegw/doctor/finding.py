"""One thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How it is."""

    GOOD = "ok"
    WARNING = "warning"  # works, but not as it should, or nobody can tell
    BAD = "bad"  # calls will fail


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was looked at and how it is; `advice` is what to do where it is not good."""

    level: Level
    what: str
    advice: str = ""


def good(what: str) -> Finding:
    """As it should be."""
    return Finding(Level.GOOD, what)


def warning(what: str, advice: str) -> Finding:
    """Not as it should be."""
    return Finding(Level.WARNING, what, advice)


def bad(what: str, advice: str) -> Finding:
    """Calls will fail."""
    return Finding(Level.BAD, what, advice)
