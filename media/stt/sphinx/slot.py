"""One worker: the domains it has, the utterances it listens to, over all its lives (media/workers/lives.py).

starting --READY and all domains built--> ready --dead--> starting
"""

import json
import logging
from dataclasses import asdict
from typing import Protocol

from media.stt.sphinx.config import Config
from media.stt.sphinx.utterance import Utterance
from media.stt.sphinx.wire import Kind
from media.workers.lives import Lives, Patience
from media.workers.process import Program, WorkerProcess

log = logging.getLogger(__name__)

PROGRAM = Program("speech", "media.stt.sphinx.worker")


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
    """Implements `media.workers.lives.Owner`."""

    def __init__(self, index: int, config: Config, owner: Owner) -> None:
        patience = Patience(config.hang_ms / 1000, config.prepare_timeout_s, config.restart_max_s)
        self.index = index
        self._config, self._owner = config, owner
        self._lives = Lives(index, PROGRAM, patience, self)
        self._greeted = False
        self.ready = False
        self.pending: list[int] = []  # keys of the domains it is building, in order
        self.utterances: dict[int, Utterance] = {}
        self.start, self.check, self.touch = self._lives.start, self._lives.check, self._lives.touch

    @property
    def process(self) -> WorkerProcess | None:
        """While it is alive."""
        return self._lives.process

    def stop(self) -> WorkerProcess | None:
        """No further life. Returns the process that is about to end."""
        self.ready = False
        return self._lives.stop()

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """To the worker, if it lives."""
        self._lives.send(kind, number, payload)

    def build(self, key: int, domain: bytes) -> None:
        """Have it build a domain; it answers PREPARED or FAILED."""
        if self.process is not None:
            self.touch()
            self.pending.append(key)
            self.send(Kind.PREPARE, key, domain)

    # Owner of the lives

    @property
    def owes(self) -> bool:
        """Whether it has something that it has not answered for."""
        return not self._greeted or bool(self.pending) or any(u.owed for u in self.utterances.values())

    @property
    def slow(self) -> bool:
        """Starting, or building a domain."""
        return not self.ready or bool(self.pending)

    def on_born(self) -> None:
        """Configure it."""
        self._greeted = False
        self.send(Kind.CONFIGURE, 0, json.dumps(asdict(self._config)).encode())
        self._owner.on_started(self)

    def on_message(self, kind: int, number: int, payload: bytes) -> None:
        """It says something."""
        if kind == Kind.READY:
            self._greeted = True
        elif kind in (Kind.PREPARED, Kind.FAILED) and number in self.pending:
            self.pending.remove(number)
        self._owner.on_message(self, Kind(kind), number, payload)
        if self._greeted and not self.pending and not self.ready and not self._lives.stopped:
            self.ready = self._lives.reached = True
            log.info("speech worker ready", extra={"worker": self.index, "took_ms": self._lives.age_ms})
            self._owner.on_ready(self)

    def on_death(self, reason: str, *, hung: bool, again_s: float) -> None:
        """It died."""
        had = len(self.utterances)
        fields = {"worker": self.index, "reason": reason, "utterances": had, "again_s": again_s}
        log.error("speech worker died", extra=fields)
        self.ready = False
        self._owner.on_death(self, hung=hung)
        self.pending.clear()
