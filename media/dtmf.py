"""Keys pressed, as telephone events (RFC 4733): what comes in, and what goes out. A core.

One press is many packets with the same timestamp and a growing duration; the last is sent three
times, with the E bit. Any of them may be lost; a press is reported once, at the first that comes.
"""

import struct
from collections import deque
from dataclasses import dataclass

DIGITS = "0123456789*#ABCD"  # RFC 4733, table 3: events 0-15
VOLUME = 10  # -10 dBm0, the usual level of a key (RFC 4733, section 2.3.3)
END_PACKETS = 3  # RFC 4733, section 2.5.1.4
PACKET_MS = 20
_EVENT = struct.Struct("!BBH")  # event, E bit + reserved + volume, duration in ticks
_END = 0x80


def valid_keys(digits: str) -> str:
    """The keys in upper case. Raises ValueError for what is no key."""
    keys = digits.upper()
    wrong = set(keys) - set(DIGITS)
    if wrong:
        raise ValueError(f"no telephone keys: {''.join(sorted(wrong))!r}")
    return keys


class EventReceiver:
    """Telephone events of one source -> digits."""

    __slots__ = ("_duration", "_ended", "_event", "_last")

    def __init__(self) -> None:
        self._last: int | None = None  # timestamp of the newest press
        self._event = 0
        self._duration = 0  # ticks
        self._ended = False

    def packet(self, timestamp: int, payload: bytes, *, marker: bool) -> str | None:
        """The digit, if this packet begins a press that was not known. Anything else gives None."""
        if len(payload) < _EVENT.size:
            return None
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(DIGITS):
            return None  # flash hook, fax tones, ...
        since = 1 if self._last is None else timestamp - self._last & 0xFFFFFFFF
        if since > 0x7FFFFFFF:
            return None  # of the press before, overtaken by this one
        known = since == 0 or (
            # RFC 4733, 2.5.1.3: a press longer than 65535 ticks goes on with a new timestamp where
            # the old segment ends. Phones that move the timestamp with each packet look the same.
            self._last is not None
            and event == self._event
            and not (marker or self._ended)
            and since <= self._duration
        )
        self._last, self._event = timestamp, event
        self._duration = max(duration, self._duration) if since == 0 else duration
        self._ended = bool(flags & _END) or (self._ended and since == 0)
        return None if known else DIGITS[event]

    def reset(self) -> None:
        """Another source, with a timeline of its own."""
        self._last = None


@dataclass(frozen=True, slots=True)
class EventPacket:
    """One packet to send."""

    payload: bytes
    timestamp: int  # when the press began
    marker: bool


class EventSender:
    """Digits -> telephone events, one packet time after the other."""

    def __init__(self, clock: int, press_ms: int = 100, pause_ms: int = 80) -> None:
        """`clock` in Hz. Q.24 wants 40 ms of each at least; slow machines at the far end want more."""
        self._step = clock * PACKET_MS // 1000
        self._packets = max(1, press_ms // PACKET_MS)
        self._pauses = max(2, pause_ms // PACKET_MS)
        self._waiting: deque[str] = deque()
        self._digit: str | None = None
        self._number = 0  # packets of this press so far
        self._start = 0  # timestamp
        self._pause = 0  # packet times still to wait

    @property
    def busy(self) -> bool:
        """Whether a key is or will be pressed; audio has to wait."""
        return bool(self._digit or self._waiting or self._pause)

    def press(self, digits: str) -> None:
        """Queue keys. Raises ValueError for what is no key."""
        self._waiting.extend(valid_keys(digits))

    def tick(self, timestamp: int) -> list[EventPacket]:
        """What to send now, each packet time while `busy`; nothing in the pause after a key."""
        if self._digit is None:
            if self._pause:
                self._pause -= 1
                return []
            self._digit = self._waiting.popleft()
            self._number, self._start = 0, timestamp
        self._number += 1
        event, duration = DIGITS.index(self._digit), min(self._number * self._step, 0xFFFF)
        if self._number < self._packets:
            payload = _EVENT.pack(event, VOLUME, duration)
            return [EventPacket(payload, self._start, marker=self._number == 1)]
        self._digit, self._pause = None, self._pauses
        payload = _EVENT.pack(event, _END | VOLUME, duration)
        first = EventPacket(payload, self._start, marker=self._number == 1)
        return [first] + [EventPacket(payload, self._start, marker=False)] * (END_PACKETS - 1)


class DigitMerger:
    """The same press by several ways (telephone event, INFO, tones in the audio) -> one digit.

    Each way's digits come in order, so the nth on one is the nth on the other; a digit that its
    counterpart does not confirm in time came by one way only.
    """

    WINDOW_S = 1.0  # INFO may be sent at the end of a press, and retransmitted once

    def __init__(self) -> None:
        self._recent: deque[tuple[set[str], str, float]] = deque()  # ways so far, digit, time

    def is_new(self, way: str, digit: str, now: float) -> bool:
        """Whether this is the first news of the press. `now` in seconds of any clock."""
        while self._recent and now - self._recent[0][2] > self.WINDOW_S:
            self._recent.popleft()
        for ways, known, _ in self._recent:
            if known == digit and way not in ways:
                ways.add(way)
                return False
        self._recent.append(({way}, digit, now))
        return True
