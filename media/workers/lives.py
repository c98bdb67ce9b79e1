"""The place of one worker over all its lives: started, watched, and replaced when it dies.

down --start--> alive --end of file, or silence while it owes something--> down
                                                 (again at once; one that keeps dying, with a pause)
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from media.workers.process import Program, WorkerProcess
from media.workers.wire import message

log = logging.getLogger(__name__)

STEADY_S = 30.0  # a worker that lived so long did not die of its start
FIRST_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker that owes something may be silent, and one that keeps dying is left alone."""

    hang_s: float
    start_s: float  # instead of `hang_s` while it starts, or does something as slow
    restart_max_s: float


class Owner(Protocol):
    """Gives a worker its work. Called from the loop."""

    def on_born(self) -> None:
        """A new life: say the first words."""

    def on_message(self, kind: int, number: int, payload: bytes) -> None:
        """It says something."""

    def on_death(self, reason: str, *, hung: bool, again_s: float) -> None:
        """What it had is to be given to others. A new life follows by itself, after `again_s`."""

    @property
    def owes(self) -> bool:
        """Whether it has something that it has not answered for."""

    @property
    def slow(self) -> bool:
        """Whether what it owes may take as long as its start."""


class Lives:
    """Supervises one worker process."""

    def __init__(self, index: int, program: Program, patience: Patience, owner: Owner) -> None:
        self.index = index
        self._program, self._patience, self._owner = program, patience, owner
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = self._hung = False
        self._failures = 0  # lives that ended early, in a row
        self._heard_at = self._born_at = 0.0  # loop time
        self.reached = False  # set by the owner: this life has got as far as being of use
        self.process: WorkerProcess | None = None

    @property
    def stopped(self) -> bool:
        """No further life."""
        return self._stopped

    @property
    def age_ms(self) -> int:
        """Of this life."""
        return round((self._loop.time() - self._born_at) * 1000)

    def start(self) -> None:
        """Begin a life."""
        self._timer = None
        self._born_at = self._heard_at = self._loop.time()
        self.reached = self._hung = False
        try:
            self.process = WorkerProcess(self._program, self._on_message, self._on_dead)
        except OSError as e:
            self._on_dead(str(e))
            return
        self._owner.on_born()

    def stop(self) -> WorkerProcess | None:
        """No further life. Returns the process that is about to end."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        process, self.process = self.process, None
        if process is not None:
            process.stop()
        return process

    def send(self, kind: int, number: int = 0, payload: bytes = b"") -> None:
        """To the worker, if it lives."""
        if self.process is not None:
            self.process.send(message(kind, number, payload))

    def touch(self) -> None:
        """It is about to get work: from now on it may be silent for so long, not since it last had some."""
        if not self._owner.owes:
            self._heard_at = self._loop.time()

    def check(self, now: float) -> None:
        """Kill it if it owes something and is silent."""
        if self.process is None or self._hung:
            return
        if not self._owner.owes:
            self._heard_at = now
            return
        limit = self._patience.start_s if self._owner.slow else self._patience.hang_s
        if now - self._heard_at > limit:
            name, pid = self._program.name, self.process.pid
            log.error("worker hangs", extra={"worker": f"{name} {self.index}", "pid": pid})
            self._hung = True
            self.process.kill()

    def _on_message(self, kind: int, number: int, payload: bytes) -> None:
        self._heard_at = self._loop.time()
        self._owner.on_message(kind, number, payload)

    def _on_dead(self, reason: str) -> None:
        if self._stopped:
            return
        lived = self._loop.time() - self._born_at
        self._failures = 0 if self.reached and lived > STEADY_S else self._failures + 1
        pause = 0.0
        if self._failures > 1:
            pause = min(self._patience.restart_max_s, FIRST_PAUSE_S * 2 ** (self._failures - 2))
        self.process = None
        self._timer = self._loop.call_later(pause, self.start)
        self._owner.on_death(reason, hung=self._hung, again_s=pause)


async def end_all(processes: list[WorkerProcess], patience_s: float) -> None:
    """Wait for stopped workers to exit; kill those that do not. No zombie stays."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while not all(process.reaped for process in processes):
        if loop.time() > deadline:
            for process in processes:
                process.kill()
        await asyncio.sleep(0.01)
