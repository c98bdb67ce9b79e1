"""What remains of a call when all goes well, and that nothing else is harmed when it does not."""

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dialog.types import Say, UserTurn
from media.callconfig import Engines, SessionConfig
from media.leg import CallInfo, HangupCause
from media.session import CallSession
from recordings.calllog import Config as TimelineConfig
from recordings.calllog import read_timeline
from recordings.recorder import Config as RecordingConfig
from recordings.timeline import turns
from tests.fakes import SPEECH, FakeDialog, FakeEars, FakeLeg, FakeVad, FakeVoice
from voicegw import keeper as keeper_module
from voicegw.journal import Journals
from voicegw.keeper import CallKeeper, KeeperConfig, KeptCall, open_keeper
from voicegw.storage.engine import Config as StorageConfig
from voicegw.storage.engine import database_url
from voicegw.storage.reader import CallReader

BEGAN = datetime(2025, 3, 1, 12, tzinfo=UTC)
INFO = CallInfo("c1", "+49301234", "+49305678", "sip", "abc@host")
TONE = b"\x10\x27" * 160


def run(coro: Coroutine[Any, Any, None]) -> None:
    """A real loop: disk and database answer from threads."""
    asyncio.run(coro)


def config(root: Path, **parts: Any) -> KeeperConfig:
    return KeeperConfig(root, **parts)


async def read(root: Path, wanted: str = "last") -> Any:
    reader = CallReader(database_url(StorageConfig(), root))
    try:
        return await reader.find(wanted)
    finally:
        await reader.close()


def talk(call: KeptCall) -> None:
    """A short conversation: one second of both, told at once."""
    call.answered(8000)
    assert call.tap is not None
    for n in range(50):
        call.tap.received(TONE, 20 * n)
        if n >= 25:
            call.tap.played(TONE, 20 * n)
    call.event("turn", text="yes", source="speech", confidence=0.9, at_ms=500)
    call.event("latency", turn_at_ms=500, stt_ms=12.5, total_ms=100.0)
    call.event("heard", text="Fine.", said="Fine.", complete=True, at_ms=500, ms=500)


def test_all_of_a_call_is_there_when_it_has_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[str] = []
        async with open_keeper(
            config(tmp_path), [lambda name, _: told.append(name)], lambda: BEGAN
        ) as keeper:
            journals: Journals = keeper
            async with journals.open(INFO, "clinic") as call:
                assert call.tap is None
                talk(call)  # type: ignore[arg-type]
                call.ended(HangupCause.NORMAL)
                call.ended(HangupCause.INTERNAL)  # only the first counts
            assert (tmp_path / "calls/2025/03/01/c1.wav").exists()  # before the database says "ended"
            assert keeper.storage_fault() is None and keeper.disk_fault() is None
        found = await read(tmp_path)
        assert (found.state, found.cause, found.flow, found.carrier_id) == (
            "ended",
            "normal",
            "clinic",
            "abc@host",
        )
        assert found.started_at == BEGAN <= found.answered_at <= found.ended_at
        assert found.recording_state == "complete"
        assert [(t.role, t.text, t.latency_ms) for t in found.turns] == [
            ("caller", "yes", {}),
            ("bot", "Fine.", {"stt": 12.5, "total": 100.0}),
        ]
        audio, _ = soundfile.read(tmp_path / found.recording_path, dtype="int16")
        assert (
            (audio[:, 0] == 10_000).all() and (audio[4000:, 1] == 10_000).all() and not audio[:4000, 1].any()
        )
        events = read_timeline(tmp_path / found.timeline_path)
        assert [event.name for event in events] == told
        assert told == ["call", "call", "turn", "latency", "heard", "call"]
        assert events[-1].fields["cause"] == "normal" and events[-1].fields["q850"] == 16
        assert len(turns(events)) == 2

    run(scenario())


