"""Where a call is kept: ``<root>/YYYY/MM/DD/<call id>.wav`` and ``.jsonl``, by the UTC day it began.

``<root>/open/`` holds one small file for each of these that is being written; what is still there when
the server starts was left by a crash (recordings/recover.py). Those whose file is none of ours end in
``<root>/unreadable/``.
"""

import fcntl
import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

OPEN = "open"  # folder of the marks of files being written
UNREADABLE = "unreadable"  # folder of marks that nobody looks at any more
LONGEST = 100  # characters of a name; file systems take 255 bytes
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")

# Speech of callers is nobody else's business.
FILE_MODE, FOLDER_MODE = 0o640, 0o750


def safe_name(call_id: str) -> str:
    """`call_id` as a file name; ids that had to be changed for it stay apart by a hash."""
    name = _UNSAFE.sub("_", call_id)[:LONGEST].lstrip(".")
    if name != call_id or not name:
        name += "-" + hashlib.sha256(call_id.encode(errors="surrogatepass")).hexdigest()[:8]
    return name


@dataclass(frozen=True, slots=True)
class CallFiles:
    """The files of one call."""

    root: Path
    call_id: str
    started_at: datetime  # aware

    @property
    def _stem(self) -> Path:
        return Path(self.started_at.astimezone(UTC).strftime("%Y/%m/%d")) / safe_name(self.call_id)

    @property
    def recording(self) -> Path:
        """Stereo WAV."""
        return self.root / f"{self._stem}.wav"

    @property
    def timeline(self) -> Path:
        """JSON lines."""
        return self.root / f"{self._stem}.jsonl"


def mark_of(root: Path, path: Path) -> Path:
    """The mark that says that `path` is being written."""
    return root / OPEN / path.name


def create(root: Path, path: Path, call_id: str) -> int:
    """Make a new file below `root`, marked as open, and return its descriptor, locked for as long as
    this process lives. Raises OSError; FileExistsError rather than overwrite."""
    mark = mark_of(root, path)
    for folder in (path.parent, mark.parent):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mark.write_text(json.dumps({"call_id": call_id, "path": str(path.relative_to(root))}))
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def write_all(fd: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """Write at a position; a full disk may take only a part at first."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done
