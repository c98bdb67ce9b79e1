"""The event socket's protocol, without a socket: commands out, replies, events and notices in.

Replies carry no id: they come in the order of the commands. So each command gets a number, and the reply its
number back; whoever gave up waiting is left out without a shift (the number is the tombstone).

A message is header lines, a blank line, and as many BYTES as its Content-Length says. What is wrong inside a
message costs that message (`Counters.bad`); only where the framing itself is lost does the connection end
(RemoteProtocolError).
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.esl.messages import Event, Message, Notice, NoticeKind, Reply


@dataclass(frozen=True, slots=True)
class EslLimits:
    """What is taken from a switch; it is trusted, but bugs are not."""

    max_header_bytes: int = 1_048_576
    """Header block of a message. The answer to `connect` is the largest: all variables of a channel, 10 to
    100 KB. Beyond it the connection is given up."""
    max_body_bytes: int = 16_777_216
    """Longer bodies are skipped and counted. FreeSWITCH itself takes 16 MB."""


LIMITS = EslLimits()


@dataclass(slots=True)
class ProtocolCounters:
    """What was met on the wire."""

    replies: int = 0
    events: int = 0
    bad: int = 0  # messages that could not be read, and were skipped
    oversized: int = 0
    stray: int = 0  # replies that answer nothing
    bytes_in: int = 0


@dataclass(slots=True)
class _Sent:
    number: int
    connect: bool  # its reply is an event's headers without a frame, URL-encoded


@dataclass(slots=True)
class EslProtocol:
    """One connection's protocol. Feed it with `receive_data`, then take `messages`."""

    limits: EslLimits = LIMITS
    counters: ProtocolCounters = field(default_factory=ProtocolCounters)
    _buffer: bytearray = field(default_factory=bytearray)
    _scanned: int = 0  # bytes that hold no end of a header block
    _head: dict[str, str] | None = None  # of the message whose body is awaited
    _length: int = 0  # of that body
    _skip: int = 0  # bytes of a body that is too large
    _pending: deque[_Sent] = field(default_factory=deque)
    _number: int = 0

    # Out

    def command(
        self, line: str, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> tuple[int, bytes]:
        """A command's number and its wire form, to be sent in one piece: while FreeSWITCH has half a command
        it sends no event. Raises LocalProtocolError for line ends where they would inject headers."""
        fields = dict(headers or {})
        payload = body.encode()
        if payload:
            fields["content-length"] = str(len(payload))
        lines = [line, *(f"{name}: {value}" for name, value in fields.items())]
        for text in lines:
            if any(mark in text for mark in "\r\n\0"):
                raise LocalProtocolError(f"a line end in an event socket command ({verb(line)})")
        if not line.strip():
            raise LocalProtocolError("an empty event socket command")
        self._number += 1
        self._pending.append(_Sent(self._number, line.strip().lower() == "connect"))
        return self._number, "\n".join(lines).encode() + b"\n\n" + payload

    @property
    def waiting(self) -> int:
        """Commands without their reply."""
        return len(self._pending)

    # In

    def receive_data(self, data: bytes) -> None:
        """Bytes from the switch, in any pieces."""
        self.counters.bytes_in += len(data)
        self._buffer += data

    def messages(self) -> Iterator[Message]:
        """What is complete. Raises RemoteProtocolError where the framing is lost: close the connection."""
        while True:
            if self._skip:
                gone = min(self._skip, len(self._buffer))
                del self._buffer[:gone]
                self._skip -= gone
                if self._skip:
                    return
            if self._head is None and not self._read_head():
                return
            assert self._head is not None
            if len(self._buffer) < self._length:
                return
            head, self._head = self._head, None
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            message = self._message(head, body)
            if message is not None:
                yield message

    def _read_head(self) -> bool:
        """Take a header block from the buffer, if there is a whole one."""
        buffer = self._buffer
        while buffer.startswith((b"\n", b"\r")):
            del buffer[:1]
            self._scanned = 0
        end = buffer.find(b"\n\n", max(0, self._scanned - 1))
        if end > self.limits.max_header_bytes or (end < 0 and len(buffer) > self.limits.max_header_bytes):
            raise RemoteProtocolError(f"a header block of more than {self.limits.max_header_bytes} bytes")
        if end < 0:
            self._scanned = len(buffer)
            return False
        head = header_block(buffer[:end].decode("utf-8", "replace"))
        del buffer[: end + 2]
        self._scanned = 0
        length = self._content_length(head)
        if length > self.limits.max_body_bytes:
            self.counters.oversized += 1
            self._skip = length
            head, length = {"Content-Type": "oversized/" + head.get("Content-Type", "")}, 0
        self._head, self._length = head, length
        return True

    def _content_length(self, head: dict[str, str]) -> int:
        text = head.get("Content-Length", "0")
        if "Event-Name" in head:  # the reply to `connect` has no frame, nor a body
            return 0
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            raise RemoteProtocolError(f"bad Content-Length {text[:40]!r}")
        return int(text)

    def _message(self, head: dict[str, str], body: bytes) -> Message | None:
        match head.get("Content-Type", ""):
            case "text/event-json":
                return self._event(json_event(body))
            case "text/event-plain":
                return self._event(plain_event(body.decode("utf-8", "replace")))
            case "command/reply":
                return self._reply(head, head.get("Reply-Text", ""))
            case "api/response" | "oversized/api/response":
                return self._reply(head, body.decode("utf-8", "replace"))
            case "text/disconnect-notice":
                lingers = head.get("Content-Disposition", "").lower() == "linger"
                kind = NoticeKind.LINGER if lingers else NoticeKind.DISCONNECT
                return Notice(kind, body.decode("utf-8", "replace").strip(), head)
            case "auth/request" | "text/rude-rejection" | "log/data" as kind:
                return Notice(NoticeKind(kind), body.decode("utf-8", "replace").strip(), head)
        self.counters.bad += 1
        return None

    def _event(self, event: Event | None) -> Event | None:
        if event is None:
            self.counters.bad += 1
        else:
            self.counters.events += 1
        return event

    def _reply(self, head: dict[str, str], text: str) -> Reply | None:
        if not self._pending:
            self.counters.stray += 1
            return None
        sent = self._pending.popleft()
        self.counters.replies += 1
        if sent.connect and "Event-Name" in head:
            head = {name: unquote(value) for name, value in head.items()}
            text = head.get("Reply-Text", "")
        return Reply(sent.number, text.strip(), head)


def header_block(text: str) -> dict[str, str]:
    """Header lines as they are; of a name that comes twice the last. A line without a colon is left out."""
    headers: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name] = value.strip(" \r")
    return headers


def plain_event(text: str) -> Event | None:
    """An event in plain form: URL-encoded values, `+` is a plus, and the body after a blank line. First the
    lines are split, then values decoded: a line end inside a value stays there."""
    head, _, body = text.partition("\n\n")
    headers: dict[str, object] = {}
    for name, raw in header_block(head).items():
        value = unquote(raw, errors="replace") if "%" in raw else raw
        if value.startswith("ARRAY::"):
            headers[name] = value.removeprefix("ARRAY::").split("|:")
        else:
            headers[name] = "" if value == "_undef_" else value
    return Event(headers, body) if "Event-Name" in headers else None


def json_event(data: bytes) -> Event | None:
    """An event in JSON form; None if it is none. SIP headers bring bytes that are no UTF-8."""
    try:
        headers = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(headers, dict) or "Event-Name" not in headers:
        return None
    body = headers.pop("_body", "")
    return Event(headers, body if isinstance(body, str) else str(body))


def verb(line: str) -> str:
    """What may be logged of a command: its first word, and the name of an api command. The rest may hold
    passwords and numbers."""
    words = line.split(None, 2)
    return " ".join(words[:2] if words and words[0].lower() in ("api", "bgapi") else words[:1])
