"""Events in order: one bounded queue for each channel that somebody follows.

Dispatching is a dictionary look-up and an append, so a slow reader delays nobody else; a queue that runs over
loses what matters least, and says so.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from sip.esl.counters import EslCounters
from sip.esl.messages import Event

# Kept beyond the limit, up to twice of it: without these a call's end or a key would be missed.
VITAL = frozenset({
    "CHANNEL_ANSWER", "CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY", "DTMF",
    "CHANNEL_EXECUTE_COMPLETE", "BACKGROUND_JOB", "CHANNEL_BRIDGE", "CHANNEL_UNBRIDGE",
})  # fmt: skip
QUEUE = 500  # events; a call makes 25 to 60 from its start to its end


class EventQueue:
    """One reader, in order."""

    def __init__(self, counters: EslCounters, limit: int = QUEUE) -> None:
        self._counters, self._limit = counters, limit
        self._events: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """Never blocks; a full queue drops the event, unless it is vital."""
        if self._closed:
            return
        limit = 2 * self._limit if event.name in VITAL else self._limit
        if len(self._events) >= limit:
            self._counters.dropped += 1
            return
        self._events.append(event)
        self._ready.set()

    def close(self) -> None:
        """No more events: iteration ends after those in the queue. Idempotent."""
        self._closed = True
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            self._ready.clear()
            await self._ready.wait()


class Follower:
    """Whoever is told of a channel's events, at once and in order. Returns at once, never raises."""

    def feed(self, event: Event) -> None:
        """The next event of the channel."""
        raise NotImplementedError


class EventRouter:
    """Who gets which event."""

    def __init__(self, counters: EslCounters) -> None:
        self._counters = counters
        self.channels: dict[str, Follower] = {}

    @contextmanager
    def following(self, channel: str, follower: Follower) -> Iterator[None]:
        """Hand the channel's events to `follower` inside the block; nothing is left behind."""
        self.channels[channel] = follower
        try:
            yield
        finally:
            self.channels.pop(channel, None)

    def dispatch(self, event: Event) -> None:
        """To the channel's follower."""
        follower = self.channels.get(event.channel)
        if follower is not None:
            follower.feed(event)
        elif event.channel:
            self._counters.unknown += 1
