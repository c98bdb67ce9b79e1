"""What the parent and its workers say to each other (media/workers/wire.py).

The number is a domain's (CONFIGURE..DROP) or an utterance's (the others). A worker handles messages in the
order they were sent, so whatever an utterance needs is there when it begins.
"""

import json
import struct
from dataclasses import asdict
from enum import IntEnum

from dialog.types import Domain, Hints

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
    PARTIAL = 20  # JSON: text, confidence, complete, fragment
    FINAL = 21  # JSON: text, confidence, rejected, mean, cpu_s, error


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
