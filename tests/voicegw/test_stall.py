"""The watch over the event loop."""

import asyncio
import logging
import time

import pytest

from voicegw.stall import StallWatch


def a_synchronous_call_in_an_engine() -> None:
    time.sleep(0.4)


def test_what_blocks_the_loop_is_named_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> StallWatch:
        watch = StallWatch(150)
        with watch.watching():
            await asyncio.sleep(0.2)  # all is well
            assert watch.counters.stalls == 0
            asyncio.current_task().set_name("reply")  # type: ignore[union-attr]
            a_synchronous_call_in_an_engine()
            await asyncio.sleep(0.1)
            a_synchronous_call_in_an_engine()
            await asyncio.sleep(0.1)
        return watch

    with caplog.at_level(logging.WARNING):
        watch = asyncio.run(scenario())
    assert watch.counters.stalls == 2 and 0.7 < watch.counters.stalled_s < 3
    (blocked,) = [record for record in caplog.records if record.levelname == "ERROR"]  # said once in 10 s
    assert "in a_synchronous_call_in_an_engine" in blocked.where  # type: ignore[attr-defined]
    assert "time.sleep(0.4)" in blocked.stack  # type: ignore[attr-defined]
    assert blocked.task == "reply"  # type: ignore[attr-defined]
    assert blocked.blocked_ms >= 150  # type: ignore[attr-defined]
    assert sum("runs again" in record.message for record in caplog.records) == 2


def test_a_machine_without_a_core_to_spare_is_named_instead(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        watch = StallWatch(150)
        monkeypatch.setattr(watch, "_waiting", time.monotonic)  # as if it had waited all the time
        with watch.watching():
            await asyncio.sleep(0.2)
            a_synchronous_call_in_an_engine()
            await asyncio.sleep(0.1)

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    (blocked, _) = caplog.records
    assert blocked.levelname == "WARNING" and "no core for the event loop" in blocked.message
    assert 100 <= blocked.waited_ms <= blocked.blocked_ms + 100  # type: ignore[attr-defined]


def test_how_long_a_thread_waits_for_a_core_is_the_kernels_figure() -> None:
    async def scenario() -> float:
        return StallWatch(150)._waiting()

    assert asyncio.run(scenario()) >= 0
