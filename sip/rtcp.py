"""Reports of one call's media (RTCP): when they go, and what both directions are worth.

Beside the audio where the far end agrees (RFC 5761), else on the port after it, from a socket of our own.
"""

import random
import secrets
from collections.abc import Callable

from media.quality import CallQuality, StreamQuality
from media.rtcp import INTERVAL_S, RtcpSession, Sent
from media.rtp import RtpSource
from media.rtpstream import FRAME_MS, RtpReceiver
from sip.rtpmedia import MediaStats

HEADER = 12  # bytes of an RTP header: reports count payload only


class Reports:
    """Of one call. The leg says when time passes."""

    def __init__(self, source: RtpSource, stats: MediaStats, send: Callable[[bytes], object]) -> None:
        """`send` gets each report."""
        self._source, self._stats, self._send = source, stats, send
        self._first = source.sequence
        self._session: RtcpSession | None = None
        self._receiver: RtpReceiver | None = None
        self._due = 0  # packet times until the next report

    def agree(self, clock: int, receiver: RtpReceiver) -> None:
        """The codec's clock, in Hz, is known, or another one, and who counts what comes."""
        self._receiver = receiver
        if self._session is not None:
            self._session.clock = clock
        else:
            # RFC 7022: a name that tells nothing, new for each call.
            name = secrets.token_urlsafe(12)
            self._session = RtcpSession(self._source.ssrc, self._first, name, clock)
            self._due = _beats(INTERVAL_S / 2)

    def received(self, data: bytes, now: float) -> None:
        """A report of the far end."""
        self._stats.received.rtcp += 1
        if self._session is not None:
            self._session.receive(data, now)

    def tick(self, now: float) -> None:
        """A packet time has passed."""
        self._due -= 1
        if self._due <= 0:
            # RFC 3550, 6.3.1: half to one and a half times the interval, so that nobody keeps step.
            self._due = _beats(INTERVAL_S * random.uniform(0.5, 1.5))
            self._write(now, bye=False)

    def close(self, now: float) -> None:
        """Say goodbye."""
        self._write(now, bye=True)

    def quality(self) -> CallQuality:
        """Both directions so far."""
        received = self._stats.received
        if self._receiver is not None:
            self._receiver.update_stats()
        stream = StreamQuality(
            received.received, received.lost + received.late, received.jitter_ms, received.depth_ms
        )
        session = self._session
        if session is None:
            return CallQuality(stream)
        return CallQuality(stream, session.far, session.round_trip_ms)

    def _write(self, now: float, *, bye: bool) -> None:
        session, receiver, out = self._session, self._receiver, self._stats.sent
        if session is None or receiver is None:
            return
        sent = Sent(out.packets, out.bytes - HEADER * out.packets, self._source.timestamp)
        make = session.goodbye if bye else session.report
        self._send(make(now, sent, receiver.ssrc, receiver.reception, receiver.jitter_ticks))


def _beats(seconds: float) -> int:
    return round(seconds * 1000 / FRAME_MS)
