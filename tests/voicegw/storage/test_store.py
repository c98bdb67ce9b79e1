"""Calls into the database and out again, and what happens while it is locked, away or broken."""

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from media.leg import CallInfo, Direction
from recordings.timeline import Turn
from voicegw.storage.engine import Config, StorageError, database_url, open_engine
from voicegw.storage.migrate import alembic_config, migrate
from voicegw.storage.models import Base
from voicegw.storage.ops import Answered, Ended, Recorded, Spoken, Started
from voicegw.storage.reader import CallReader, UnknownCall
from voicegw.storage.store import CallStore, open_store

BEGAN = datetime(2025, 3, 1, 12, tzinfo=UTC)
INFO = CallInfo("c1", "+49301234", "+49305678", "sip", "abc@host", Direction.INBOUND)
HELLO = Turn("bot", "Hello, how can I help?", 100, "Hello, how")
YES = Turn("caller", "yes", 4000, "yes", source="speech", confidence=0.9)
SURE = Turn("bot", "Sure.", 4500, "Sure.", {"total": 640.5, "stt": 12.0})


def run(coro: Coroutine[Any, Any, Any]) -> Any:
    """A real loop: the database answers from a thread."""
    return asyncio.run(coro)


def reader(data_dir: Path) -> CallReader:
    return CallReader(database_url(Config(), data_dir))


def post_call(store: CallStore, call_id: str, at: datetime = BEGAN, *, ended: bool = True) -> None:
    store.post(Started(replace(INFO, call_id=call_id), "clinic", at, "me", f"calls/{call_id}.jsonl"))
    store.post(Answered(call_id, at + timedelta(seconds=2), f"calls/{call_id}.wav"))
    store.post(Spoken(call_id, 0, [HELLO]))
    store.post(Spoken(call_id, 1, [YES]))
    store.post(Spoken(call_id, 2, [SURE]))
    if ended:
        store.post(Recorded(call_id, "complete", "f" * 64, f"calls/{call_id}.wav"))
        store.post(Ended(call_id, at + timedelta(seconds=9), "normal", None, 9000))


async def read(data_dir: Path, wanted: str) -> Any:
    source = reader(data_dir)
    try:
        return await source.find(wanted)
    finally:
        await source.close()


def test_a_call_comes_back_as_it_was_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            post_call(store, "c1")
        call = await read(tmp_path, "c1")
        assert (call.id, call.direction, call.caller, call.callee) == (
            "c1",
            "inbound",
            "+49301234",
            "+49305678",
        )
        assert (call.state, call.cause, call.duration_ms, call.flow) == ("ended", "normal", 9000, "clinic")
        assert call.started_at == BEGAN and call.started_at.tzinfo is UTC
        assert call.answered_at == BEGAN + timedelta(seconds=2)
        assert (call.recording_path, call.recording_state) == ("calls/c1.wav", "complete")
        assert [(t.n, t.role, t.text, t.heard, t.at_ms) for t in call.turns] == [
            (0, "bot", "Hello, how can I help?", "Hello, how", 100),
            (1, "caller", "yes", "yes", 4000),
            (2, "bot", "Sure.", "Sure.", 4500),
        ]
        assert call.turns[2].latency_ms == {"total": 640.5, "stt": 12.0}
        assert (call.turns[1].source, call.turns[1].confidence) == ("speech", 0.9)
        assert store.counters.lost == 0 and store.counters.written == 7

    run(scenario())


def test_a_turn_that_was_taken_back_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            post_call(store, "c1", ended=False)
            store.post(Spoken("c1", 1, [replace(YES, text="yes please", heard="yes please")]))
        call = await read(tmp_path, "c1")
        assert [t.text for t in call.turns] == ["Hello, how can I help?", "yes please"]

    run(scenario())


def test_migrations_and_models_agree_and_downgrade(tmp_path: Path) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))

    def down(connection: Connection) -> None:
        command.downgrade(alembic_config(connection), "base")

    async def scenario() -> None:
        engine = open_engine(database_url(Config(), tmp_path))
        await migrate(engine)
        await migrate(engine)  # nothing left to do
        async with engine.begin() as connection:
            assert await connection.run_sync(differences) == []
            await connection.run_sync(down)
            assert len(await connection.run_sync(differences)) > 1
        await engine.dispose()

    run(scenario())


def test_sqlite_is_set_up_for_readers_beside_a_writer(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = open_engine(database_url(Config(), tmp_path), busy_timeout_ms=1234)
        async with engine.connect() as connection:
            values = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
            ]
        await engine.dispose()
        assert values == ["wal", 1, 1234, 1]

    run(scenario())


def test_a_locked_database_delays_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = Config(busy_timeout_ms=10)
        async with open_store(config, tmp_path) as store:
            blocker = sqlite3.connect(tmp_path / "voicegw.db", isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            post_call(store, "c1")
            async with asyncio.timeout(10):
                while store.counters.failures < 2:  # noqa: ASYNC110 - a counter, nothing to wait on
                    await asyncio.sleep(0.01)
            assert store.counters.down and store.backlog == 7
            assert list(await reader(tmp_path).recent(5)) == []  # readers do not wait
            blocker.execute("COMMIT")
            blocker.close()
        assert store.counters.down == "" and store.counters.lost == 0
        assert len((await read(tmp_path, "c1")).turns) == 3

    run(scenario())


def test_a_database_that_is_away_at_the_start_is_found_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "data").write_text("a file where the folder should be")
        async with open_store(Config(), tmp_path / "data") as store:
            post_call(store, "c1")
            await asyncio.sleep(0)
            assert store.counters.down
            (tmp_path / "data").unlink()
        assert (await read(tmp_path / "data", "c1")).state == "ended"

    run(scenario())


