"""What can go wrong in a dialog. One root, so that a caller may catch the package's errors at once."""

from collections.abc import Sequence
from dataclasses import dataclass


class DialogError(Exception):
    """Root of all errors raised by this package."""


class MissingExtra(DialogError):
    """An optional package is not installed; the message says which `pip install` brings it."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'voicegw[{extra}]'")
        self.extra = extra


class GrammarError(DialogError):
    """A JSGF text that cannot be read, or a word that no recogniser could know."""


class ExpressionError(DialogError):
    """An expression or template that cannot be compiled, or cannot be computed from these values."""


class FlowRunError(DialogError):
    """A flow went astray while it ran: too many nodes in one turn, a state that does not fit."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a flow file."""

    file: str
    line: int  # counted from 1
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class FlowError(DialogError):
    """A flow file cannot be used. Lists every mistake found, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
