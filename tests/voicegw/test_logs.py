"""Logs: one line a record, with the call's id, without what callers say."""

import io
import json
import logging
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

import pytest

from voicegw.config.model import LogConfig, LogFormat, LogLevel
from voicegw.logs import DroppingQueueHandler, call_id_var, logging_to

log = logging.getLogger("tests.logs")


@contextmanager
def written(**config: object) -> Iterator[list[str]]:
    """Lines written while the block runs, there once it is left."""
    stream, lines = io.StringIO(), []
    with logging_to(LogConfig(**config), stream):  # type: ignore[arg-type]
        yield lines
    lines += stream.getvalue().splitlines()


def test_a_record_is_one_line_of_json() -> None:
    with written() as lines:
        log.info("call ended", extra={"cause": "normal", "seconds": 1.5, "call_id": "c1"})
    (line,) = map(json.loads, lines)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "tests.logs",
        "message": "call ended",
        "cause": "normal",
        "seconds": 1.5,
        "call_id": "c1",
    }


@pytest.mark.parametrize("format", [LogFormat.JSON, LogFormat.TEXT])
def test_what_callers_say_is_masked_unless_asked_for(format: LogFormat) -> None:
    with written(format=format) as masked:
        log.info("turn", extra={"pii_text": "my secret", "length": 9})
    with written(format=format, show_pii=True) as shown:
        log.info("turn", extra={"pii_text": "my secret", "length": 9})
    assert "my secret" not in masked[0] and "***" in masked[0] and "9" in masked[0]
    assert "my secret" in shown[0]


def test_the_call_of_the_task_is_named() -> None:
    def in_call() -> None:
        call_id_var.set("c7")
        log.info("inside")
        log.info("another", extra={"call_id": "explicit"})

    with written() as lines:
        copy_context().run(in_call)
        log.info("outside")
    assert [json.loads(line).get("call_id") for line in lines] == ["c7", "explicit", None]


@pytest.mark.parametrize("format", [LogFormat.JSON, LogFormat.TEXT])
def test_a_traceback_is_kept(format: LogFormat) -> None:
    with written(format=format) as lines:
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("failed %s", "badly")
    text = "\n".join(lines)
    assert "failed badly" in text and "ValueError: broken" in text and "test_logs.py" in text
    if format is LogFormat.JSON:
        assert len(lines) == 1, "JSON logs stay one line a record"


def test_values_that_json_does_not_know_are_written_all_the_same() -> None:
    with written() as lines:
        log.warning("odd", extra={"value": {1, 2}, "error": OSError("x"), "bytes": b"\xff"})
    assert json.loads(lines[0])["message"] == "odd"


def test_levels_by_logger() -> None:
    with written(level=LogLevel.WARNING, levels={"tests.logs": LogLevel.DEBUG}) as lines:
        log.debug("wanted")
        logging.getLogger("other").info("not wanted")
    assert len(lines) == 1
    assert logging.getLogger("tests.logs").level == logging.NOTSET, "as before"


def test_a_full_queue_drops_and_counts_instead_of_waiting() -> None:
    handler = DroppingQueueHandler(queue.Queue(2))
    for _ in range(5):
        handler.handle(logging.makeLogRecord({"msg": "x"}))
    assert handler.dropped == 3
