"""The UDP socket of one call: reads what the latch believes, sends to where it points."""

import asyncio
from collections.abc import Callable

from media.impairment import Channel
from sip.latch import Address, Latch
from sip.rtpmedia import MediaStats, RtpMedia
from sip.sdes import SrtpKeys
from sip.srtp import Srtp

DATAGRAM = 2048  # bytes; larger ones are no audio


class RtpSocket:
    """Belongs to the running loop."""

    def __init__(
        self, media: RtpMedia, latch: Latch, stats: MediaStats, on_packet: Callable[[bytes], None]
    ) -> None:
        """Binds a port, and drops what comes until `listen`. Raises PortsExhausted."""
        self._loop = asyncio.get_running_loop()
        self._ports, self._latch, self._stats, self._on_packet = media.ports, latch, stats, on_packet
        self._network = media.network
        self._sock = media.ports.bind(self._loop.time())
        self.port: int = self._sock.getsockname()[1]
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

    def send(self, packet: bytes) -> None:
        """Never blocks or raises; what the network refuses is counted."""
        if self._network is None:
            self._put(packet)
        else:
            self._delayed(self._network.sent, lambda: self._put(packet))

    def _put(self, packet: bytes) -> None:
        sent = self._stats.sent
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
            while self._open:
                self._arrived(*self._sock.recvfrom(DATAGRAM))
        except OSError:
            return

    def close(self) -> None:
        """Give the port back. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._ports.release(self._sock, self._loop.time())

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
        if self._srtp is not None:  # before all else: who has no key cannot even be a new source
            clear = self._srtp.unprotect(data)
            if clear is None:
                return
            data = clear
        if source != latch.source and not (self._plausible(data) and latch.accepts(source)):
            self._stats.received.foreign += 1
            return
        latch.packets += 1
        self._on_packet(data)
