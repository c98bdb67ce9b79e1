"""The place of one worker over all its lives: started, watched, and replaced when it dies.

down --start--> starting --READY and all domains built--> ready --EOF or silence--> down
                                                                  (again at once, later with a pause)
"""

import asyncio
import json
import logging
from dataclasses import asdict
from typing import Protocol

from media.stt.sphinx.config import Config
from media.stt.sphinx.process import WorkerProcess
from media.stt.sphinx.utterance import Utterance
from media.stt.sphinx.wire import Kind, message

log = logging.getLogger(__name__)

_STEADY_S = 30.0  # a worker that lived so long did not die of its start
_FIRST_PAUSE_S = 0.25


class Owner(Protocol):
    """Gives a worker its work."""

    def on_started(self, slot: "Slot") -> None:
        """A new life: tell it the domains."""

    def on_ready(self, slot: "Slot") -> None:
        """It takes utterances now."""

    def on_message(self, slot: "Slot", kind: Kind, number: int, payload: bytes) -> None:
        """It says something."""

    def on_death(self, slot: "Slot", *, hung: bool) -> None:
        """What it had is to be given to others. A new life follows by itself."""


class Slot:
    """Supervises one worker process."""

    def __init__(self, index: int, config: Config, owner: Owner) -> None:
        self.index = index
        self._config, self._owner = config, owner
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._greeted = self._stopped = self._hung = False
        self._failures = 0  # lives that ended early, in a row
        self._heard_at = self._born_at = 0.0
        self.process: WorkerProcess | None = None
        self.ready = False
        self.pending: list[int] = []  # keys of the domains it is building, in order
        self.utterances: dict[int, Utterance] = {}

    def start(self) -> None:
        """Begin a life."""
        self._timer = None
        self._born_at = self._heard_at = self._loop.time()
        self._greeted = self._hung = False
        try:
            self.process = WorkerProcess(self._on_message, self._on_dead)
        except OSError as e:
            self._on_dead(str(e))
            return
        self.process.send(message(Kind.CONFIGURE, 0, json.dumps(asdict(self._config)).encode()))
        self._owner.on_started(self)

    def stop(self) -> WorkerProcess | None:
        """No further life. Returns the process that is about to end."""
        self._stopped, self.ready = True, False
        if self._timer is not None:
            self._timer.cancel()
        process, self.process = self.process, None
        if process is not None:
            process.stop()
        return process

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """To the worker, if it lives."""
        if self.process is not None:
            self.process.send(message(kind, number, payload))

    def build(self, key: int, domain: bytes) -> None:
        """Have it build a domain; it answers PREPARED or FAILED."""
        if self.process is not None:
            self.touch()
            self.pending.append(key)
            self.send(Kind.PREPARE, key, domain)

    def touch(self) -> None:
        """It gets work: from now on it may be silent for so long, not since it last had something."""
        if not self._owes:
            self._heard_at = self._loop.time()

    def check(self, now: float) -> None:
        """Kill it if it has work and is silent."""
        if self.process is None or self._hung:
            return
        if not self._owes:
            self._heard_at = now
            return
        slow = not self.ready or bool(self.pending)
        limit = self._config.prepare_timeout_s if slow else self._config.hang_ms / 1000
        if now - self._heard_at > limit:
            log.error("speech worker hangs", extra={"worker": self.index, "pid": self.process.pid})
            self._hung = True
            self.process.kill()

    @property
    def _owes(self) -> bool:
        return not self._greeted or bool(self.pending) or any(u.owed for u in self.utterances.values())

    def _on_message(self, kind: Kind, number: int, payload: bytes) -> None:
        self._heard_at = self._loop.time()
        if kind is Kind.READY:
            self._greeted = True
        elif kind in (Kind.PREPARED, Kind.FAILED) and number in self.pending:
            self.pending.remove(number)
        self._owner.on_message(self, kind, number, payload)
        if self._greeted and not self.pending and not self.ready and not self._stopped:
            self.ready = True
            took = round((self._heard_at - self._born_at) * 1000)
            log.info("speech worker ready", extra={"worker": self.index, "took_ms": took})
            self._owner.on_ready(self)

    def _on_dead(self, reason: str) -> None:
        if self._stopped:
            return
        lived = self._loop.time() - self._born_at
        self._failures = 0 if self.ready and lived > _STEADY_S else self._failures + 1
        pause = 0.0
        if self._failures > 1:
            pause = min(self._config.restart_max_s, _FIRST_PAUSE_S * 2 ** (self._failures - 2))
        fields = {
            "worker": self.index,
            "reason": reason,
            "utterances": len(self.utterances),
            "again_s": pause,
        }
        log.error("speech worker died", extra=fields)
        self.process, self.ready = None, False
        self._timer = self._loop.call_later(pause, self.start)
        self._owner.on_death(self, hung=self._hung)
        self.pending.clear()