def test_what_never_got_through_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        (tmp_path / "data").write_text("")
        async with open_store(Config(flush_s=0.2, backlog=5), tmp_path / "data") as store:
            post_call(store, "c1")
        assert store.counters.lost == 7

    run(scenario())
    assert "could not be written" in caplog.text and "backlog is full" in caplog.text


def test_one_bad_change_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            post_call(store, "c1")
            store.post(Spoken("nobody", 0, [HELLO]))  # no such call
            store.post(Ended("c1", datetime(2025, 1, 1), "normal"))  # noqa: DTZ001 - no zone
            post_call(store, "c1")  # again
            post_call(store, "c2")
        assert (await read(tmp_path, "c2")).state == "ended"
        assert len((await read(tmp_path, "c1")).turns) == 3
        assert store.counters.lost == 3

    run(scenario())
    assert caplog.text.count("refused a change") == 3


def test_text_from_the_network_is_made_fit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            store.post(Started(replace(INFO, caller="\udc80\0x" + "y" * 9999), "f", BEGAN))
        assert (await read(tmp_path, "c1")).caller.startswith("?xyyy")

    run(scenario())


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path):
            pass
        with sqlite3.connect(tmp_path / "voicegw.db") as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StorageError, match="newer version"):
            async with open_store(Config(), tmp_path):
                pass
        with pytest.raises(StorageError, match=r"revision 9999.* needs 0002"):
            async with open_store(Config(migrate=False), tmp_path):
                pass

    run(scenario())


def test_newest_first_by_state_since_and_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            for n in range(120):
                post_call(store, f"call-{n:03}", BEGAN + timedelta(minutes=n), ended=n != 99)
        source = reader(tmp_path)
        assert [c.id for c in await source.recent(3)] == ["call-119", "call-118", "call-117"]
        assert [c.id for c in await source.recent(9, state="active")] == ["call-099"]
        assert len(await source.recent(5000, since=BEGAN + timedelta(minutes=100))) == 20
        assert (await source.find("last")).id == "call-119"
        await source.close()

    run(scenario())


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("ab1", "ab1"), ("ab", None), ("b", "b%2"), ("b%", "b%2"), ("b_", None), ("", None), ("ab12", "ab12")],
)
def test_the_beginning_of_an_id_is_enough_if_it_is_one_call_s(
    wanted: str, found: str | None, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            for call_id in ("ab1", "ab12", "b%2"):
                post_call(store, call_id)
        if found is None:
            with pytest.raises(UnknownCall):
                await read(tmp_path, wanted)
        else:
            assert (await read(tmp_path, wanted)).id == found

    run(scenario())


def test_no_database_means_no_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        assert list(await reader(tmp_path).recent(5)) == []
        with pytest.raises(UnknownCall, match="no calls yet"):
            await read(tmp_path, "last")

    run(scenario())


def test_something_else_than_a_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "voicegw.db").write_text("certainly no database" * 100)

    async def scenario() -> None:
        with pytest.raises(StorageError, match=r"voicegw\.db.*not a database"):
            await reader(tmp_path).recent(5)

    run(scenario())


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x", "mysql+nosuch://x"])
def test_a_url_that_means_nothing_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ValueError, match="no database URL"):
        Config(url=url)


@pytest.mark.real
def test_whoever_may_only_read_can_read(tmp_path: Path) -> None:
    """With a server and without one, from a folder where the reader may write nothing."""
    code = """
import asyncio, os, sys
from pathlib import Path
from voicegw.storage.engine import Config, database_url
from voicegw.storage.reader import CallReader
asyncio.run(CallReader(database_url(Config(), Path(sys.argv[2]))).recent(5))  # imports all there is
if os.getuid() == 0:
    os.setgroups([])  # root's group stays: the files are for the owner and his group
    os.setuid(65534)
print([c.id for c in asyncio.run(CallReader(database_url(Config(), Path(sys.argv[1]))).recent(5))])
"""

    def read_as_somebody(folder: Path) -> str:
        program = [sys.executable, "-c", code, str(folder), str(tmp_path)]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    async def scenario(folder: Path) -> None:
        async with open_store(Config(), folder) as store:
            post_call(store, "c1")
            while store.backlog:  # noqa: ASYNC110 - a counter, nothing to wait on
                await asyncio.sleep(0.01)
            if folder != tmp_path:
                assert await asyncio.to_thread(read_as_somebody, folder) == "['c1']"

    run(scenario(tmp_path))  # a database to try the imports on
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to others
        folder = Path(name)
        folder.chmod(0o755)
        run(scenario(folder))
        folder.chmod(0o555)
        try:
            assert read_as_somebody(folder) == "['c1']"
        finally:
            folder.chmod(0o755)


def test_only_owner_and_group_may_read_what_callers_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store(Config(), tmp_path) as store:
            post_call(store, "c1", ended=False)
            modes.update(await asyncio.to_thread(look))

    def look() -> dict[str, int]:
        return {file.name: file.stat().st_mode & 0o007 for file in tmp_path.iterdir()}

    modes: dict[str, int] = {}
    run(scenario())
    assert modes == {"voicegw.db": 0, "voicegw.db-shm": 0, "voicegw.db-wal": 0}
