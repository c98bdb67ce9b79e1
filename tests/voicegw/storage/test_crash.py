"""What a crash leaves behind is closed at the next start, whenever it came."""

import asyncio
import json
import logging
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import soundfile

from media.leg import CallInfo
from recordings.calllog import read_timeline
from recordings.paths import OPEN, UNREADABLE
from recordings.wav import HEADER_SIZE, WavInfo, header
from voicegw.keeper import KeeperConfig, open_keeper
from voicegw.storage.engine import Config as StorageConfig
from voicegw.storage.engine import database_url
from voicegw.storage.ops import Answered, Started
from voicegw.storage.reader import CallReader
from voicegw.storage.store import open_store

DAY = Path("calls/2026/01/02")
RINGING = {"state": "ringing", "from": "alice", "to": "bot", "direction": "inbound", "flow": "clinic"}


def line(t_ms: int, event: str, **fields: Any) -> str:
    at = f"2026-01-02T10:00:{t_ms / 1000:06.3f}+00:00"
    return json.dumps({"t": t_ms, "at": at, "event": event, **fields}) + "\n"


BEGUN = line(0, "call", carrier="sip", carrier_id="abc@here", **RINGING)
TALK = (
    BEGUN + line(40, "call", state="answered", rate=8000) + line(3000, "turn", text="hello", source="speech")
)


def left_open(data: Path, call_id: str, timeline: bytes | None = None, wav: bytes | None = None) -> None:
    """The files of a call, marked as open."""
    for suffix, content in ((".jsonl", timeline), (".wav", wav)):
        if content is not None:
            path = data / DAY / f"{call_id}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            mark = data / "calls" / OPEN / path.name
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(json.dumps({"call_id": call_id, "path": str(path.relative_to(data / "calls"))}))


def recording(ms: int, said_ms: int) -> bytes:
    """`ms` of sound behind a header that knows of `said_ms`, and a torn sample."""
    return header(WavInfo(8000, 2, 8 * said_ms)) + struct.pack("<hh", 1000, -1000) * (8 * ms) + b"\1"


def started(data: Path) -> dict[str, Any]:
    """Start and stop a server's keeper; all calls then, by id."""

    async def run() -> dict[str, Any]:
        config = KeeperConfig(data)
        async with open_keeper(config):
            pass
        reader = CallReader(database_url(StorageConfig(), data))
        try:
            return {call.id: call for call in await reader.recent(100, turns=True)}
        finally:
            await reader.close()

    return asyncio.run(run())


def nothing_open(data: Path) -> bool:
    return not list((data / "calls" / OPEN).iterdir())


def test_a_call_that_the_database_never_heard_of_is_entered_whole(tmp_path: Path) -> None:
    left_open(tmp_path, "c1", (TALK + '{"t": 3100, "at"').encode(), recording(2500, 2000))
    (call,) = started(tmp_path).values()
    assert (call.state, call.cause, call.caller, call.flow) == ("ended", "crashed", "alice", "clinic")
    assert (call.carrier_id, call.duration_ms, call.recording_state) == ("abc@here", 2960, "partial")
    assert [turn.text for turn in call.turns] == ["hello"]
    audio, rate = soundfile.read(tmp_path / call.recording_path, dtype="int16")
    assert (len(audio), rate) == (20_000, 8000) and (audio == [1000, -1000]).all()
    assert read_timeline(tmp_path / call.timeline_path)[-1].fields == {"state": "ended", "cause": "crashed"}
    assert nothing_open(tmp_path)


def test_many_calls_and_damaged_files_stand_in_nobodys_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(20):
        left_open(tmp_path, f"good{n:02}", TALK.encode(), recording(1000, 0))
    left_open(tmp_path, "torn-header", TALK.encode(), b"RIFF")
    left_open(tmp_path, "no-wav-at-all", TALK.encode(), b"\0" * 100)
    left_open(tmp_path, "empty", b"", recording(0, 0)[:HEADER_SIZE])
    left_open(tmp_path, "garbage", b"\xff\xfe{{{\n\n")
    (tmp_path / "calls" / OPEN / "torn.jsonl").write_text("")
    calls = started(tmp_path)
    assert {call.state for call in calls.values()} == {"ended"}
    assert {id for id in calls if id.startswith("good")} == {f"good{n:02}" for n in range(20)}
    assert calls["torn-header"].recording_path is None
    (said,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "left as it is" in said.getMessage() and said.path.endswith("no-wav-at-all.wav")  # type: ignore[attr-defined]
    assert nothing_open(tmp_path)
    assert [p.name for p in (tmp_path / "calls" / UNREADABLE).iterdir()] == ["no-wav-at-all.wav"]
    caplog.clear()
    assert started(tmp_path).keys() == calls.keys()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING], "once is enough"
    assert (tmp_path / DAY / "no-wav-at-all.wav").read_bytes() == b"\0" * 100


def test_a_recording_that_is_none_of_ours_is_a_failed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / DAY / "c1.wav"

    async def crashed() -> None:
        async with open_store(StorageConfig(), tmp_path) as store:
            at = datetime(2026, 1, 2, 10, tzinfo=UTC)
            info = CallInfo("c1", "alice", "bot", "sip")
            store.post(Started(info, "clinic", at, "", None))
            store.post(Answered("c1", at, str(path.relative_to(tmp_path))))

    asyncio.run(crashed())
    left_open(tmp_path, "c1", wav=b"\0" * 100)

    async def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("voicegw.keeper.close_crashed", killed)
        with pytest.raises(KeyboardInterrupt):
            started(tmp_path)
    assert not nothing_open(tmp_path), "the database does not know yet"
    (call,) = started(tmp_path).values()
    assert (call.cause, call.recording_state) == ("crashed", "failed") and path.exists()
    assert nothing_open(tmp_path)


def test_a_crash_of_the_recovery_is_recovered_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_open(tmp_path, "c1", TALK.encode(), recording(2500, 2000))

    async def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("voicegw.keeper.close_crashed", killed)  # the files are closed, the database is not
        with pytest.raises(KeyboardInterrupt):
            started(tmp_path)
    assert not nothing_open(tmp_path)
    (call,) = started(tmp_path).values()
    assert (call.state, call.cause, call.recording_state) == ("ended", "crashed", "partial")
    ends = [e for e in read_timeline(tmp_path / call.timeline_path) if e.fields.get("state") == "ended"]
    assert len(ends) == 1 and nothing_open(tmp_path)


def test_an_end_that_only_the_database_missed_is_no_crash(tmp_path: Path) -> None:
    ended = TALK + line(5000, "call", state="ended", cause="normal", duration_ms=4960)
    left_open(tmp_path, "c1", ended.encode(), recording(4960, 4960))
    (call,) = started(tmp_path).values()
    assert (call.cause, call.duration_ms) == ("normal", 4960)
