"""RTCP of one call (RFC 3550, section 6): what we saw of the far end, and what it saw of us. A core.

Each side tells the other every few seconds how many packets came, how many were lost and how unevenly
they came (report blocks); who sends adds when (sender report). From the echo of its own time a side
learns the round trip. Times in seconds of any clock that runs evenly: RFC 3550, 4, lets a sender that knows
no wall clock take another.
"""

import struct
from dataclasses import dataclass

from media.quality import StreamQuality

SR, RR, SDES, BYE, APP = 200, 201, 202, 203, 204
INTERVAL_S = 5.0  # RFC 3550, 6.2: the least for a session of two; ours varies by half of it
MOST = 1_500  # bytes of a compound packet; larger ones do not come over networks
_HEADER = struct.Struct("!BBH")  # version and count, type, length in words less one
_SENDER = struct.Struct("!IIIII")  # NTP seconds, fraction, RTP timestamp, packets, octets
_BLOCK = struct.Struct("!IIIIII")  # SSRC, fraction and lost, highest, jitter, last SR, delay since
_CNAME = 1


class Reception:
    """Counts the packets of one source for its report block (RFC 3550, A.1 and A.3)."""

    __slots__ = ("_expected_before", "_received_before", "base", "highest", "received", "restarts")

    def __init__(self) -> None:
        self.restarts = 0
        self.restart()

    def restart(self) -> None:
        """Another source."""
        self.base = self.highest = -1  # extended sequence numbers
        self.received = 0
        self._expected_before = self._received_before = 0
        self.restarts += 1

    def arrived(self, sequence: int) -> None:
        """A packet came."""
        self.received += 1
        if self.base < 0:
            self.base = self.highest = sequence
            return
        step = (sequence - self.highest + 0x8000 & 0xFFFF) - 0x8000
        if step > 0:
            self.highest += step

    @property
    def lost(self) -> int:
        """Never came, so far. Duplicates may hide some."""
        return max(0, self._expected() - self.received)

    def fraction(self) -> int:
        """Lost since the last call, in 1/256."""
        expected = self._expected() - self._expected_before
        received = self.received - self._received_before
        self._expected_before, self._received_before = self._expected(), self.received
        lost = expected - received
        return min(255, lost * 256 // expected) if expected > 0 and lost > 0 else 0

    def _expected(self) -> int:
        return 0 if self.base < 0 else self.highest - self.base + 1


@dataclass(frozen=True, slots=True)
class Sent:
    """What we have sent so far, for a sender report."""

    packets: int
    octets: int  # of payload
    timestamp: int  # RTP time of now


class RtcpSession:
    """Both ends' reports. Garbage is counted, and changes nothing."""

    def __init__(self, ssrc: int, first: int, cname: str, clock: int) -> None:
        """`ssrc` of what we send and `first` its first sequence number; `cname` names us and tells nothing
        of us; `clock` in Hz of our timestamps."""
        self._ssrc, self._first, self._cname = ssrc, first, cname.encode()[:255]
        self.clock = clock
        """Of our timestamps, in Hz; another one after a change of codec."""
        self._last_sr = 0  # middle 32 bits of the far end's NTP time
        self._last_sr_at = 0.0  # when it came
        self._far: StreamQuality | None = None
        self.round_trip_ms: float | None = None
        self.garbage = 0
        self.received = 0  # compound packets
        self.bye = False
        """The far end has said that its stream is over."""

    @property
    def far(self) -> StreamQuality | None:
        """What the far end reports of our stream; None if it says nothing."""
        return self._far

    # Sending

    def report(self, now: float, sent: Sent, source: int | None, seen: Reception, jitter: float) -> bytes:
        """A compound packet: SR or RR, and our name. `source` is the far end's SSRC, `jitter` in ticks."""
        blocks = b"" if source is None else self._block(now, source, seen, int(jitter))
        count = 1 if blocks else 0
        if sent.packets:
            seconds, fraction = _ntp(now)
            info = _SENDER.pack(
                seconds, fraction, sent.timestamp, sent.packets & 0xFFFFFFFF, sent.octets & 0xFFFFFFFF
            )
            head = _packet(SR, count, struct.pack("!I", self._ssrc) + info + blocks)
        else:
            head = _packet(RR, count, struct.pack("!I", self._ssrc) + blocks)
        return head + self._name()

    def goodbye(self, now: float, sent: Sent, source: int | None, seen: Reception, jitter: float) -> bytes:
        """The last one: our stream is over."""
        report = self.report(now, sent, source, seen, jitter)
        return report + _packet(BYE, 1, struct.pack("!I", self._ssrc))

    def _block(self, now: float, source: int, seen: Reception, jitter: int) -> bytes:
        delay = int((now - self._last_sr_at) * 65536) if self._last_sr else 0
        lost = min(seen.lost, 0x7FFFFF)
        return _BLOCK.pack(
            source,
            seen.fraction() << 24 | lost,
            max(0, seen.highest) & 0xFFFFFFFF,
            min(jitter, 0xFFFFFFFF),
            self._last_sr,
            min(delay, 0xFFFFFFFF),
        )

    def _name(self) -> bytes:
        item = struct.pack("!IBB", self._ssrc, _CNAME, len(self._cname)) + self._cname
        return _packet(SDES, 1, item + bytes(4 - len(item) % 4))

    # Receiving

    def receive(self, data: bytes, now: float) -> None:
        """A compound packet of the far end."""
        if len(data) > MOST or not self._walk(data, now):
            self.garbage += 1
        else:
            self.received += 1

    def _walk(self, data: bytes, now: float) -> bool:
        at = 0
        while at + 8 <= len(data):
            flags, kind, words = _HEADER.unpack_from(data, at)
            end = at + 4 * (words + 1)
            if flags >> 6 != 2 or end > len(data):
                return False
            self._one(kind, flags & 0x1F, data[at + 4 : end], now)
            at = end
        return at == len(data) and at > 0

    def _one(self, kind: int, count: int, body: bytes, now: float) -> None:
        if kind == SR and len(body) >= 24:
            seconds, fraction = struct.unpack_from("!II", body, 4)
            self._last_sr = (seconds & 0xFFFF) << 16 | fraction >> 16
            self._last_sr_at = now
            self._blocks(body[24:], count, now)
        elif kind == RR and len(body) >= 4:
            self._blocks(body[4:], count, now)
        elif kind == BYE:
            self.bye = True

    def _blocks(self, body: bytes, count: int, now: float) -> None:
        for n in range(min(count, len(body) // _BLOCK.size)):
            source, loss, highest, jitter, last, delay = _BLOCK.unpack_from(body, n * _BLOCK.size)
            if source != self._ssrc:
                continue
            lost = loss & 0xFFFFFF
            lost -= (lost & 0x800000) << 1  # signed: duplicates make it negative
            self._hear(max(0, lost), highest, jitter)
            if last:
                # RFC 3550, 6.4.1: A - LSR - DLSR, all in units of 1/65536 s.
                seconds, fraction = _ntp(now)
                arrival = (seconds & 0xFFFF) << 16 | fraction >> 16
                trip = (arrival - last - delay & 0xFFFFFFFF) / 65.536
                if trip < 60_000:  # else the far end's clock says nonsense
                    self.round_trip_ms = trip

    def _hear(self, lost: int, highest: int, jitter: int) -> None:
        sent = (highest - self._first & 0xFFFFFFFF) + 1
        self._far = StreamQuality(max(0, sent - lost), lost, jitter * 1000 / self.clock)


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def _ntp(now: float) -> tuple[int, int]:
    seconds = int(now)
    return seconds & 0xFFFFFFFF, int((now - seconds) * 2**32)
