"""Real sessions with FreeSWITCH 1.11.3 (tests/captures/esl), byte for byte in both directions.

@@ <  t=0.145  bytes=2043      FreeSWITCH -> application, then exactly so many bytes and a newline
@@ >  t=0.150  bytes=58        application -> FreeSWITCH
@@ #  t=0.160  a note
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "captures" / "esl"
RECORD = re.compile(rb"@@ ([<>])  t=([\d.]+)  bytes=(\d+)\n")


@dataclass(frozen=True, slots=True)
class Record:
    received: bool  # from FreeSWITCH
    at: float  # seconds
    data: bytes


def names() -> list[str]:
    """Of all captures."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def load(name: str) -> list[Record]:
    """The messages of a capture; its number, such as "20", will do."""
    (path,) = FOLDER.glob(f"{name}_*.txt") if "_" not in name else [FOLDER / f"{name}.txt"]
    data, position, records = path.read_bytes(), 0, []
    while match := RECORD.search(data, position):
        start, size = match.end(), int(match[3])
        records.append(Record(match[1] == b"<", float(match[2]), data[start : start + size]))
        position = start + size
    return records


def received(name: str) -> bytes:
    """All that FreeSWITCH sent."""
    return b"".join(record.data for record in load(name) if record.received)
