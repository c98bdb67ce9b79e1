"""After a crash: close the files that it left open.

A recording gets a header that agrees with its length, a timeline loses its cut last line and gets one
that says that the call crashed. Which files these are, the marks in ``open/`` say; a file that a living
process still has locked is left alone. The marks go when the database knows too (`Recovery.forget`): a
crash in between, and all of it is done once more, to the same end.
"""

import fcntl
import json
import logging
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from recordings.calllog import encode, read_timeline
from recordings.paths import OPEN
from recordings.wav import HEADER_SIZE, WavInfo, repair

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """One file that was closed."""

    call_id: str
    path: Path
    recording: WavInfo | None = None  # of a WAV file
    last_ms: int = 0  # call time up to which the file goes
    mark: Path | None = None  # that says that it is open


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found open."""

    closed: tuple[Recovered, ...] = ()
    living: frozenset[str] = frozenset()  # ids of calls that another process is writing

    def forget(self) -> None:
        """All of it is known to whoever must know: these files are open no longer."""
        for file in self.closed:
            try:
                if file.mark is not None:
                    file.mark.unlink(missing_ok=True)
            except OSError as error:  # a disk that may only be read: once more at the next start
                log.warning("cannot forget a file", extra={"mark": str(file.mark), "error": str(error)})


def recover(root: Path) -> Recovery:
    """Close what is marked as open below `root`. Never raises for a single file: what cannot be closed
    is logged, and tried again at the next start."""
    found, living = [], set()
    marks = root / OPEN
    for mark in sorted(marks.iterdir()) if marks.is_dir() else ():
        try:
            recovered = _recover(root, mark)
        except _InUse as error:
            living.add(str(error))
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("cannot close a file after a crash", extra={"mark": str(mark), "error": str(error)})
            continue
        if recovered is not None:
            found.append(recovered)
            log.warning("closed a file after a crash", extra={"path": str(recovered.path)})
    return Recovery(tuple(found), frozenset(living))


class _InUse(Exception):
    """A living process writes the file of this call."""


def _recover(root: Path, mark: Path) -> Recovered | None:
    text = mark.read_text()
    if not text:  # the crash came between its making and its writing
        mark.unlink()
        return None
    record = json.loads(text)
    call_id, path = str(record["call_id"]), root / str(record["path"])
    if not path.exists():
        mark.unlink()
        return None
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        recovered = _close_wav(call_id, path) if path.suffix == ".wav" else _close_timeline(call_id, path)
    except BlockingIOError:
        raise _InUse(call_id) from None
    finally:
        os.close(fd)
    return replace(recovered, mark=mark)


def _close_wav(call_id: str, path: Path) -> Recovered:
    if path.stat().st_size < HEADER_SIZE:
        path.unlink()
        return Recovered(call_id, path)
    info = repair(path)
    return Recovered(call_id, path, info, info.duration_ms)


def _close_timeline(call_id: str, path: Path) -> Recovered:
    data = path.read_bytes()
    events = read_timeline(path)
    with path.open("r+b") as file:
        file.truncate(data.rfind(b"\n") + 1)
        if not events:
            return Recovered(call_id, path)
        last = events[-1]
        if (last.name, last.fields.get("state")) == ("call", "ended"):  # it was closed before
            return Recovered(call_id, path, None, last.t_ms)
        file.seek(0, os.SEEK_END)
        at = datetime.fromisoformat(last.at)
        file.write(encode(last.t_ms, at, "call", {"state": "ended", "cause": "crashed"}).encode())
    return Recovered(call_id, path, None, last.t_ms)
