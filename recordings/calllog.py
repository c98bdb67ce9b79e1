"""Timeline of one call: every event as one line of JSON, ``{"t": ms of call time, "at": ..., "event": ...}``.

docs/timeline.md says which events there are and what they carry. The file is valid line by line at any time;
only its last line may be cut by a crash, which `read_timeline` forgives. It stays small: a partial
transcript that says nothing new, or comes right after another, is left out, and after `max_kb` only what a
person reads first is still written.
"""

import dataclasses
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path

from media.observe import EventName
from recordings.paths import CallFiles, create, mark_of, write_all
from recordings.writer import DiskWriter

log = logging.getLogger(__name__)

PARTIAL_MS = 200  # nobody reads five guesses a second
LONGEST_TEXT = 4_000  # characters of one string; a spoken sentence has 100
WAITING = 5_000  # lines held while the disk does not answer: minutes of the busiest call
RESERVED = ("t", "at", "event")
ESSENTIAL = frozenset({"call", "turn", "heard", "barge_in", "dtmf", "error"})


@dataclass(frozen=True, slots=True)
class Config:
    """Timelines of calls."""

    enabled: bool = True
    """Write a timeline for each call. Without it `voicegw calls show` knows the turns only."""
    max_kb: int = 4_000
    """Beyond this size only calls, turns, what was heard, keys and errors are written; beyond twice this,
    nothing. An hour of lively talk takes about 700."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a timeline."""

    t_ms: int
    at: str  # ISO 8601, UTC
    name: str
    fields: Mapping[str, object]


class CallLog:
    """A `media.observe.CallObserver`. An event costs some ten microseconds; the thread writes it."""

    def __init__(
        self,
        files: CallFiles,
        clock: Callable[[], float],
        writer: DiskWriter,
        config: Config = Config(),
    ) -> None:
        """`clock` in seconds; what it reads now is the call's zero, and `files.started_at` its wall time."""
        self.epoch = clock()
        self._files, self._clock, self._writer = files, clock, writer
        self._limit = config.max_kb * 1000
        self._lines: deque[str] = deque()
        self._size = 0  # characters
        self._partial: tuple[int, object] = (-PARTIAL_MS, "")  # time and text of the last one kept
        self._held: tuple[int, dict[str, object]] | None = None  # a partial that came too soon after it
        self._fd = -1
        self._written = 0  # bytes
        self._refused = self._added = False
        writer.counters.timelines += 1

    @property
    def now_ms(self) -> int:
        """Call time."""
        return round((self._clock() - self.epoch) * 1000)

    def event(self, name: EventName, /, **fields: object) -> None:
        """Write one event, stamped with the call's clock."""
        now = self.now_ms
        if name == "partial":
            if fields.get("text") == self._partial[1]:
                return
            if now - self._partial[0] < PARTIAL_MS:
                self._held = (now, fields)
                return
            self._partial = (now, fields.get("text"))
            self._held = None
        elif self._held is not None:
            held_at, held = self._held
            self._held = None
            self._add(held_at, "partial", held)
        self._add(now, name, fields)

    def close(self) -> "Future[bool]":
        """The call is over: write the rest, in the thread. False: the timeline has failed."""
        return self._writer.finish(self)

    def _add(self, t_ms: int, name: str, fields: Mapping[str, object]) -> None:
        if self._size > 2 * self._limit or len(self._lines) >= WAITING:
            self._writer.counters.events_dropped += 1
            return
        if self._size > self._limit and name not in ESSENTIAL:
            self._writer.counters.events_dropped += 1
            return
        at = (self._files.started_at + timedelta(milliseconds=t_ms)).astimezone(UTC)
        line = encode(t_ms, at, name, fields)
        self._size += len(line)
        self._lines.append(line)
        if not self._added:  # written at once: of a call there is a trace before the database knows it
            self._added = True
            self._writer.add(self)

    # The writer's thread

    def flush(self) -> None:
        """Write what has gathered; what the disk refuses waits."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        try:
            if self._fd < 0:
                self._fd = create(self._files.root, self._files.timeline, self._files.call_id)
            if lines:
                data = "".join(lines).encode()
                write_all(self._fd, data, self._written)
                self._written += len(data)
                self._writer.accepted()
        except OSError as error:
            self._lines.extendleft(reversed(lines))
            self._refuse(error)
        else:
            self._refused = False

    def finish(self) -> bool:
        """Write the rest and close the file."""
        self.flush()
        if self._refused:
            self._writer.counters.timelines_failed += 1
            self._writer.counters.events_dropped += len(self._lines)
        self._lines.clear()
        try:
            if self._fd >= 0:
                if self._refused:
                    os.ftruncate(self._fd, self._written)  # a line of which only a part found room
                os.close(self._fd)
            mark_of(self._files.root, self._files.timeline).unlink(missing_ok=True)
        except OSError as error:
            self._refuse(error)
        self._fd = -1
        return not self._refused

    def _refuse(self, error: OSError) -> None:
        """Said once; the alarm is the writer's."""
        if not self._refused:
            path = str(self._files.timeline)
            extra = {"call_id": self._files.call_id, "path": path, "error": str(error)}
            log.warning("timeline cannot be written; its lines wait", extra=extra)
        self._refused = True
        self._writer.refused(error)


def encode(t_ms: int, at: datetime, name: str, fields: Mapping[str, object]) -> str:
    """One line. Takes any value: what JSON does not know is written as its nearest kin or its repr."""
    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record: dict[str, object] = {"t": t_ms, "at": stamp, "event": name}
    for key, value in fields.items():
        record[f"{key}_" if key in RESERVED else key] = _plain(value)
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def append(path: Path, line: str) -> bool:
    """Add a line to a timeline that is finished; False if that cannot be."""
    try:
        with path.open("r+b") as file:  # not one that retention has deleted
            file.seek(0, os.SEEK_END)
            file.write(line.encode())
    except OSError as error:
        log.warning("timeline cannot be written", extra={"path": str(path), "error": str(error)})
        return False
    return True


def _plain(value: object, depth: int = 0) -> object:
    """`value` in JSON's types: bounded in depth and length, always encodable."""
    if value is None or isinstance(value, bool | int) and not isinstance(value, Enum):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, str):
        text = value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
        return text.encode("utf-8", "replace").decode()  # lone surrogates
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON knows no nan, no inf
    if depth > 6:
        return _plain(_repr(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_plain(key, 7)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(item, depth + 1) for item in items]
    if isinstance(value, date):
        return value.isoformat()
    return _plain(str(value) if isinstance(value, Path) else _repr(value))


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # a repr may do anything; an observer never raises
        return f"<{type(value).__name__}>"


def read_timeline(path: Path) -> list[Event]:
    """The events of a timeline, finished or not. A line that cannot be read is left out: the last may
    be cut, and after a full disk one in the middle. Raises OSError."""
    events, bad = [], 0
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
            t_ms, at, name = (record.pop(key) for key in RESERVED)
            events.append(Event(int(t_ms), str(at), str(name), record))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            bad += 1
    if bad > 1:
        log.warning("timeline has broken lines", extra={"path": str(path), "lines": bad})
    return events
