"""One call's audio on the wire, both ways. Cores: datagrams and PCM, no socket, no clock.

    datagram -> RtpReceiver: parse . type . event -> digit   . jitter buffer -> decode -> 20 ms frames
    20 ms frames -> RtpSender: encode . pack to the far end's packet time -> datagrams

Frames inside are always 20 ms at the codec's rate, whatever packet time the wire has.
"""

from dataclasses import dataclass

from media.codecs import Codec
from media.dtmf import EventReceiver, EventSender
from media.jitter import JitterBuffer
from media.plc import Concealment
from media.rtp import JitterMeter, ReceptionStats, RtpSource, is_rtcp, parse

FRAME_MS = 20
PROBATION = 2  # RFC 3550, A.1 (MIN_SEQUENTIAL): packets in a row before a new source is believed


@dataclass(frozen=True, slots=True)
class ReceiveTypes:
    """What each payload type means on the way in."""

    audio: frozenset[int]
    events: frozenset[int] = frozenset()
    comfort_noise: frozenset[int] = frozenset({13})


class RtpReceiver:
    """The far end's packets -> frames and digits."""

    def __init__(
        self, codec: Codec, types: ReceiveTypes, stats: ReceptionStats, jitter_ms: tuple[int, int] = (40, 200)
    ) -> None:
        """`jitter_ms`: the delay to begin with, and the longest."""
        self._codec, self._types, self.stats = codec, types, stats
        self._decoder = codec.decoder()
        self._jitter = JitterBuffer(stats, codec.clock, *jitter_ms)
        self._meter = JitterMeter(codec.clock)
        self._events = EventReceiver()
        self._size = 2 * codec.rate * FRAME_MS // 1000  # bytes of PCM in a frame
        self._frame_ticks = codec.clock * FRAME_MS // 1000
        self._plc = Concealment(self._size)
        self._left = b""  # PCM of a packet that was longer than the frame
        self._ssrc: int | None = None
        self._candidate, self._expected = 0, -1  # a new source and its next sequence number

    def datagram(self, data: bytes, now: float) -> str | None:
        """Take a datagram; a digit if it tells of a key pressed. `now` in seconds of any clock."""
        stats = self.stats
        packet = parse(data)
        if packet is None:
            self._count_unknown(data)
            return None
        kind, marker, sequence, timestamp, ssrc, payload = packet
        types = self._types
        if kind not in types.audio and kind not in types.events and kind not in types.comfort_noise:
            self._count_unknown(data)
            return None
        if ssrc != self._ssrc and not self._believe(ssrc, sequence):
            return None
        stats.received += 1
        stats.bytes += len(payload)
        if kind in types.audio:
            self._meter.arrived(timestamp, now)
            self._jitter.put(sequence, timestamp, payload, self._codec.ticks(payload))
            return None
        self._jitter.put(sequence, timestamp, b"", 0)
        if kind in types.events:
            return self._events.packet(timestamp, payload, marker=marker)
        return None

    def plausible(self, data: bytes) -> bool:
        """Whether a datagram looks like audio or events of this call."""
        packet = parse(data)
        return packet is not None and packet[0] in self._types.audio | self._types.events

    def expect(self, types: ReceiveTypes) -> None:
        """Other payload types for the same codec, from now on."""
        self._types = types

    def frame(self) -> bytes:
        """The next 20 ms of PCM; concealed or silent where nothing came."""
        if not self._left:
            payload = self._jitter.get(self._frame_ticks)
            if payload is None and self._jitter.missing == self._frame_ticks:
                return self._plc.conceal()
            if payload is not None:
                pcm = self._decoder(payload)
                if len(pcm) == self._size:  # a packet time of 20 ms
                    self._plc.heard(pcm)
                    return pcm
                self._left = pcm
            else:
                self._left = self._plc.conceal()[: self._codec.size(self._jitter.missing)]
        return self._assemble()

    def update_stats(self) -> ReceptionStats:
        """The counters, with the jitter as of now."""
        self.stats.jitter_ms = round(self._meter.ms, 2)
        return self.stats

    def restart(self) -> None:
        """The far end may begin anew (after a hold, at another address)."""
        self._ssrc = None
        self._forget()

    def _count_unknown(self, data: bytes) -> None:
        if is_rtcp(data):
            self.stats.rtcp += 1
        elif parse(data) is None:
            self.stats.garbage += 1
        else:
            self.stats.wrong_type += 1

    def _assemble(self) -> bytes:
        """A frame from packets of another length than ours."""
        size = self._size
        while len(self._left) < size:
            need = (size - len(self._left)) // 2 * self._codec.clock // self._codec.rate or 1
            payload = self._jitter.get(need)
            if payload is not None:
                self._left += self._decoder(payload)
            else:
                self._left += self._plc.conceal()[: self._codec.size(self._jitter.missing)]
        frame, self._left = self._left[:size], self._left[size:]
        self._plc.heard(frame)
        return frame

    def _believe(self, ssrc: int, sequence: int) -> bool:
        """Whether to listen to a source that is not the current one."""
        if self._ssrc is not None:
            expected = ssrc == self._candidate and sequence == self._expected
            self._candidate, self._expected = ssrc, sequence + 1 & 0xFFFF
            if not expected:
                return False
            self.stats.resets += 1
            self._forget()
        self._ssrc = ssrc
        return True

    def _forget(self) -> None:
        self._jitter.reset()
        self._events.reset()
        self._decoder = self._codec.decoder()
        self._plc.forget()
        self._left = b""


class RtpSender:
    """Frames and digits -> packets for the far end."""

    def __init__(self, codec: Codec, source: RtpSource, payload_type: int, ptime_ms: int = FRAME_MS) -> None:
        self._codec, self._source, self._type = codec, source, payload_type
        self._encoder = codec.encoder()
        self._size = 2 * codec.rate * FRAME_MS // 1000
        self._frame_ticks = codec.clock * FRAME_MS // 1000
        self._packet_ticks = codec.clock * ptime_ms // 1000
        self._pending = b""
        self._silence = self._encoder(bytes(self._size)) if codec.stateless else None

    def audio(self, pcm: bytes) -> list[bytes]:
        """The packets that one frame completes."""
        return self._payload(self._encoder(pcm))

    def silence(self) -> list[bytes]:
        """The packets that one silent frame completes."""
        return self._payload(self._silence or self._encoder(bytes(self._size)))

    def events(self, sender: EventSender, payload_type: int) -> list[bytes]:
        """One packet time of keys being pressed."""
        source, self._pending = self._source, b""
        packets = sender.tick(source.timestamp)
        if not packets:
            return self.silence()
        out = [source.event(payload_type, p.payload, p.timestamp, marker=p.marker) for p in packets]
        source.pause(self._frame_ticks)
        return out

    def pause(self) -> None:
        """A packet time in which nothing is sent."""
        self._pending = b""
        self._source.pause(self._frame_ticks)

    def _payload(self, payload: bytes) -> list[bytes]:
        if self._packet_ticks == self._frame_ticks:
            return [self._source.packet(self._type, payload, self._frame_ticks)]
        self._pending += payload
        size, packets = self._packet_ticks * self._codec.octets, []
        while len(self._pending) >= size:
            packets.append(self._source.packet(self._type, self._pending[:size], self._packet_ticks))
            self._pending = self._pending[size:]
        return packets
