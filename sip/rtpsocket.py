"""The UDP sockets of one call: read what the latch believes, send to where it points.

One carries audio, and reports (RTCP) too where both sides agreed on that; else these have the next port.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from media.impairment import Channel
from media.rtp import is_rtcp
from sip.latch import Address, Latch
from sip.rtpmedia import MediaStats, RtpMedia
from sip.sdes import SrtpKeys
from sip.sdp import ON_HOLD
from sip.srtp import Srtp

log = logging.getLogger(__name__)

BURST = 64  # datagrams read at once: over a second of audio; whoever sends more must not hold up others
DATAGRAM = 2048  # bytes; larger ones are no audio


class RtpSocket:
    """Belongs to the running loop."""

    def __init__(
        self,
        media: RtpMedia,
        latch: Latch,
        stats: MediaStats,
        on_packet: Callable[[bytes], None],
        on_report: Callable[[bytes], None],
        host: str = "",
    ) -> None:
        """Binds a port, and drops what comes until `listen`. `host`: our address in the SDP. Raises
        PortsExhausted."""
        self._loop = asyncio.get_running_loop()
        self._ports, self._latch, self._stats = media.ports, latch, stats
        self._on_packet, self._on_report = on_packet, on_report
        self._network = media.network
        self._sock = media.ports.bind(self._loop.time(), ipv6=":" in host if host else None)
        self.port: int = self._sock.getsockname()[1]
        self._reports: socket.socket | None = None  # of a far end that wants them apart
        self._reports_to: Address | None = None  # None: beside the audio
        self._plausible: Callable[[bytes], bool] | None = None
        self._srtp: Srtp | None = None
        self._open = True
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def listen(self, plausible: Callable[[bytes], bool]) -> None:
        """From now on hand packets over. A new source must first send one that is `plausible`."""
        self._plausible = plausible

    def encrypt(self, keys: SrtpKeys | None) -> None:
        """From now on, both ways. None: plain RTP. Raises MissingExtra."""
        self._stats.cipher = keys.suite if keys is not None else ""
        if keys is None:
            self._srtp = None
        elif self._srtp is not None:
            self._srtp.rekey(keys)
        else:
            self._srtp = Srtp(keys, self._stats.srtp)

    def report_to(self, address: Address | None) -> None:
        """Where reports go and come: another port (RFC 3550, 11), or None, beside the audio (RFC 5761)."""
        self._reports_to = address
        if address is None:
            self._close_reports()
        elif self._reports is None and self._open:
            self._reports = self._ports.bind_next(self._sock)
            if self._reports is None:
                log.info("no port for RTCP: the far end's reports are not read", extra={"port": self.port})
            else:
                self._loop.add_reader(self._reports.fileno(), self._report_readable)

    def send(self, packet: bytes) -> None:
        """Never blocks or raises; what the network refuses is counted."""
        if self._network is None:
            self._put(packet)
        else:
            self._delayed(self._network.sent, lambda: self._put(packet))

    def send_report(self, packet: bytes) -> None:
        """The same for RTCP."""
        if not self._open:
            return
        protected = packet if self._srtp is None else self._srtp.protect_report(packet)
        sock, target = self._reports or self._sock, self._reports_to or self._latch.target
        if protected is None or _nowhere(target):
            return
        try:
            sock.sendto(protected, target)
        except OSError:
            return

    def _put(self, packet: bytes) -> None:
        sent = self._stats.sent
        if _nowhere(self._latch.target):
            return
        if self._srtp is not None:
            protected = self._srtp.protect(packet)
            if protected is None:
                return
            packet = protected
        try:
            self._sock.sendto(packet, self._latch.target)
        except OSError:  # no route, full buffer: the next packet may fare better
            sent.errors += 1
            return
        sent.packets += 1
        sent.bytes += len(packet)

    def drain(self) -> None:
        """Read all that has come in: before a late beat, whose packets the loop may not have read yet."""
        try:
            for _ in range(BURST):
                if not self._open:
                    return
                self._arrived(*self._sock.recvfrom(DATAGRAM))
        except OSError:
            return

    def close(self) -> None:
        """Give the ports back. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._close_reports()
            self._ports.release(self._sock, self._loop.time())

    def _close_reports(self) -> None:
        if self._reports is not None:
            self._loop.remove_reader(self._reports.fileno())
            self._reports.close()
            self._reports = None

    def _readable(self) -> None:
        try:
            data, source = self._sock.recvfrom(DATAGRAM)
        except OSError:  # nothing there after all, or an ICMP error of a packet we sent
            return
        self._arrived(data, source)

    def _arrived(self, data: bytes, source: Address) -> None:
        if self._network is None:
            self._datagram(data, source)
        else:
            self._delayed(self._network.received, lambda: self._datagram(data, source))

    def _delayed(self, channel: Channel, act: Callable[[], None]) -> None:
        """Do with a packet, and with each of its copies, what is due when it comes through `channel`."""

        def come() -> None:
            if self._open:
                act()

        for at in channel.arrivals(self._loop.time()):
            self._loop.call_at(at, come)

    def _datagram(self, data: bytes, source: Address) -> None:
        latch = self._latch
        if self._plausible is None:
            self._stats.early += 1
            return
        report = is_rtcp(data)  # RFC 5761; encrypted or not
        if self._srtp is None:
            clear: bytes | None = data
        else:  # before all else: who has no key cannot even be a new source
            clear = self._srtp.unprotect_report(data) if report else self._srtp.unprotect(data)
        if clear is None:
            return
        now = self._loop.time()
        if source != latch.source and not (self._plausible(clear) and latch.accepts(source, now)):
            self._stats.received.foreign += 1
            return
        if report:
            self._on_report(clear)
            return
        latch.packets += 1
        latch.heard_at = now
        self._on_packet(clear)

    def _report_readable(self) -> None:
        assert self._reports is not None
        try:
            data, source = self._reports.recvfrom(DATAGRAM)
        except OSError:
            return
        # Behind NAT its port is another than the SDP says; its host is the audio's.
        if not is_rtcp(data) or not self._latch.same_host(source):
            self._stats.received.foreign += 1
            return
        clear = data if self._srtp is None else self._srtp.unprotect_report(data)
        if clear is not None:
            self._reports_to = source
            self._on_report(clear)


def _nowhere(target: Address) -> bool:
    """Whether an agreement names no place to send to. A system would take such an address for its own."""
    return target[0] in ON_HOLD or not target[1]
