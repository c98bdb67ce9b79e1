"""Messages between the parent and a worker, over a socket pair.

    length: u32 | kind: u8 | id: u32 | payload         little endian; length is the payload's

The id is a domain's (CONFIGURE..DROP) or an utterance's (the others). A worker handles messages in the
order they were sent, so whatever an utterance needs is there when it begins.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict
from enum import IntEnum

from dialog.types import Domain, Hints

HEADER = struct.Struct("<IBI")
COUNT = struct.Struct("<I")

OPEN = -1  # the state of a domain in which nothing in particular is expected


class Kind(IntEnum):
    """What a message says."""

    # parent -> worker
    CONFIGURE = 1  # JSON: Config
    PREPARE = 2  # JSON: Domain
    DROP = 3  # forget the domain
    BEGIN = 4  # JSON: domain, state, rate, mean
    AUDIO = 5  # s16le
    FINISH = 6
    CANCEL = 7
    # worker -> parent
    READY = 16
    PREPARED = 17
    FAILED = 18  # text: why the domain cannot be built
    TAKEN = 19  # u32: bytes of audio decoded so far
    PARTIAL = 20  # JSON: text, confidence, complete
    FINAL = 21  # JSON: text, confidence, rejected, mean, cpu_s, error


def message(kind: Kind, number: int = 0, payload: bytes = b"") -> bytes:
    """One message."""
    return HEADER.pack(len(payload), kind, number) + payload


class Splitter:
    """Messages out of a stream of bytes, cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Kind, id and payload of each message that is whole now."""
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
                yield Kind(kind), number, payload
        finally:
            del self._buffer[:at]


def domain_to_json(domain: Domain) -> bytes:
    """For PREPARE."""
    return json.dumps(asdict(domain)).encode()


def domain_from_json(data: bytes) -> Domain:
    """The inverse: JSON knows lists, dataclasses want tuples."""
    fields = json.loads(data)
    hints = []
    for h in fields["hints"]:
        digits = tuple(h["digits"]) if h["digits"] else None
        hints.append(Hints(tuple(h["phrases"]), h["grammar"], tuple(h["sentences"]), digits))
    return Domain(fields["name"], fields["language"], tuple(hints))
