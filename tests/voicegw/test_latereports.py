"""What carriers tell of calls that are over: kept a moment later, and at the latest when the server stops."""

import asyncio
import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from media.metronome import Metronome
from media.tasks import task_scope
from tests.clock import run
from voicegw.carriers import CarrierParts, Carriers
from voicegw.config import Config
from voicegw.latereports import FLUSH_S, MOST, SETTLE_S, LateReports
from voicegw.storage.engine import StorageError

FIELDS = {"kind": "recording", "RecordingUrl": "https://t/RE1"}


class FakeArchive:
    """Its calls' timelines: closed at `ready_at`, or never."""

    def __init__(self, ready_at: float = 0, error: str = "", *, known: bool = True) -> None:
        self.ready_at, self.error, self.known = ready_at, error, known
        self.kept: list[tuple[float, str, str, Mapping[str, str]]] = []

    async def report(self, carrier: str, carrier_id: str, fields: Mapping[str, str]) -> bool:
        now = asyncio.get_running_loop().time()
        if self.error:
            raise StorageError(self.error)
        if not self.known or now < self.ready_at:
            return False
        self.kept.append((now, carrier, carrier_id, fields))
        return True


def test_a_report_waits_until_the_files_are_closed() -> None:
    async def scene() -> None:
        archive = FakeArchive()
        async with task_scope() as start:
            late = LateReports(archive, start)  # type: ignore[arg-type]
            late.report("twilio", "CA1", FIELDS)
            await asyncio.sleep(SETTLE_S - 0.1)
            assert not archive.kept
            await asyncio.sleep(0.2)
            assert archive.kept == [(SETTLE_S, "twilio", "CA1", FIELDS)]
            assert late.counters.kept == 1 and not late.waiting

    run(scene())


def test_a_server_that_stops_keeps_what_was_told_before() -> None:
    async def scene() -> None:
        archive = FakeArchive(ready_at=1.0)
        calls: Any = SimpleNamespace(live=SimpleNamespace(of_carrier=lambda call_id: None))
        async with task_scope() as start:
            parts = CarrierParts(calls, Metronome(), archive, start)  # type: ignore[arg-type]
            carriers = Carriers(Config(), parts)
            carriers._report("twilio", "CA1", "recording", {"RecordingUrl": "https://t/RE1"})
            await asyncio.sleep(0.1)
            await carriers.close()
            await carriers.close()
        ((at, carrier, call_id, fields),) = archive.kept
        assert (carrier, call_id, fields) == ("twilio", "CA1", FIELDS)
        assert 1.0 <= at < 1.5, "as soon as it can be kept"

    run(scene())


def test_what_cannot_be_kept_when_the_server_stops_is_lost_aloud(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        archive = FakeArchive(ready_at=1000)  # or a disk that does not answer
        async with task_scope() as start:
            late = LateReports(archive, start)  # type: ignore[arg-type]
            for call in ("CA1", "CA2"):
                late.report("twilio", call, FIELDS)
            await late.close()
            assert asyncio.get_running_loop().time() == pytest.approx(FLUSH_S, abs=0.5)
        assert late.counters.lost == 2 and not archive.kept

    run(scene())
    lost = [r for r in caplog.records if r.message == "carrier's report is lost"]
    assert {r.carrier_id for r in lost} == {"CA1", "CA2"}  # type: ignore[attr-defined]
    assert all(r.levelno == logging.ERROR for r in lost)


def test_a_database_that_fails_loses_the_report_aloud(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with task_scope() as start:
            late = LateReports(FakeArchive(error="no disk"), start)  # type: ignore[arg-type]
            late.report("twilio", "CA1", FIELDS)
            await asyncio.sleep(SETTLE_S + 1)
            assert late.counters.lost == 1

    run(scene())
    assert [r.error for r in caplog.records] == ["no disk"]  # type: ignore[attr-defined]


def test_a_call_that_nobody_knows_is_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with task_scope() as start:
            late = LateReports(FakeArchive(known=False), start)  # type: ignore[arg-type]
            late.report("twilio", "CA1", FIELDS)
            await asyncio.sleep(SETTLE_S + 1)
            assert (late.counters.unknown, late.counters.lost) == (1, 0)

    run(scene())
    assert caplog.messages == ["carrier reports on a call that nobody knows"]


def test_reports_that_wait_are_bounded() -> None:
    async def scene() -> None:
        archive = FakeArchive()
        async with task_scope() as start:
            late = LateReports(archive, start)  # type: ignore[arg-type]
            for number in range(MOST + 3):
                late.report("twilio", f"CA{number}", FIELDS)
            assert late.counters.lost == 3
            await late.close()
        assert len(archive.kept) == MOST

    run(scene())
