"""Logs: one line a record on stderr, JSON for machines or text for people.

The event loop only puts records into a queue; a thread of its own writes them, so a slow terminal or
pipe never delays a call. When the queue is full, records are dropped and counted.

Every record of a call carries its `call_id`, from `extra` or from the context of the call's task. Values
under keys that start with ``pii_`` (speech, numbers, keys) are masked unless the configuration says
otherwise.
"""

import copy
import datetime
import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from voicegw.config.model import LogConfig, LogFormat

call_id_var: ContextVar[str | None] = ContextVar("call_id", default=None)
"""The call that the current task works for."""

QUEUE = 10_000  # records; some 20 s of a busy server at level debug
MASK = "***"

_STANDARD = frozenset({*RESERVED_ATTRS, "message", "asctime", "color_message"})


class DroppingQueueHandler(logging.handlers.QueueHandler):
    """Hands records to the writing thread. Never waits: what does not fit is counted in `dropped`."""

    def __init__(self, records: "queue.Queue[Any]") -> None:
        super().__init__(records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """What must be read here, in the thread that logs: the call, the arguments, the traceback."""
        ready = copy.copy(record)
        if getattr(ready, "call_id", None) is None and (call_id := call_id_var.get()) is not None:
            ready.call_id = call_id
        ready.msg, ready.args = record.getMessage(), None
        if ready.exc_info:
            ready.exc_text = logging.Formatter().formatException(ready.exc_info)
            ready.exc_info = None
        return ready

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it into the queue, or count it as lost."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


def _extras(record: logging.LogRecord, *, show_pii: bool) -> dict[str, Any]:
    return {
        key: value if show_pii or not key.startswith("pii_") else MASK
        for key, value in record.__dict__.items()
        if key not in _STANDARD and not key.startswith("_")
    }


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(JsonFormatter):
    """One JSON object a record: time (UTC), level, logger, message, call_id, then the extras."""

    def __init__(self, *, show_pii: bool) -> None:
        super().__init__(json_ensure_ascii=False)
        self._show_pii = show_pii

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extras(record, show_pii=self._show_pii))
        if record.exc_text or record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return self.serialize_log_record(line)


class TextLines(logging.Formatter):
    """For people: time of day, level, logger, message, key=value."""

    def __init__(self, *, show_pii: bool) -> None:
        super().__init__()
        self._show_pii = show_pii

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        clock = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        pairs = "".join(f" {k}={v}" for k, v in _extras(record, show_pii=self._show_pii).items())
        text = f"{clock} {record.levelname.lower():7} {record.name}: {record.getMessage()}{pairs}"
        if record.exc_text or record.exc_info:
            text += "\n" + (record.exc_text or self.formatException(record.exc_info))  # type: ignore[arg-type]
        return text


@contextmanager
def logging_to(config: LogConfig, stream: TextIO | None = None) -> Iterator[DroppingQueueHandler]:
    """Set the root logger up, and back again when the block is left; what is queued is written first."""
    stream = sys.stderr if stream is None else stream
    text = config.format is LogFormat.TEXT or (config.format is LogFormat.AUTO and stream.isatty())
    writer = logging.StreamHandler(stream)
    formatter = TextLines if text else JsonLines
    writer.setFormatter(formatter(show_pii=config.show_pii))
    handler = DroppingQueueHandler(queue.Queue(QUEUE))
    listener = logging.handlers.QueueListener(handler.queue, writer)
    levels = {
        "": config.level,
        "aiosqlite": "info",
        "aioice": "warning",
        "alembic": "warning",
        **config.levels,
    }
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(str(level).upper())
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    listener.start()
    try:
        yield handler
    finally:
        listener.stop()
        root.removeHandler(handler)
        logging.captureWarnings(False)
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)