def test_a_call_that_was_never_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_keeper(config(tmp_path)) as keeper, keeper.open(INFO, "clinic") as call:
            call.ended(HangupCause.CANCELLED, 487)
        found = await read(tmp_path)
        assert (found.state, found.cause, found.sip_status) == ("ended", "cancelled", 487)
        assert found.answered_at is None and found.duration_ms is None and found.recording_path is None

    run(scenario())
    assert not list(tmp_path.rglob("*.wav"))


def test_nothing_is_kept_that_is_switched_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        off = config(
            tmp_path, recording=RecordingConfig(enabled=False), timeline=TimelineConfig(enabled=False)
        )
        async with open_keeper(off) as keeper, keeper.open(INFO, "clinic") as call:
            call.answered(8000)
            assert call.tap is None
            call.event("turn", text="yes", at_ms=1)
        found = await read(tmp_path)
        assert (found.recording_path, found.timeline_path, len(found.turns)) == (None, None, 1)
        assert not (tmp_path / "calls").exists()

    run(scenario())


@pytest.mark.parametrize("root", ["/proc/voicegw", "file/data"])
def test_a_disk_that_refuses_everything_costs_no_call(
    root: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")

    async def scenario() -> None:
        kept = config(tmp_path / root, storage=StorageConfig(flush_s=0.1))
        async with open_keeper(kept) as keeper:
            for n in range(3):
                async with keeper.open(CallInfo(f"c{n}", "a", "b", "sip"), "clinic") as call:
                    talk(call)
                    call.ended(HangupCause.NORMAL)
            assert (keeper.counters.failed, keeper.counters.timelines_failed) == (3, 3)
            assert keeper.storage_fault()
            assert str(keeper.disk_fault()).endswith("; 3 recordings and 3 timelines are lost")

    run(scenario())
    alarms = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert alarms.count("the disk refuses: calls go on unrecorded") == 1
    assert alarms.count("database cannot be written") == 1


def test_a_recordings_folder_that_cannot_be_written_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("a file where the folder should be")

    async def scenario() -> None:
        async with open_keeper(config(tmp_path)) as keeper, keeper.open(INFO, "clinic") as call:
            talk(call)
            call.ended(HangupCause.NORMAL)
        found = await read(tmp_path)
        assert (found.state, found.cause, len(found.turns)) == ("ended", "normal", 2)
        assert (found.recording_state, found.recording_path) == ("failed", None)

    run(scenario())


def test_a_bug_in_a_listener_is_said_once_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str, fields: Any) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        async with open_keeper(config(tmp_path), [broken]) as keeper, keeper.open(INFO, "clinic") as call:
            talk(call)
        assert len((await read(tmp_path)).turns) == 2

    run(scenario())
    assert caplog.text.count("could not be kept") == 1


@pytest.mark.parametrize("end", [ZeroDivisionError, asyncio.CancelledError])
def test_a_call_that_crashes_or_is_cancelled_is_closed_as_well(
    end: type[BaseException], tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_keeper(config(tmp_path)) as keeper:
            with pytest.raises(end):
                async with keeper.open(INFO, "clinic") as call:
                    talk(call)
                    raise end
        found = await read(tmp_path)
        assert (found.state, found.cause, found.recording_state) == ("ended", "internal", "complete")

    run(scenario())


class Stall:
    """A job that holds the disk until it is released."""

    def __init__(self) -> None:
        self.began, self.released = threading.Event(), threading.Event()

    def flush(self) -> None:
        self.began.set()
        self.released.wait(30)

    def finish(self) -> None:
        """Nothing to write."""


def test_a_disk_that_hangs_holds_no_call_and_its_recording_is_noted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "CLOSE_S", 0.05)

    async def scenario() -> None:
        stall = Stall()
        async with open_keeper(config(tmp_path)) as keeper:
            async with keeper.open(INFO, "clinic") as call:
                keeper.writer.add(stall)
                await asyncio.to_thread(stall.began.wait, 10)
                talk(call)
                call.ended(HangupCause.NORMAL)
            stall.released.set()
        found = await read(tmp_path)
        assert (found.state, found.cause, found.recording_state) == ("ended", "normal", "complete")

    run(scenario())
    assert "not finished with its call" in caplog.text


