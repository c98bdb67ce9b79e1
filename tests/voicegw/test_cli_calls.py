"""`voicegw calls`: the contract of its JSON, what people read, and what happens when there is nothing."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from media.leg import CallInfo, HangupCause
from voicegw.cli.calls import app
from voicegw.keeper import KeeperConfig, KeptCall, open_keeper
from voicegw.storage.engine import Config, database_url, open_engine
from voicegw.storage.migrate import migrate
from voicegw.storage.models import Call
from voicegw.storage.reader import UnknownCall

BEGAN = datetime(2025, 3, 1, 12, tzinfo=UTC)
INFO = CallInfo("3f2a-call", "+49301234", "+49305678", "sip", "abc@host")

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
CALL_SHAPE: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "direction": str,
    "from": str,
    "to": str,
    "state": str,
    "cause": (str, type(None)),
    "started_at": str,
    "answered_at": (str, type(None)),
    "ended_at": (str, type(None)),
    "recording": (str, type(None)),
    "turns": list,
}
TURN_SHAPE = {"role": str, "text": str, "at_ms": int, "heard": str, "latency_ms": dict}


def talk(call: KeptCall) -> None:
    call.answered(8000)
    assert call.tap is not None
    call.tap.received(b"\x10\x27" * 8000, 0)
    call.event(
        "heard", text="Hello [b]there[/b].", said="Hello [b]there[/b].", complete=True, at_ms=120, ms=900
    )
    call.event("vad", speaking=True, ago_ms=80)
    call.event("turn", text="book \x1b[2Jme", source="speech", confidence=0.9, at_ms=4012)
    call.event("note", name="node", data={"id": "book"})
    call.event(
        "latency", turn_at_ms=4012, eot_ms=500.0, stt_ms=12.3, dialog_ms=0.4, tts_ms=90.1, total_ms=640
    )
    call.event("barge_in", speech_ms=350, words=0, dtmf=False)
    call.event("heard", text="Which", said="Which day?", complete=False, at_ms=4652, ms=400)
    call.event("dtmf", digit="1", direction="received")
    call.event("error", where="stt", message="worker died")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three calls: one talked, one was cancelled, one goes on (its server was killed)."""
    monkeypatch.setenv("VOICEGW_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def make() -> None:
        clock = iter(BEGAN + timedelta(minutes=n) for n in range(9))
        async with open_keeper(KeeperConfig(tmp_path), now=lambda: next(clock)) as keeper:
            async with keeper.open(INFO, "clinic") as call:
                talk(call)
                call.ended(HangupCause.NORMAL)
            async with keeper.open(replace(INFO, call_id="3f99"), "clinic") as call:
                call.ended(HangupCause.CANCELLED)
            KeptCall(keeper, replace(INFO, call_id="a1"), "clinic").answered(8000)

    asyncio.run(make())
    return tmp_path


def calls(*args: str) -> Result:
    return CliRunner().invoke(app, list(args), catch_exceptions=True)


def as_json(*args: str) -> Any:
    result = calls(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def check_shape(call: dict[str, Any]) -> None:
    for name, kind in CALL_SHAPE.items():
        assert isinstance(call[name], kind), name
    for name in ("started_at", "answered_at", "ended_at"):
        assert call[name] is None or re.fullmatch(STAMP, call[name]), name
    for turn in call["turns"]:
        for name, kind in TURN_SHAPE.items():
            assert isinstance(turn[name], kind), name
        assert turn["role"] in {"caller", "bot"}
        assert all(isinstance(ms, int | float) for ms in turn["latency_ms"].values())


def test_the_json_of_a_call_is_a_contract(data: Path) -> None:
    call = as_json("show", "3f2a")
    check_shape(call)
    assert (call["id"], call["direction"], call["from"], call["to"]) == (
        "3f2a-call",
        "inbound",
        "+49301234",
        "+49305678",
    )
    assert (call["state"], call["cause"]) == ("ended", "normal")
    assert call["started_at"] == "2025-03-01T12:00:00.000Z"
    assert Path(call["recording"]).is_absolute() and Path(call["recording"]).read_bytes()[:4] == b"RIFF"
    assert [{name: turn[name] for name in TURN_SHAPE} for turn in call["turns"]] == [
        {
            "role": "bot",
            "text": "Hello [b]there[/b].",
            "at_ms": 120,
            "heard": "Hello [b]there[/b].",
            "latency_ms": {},
        },
        {
            "role": "caller",
            "text": "book \x1b[2Jme",
            "at_ms": 4012,
            "heard": "book \x1b[2Jme",
            "latency_ms": {},
        },
        {
            "role": "bot",
            "text": "Which day?",
            "at_ms": 4652,
            "heard": "Which",
            "latency_ms": {"eot": 500.0, "stt": 12.3, "dialog": 0.4, "tts": 90.1, "total": 640.0},
        },
    ]


def test_the_json_of_the_list_has_the_same_shape_newest_first(data: Path) -> None:
    found = as_json("list")
    for call in found:
        check_shape(call)
    assert [(call["id"], call["state"], call["cause"]) for call in found] == [
        ("a1", "active", None),
        ("3f99", "ended", "cancelled"),
        ("3f2a-call", "ended", "normal"),
    ]
    assert found[1]["recording"] is None and found[1]["answered_at"] is None
    assert [c["id"] for c in as_json("list", "--limit", "1")] == ["a1"]
    assert [c["id"] for c in as_json("list", "--state", "active")] == ["a1"]
    assert [c["id"] for c in as_json("list", "--since", "2025-03-01T12:00:30+00:00")] == ["a1", "3f99"]
    assert as_json("list", "--since", "2h") == []


def test_people_see_who_said_what_and_how_fast_we_were(data: Path) -> None:
    shown = calls("show", "3f2a").stdout
    for text in (
        "3f2a-call (inbound, flow clinic)",
        str(data / "calls/2025/03/01/3f2a-call.wav"),
        "Hello [b]there[/b].",
        "book ?[2Jme  (confidence 0.90)",
        "Which  (cut after 0.4 s, meant: Which day?, total 640 ms: eot 500, stt 12, dialog 0, tts 90)",
        "pressed 1",
        "node  (id=book)",
        "stt: worker died",
        "barge_in",
    ):
        assert text in shown, text
    assert "\x1b" not in shown
    assert "vad" not in shown and "vad" in calls("show", "3f2a", "--timeline").stdout


def test_the_timeline_as_json(data: Path) -> None:
    events = as_json("show", "3f2a", "--timeline")["events"]
    assert [event["event"] for event in events][:3] == ["call", "call", "heard"]
    assert all({"t", "at", "event"} <= set(event) for event in events)


def test_without_the_timeline_the_turns_are_shown(data: Path) -> None:
    next(data.rglob("3f2a-call.jsonl")).unlink()
    result = calls("show", "3f2a")
    assert result.exit_code == 0
    assert "Which" in result.stdout and "total 640 ms" in result.stdout
    assert "No such file" in result.stderr


def test_last_is_the_newest(data: Path) -> None:
    assert as_json("show", "last")["id"] == "a1"
    assert "active" in calls("show", "last").stdout


def test_the_table(data: Path) -> None:
    lines = calls("list").stdout.splitlines()
    assert len(lines) == 4
    assert "+49301234" in lines[3] and "normal" in lines[3] and "complete" in lines[3]


@pytest.mark.parametrize(
    ("args", "message"), [(["show", "nope"], "no call 'nope'"), (["show", "3f"], "several calls")]
)
def test_an_unknown_id_is_said(args: list[str], message: str, data: Path) -> None:
    result = calls(*args)
    assert isinstance(result.exception, UnknownCall) and message in str(result.exception)
    assert result.exception.exit_code == 2


@pytest.mark.parametrize("args", [["--state", "alive"], ["--since", "yesterday"], ["--limit", "0"]])
def test_wrong_usage(args: list[str], data: Path) -> None:
    assert calls("list", *args).exit_code == 2


@pytest.mark.real
def test_exit_codes_of_the_real_command(tmp_path: Path) -> None:
    def command(*args: str) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, "-c", "from voicegw.cli import main; main()", "calls", *args]
        env = {**os.environ, "VOICEGW_DATA_DIR": str(tmp_path / "data")}
        return subprocess.run(program, capture_output=True, text=True, check=False, env=env)

    assert command("list").stdout == "no calls\n"
    assert json.loads(command("list", "--json").stdout) == []
    unknown = command("show", "last")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "no call 'last': there were no calls yet\n"
    assert not (tmp_path / "data").exists()  # reading makes nothing


def test_a_thousand_calls_are_listed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEGW_DATA_DIR", str(tmp_path))

    async def make() -> None:
        engine = open_engine(database_url(Config(), tmp_path))
        await migrate(engine)
        row = {"direction": "inbound", "caller": "a", "callee": "b", "carrier": "sip", "carrier_id": "x"}
        row |= {"flow": "f", "server": "", "state": "ended", "cause": "normal"}
        rows = [{**row, "id": f"c{n}", "started_at": BEGAN + timedelta(seconds=n)} for n in range(1000)]
        async with engine.begin() as connection:
            await connection.execute(insert(Call), rows)
        await engine.dispose()

    asyncio.run(make())
    calls("list", "--limit", "1")  # imports
    began = time.perf_counter()
    assert len(as_json("list", "--limit", "1000")) == 1000
    assert time.perf_counter() - began < 5  # some 0.1 s; a query for each call would take far longer
