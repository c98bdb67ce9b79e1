"""Messages between the parent and a worker, over a socket pair.

    length: u32 | kind: u8 | number: u32 | payload         little endian; length is the payload's

What kinds there are is the business of both ends.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

HEADER = struct.Struct("<IBI")
_LENGTH = struct.Struct("<I")


def message(kind: int, number: int = 0, payload: bytes = b"") -> bytes:
    """One message."""
    return HEADER.pack(len(payload), kind, number) + payload


class Splitter:
    """Messages out of a stream of bytes, cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Kind, number and payload of each message that is whole now."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= HEADER.size:
                length, kind, number = HEADER.unpack_from(self._buffer, at)
                end = at + HEADER.size + length
                if end > len(self._buffer):
                    break
                payload = bytes(self._buffer[at + HEADER.size : end])
                at = end
                yield kind, number, payload
        finally:
            del self._buffer[:at]


def pack(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A request (or a piece of an answer) of JSON and bytes."""
    text = json.dumps(header).encode()
    return _LENGTH.pack(len(text)) + text + body


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The inverse."""
    (length,) = _LENGTH.unpack_from(data)
    header: dict[str, Any] = json.loads(data[_LENGTH.size : _LENGTH.size + length])
    return header, data[_LENGTH.size + length :]
