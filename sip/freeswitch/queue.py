"""Callers who wait for people: who is next, what they hear of it, and who is called for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from media.errors import TransferError
from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.leg import FreeswitchLeg

log = logging.getLogger(__name__)

Announce = Callable[[FreeswitchLeg, str], Awaitable[None]]
Connect = Callable[[str], Awaitable[None]]
"""Connects the caller to one person. Raises TransferError."""


class CallQueues:
    """Of one edge. Only the first in a queue is offered to its people; the others wait for their turn."""

    def __init__(self, config: FreeswitchConfig, announce: Announce) -> None:
        self._config, self._announce = config, announce
        self._waiting: dict[str, list[FreeswitchLeg]] = {name: [] for name in config.queues}
        self._moved: dict[str, asyncio.Event] = {name: asyncio.Event() for name in config.queues}

    @property
    def lengths(self) -> dict[str, int]:
        """Callers waiting, by queue."""
        return {name: len(legs) for name, legs in self._waiting.items()}

    async def wait(self, name: str, leg: FreeswitchLeg, connect: Connect) -> None:
        """Until somebody has taken the caller. Raises TransferError when nobody does in time."""
        if name not in self._waiting:
            raise TransferError(f"there is no queue {name!r} in freeswitch.queues")
        queue = self._waiting[name]
        queue.append(leg)
        try:
            async with asyncio.timeout(self._config.queue_wait_s):
                await self._serve(name, leg, connect)
        except TimeoutError:
            raise TransferError(f"nobody came within {self._config.queue_wait_s:g} s") from None
        finally:
            queue.remove(leg)
            self._moved[name].set()
            self._moved[name] = asyncio.Event()

    async def _serve(self, name: str, leg: FreeswitchLeg, connect: Connect) -> None:
        queue, told = self._waiting[name], 0
        while True:
            position = queue.index(leg) + 1
            if position != told and self._config.queue_position:
                await self._announce(leg, self._config.queue_position.format(position=position))
                told = position
            if position == 1:
                if await self._offer(name, connect):
                    return
                told = 0  # said again each round
            if leg.channel.hung_up.done():
                raise TransferError("the caller has hung up")
            try:
                async with asyncio.timeout(self._config.queue_round_s):
                    await self._moved[name].wait()
            except TimeoutError:
                pass

    async def _offer(self, name: str, connect: Connect) -> bool:
        for person in self._config.queues[name]:
            try:
                await connect(person)
                return True
            except TransferError as error:
                log.info("nobody answers there", extra={"queue": name, "error": str(error)})
        return False
