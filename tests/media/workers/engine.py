"""An engine for tests: does what the request says."""

import os
import time
from collections.abc import Iterator
from typing import Any


class Engine:
    def __init__(self, settings: dict[str, Any]) -> None:
        if settings.get("unfit"):
            raise ValueError("there is no model")
        self._settings = settings

    def answer(self, request: bytes) -> Iterator[bytes]:
        what, _, rest = request.decode().partition(" ")
        if what == "echo":
            yield rest.encode()
        elif what == "count":
            for number in range(int(rest)):
                yield str(number).encode()
                time.sleep(0.005)
        elif what == "pid":
            yield str(os.getpid()).encode()
        elif what == "die":
            os._exit(7)
        elif what == "die_once":
            if not os.path.exists(rest):  # noqa: PTH110
                open(rest, "w").close()  # noqa: PTH123, SIM115
                os._exit(7)
            yield b"second life"
        elif what == "begin_and_die":
            yield b"begun"
            os._exit(7)
        elif what == "hang":
            time.sleep(60)
        elif what == "fail":
            raise RuntimeError(rest)
        elif what == "threads":
            yield os.environ.get("OMP_NUM_THREADS", "").encode()


create = Engine
