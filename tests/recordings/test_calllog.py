"""Timelines: what is written, what is left out, what a crash leaves, what comes back."""

import errno
import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.calllog import CallLog, Config, encode, read_timeline
from recordings.paths import CallFiles, safe_name
from recordings.recover import recover
from recordings.writer import DiskWriter

STARTED = datetime(2025, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Colour(StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    colour: Colour


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def start(root: Path, **config: object) -> tuple[CallLog, Clock, DiskWriter]:
    """A log whose writer is not started: the test is its thread."""
    clock, writer = Clock(), DiskWriter()
    return CallLog(CallFiles(root, "c1", STARTED), clock, writer, Config(**config)), clock, writer  # type: ignore[arg-type]


def path(root: Path) -> Path:
    return root / "2025/03/01/c1.jsonl"


def test_events_come_back_with_their_times(tmp_path: Path) -> None:
    log, clock, _ = start(tmp_path)
    log.event("call", state="ringing")
    clock.now += 1.2345
    log.event("note", name="slot", data={"day": "monday"})
    assert log.finish()
    assert [json.loads(line) for line in path(tmp_path).read_text().splitlines()] == [
        {"t": 0, "at": "2025-03-01T11:00:00.000Z", "event": "call", "state": "ringing"},
        {
            "t": 1234,
            "at": "2025-03-01T11:00:01.234Z",
            "event": "note",
            "name": "slot",
            "data": {"day": "monday"},
        },
    ]
    first, second = read_timeline(path(tmp_path))
    assert (first.t_ms, first.name, first.fields) == (0, "call", {"state": "ringing"})
    assert second.fields["data"] == {"day": "monday"}
    assert not list((tmp_path / "open").iterdir())


def test_what_is_written_can_be_read_while_the_call_goes_on(tmp_path: Path) -> None:
    log, _, _ = start(tmp_path)
    for n in range(3):
        log.event("no_input", count=n)
        log.flush()
        assert len(read_timeline(path(tmp_path))) == n + 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Colour.RED, "red"),
        (Point(1, Colour.RED), {"x": 1, "colour": "red"}),
        ((1, 2), [1, 2]),
        ({3, 1}, [1, 3]),
        ({1: {None: b"x"}}, {"1": {"None": "b'x'"}}),
        (Path("/a"), "/a"),
        (STARTED, "2025-03-01T12:00:00+01:00"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Rude(), "<Rude>"),
        ("\udc80", "?"),
        ("a\nb\u2028c", "a\nb\u2028c"),
        ("x" * 5000, "x" * 4000 + "…"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_can_be_written(value: object, written: object) -> None:
    line = encode(0, STARTED, "note", {"data": value})
    assert line.count("\n") == 1
    assert json.loads(line)["data"] == written


def test_a_value_inside_itself_ends_somewhere() -> None:
    endless: dict[str, object] = {}
    endless["self"] = endless
    assert len(encode(0, STARTED, "note", {"data": endless})) < 1000


def test_a_field_cannot_take_the_place_of_the_stamp() -> None:
    record = json.loads(encode(7, STARTED, "note", {"t": 1, "at": 2, "event": 3}))
    assert record == {
        "t": 7,
        "at": "2025-03-01T12:00:00.000+01:00",
        "event": "note",
        "t_": 1,
        "at_": 2,
        "event_": 3,
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values))
def test_whatever_is_written_is_one_readable_line(fields: dict[str, object]) -> None:
    line = encode(5, STARTED, "note", fields).encode()
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert json.loads(line)["t"] == 5


def test_partials_are_thinned_but_the_last_guess_stays(tmp_path: Path) -> None:
    log, clock, _ = start(tmp_path)
    for at, text in ((0, "I"), (0.05, "I would"), (0.1, "I would like"), (0.3, "I would like"), (0.31, "to")):
        clock.now = 100 + at
        log.event("partial", text=text)
    clock.now = 100.4
    log.event("final", text="I would like to")
    log.finish()
    assert [(e.t_ms, e.fields["text"]) for e in read_timeline(path(tmp_path))] == [
        (0, "I"),
        (300, "I would like"),
        (310, "to"),
        (400, "I would like to"),
    ]


def test_size_is_bounded_and_the_essential_comes_last(tmp_path: Path) -> None:
    log, clock, writer = start(tmp_path, max_kb=20)
    for n in range(2000):
        clock.now += 1
        log.event("note", name="node", data={"id": n})
        if n % 100 == 0:
            log.event("turn", text="hello")
        log.flush()
    log.finish()
    assert path(tmp_path).stat().st_size < 25_000
    names = [event.name for event in read_timeline(path(tmp_path))]
    assert names.count("turn") == 20
    assert writer.counters.events_dropped == 2020 - len(names) > 1000
    for n in range(5000):
        log.event("turn", text=str(n))
    assert log._size < 41_000


def test_a_disk_that_stalls_costs_bounded_memory(tmp_path: Path) -> None:
    log, clock, writer = start(tmp_path)
    for _ in range(7000):
        clock.now += 1
        log.event("vad", speaking=True)
    log.finish()
    assert len(read_timeline(path(tmp_path))) == 5000
    assert writer.counters.events_dropped == 2000


def test_a_disk_that_refuses_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    log, _, writer = start(tmp_path / "file")
    for n in range(5):
        log.event("no_input", count=n)
        log.flush()
    assert not log.finish()
    assert writer.counters.timelines_failed == 1
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_lines_wait_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _, writer = start(tmp_path)
    writer._quiet_s = 0
    log.event("no_input", count=1)
    log.flush()
    real = os.pwrite

    def full(fd: int, data: memoryview, at: int) -> int:
        if len(data) > 10:
            return real(fd, data[:10], at)  # a part of it finds room
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        log.event("no_input", count=2)
        log.flush()
        log.event("no_input", count=3)
        assert writer.fault == "No space left on device"
    assert log.finish() and not writer.fault
    assert [event.fields["count"] for event in read_timeline(path(tmp_path))] == [1, 2, 3]
    assert writer.counters.timelines_failed == 0


def test_a_cut_last_line_is_forgiven_and_put_right(tmp_path: Path) -> None:
    log, clock, _ = start(tmp_path)
    log.event("call", state="ringing")
    clock.now += 2
    log.event("turn", text="yes")
    log.flush()
    whole = path(tmp_path).read_bytes()
    log.finish()
    # As a crash leaves it: half a line, and the mark still there.
    path(tmp_path).write_bytes(whole + b'{"t": 2500, "at": "2025-')
    (tmp_path / "open" / "c1.jsonl").write_text(json.dumps({"call_id": "c1", "path": "2025/03/01/c1.jsonl"}))
    assert [event.name for event in read_timeline(path(tmp_path))] == ["call", "turn"]
    (recovered,) = recover(tmp_path).closed
    assert (recovered.call_id, recovered.last_ms) == ("c1", 2000)
    last = read_timeline(path(tmp_path))[-1]
    assert path(tmp_path).read_bytes().startswith(whole)
    assert (last.name, last.t_ms, last.fields) == ("call", 2000, {"state": "ended", "cause": "crashed"})


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\n\n",
        b"null\n",
        b"[]\n{}\n",
        b'{"t": "x"}\n',
        bytes(range(256)),
        b'{"t":1e999,"at":1,"event":2}\n',
    ],
)
def test_garbage_is_left_out(garbage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    good = b'{"t": 1, "at": "2025-03-01T12:00:00Z", "event": "turn"}\n'
    file.write_bytes(garbage + b"\n" + good)
    assert [event.name for event in read_timeline(file)] == ["turn"]


@pytest.mark.parametrize(
    "mark", ["", "nonsense", "{}", '{"call_id": "x", "path": "gone.wav"}', '{"path": 7}']
)
def test_broken_marks_stop_no_start(mark: str, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "x.wav").write_text(mark)
    assert recover(tmp_path).closed == ()


@pytest.mark.parametrize(
    "call_id",
    ["../../etc/passwd", "..", ".", "", "a/b", "a\0b", "ä", "x" * 300, "\udc80", "a b@c:5060;tag=1"],
)
def test_every_call_id_is_a_file_name_of_its_own(call_id: str) -> None:
    name = safe_name(call_id)
    assert name and "/" not in name and "\0" not in name and not name.startswith(".")
    assert len(name) <= 120 and name.isascii()
    assert name != safe_name(call_id + "x")
    assert CallFiles(Path("/d"), call_id, STARTED).recording.parent == Path("/d/2025/03/01")


def test_ordinary_ids_stay_as_they_are() -> None:
    assert safe_name("3f2a-77.b_C") == "3f2a-77.b_C"
    assert CallFiles(Path("d"), "c", STARTED.astimezone(UTC)).timeline == Path("d/2025/03/01/c.jsonl")
