"""A bad network for one direction of a call's packets: loss, delay, jitter, reordering, duplicates.

A core: told when a packet is sent, it says when its copies arrive. The same seed gives the same network.
Made for tests and simulated callers; no server uses it by itself.
"""

import random
from dataclasses import dataclass

LATE_MS = (20, 60)  # a packet that is overtaken comes this much after its time


@dataclass(frozen=True, slots=True)
class Impairment:
    """What the network does. Percentages are of packets."""

    loss: float = 0.0
    """Packets that never arrive, in percent."""
    burst: float = 1.0
    """How many are lost in a row, on average; 1: each by itself. Radio links lose 3 to 5."""
    delay_ms: int = 0
    """Constant delay."""
    jitter_ms: int = 0
    """Further delay, evenly spread from 0 to this; a queue, so packets stay in order."""
    reorder: float = 0.0
    """Packets that are overtaken by those after them, in percent."""
    duplicate: float = 0.0
    """Packets that arrive twice, in percent."""


class Channel:
    """One direction. Times in seconds of any clock."""

    def __init__(self, network: Impairment, seed: int | str) -> None:
        self._network, self._random = network, random.Random(seed)
        self._losing = False
        self._last = 0.0  # arrival of the newest packet in order
        self.lost = 0

    def arrivals(self, now: float) -> tuple[float, ...]:
        """When the copies of a packet that is sent now arrive; none if it is lost."""
        network, chance = self._network, self._random
        if self._lost():
            self.lost += 1
            return ()
        at = now + (network.delay_ms + chance.uniform(0, network.jitter_ms)) / 1000
        if chance.uniform(0, 100) < network.reorder:
            at = max(at, self._last) + chance.uniform(*LATE_MS) / 1000
        else:
            at = self._last = max(at, self._last)
        if chance.uniform(0, 100) < network.duplicate:
            return (at, at + 0.001)
        return (at,)

    def _lost(self) -> bool:
        """A chain of two states (Gilbert): bursts of `burst` packets, `loss` percent in all."""
        loss, burst = self._network.loss / 100, max(1.0, self._network.burst)
        if loss >= 1:
            return True
        # Where nothing ties packets together, a lost one tells nothing of the next.
        stay = 1 - 1 / burst if burst > 1 else loss
        enter = loss / (burst * (1 - loss)) if burst > 1 else loss
        self._losing = self._random.random() < (stay if self._losing else enter)
        return self._losing
