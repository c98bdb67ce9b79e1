"""Stretches of several calls in one request: whatever becomes of it, nobody waits for ever."""

import asyncio
from typing import Any

import pytest

from media.errors import ProviderError
from media.stt.batch import Batcher
from media.workers.pool import PoolConfig
from media.workers.wire import pack
from tests import clock


class Pool:
    """Answers with what it is told to."""

    def __init__(self, *answers: bytes | ProviderError) -> None:
        self.config = PoolConfig(workers=1)
        self._answers = list(answers)

    async def request(self, payload: bytes) -> bytes:
        await asyncio.sleep(0.1)
        answer = self._answers.pop(0)
        if isinstance(answer, ProviderError):
            raise answer
        return answer


def asked(pool: Any) -> list[bytes | BaseException]:
    """The first goes out alone, the other two together."""

    async def scenario() -> list[bytes | BaseException]:
        batcher = Batcher(pool, 8)
        asking = [batcher.ask({}, b"\0\0", urgent=False) for _ in range(3)]
        return await asyncio.gather(*asking, return_exceptions=True)

    return clock.run(scenario())


def test_each_gets_its_own_part_of_the_answer() -> None:
    assert asked(Pool(pack({"sizes": [1]}, b"a"), pack({"sizes": [2, 1]}, b"bbc"))) == [b"a", b"bb", b"c"]


def test_a_request_that_the_worker_fails_at_says_nothing_of_the_next() -> None:
    first, *others = asked(Pool(ProviderError("ValueError: odd"), pack({"sizes": [1, 1]}, b"bc")))
    assert isinstance(first, ProviderError) and first.retryable and "odd" in str(first)
    assert others == [b"b", b"c"]


@pytest.mark.parametrize("answer", [b"", b"rubbish", pack({}, b"a"), pack({"sizes": [1]}, b"a")])
def test_an_answer_that_cannot_be_read_fails_all_who_wait_for_it(answer: bytes) -> None:
    first, *others = asked(Pool(pack({"sizes": [1]}, b"a"), answer))
    assert first == b"a"
    for error in others:
        assert isinstance(error, ProviderError) and error.retryable
