"""One thread that writes what all calls leave behind, so that no disk ever holds up a call.

    audio plane -> Recorder.received/played -> deque -.
    control plane -> CallLog.event ---------> deque --+--> writer thread: `Job.flush`, once a second a job
                                                      '--> at the end `Job.finish`, whose result is awaited

Jobs are spread over the period, so that a hundred calls do not write at the same moment. A slow disk delays
the flushes; what jobs hold in memory meanwhile is bounded by themselves.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from recordings.space import DiskSpace

log = logging.getLogger(__name__)

SLOTS = 20  # parts of the period that jobs are spread over
QUIET_S = 3.0  # without a refusal, and the disk is well again
LOOK_EVERY = 5  # periods between two looks at the free space
SLOW_MS = 5_000  # a round this late is worth a line in the log

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Job(Protocol[T_co]):
    """Something that gathers in memory and is written now and then. Called in the writer's thread."""

    def flush(self) -> None:
        """Write what has gathered. Reports its own I/O errors; raises none."""

    def finish(self) -> T_co:
        """Write the rest and close. Once, and last."""


@dataclass(slots=True)
class Counters:
    """What became of recordings and timelines since the start. For metrics and /health."""

    recordings: int = 0  # begun
    complete: int = 0
    partial: int = 0  # something is missing: the disk was too slow
    failed: int = 0  # the disk refused
    frames_dropped: int = 0
    timelines: int = 0  # begun
    timelines_failed: int = 0
    events_dropped: int = 0
    refusals: int = 0  # writes that the disk refused: it is full, or may only be read
    lateness_max_ms: float = 0.0  # how long after its time a round of flushes began


class DiskWriter:
    """The thread. `add`, `finish` and `close` may be called from any other; they never block."""

    def __init__(
        self, flush_ms: int = 1000, space: DiskSpace | None = None, quiet_s: float = QUIET_S
    ) -> None:
        self.counters = Counters()
        self._quiet_s, self._refused_at = quiet_s, 0.0
        self.fault = ""  # why the disk takes nothing; "" when it does
        self.space = space
        self._slots: list[list[Job[Any]]] = [[] for _ in range(SLOTS)]
        self._step = flush_ms / 1000 / SLOTS
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # between `finish` and `close`: no order after the last
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="disk-writer", daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def add(self, job: Job[Any]) -> None:
        """Flush `job`, now and from now on."""

        def begin() -> None:
            min(self._slots, key=len).append(job)
            job.flush()

        self._order(begin)

    def finish(self, job: Job[T]) -> "Future[T]":
        """Let `job` write the rest; its result comes by the future."""
        future: Future[T] = Future()
        if not self._order(lambda: self._finish(job, future)):
            future.set_exception(RuntimeError("the disk writer is closed"))
        return future

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Do other work on the disk in the writer's thread."""
        future: Future[T] = Future()
        if not self._order(lambda: self._resolve(work, future)):
            future.set_exception(RuntimeError("the disk writer is closed"))
        return future

    def close(self) -> None:
        """Finish what was not finished, then stop. Does not wait; see `join`."""
        with self._lock:
            self._closed = True
            self._orders.put(None)

    def refused(self, error: OSError) -> None:
        """The disk has refused a job. The alarm: said once, until it takes something again."""
        if isinstance(error, FileExistsError):
            return  # the trouble of one call, not the disk's
        self.counters.refusals += 1
        if not self.fault:
            log.error("the disk refuses: calls go on unrecorded", extra={"error": str(error)})
        self.fault, self._refused_at = f"{error.strerror or error}", time.monotonic()

    def accepted(self) -> None:
        """The disk has taken something: a few bytes may still find room when it is full."""
        if self.fault and time.monotonic() - self._refused_at >= self._quiet_s:
            log.warning("the disk takes recordings again")
            self.fault = ""

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False if the disk still holds it. Blocks."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _order(self, order: Callable[[], None]) -> bool:
        with self._lock:
            if not self._closed:
                self._orders.put(order)
            return not self._closed

    def _run(self) -> None:
        beat, due = 0, time.monotonic()
        while self._obey(due):
            late = time.monotonic() - due
            self.counters.lateness_max_ms = max(self.counters.lateness_max_ms, late * 1000)
            if late * 1000 > SLOW_MS:
                log.error("disk is slow: recordings wait in memory", extra={"late_ms": round(late * 1000)})
            for job in self._slots[beat % SLOTS]:
                self._guarded(job.flush)
            if self.space is not None and beat % (SLOTS * LOOK_EVERY) == 0:
                self.space.look()
            beat += 1
            due = max(due + self._step, time.monotonic() - self._step)
        for job in [job for slot in self._slots for job in slot]:
            self._guarded(job.finish)

    def _obey(self, until: float) -> bool:
        """Carry out orders until it is time to flush. False: the order was to stop."""
        while True:
            try:
                order = self._orders.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return True
            if order is None:
                return False
            self._guarded(order)

    def _finish(self, job: Job[T], future: "Future[T]") -> None:
        for slot in self._slots:
            if job in slot:
                slot.remove(job)
        self._resolve(job.finish, future)

    def _resolve(self, work: Callable[[], T], future: "Future[T]") -> None:
        if not future.set_running_or_notify_cancel():
            self._guarded(work)  # nobody waits for the result, but the file must be closed
            return
        try:
            future.set_result(work())
        except Exception as error:  # the thread serves all calls: one job must not end it
            future.set_exception(error)

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception:  # as above
            log.exception("a job of the disk writer failed")
