"""Stretches of audio of several calls, recognised together by a worker that can do so.

A stretch goes out at once while a worker is idle; else it waits, and what waits goes out together. Finals go
before partials, since somebody waits for them.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from media.errors import UNREADABLE, ProviderError
from media.workers.pool import WorkerPool
from media.workers.wire import pack, unpack


@dataclass(slots=True, eq=False)
class _Item:
    header: Mapping[str, Any]
    pcm: bytes
    answer: "asyncio.Future[bytes]"


class Batcher:
    """Over one pool, whose worker answers {"items": [header, ...], "sizes": [bytes, ...]} + all audio with
    {"sizes": [...]} + all answers."""

    def __init__(self, pool: WorkerPool, most: int) -> None:
        """`most`: stretches in one request."""
        self._pool, self._most = pool, max(1, most)
        self._urgent: deque[_Item] = deque()
        self._others: deque[_Item] = deque()
        self._asking = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.largest = 0
        """The largest batch so far."""

    async def ask(self, header: Mapping[str, Any], pcm: bytes, *, urgent: bool) -> bytes:
        """The worker's answer. Raises ProviderError. Cancelling it takes the stretch out of the queue; one
        that is being recognised is only forgotten."""
        item = _Item(header, pcm, asyncio.get_running_loop().create_future())
        queue = self._urgent if urgent else self._others
        queue.append(item)
        self._send()
        try:
            return await item.answer
        except asyncio.CancelledError:
            if item in queue:
                queue.remove(item)
            raise

    def _send(self) -> None:
        while (self._urgent or self._others) and self._asking < max(1, self._pool.config.workers):
            batch: list[_Item] = []
            for queue in (self._urgent, self._others):
                while queue and len(batch) < self._most:
                    batch.append(queue.popleft())
            self._asking += 1
            self.largest = max(self.largest, len(batch))
            task = asyncio.create_task(self._ask(batch), name="batch")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, batch: list[_Item]) -> None:
        header = {"items": [item.header for item in batch], "sizes": [len(item.pcm) for item in batch]}
        try:
            answer = await self._pool.request(pack(header, b"".join(item.pcm for item in batch)))
            found, body = unpack(answer)
            sized = list(zip(batch, found["sizes"], strict=True))  # before the first is told anything
            at = 0
            for item, size in sized:
                if not item.answer.done():
                    item.answer.set_result(body[at : at + size])
                at += size
        except (ProviderError, struct.error, *UNREADABLE) as error:
            broken = f"the worker's answer to {len(batch)} stretches cannot be read: {error!r}"
            reason = str(error) if isinstance(error, ProviderError) else broken
            failed = ProviderError(reason, retryable=True)  # of these stretches: others may be understood
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(failed)
        finally:
            self._asking -= 1
            self._send()
