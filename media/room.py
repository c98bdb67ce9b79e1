"""A room of people who hear each other: two legs back to back, a conference, a supervisor's ear. A core.

Each member puts in its own audio and takes out everybody else's (mix-minus), each at its own packet times
and rate. Sums saturate. Whom somebody is heard by is his `audience`: everybody, some, or nobody.

    put --> level, speaker --> a queue for each listener --> take: the sum of one frame of each
"""

from collections import deque
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from media.liverate import LiveRate

QUEUE = 3  # frames: two legs beat in different slots of the packet time, and a stalled one catches up
SPEAKING = 300.0  # mean level (of 32768) of somebody who speaks
SMOOTH = 0.2  # of the level: 100 ms
STEADY = 10  # frames, 200 ms, after which another one is the speaker: no cough takes the floor

Sound = NDArray[np.int16]


class Member:
    """One party in a room. Made by `Room.join`."""

    def __init__(self, room: "Room", name: str, rate: int) -> None:
        self.name, self._room, self._rate = name, room, rate
        self.muted = False
        """Nobody hears it."""
        self.deaf = False
        """It hears nobody: it is on hold."""
        self.audience: Collection[str] | None = None
        """Names of those who hear it; None: everybody."""
        self.level = 0.0  # of 32768
        self.dropped = 0  # frames that a listener was too slow for
        self._queues: dict[str, deque[bytes]] = {}  # by who said it
        self._in = LiveRate(rate, room.rate) if rate != room.rate else None
        self._out = LiveRate(room.rate, rate) if rate != room.rate else None

    def put(self, pcm: bytes) -> None:
        """Say one frame."""
        if self._in is not None:
            pcm = self._in.process(pcm)
        self._room.said(self, pcm)

    def take(self) -> bytes | None:
        """One frame of what the others said; None: nobody said anything."""
        frames = [queue.popleft() for queue in self._queues.values() if queue]
        if not frames or self.deaf:
            return None
        pcm = frames[0] if len(frames) == 1 else _sum(frames)
        return pcm if self._out is None else self._out.process(pcm)

    def hear(self, name: str, pcm: bytes) -> None:
        """For the room: somebody said this."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = deque(maxlen=QUEUE)
        if len(queue) == QUEUE:
            self.dropped += 1
        queue.append(pcm)

    def forget(self, name: str) -> None:
        """For the room: somebody has left."""
        self._queues.pop(name, None)

    def leave(self) -> None:
        """Go. Idempotent."""
        self._room.left(self)


class Room:
    """Belongs to one call."""

    def __init__(self, rate: int, on_speaker: Callable[[str], None] | None = None) -> None:
        """`rate` in Hz, of the mix; `on_speaker` is told who speaks, when that changes."""
        self.rate = rate
        self._on_speaker = on_speaker
        self._members: dict[str, Member] = {}
        self.speaker = ""
        """Who spoke last; "" before anybody did."""
        self._rising: tuple[str, int] = ("", 0)  # who may be the next, and for how many frames

    @property
    def names(self) -> tuple[str, ...]:
        """Who is here, in the order of coming."""
        return tuple(self._members)

    def join(self, name: str, rate: int) -> Member:
        """Come in; a name that is taken gets a number. `rate` in Hz."""
        free, number = name, 2
        while free in self._members:
            free, number = f"{name}-{number}", number + 1
        member = self._members[free] = Member(self, free, rate)
        return member

    def left(self, member: Member) -> None:
        """For members."""
        if self._members.pop(member.name, None) is not None:
            for other in self._members.values():
                other.forget(member.name)

    def said(self, member: Member, pcm: bytes) -> None:
        """For members: `member` said this, at the room's rate."""
        self._measure(member, pcm)
        if member.muted or member.name not in self._members:
            return
        for other in self._members.values():
            if other is not member and (member.audience is None or other.name in member.audience):
                other.hear(member.name, pcm)

    def _measure(self, member: Member, pcm: bytes) -> None:
        level = float(np.abs(np.frombuffer(pcm, "<i2")[::4].astype(np.int32)).mean())
        member.level += (level - member.level) * SMOOTH
        if member.level < SPEAKING or member.muted or member.name == self.speaker:
            return
        now = self._members.get(self.speaker)
        if now is not None and now.level > member.level:
            return
        name, frames = self._rising
        self._rising = (member.name, frames + 1 if name == member.name else 1)
        if self._rising[1] >= STEADY:
            self.speaker, self._rising = member.name, ("", 0)
            if self._on_speaker is not None:
                self._on_speaker(member.name)


def _sum(frames: list[bytes]) -> bytes:
    """All at once, saturating."""
    shortest = min(map(len, frames))
    total = np.frombuffer(frames[0][:shortest], "<i2").astype(np.int32)
    for frame in frames[1:]:
        total += np.frombuffer(frame[:shortest], "<i2")
    return np.clip(total, -32768, 32767).astype("<i2").tobytes()
