"""The parent's end of one worker process: starting it, talking to it without blocking, reaping it.

Spawned, not forked (the parent has threads), with its own end of a socket pair as the only descriptor
it gets. A closed socket is how either side learns that the other is gone.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from media.workers.wire import Splitter

log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]  # where the packages media and dialog lie
_RECEIVE = 65536  # bytes
_TAIL = 2000  # characters of a dead worker's last words
_REAP_S = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """What a worker runs: a module, whose last argument is the number of its socket."""

    name: str  # for logs
    module: str
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)  # over our own


class WorkerProcess:
    """One life of a worker. `on_message` and `on_dead` (once) are called from the loop."""

    def __init__(
        self,
        program: Program,
        on_message: Callable[[int, int, bytes], None],
        on_dead: Callable[[str], None],
    ) -> None:
        """`on_dead` gets the exit status and the last words. Raises OSError if it cannot start."""
        self._on_message, self._on_dead = on_message, on_dead
        self._loop = asyncio.get_running_loop()
        self._splitter, self._unsent = Splitter(), bytearray()
        self._socket, theirs = socket.socketpair()
        self._open = True
        path = os.pathsep.join([str(_ROOT), *_python_path()])
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", program.module, *program.arguments, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": path, **program.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(),),
            )
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def reaped(self) -> bool:
        """Whether the process has ended and left no zombie."""
        return self._process.poll() is not None

    def send(self, data: bytes) -> None:
        """Never blocks. Bounded by the caller, who waits for answers before sending more."""
        if not self._open:
            return
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it is dead; the reader will notice
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._socket, self._writable)
        self._unsent += data

    def kill(self) -> None:
        """SIGKILL; `on_dead` follows."""
        self._process.kill()

    def stop(self) -> None:
        """Close our end: the worker finishes what it is doing and exits. `on_dead` will not be called."""
        self._close()

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            sent = 0
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            self._process.kill()  # a worker that only closed its socket is of no use either
            self._reap()
            return
        for message in self._splitter.feed(data):
            if self._open:
                self._on_message(*message)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _reap(self) -> None:
        status = self._process.poll()
        if status is None:
            self._loop.call_later(_REAP_S, self._reap)
            return
        self._errors.seek(0)
        last_words = self._errors.read().decode(errors="replace").strip()[-_TAIL:]
        self._errors.close()
        self._on_dead(f"exit status {status}" + (f": {last_words}" if last_words else ""))


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
