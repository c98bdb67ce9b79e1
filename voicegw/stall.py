"""Does the event loop stand still? A thread looks, and says in what.

The loop shows a sign of life every 50 ms; a thread that misses it for `limit_ms` writes the stack of the
loop's thread to the log: a synchronous call in an engine or a flow's tool, a computation that belongs into a
worker. While it lasts, no call of the process hears anything. What holds Python's lock (GIL) all the time
is seen only when it lets go.

A machine that gives the thread no core (neighbours, too many processes) looks the same to callers, but no
code is to blame: the kernel knows how long the thread waited for a core, and then the log says that instead.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

log = logging.getLogger(__name__)

BEAT_S = 0.05
FRAMES = 12  # of the stack, innermost: the loop's own are of no interest
QUIET_S = 10.0  # between two stacks in the log; all are counted


@dataclass(slots=True)
class StallCounters:
    """For metrics."""

    stalls: int = 0
    stalled_s: float = 0.0


class StallWatch:
    """Watches the loop in which it was made. `watching` runs it."""

    def __init__(self, limit_ms: int, matters: Callable[[], bool] = lambda: True) -> None:
        """Only what lasts longer than `limit_ms` counts, and only if it `matters` (a call is in progress)."""
        self._matters = matters
        self.counters = StallCounters()
        self._loop = asyncio.get_running_loop()
        self._limit = limit_ms / 1000
        self._thread_id = threading.get_ident()
        self._waits = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._waited_s = (0.0, 0.0)  # for a core so far, when the loop was alive (first)
        self._alive_at = time.monotonic()
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._said_at = -QUIET_S
        self._stalled_since: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the block lasts."""
        thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._beat()
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            if self._timer is not None:
                self._timer.cancel()

    def _beat(self) -> None:
        """In the loop: it is alive."""
        now = time.monotonic()
        since, self._stalled_since = self._stalled_since, None
        if since is not None:
            self.counters.stalls += 1
            self.counters.stalled_s += now - since
            log.warning("event loop runs again", extra={"blocked_ms": round(1000 * (now - since))})
        self._alive_at = now
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _watch(self) -> None:
        """The thread."""
        while not self._stop.wait(BEAT_S):
            alive_at, now = self._alive_at, time.monotonic()
            if alive_at != self._waited_s[0]:
                self._waited_s = (alive_at, self._waiting())
            if self._stalled_since is not None or now - alive_at < self._limit + BEAT_S:
                continue
            frame = sys._current_frames().get(self._thread_id)
            if frame is None or self._alive_at != alive_at or not self._matters():
                continue  # it went on in this moment, or nobody is there to notice
            self._stalled_since = alive_at
            if now - self._said_at >= QUIET_S:
                self._said_at = now
                self._say(frame, now - alive_at)

    def _waiting(self) -> float:
        """How long the loop's thread has waited for a core since it began (Linux; else 0)."""
        try:
            return int(self._waits.read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0

    def _say(self, frame: FrameType, blocked_s: float) -> None:
        waited_s = self._waiting() - self._waited_s[1]
        if waited_s > blocked_s / 2:
            waits = {"blocked_ms": round(1000 * blocked_s), "waited_ms": round(1000 * waited_s)}
            log.warning("the machine has no core for the event loop: no call hears anything", extra=waits)
            return
        stack = traceback.extract_stack(frame)
        inner = stack[-1]
        where = f"{inner.filename}:{inner.lineno} in {inner.name}"
        if inner.name in ("run", "run_until_complete"):  # below it is nothing of Python
            where = "the event loop itself, or a library that held it"
        extra = {"blocked_ms": round(1000 * blocked_s), "where": where, "task": self._task()}
        text = "".join(traceback.format_list(stack[-FRAMES:]))
        log.error("event loop is blocked: no call hears anything", extra={**extra, "stack": text})

    def _task(self) -> str:
        task = asyncio.current_task(self._loop)
        return "" if task is None else task.get_name()
