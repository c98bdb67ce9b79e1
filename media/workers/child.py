"""The main program of a pool's worker: loads the engine, answers requests one after the other.

    python -m media.workers.child MODULE SOCKET        started by media/workers/process.py

SIGINT and SIGTERM are ignored, since service managers send them to all processes of a service, and calls
are still being drained then. It ends when the parent closes its end.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Protocol

from media.workers.wire import Splitter, message

_RECEIVE = 1 << 16  # bytes


class Kind(IntEnum):
    """What a message says. The number is a request's."""

    # parent -> worker
    CONFIGURE = 1  # JSON: nice, settings
    REQUEST = 2  # what the engine understands
    CANCEL = 3
    # worker -> parent
    READY = 16
    UNFIT = 17  # text: why the engine cannot be made
    PIECE = 18  # of the answer
    DONE = 19  # no further pieces; also of what was cancelled
    FAILED = 20  # text: why; instead of DONE


class Engine(Protocol):
    """What a worker module's `create(settings)` gives."""

    def answer(self, request: bytes) -> Iterator[bytes]:
        """The pieces of the answer; each is sent at once. Closed early when nobody wants the rest. An
        exception fails this request alone."""


class _Worker:
    """The parent's end of the conversation, and what it has asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._splitter = sock, Splitter()
        self._requests: deque[tuple[int, bytes]] = deque()
        self._cancelled: set[int] = set()
        self.settings: dict[str, Any] | None = None
        self.over = False

    def say(self, kind: Kind, number: int = 0, payload: bytes = b"") -> None:
        self._sock.sendall(message(kind, number, payload))

    def listen(self, *, wait: bool) -> None:
        """Take in what the parent has said."""
        while not self.over and (wait or select.select([self._sock], [], [], 0)[0]):
            wait = False
            data = self._sock.recv(_RECEIVE)
            self.over = not data
            for kind, number, payload in self._splitter.feed(data):
                if kind == Kind.REQUEST:
                    self._requests.append((number, payload))
                elif kind == Kind.CANCEL:
                    self._cancelled.add(number)
                elif kind == Kind.CONFIGURE:
                    self.settings = json.loads(payload)

    def next_request(self) -> tuple[int, bytes] | None:
        """None when the parent has gone."""
        while not self._requests and not self.over:
            self.listen(wait=True)
        return None if self.over else self._requests.popleft()

    def cancelled(self, number: int) -> bool:
        """Whether nobody wants this answer any more."""
        self.listen(wait=False)
        return self.over or number in self._cancelled

    def answer(self, engine: Engine, number: int, request: bytes) -> None:
        try:
            if not self.cancelled(number):
                self._pieces(engine.answer(request), number)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # this request alone
            traceback.print_exc()  # the last words, should it get worse
            self.say(Kind.FAILED, number, f"{type(error).__name__}: {error}".encode())
        else:
            self.say(Kind.DONE, number)
        self._cancelled.discard(number)

    def _pieces(self, pieces: Iterator[bytes], number: int) -> None:
        try:
            for piece in pieces:
                self.say(Kind.PIECE, number, piece)
                if self.cancelled(number):
                    return
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


def serve(sock: socket.socket, module: str) -> None:
    """Until the parent closes its end."""
    worker = _Worker(sock)
    while worker.settings is None and not worker.over:
        worker.listen(wait=True)
    if worker.settings is None:
        return
    os.nice(worker.settings["nice"])
    try:
        engine: Engine = importlib.import_module(module).create(worker.settings["settings"])
    except Exception as error:  # whatever a model's library raises
        traceback.print_exc()
        worker.say(Kind.UNFIT, 0, f"{type(error).__name__}: {error}".encode())
        return
    worker.say(Kind.READY)
    while (request := worker.next_request()) is not None:
        worker.answer(engine, *request)


def main() -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    module, fd = sys.argv[1:]
    try:
        serve(socket.socket(fileno=int(fd)), module)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone, and with it whoever wanted to know


if __name__ == "__main__":
    main()
