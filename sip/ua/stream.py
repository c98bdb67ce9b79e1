"""Cuts a TCP stream into SIP messages by Content-Length (RFC 3261, 18.3; keep-alives: RFC 5626, 4.4.1).

However the bytes are split, the same items come out. An error here means that the place of the next
message is unknown: the connection has to be closed.
"""

import re
from dataclasses import dataclass

from sip.errors import RemoteProtocolError
from sip.ua.message import MAX_HEAD

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*(?=\r?\n)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ping:
    """A double CRLF: the peer wants one CRLF back."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The CRLF that answers our ping."""


class StreamFramer:
    """One connection's input."""

    def __init__(self, max_message: int = 65_535) -> None:
        """`max_message`: bytes of one message, headers and body."""
        self._max = max_message
        self._buffer = bytearray()
        self._breaks = 0  # line breaks since the last message or ping
        self.pings_sent = 0  # not yet answered; whoever sends one counts here

    @property
    def waiting(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> list[bytes | Ping | Pong]:
        """Whole messages and keep-alives. Raises RemoteProtocolError, after which nothing more comes."""
        self._buffer += data
        items: list[bytes | Ping | Pong] = []
        while self._buffer:
            if self._buffer[0] in b"\r\n":
                if self._buffer == b"\r":
                    break
                if (item := self._line_break()) is not None:
                    items.append(item)
                continue
            message = self._message()
            if message is None:
                break
            self._breaks = 0
            items.append(message)
        return items

    def _line_break(self) -> Ping | Pong | None:
        size = 2 if self._buffer.startswith(b"\r\n") else 1
        del self._buffer[:size]
        if self.pings_sent:
            self.pings_sent -= 1
            return Pong()
        self._breaks += 1
        if self._breaks == 2:
            self._breaks = 0
            return Ping()
        return None

    def _message(self) -> bytes | None:
        head = _HEAD_END.search(self._buffer, 0, MAX_HEAD + 4)
        if head is None:
            if len(self._buffer) >= MAX_HEAD + 4:
                raise RemoteProtocolError("headers too long for one message", 513)
            return None
        lengths = {int(text) for text in _LENGTH.findall(self._buffer, 0, head.end())}
        if len(lengths) != 1:  # two that differ could hide a message from whoever reads the other one
            raise RemoteProtocolError("not one Content-Length on a stream")
        size = head.end() + lengths.pop()
        if size > self._max:
            raise RemoteProtocolError(f"message of {size} bytes", 513)
        if len(self._buffer) < size:
            return None
        message = bytes(self._buffer[:size])
        del self._buffer[:size]
        return message
