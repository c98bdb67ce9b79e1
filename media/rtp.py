"""RTP packets (RFC 3550, section 5.1): parse, build, count. A core.

0 V=2 P X CC | M PT | sequence number     P: padded   X: header extension   CC: count of CSRCs
4 timestamp, ticks of the codec's clock   M: first packet after a silence
8 SSRC, which source                      then CSRCs, the extension and the payload
"""

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("!BBHII")
HEADER_SIZE = _HEADER.size
_VERSION_2 = 0x80

# Fields of a parsed packet: a tuple, since one is made for every packet of every call.
Packet = tuple[int, bool, int, int, int, bytes]  # payload type, marker, sequence, timestamp, SSRC, payload


def parse(data: bytes) -> Packet | None:
    """The packet in a datagram, or None if it is not RTP of version 2. Never raises."""
    if len(data) < HEADER_SIZE:
        return None
    flags, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if flags == _VERSION_2:  # no padding, no extension, no CSRC: nearly every packet there is
        return kind & 0x7F, kind > 0x7F, sequence, timestamp, ssrc, data[HEADER_SIZE:]
    if flags >> 6 != 2:
        return None
    start, end = HEADER_SIZE + 4 * (flags & 0x0F), len(data)
    if flags & 0x10:  # RFC 3550, 5.3.1: profile, length in words without these four bytes
        if start + 4 > end:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if flags & 0x20:  # the last byte counts the padding, itself included
        if not data[-1]:
            return None
        end -= data[-1]
    if start > end:
        return None
    return kind & 0x7F, kind > 0x7F, sequence, timestamp, ssrc, data[start:end]


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram is RTCP that came to the RTP port (RFC 5761, section 4: types 192-223)."""
    return len(data) >= 8 and data[0] >> 6 == 2 and 192 <= data[1] <= 223


class RtpSource:
    """Numbers the packets that we send: one SSRC, one sequence, one timeline."""

    def __init__(self, ssrc: int, sequence: int, timestamp: int) -> None:
        """All three should be random (RFC 3550, section 5.1): attackers must not guess them."""
        self.ssrc, self.sequence, self.timestamp = ssrc, sequence & 0xFFFF, timestamp & 0xFFFFFFFF
        self._mark = True  # the next packet is the first after a silence

    def packet(self, payload_type: int, payload: bytes, ticks: int) -> bytes:
        """A packet of audio that lasts `ticks`."""
        kind = payload_type
        if self._mark:
            kind |= 0x80
            self._mark = False
        header = _HEADER.pack(_VERSION_2, kind, self.sequence, self.timestamp, self.ssrc)
        self.sequence = self.sequence + 1 & 0xFFFF
        self.timestamp = self.timestamp + ticks & 0xFFFFFFFF
        return header + payload

    def event(self, payload_type: int, payload: bytes, timestamp: int, *, marker: bool) -> bytes:
        """A packet of something that began at `timestamp`, outside the flow of audio."""
        kind = payload_type | 0x80 if marker else payload_type
        header = _HEADER.pack(_VERSION_2, kind, self.sequence, timestamp, self.ssrc)
        self.sequence = self.sequence + 1 & 0xFFFF
        return header + payload

    def pause(self, ticks: int) -> None:
        """Nothing is sent for so long; time goes on, and the next packet is marked."""
        self.timestamp = self.timestamp + ticks & 0xFFFFFFFF
        self._mark = True


@dataclass(slots=True)
class ReceptionStats:
    """What came in, for the timeline and the metrics. Packets, unless named otherwise."""

    received: int = 0
    bytes: int = 0  # of payload
    lost: int = 0  # never came
    late: int = 0  # came after their turn
    reordered: int = 0  # overtaken by a later one, yet in time
    duplicate: int = 0
    discarded: int = 0  # dropped to catch up
    wrong_type: int = 0  # a payload type that was not agreed on
    garbage: int = 0  # not RTP
    foreign: int = 0  # from an address that we do not listen to
    rtcp: int = 0
    concealed: int = 0  # frames that were made up
    noise: int = 0  # comfort noise
    shortened: int = 0  # times that sound was left out to shorten the delay
    lengthened: int = 0  # times that sound was put in to lengthen it
    resets: int = 0  # new source, or a jump in its numbers
    jitter_ms: float = 0.0  # RFC 3550, A.8: smoothed deviation of transit times
    depth_ms: float = 0.0  # delay that the jitter buffer aims at


class JitterMeter:
    """Interarrival jitter (RFC 3550, section A.8)."""

    __slots__ = ("_clock", "_transit", "ticks")

    def __init__(self, clock: int) -> None:
        self._clock = clock  # Hz
        self._transit: float | None = None
        self.ticks = 0.0

    def arrived(self, timestamp: int, now: float) -> None:
        """A packet of this timestamp came at `now`, in seconds of any clock."""
        transit = now * self._clock - timestamp
        if self._transit is not None:
            deviation = abs(transit - self._transit)
            # A jump of the timestamps (or their wrap after 2**32) is no jitter.
            if deviation < self._clock:
                self.ticks += (deviation - self.ticks) / 16
        self._transit = transit

    @property
    def ms(self) -> float:
        """The estimate in milliseconds."""
        return self.ticks * 1000 / self._clock
