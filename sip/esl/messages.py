"""What comes from FreeSWITCH."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to command `number`, or the result of an api command."""

    number: int
    text: str  # Reply-Text, or the body of an api response
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """False for ``-ERR ...`` and ``-USAGE: ...``. Some api commands fail with a bare word: see there."""
        return not self.text.startswith(("-ERR", "-USAGE"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. Values are decoded; a header with several values is a list."""

    headers: Mapping[str, object]
    body: str = ""

    @property
    def name(self) -> str:
        """CHANNEL_ANSWER, DTMF, ...; of a CUSTOM event its subclass: ``sofia::register``."""
        name = self.get("Event-Name")
        return self.get("Event-Subclass") or name if name == "CUSTOM" else name

    @property
    def channel(self) -> str:
        """Unique-ID of the call leg it is about; "" if it is about none."""
        return self.get("Unique-ID")

    def get(self, name: str, default: str = "") -> str:
        """One value as text; of several the first."""
        value = self.headers.get(name, default)
        if isinstance(value, list):
            value = value[0] if value else default
        return value if isinstance(value, str) else str(value)

    def number(self, name: str) -> float | None:
        """A value that is a number; None if it is absent or no number."""
        try:
            value = float(self.get(name))
        except ValueError:
            return None
        return value if value - value == 0 else None


class NoticeKind(Enum):
    """What FreeSWITCH says besides replies and events."""

    AUTH = "auth/request"
    DENIED = "text/rude-rejection"
    LINGER = "linger"  # the call is over; the socket stays for a while
    DISCONNECT = "disconnect"  # the socket will be closed
    LOG = "log/data"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that is neither reply nor event."""

    kind: NoticeKind
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Message = Reply | Event | Notice
