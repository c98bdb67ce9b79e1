"""Server-sent events: bytes in, events out. Sans-I/O. WHATWG HTML, section 9.2.6."""

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 1 << 20  # bytes in one event; a model's chunk has some hundred


class SseError(ValueError):
    """An event that is too long: no event stream at all."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its type ("message" where the server gives none) and its data."""

    event: str
    data: str


class SseDecoder:
    """One a response. Comments (keep-alives) and ids are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        """Events that `data` completes. Raises SseError."""
        self._rest += data
        # A CR at the very end may be half of a CRLF: it waits for what follows.
        held = b"\r" if self._rest.endswith(b"\r") else b""
        text = self._rest[: len(self._rest) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        if len(self._rest) > LONGEST:
            raise SseError(f"a line of more than {LONGEST} bytes")
        for line in lines:
            event = self._line(line.decode(errors="replace"))
            if event is not None:
                yield event

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._size += len(value)
            if self._size > LONGEST:
                raise SseError(f"an event of more than {LONGEST} bytes")
            self._data.append(value)
        return None

    def _dispatch(self) -> ServerEvent | None:
        event, data = self._event or "message", self._data
        self._event, self._data, self._size = "", [], 0
        return ServerEvent(event, "\n".join(data)) if data else None
