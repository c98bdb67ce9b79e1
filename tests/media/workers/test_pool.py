"""Worker processes for real: what they answer, and what becomes of requests when they die."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from media.workers.pool import PoolConfig, WorkerError, WorkerPool

MODULE = "tests.media.workers.engine"
QUICK = PoolConfig(hang_s=0.5, nice=0)


def with_pool(
    act: Callable[[WorkerPool], Awaitable[None]], config: PoolConfig = QUICK, **settings: Any
) -> None:
    async def main() -> None:
        pool = WorkerPool(MODULE, settings, config, name="test")
        try:
            async with asyncio.timeout(20):
                await pool.start()
                await act(pool)
        finally:
            await pool.close()
        assert not pool.pids

    asyncio.run(main())


def test_requests_are_answered_whole_and_piece_by_piece() -> None:
    async def act(pool: WorkerPool) -> None:
        assert await pool.request(b"echo " + b"x" * 1_000_000) == b"x" * 1_000_000
        assert [piece async for piece in pool.stream(b"count 4")] == [b"0", b"1", b"2", b"3"]
        assert await pool.request(b"nothing") == b""
        stats = pool.stats()
        assert (stats.workers, stats.busy, stats.requests, stats.answered) == (1, 0, 3, 3)
        assert pool.fault() is None

    with_pool(act)


def test_requests_are_spread_over_the_workers_and_wait_in_order() -> None:
    async def act(pool: WorkerPool) -> None:
        for _ in range(500):
            await asyncio.sleep(0 if pool.stats().workers == 2 else 0.01)
        pids = await asyncio.gather(*[pool.request(b"count 10") for _ in range(4)], pool.request(b"pid"))
        assert pids[:4] == [b"0123456789"] * 4
        both = {await pool.request(b"pid") for _ in range(2)} | {
            *(await asyncio.gather(pool.request(b"pid"), pool.request(b"pid")))
        }
        assert both == {str(pid).encode() for pid in pool.pids}
        assert await pool.request(b"threads") == b"3"

    with_pool(act, PoolConfig(workers=2, threads=3))


def test_what_is_cancelled_ends_between_two_pieces() -> None:
    async def act(pool: WorkerPool) -> None:
        async with aclosing(pool.stream(b"count 10000")) as pieces:  # 50 s
            assert await anext(pieces) == b"0"
            waiting = asyncio.ensure_future(pool.request(b"echo never"))
            await asyncio.sleep(0)
            assert pool.stats().waiting == 1
            waiting.cancel()
        assert await pool.request(b"echo next") == b"next"
        assert (pool.stats().cancelled, pool.stats().restarts) == (2, 0)

    with_pool(act)


def test_a_failure_is_of_one_request() -> None:
    async def act(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match="test: RuntimeError: no such voice") as caught:
            await pool.request(b"fail no such voice")
        assert not caught.value.retryable
        assert await pool.request(b"echo on") == b"on"
        assert (pool.stats().failed, pool.stats().restarts) == (1, 0)

    with_pool(act)


def test_a_request_outlives_its_worker(tmp_path: Path) -> None:
    async def act(pool: WorkerPool) -> None:
        assert await pool.request(f"die_once {tmp_path / 'died'}".encode()) == b"second life"
        stats = pool.stats()
        assert (stats.restarts, stats.retried, stats.failed) == (1, 1, 0)

    with_pool(act)


def test_a_request_that_kills_workers_is_given_up() -> None:
    async def act(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match="its worker died: exit status 7") as caught:
            await pool.request(b"die")
        assert caught.value.retryable and pool.stats().restarts == 2
        assert pool.fault() == "no test worker is ready: exit status 7"
        assert await pool.request(b"echo again") == b"again"

    with_pool(act)


def test_an_answer_that_had_begun_is_not_begun_again() -> None:
    async def act(pool: WorkerPool) -> None:
        pieces = []
        with pytest.raises(WorkerError, match="its worker died"):
            async with aclosing(pool.stream(b"begin_and_die")) as stream:
                async for piece in stream:
                    pieces.append(piece)  # noqa: PERF401
        assert pieces == [b"begun"]

    with_pool(act)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_stopped_from_outside_is_replaced(number: int) -> None:
    async def act(pool: WorkerPool) -> None:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)  # it has not answered when it is killed
        asked = asyncio.ensure_future(pool.request(b"count 40"))
        await asyncio.sleep(0)
        os.kill(pid, number)
        assert await asked == b"".join(str(n).encode() for n in range(40))
        assert pool.pids != [pid]
        assert (pool.stats().retried, pool.stats().hung) == (1, number == signal.SIGSTOP)

    with_pool(act)


def test_one_that_hangs_is_killed() -> None:
    async def act(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match="its worker hung"):
            await pool.request(b"hang")
        assert pool.stats().hung == 1

    with_pool(act, PoolConfig(hang_s=0.3, retries=0))


def test_an_engine_that_cannot_be_made_says_why() -> None:
    async def act(pool: WorkerPool) -> None:
        raise AssertionError("started")

    with pytest.raises(WorkerError, match="test: ValueError: there is no model"):
        with_pool(act, unfit=True)


def test_a_request_does_not_wait_for_ever_for_a_worker_that_does_not_come() -> None:
    async def act(pool: WorkerPool) -> None:
        pool.first_words = b"no settings"
        asked = asyncio.ensure_future(pool.request(b"die"))
        await asyncio.sleep(0)
        with pytest.raises(WorkerError, match="no test worker is ready") as caught:
            await pool.request(b"echo never")
        assert caught.value.retryable and pool.stats().waiting == 0
        await asyncio.gather(asked, return_exceptions=True)

    with_pool(act, PoolConfig(hang_s=0.5, nice=0, wait_s=1.0))


def test_too_many_requests_are_refused_and_closing_fails_the_rest() -> None:
    async def main() -> None:
        pool = WorkerPool(MODULE, {}, PoolConfig(queue=1), name="test")
        await pool.start()
        asked = [asyncio.ensure_future(pool.request(b"count 1000")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(WorkerError, match="too many requests wait") as caught:
            await pool.request(b"echo no")
        assert caught.value.retryable
        await pool.close()
        for request in asked:
            with pytest.raises(WorkerError, match="the pool is closed"):
                await request
        with pytest.raises(WorkerError, match="the pool is closed"):
            await pool.request(b"echo no")

    asyncio.run(main())