CHILD = """
import asyncio, sys
from pathlib import Path
from tests.voicegw.test_keeper import INFO, config, talk
from voicegw.keeper import open_keeper

async def main():
    async with open_keeper(config(Path(sys.argv[1]))) as keeper, keeper.open(INFO, "clinic") as call:
        talk(call)
        for n in range(50, 100):
            call.tap.received(b"\\x10\\x27" * 160, 20 * n)
        await asyncio.sleep(2.5)  # until disk and database have it
        call.event("turn", text="never in the database", source="speech", at_ms=2500)
        await asyncio.to_thread(keeper.writer.submit(call._log.flush).result)
        print("talking", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.real
def test_a_call_that_the_server_did_not_live_to_end(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )

    async def restart() -> Any:
        async with open_keeper(config(tmp_path)):
            pass
        return await read(tmp_path)

    try:
        assert child.stdout is not None and child.stdout.readline() == "talking\n"
        assert asyncio.run(restart()).state == "active"  # a second server leaves a living one's calls alone
        with sqlite3.connect(tmp_path / "voicegw.db") as database:
            database.execute("DELETE FROM turns WHERE n = 2")  # as if it had been killed a moment earlier
    finally:
        child.kill()
        child.wait()
    found = asyncio.run(restart())
    assert (found.state, found.cause, found.recording_state) == ("ended", "crashed", "partial")
    assert found.ended_at >= found.answered_at >= found.started_at
    assert [t.text for t in found.turns] == ["yes", "Fine.", "never in the database"]
    audio, _ = soundfile.read(tmp_path / found.recording_path, dtype="int16")
    assert len(audio) >= 8000 and (audio[:8000, 0] == 10_000).all()
    last = read_timeline(tmp_path / found.timeline_path)[-1]
    assert (last.name, last.fields) == ("call", {"state": "ended", "cause": "crashed"})
    assert asyncio.run(restart()).ended_at == found.ended_at  # once


@pytest.mark.real
def test_a_whole_session_leaves_a_recording_that_matches_its_timeline(tmp_path: Path) -> None:
    """A second and a half in real time: the bot greets, the caller says a word, the bot answers."""

    def answer(turn: Any) -> list[Any]:
        return [Say("good then")] if isinstance(turn, UserTurn) else []

    async def scenario() -> None:
        async with open_keeper(config(tmp_path)) as keeper:
            await one_call(keeper)
        found = await read(tmp_path)
        assert [(t.role, t.heard) for t in found.turns] == [
            ("bot", "hello"),
            ("caller", "yes"),
            ("bot", "good then"),
        ]
        assert {"stt", "dialog", "tts", "playout", "total"} <= set(found.turns[2].latency_ms)
        audio, _ = soundfile.read(tmp_path / found.recording_path, dtype="int16")
        loud = np.flatnonzero(audio[:, 1]) / 8
        for turn in (found.turns[0], found.turns[2]):
            assert np.abs(loud - turn.at_ms).min() <= 20
        assert audio[:, 0].any()

    async def one_call(keeper: CallKeeper) -> None:
        leg, ears = FakeLeg(), FakeEars()
        ears.next_text = "yes"
        async with keeper.open(leg.info, "clinic") as call:
            call.answered(leg.format.rate)
            engines = Engines(FakeVad(), ears, FakeVoice())
            session = CallSession(leg, engines, FakeDialog(answer), SessionConfig(), call, call.tap)
            running = asyncio.ensure_future(session.run())
            await asyncio.sleep(0)
            await leg.beat(ms=300)
            await leg.beat(SPEECH, ms=200)
            await leg.beat(ms=1000)
            leg.close(HangupCause.NORMAL)
            call.ended(await running)

    run(scenario())
