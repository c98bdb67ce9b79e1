"""What ends the program with a sentence instead of a traceback."""

from collections.abc import Sequence
from dataclasses import dataclass


class VoicegwError(Exception):
    """Something the user can put right; the message says what and where. `exit_code` is for the shell."""

    exit_code = 1


class StartError(VoicegwError):
    """The server could not start: a port is taken, an engine is missing, a folder is not writable."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the configuration or in a flow."""

    where: str  # "voicegw.yaml:12", "VOICEGW_SIP__PORT", or "" when it is nowhere in particular
    path: str  # dotted path of the setting, "" when the whole file is wrong
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class ConfigError(VoicegwError):
    """All that is wrong with the configuration, at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
