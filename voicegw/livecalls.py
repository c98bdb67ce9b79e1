"""The calls in progress: who holds a place, and waiting until all are gone."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from media.leg import CallInfo, CallLeg
from media.observe import CallObserver
from media.session import CallSession


@dataclass(slots=True, eq=False)
class LiveCall:
    """One call that holds a place, from its INVITE to its end."""

    info: CallInfo
    flow: str
    task: "asyncio.Task[object]"
    epoch: float  # loop time of its INVITE
    state: str = "ringing"  # ringing, answered, closing
    progress: str = ""  # of an outbound call that rings: trying, ringing, early-media
    answered_at: float | None = None  # loop time
    leg: CallLeg | None = field(default=None, repr=False)
    session: CallSession | None = field(default=None, repr=False)
    journal: CallObserver | None = field(default=None, repr=False)


class LiveCalls:
    """All calls that hold a place."""

    def __init__(self) -> None:
        self._calls: dict[str, LiveCall] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(tuple(self._calls.values()))

    def find(self, call_id: str) -> LiveCall | None:
        """The call of that id."""
        return self._calls.get(call_id)

    def of_carrier(self, carrier_id: str) -> LiveCall | None:
        """The call that its carrier calls so."""
        mine = (c for c in self if carrier_id in {c.info.carrier_id, c.leg.info.carrier_id if c.leg else ""})
        return next(mine, None)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._calls

    def add(self, call: LiveCall) -> None:
        """Take a place. The id is new."""
        self._calls[call.info.call_id] = call

    def remove(self, call: LiveCall) -> None:
        """Give the place back."""
        del self._calls[call.info.call_id]
        self._changed.set()

    async def empty(self, timeout_s: float) -> bool:
        """Wait until nobody is left; False when the time is up first."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._calls:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
