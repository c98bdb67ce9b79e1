"""After a crash: close the files that it left open.

A recording gets a header that agrees with its length, a timeline loses its cut last line and gets one
that says that the call crashed. Which files these are, the marks in ``open/`` say; a file that a living
process still has locked is left alone. The marks go when the database knows too (`Recovery.forget`): a
crash in between, and all of it is done once more, to the same end.

What is no file of ours (somebody put another in its place, or the disk lost its beginning) will be none at
the next start either: it is left as it is, the log says so, and its mark goes to ``unreadable/``.
"""

import fcntl
import json
import logging
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from recordings.calllog import encode, read_timeline
from recordings.paths import FOLDER_MODE, OPEN, UNREADABLE
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
class LeftAlone:
    """One that is no file of ours."""

    mark: Path
    path: Path | None  # None: the mark is none of ours either


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found open."""

    closed: tuple[Recovered, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()
    living: frozenset[str] = frozenset()  # ids of calls that another process is writing

    def forget(self) -> None:
        """All of it is known to whoever must know: these files are open no longer."""
        for file in self.closed:
            try:
                if file.mark is not None:
                    file.mark.unlink(missing_ok=True)
            except OSError as error:  # a disk that may only be read: once more at the next start
                log.warning("cannot forget a file", extra={"mark": str(file.mark), "error": str(error)})
        for alone in self.left_alone:
            aside = alone.mark.parent.parent / UNREADABLE / alone.mark.name
            try:
                aside.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
                alone.mark.replace(aside)
            except OSError as error:
                log.warning("cannot forget a file", extra={"mark": str(alone.mark), "error": str(error)})


def recover(root: Path) -> Recovery:
    """Close what is marked as open below `root`. Never raises for a single file: what cannot be closed now
    is logged, and tried again at the next start; what never can be is logged, and then left alone."""
    found, living, alone = [], set(), []
    marks = root / OPEN
    for mark in sorted(marks.iterdir()) if marks.is_dir() else ():
        try:
            recovered = _recover(root, mark)
        except _InUse as error:
            living.add(str(error))
            continue
        except OSError as error:
            log.error("cannot close a file after a crash", extra={"mark": str(mark), "error": str(error)})
            continue
        except _Foreign as error:
            alone.append(LeftAlone(mark, error.path))
            log.error(
                "not a file of ours where a call was kept: it is left as it is, and not looked at again",
                extra={"mark": str(mark), "path": str(error.path or ""), "error": str(error)},
            )
            continue
        if recovered is not None:
            found.append(recovered)
            log.warning("closed a file after a crash", extra={"path": str(recovered.path)})
    return Recovery(tuple(found), tuple(alone), frozenset(living))


class _InUse(Exception):
    """A living process writes the file of this call."""


class _Foreign(Exception):
    """What is marked as open was not made here."""

    def __init__(self, error: Exception, path: Path | None = None) -> None:
        super().__init__(str(error))
        self.path = path


def _recover(root: Path, mark: Path) -> Recovered | None:
    data = mark.read_bytes()
    if not data:  # the crash came between its making and its writing
        mark.unlink()
        return None
    try:
        record = json.loads(data)
        call_id, path = str(record["call_id"]), root / str(record["path"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _Foreign(error) from error
    if not path.exists():
        mark.unlink()
        return None
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        recovered = _close_wav(call_id, path) if path.suffix == ".wav" else _close_timeline(call_id, path)
    except BlockingIOError:
        raise _InUse(call_id) from None
    except ValueError as error:
        raise _Foreign(error, path) from error
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
