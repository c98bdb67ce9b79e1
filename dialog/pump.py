"""Takes items from an async generator with patience: whoever waits may do something else meanwhile.

The generator runs in one task from its first step to its last, as generators with time-outs inside want it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")


class Pump(Generic[T]):
    """Owns `source`; `close` must follow."""

    def __init__(self, source: AsyncGenerator[T, None], name: str) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(source), name=name)

    async def next(self, timeout_s: float | None = None) -> T | None:
        """The next item, None at the end. Raises what the generator raises, and TimeoutError: then nothing is
        lost, and it may be called again."""
        async with asyncio.timeout(timeout_s):
            item = await self._queue.get()
        if item is None:
            await self._task
        return item

    async def close(self) -> None:
        """Stop the generator and wait until it has let go."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # whoever closes does not want to know

    async def _run(self, source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    self._queue.put_nowait(item)
        finally:
            self._queue.put_nowait(None)
