"""One call's audio on the wire, both ways. Cores: datagrams and PCM, no socket, no clock.

    datagram -> RtpReceiver: parse . type . event -> digit   . jitter buffer -> decode -> 20 ms frames
    20 ms frames -> RtpSender: encode . pack to the far end's packet time -> datagrams

Frames inside are always 20 ms at the codec's rate, whatever packet time the wire has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from media import noise
from media.codecs import Codec
from media.dtmf import EventReceiver, EventSender
from media.jitter import JitterBuffer
from media.pace import HURRY, LACK, SLACK, longer, quiet, shorter
from media.plc import Concealment
from media.rtcp import Reception
from media.rtp import JitterMeter, ReceptionStats, RtpSource, is_rtcp, parse

FRAME_MS = 20
COMFORT_NOISE = 13  # RFC 3551: the static type of RFC 3389 at 8 kHz
NOISE_FRAMES = 50  # 1 s between two of our comfort noise packets, for far ends that lose one
NOISE_LEVEL = 68  # -dBov, what a quiet line has


@dataclass(frozen=True, slots=True)
class ReceiveTypes:
    """What each payload type means on the way in."""

    audio: frozenset[int]
    events: frozenset[int] = frozenset()
    comfort_noise: frozenset[int] = frozenset({13})
    others: Mapping[int, Codec] = field(default_factory=dict)  # audio too, to which the sender may switch


class RtpReceiver:
    """The far end's packets -> frames and digits."""

    def __init__(
        self, codec: Codec, types: ReceiveTypes, stats: ReceptionStats, jitter_ms: tuple[int, int] = (40, 200)
    ) -> None:
        """`jitter_ms`: the delay to begin with, and the longest."""
        self._main, self._types, self.stats = codec, types, stats
        self._codec, self._decoder, self._kind = codec, codec.decoder(), -1
        self._jitter = JitterBuffer(stats, codec.clock, *jitter_ms)
        self._meter = JitterMeter(codec.clock)
        self._events = EventReceiver()
        self._size = 2 * codec.rate * FRAME_MS // 1000  # bytes of PCM in a frame
        self._frame_ticks = codec.clock * FRAME_MS // 1000
        self._plc = Concealment(self._size, codec.rate)
        self._noise = noise.ComfortNoise(0)
        self._noise_announced = self._noisy = False
        self._left = b""  # PCM of a packet that was longer than the frame
        self._ssrc: int | None = None
        self._candidate, self._expected = 0, -1  # a new source and its next sequence number
        self.reception = Reception()
        """What RTCP reports of the current source."""

    @property
    def noisy(self) -> bool:
        """The far end sends comfort noise, and no audio until somebody speaks."""
        return self._noise_announced

    def datagram(self, data: bytes, now: float) -> str | None:
        """Take a datagram; a digit if it tells of a key pressed. `now` in seconds of any clock."""
        stats = self.stats
        packet = parse(data)
        if packet is None:
            self._count_unknown(data)
            return None
        kind, marker, sequence, timestamp, ssrc, body = packet
        types = self._types
        codec = self._main if kind in types.audio else types.others.get(kind)
        if codec is None and kind not in types.events and kind not in types.comfort_noise:
            self._count_unknown(data)
            return None
        if ssrc != self._ssrc and not self._believe(ssrc, sequence):
            return None
        stats.received += 1
        stats.bytes += len(body)
        self.reception.arrived(sequence)
        if codec is not None:
            self._meter.arrived(timestamp, now)
            self._noise_announced = False
            self._jitter.put(sequence, timestamp, body, codec.ticks(body), now, kind)
            return None
        self._jitter.put(sequence, timestamp, b"", 0, now)
        if kind in types.events:
            return self._events.packet(timestamp, body, marker=marker)
        self._noise.update(body)
        self._noise_announced = True
        return None

    def plausible(self, data: bytes) -> bool:
        """Whether a datagram looks like audio or events of this call."""
        packet = parse(data)
        types = self._types
        kinds = (types.audio, types.events, types.others, types.comfort_noise)  # a call may begin silent
        return packet is not None and any(packet[0] in kind for kind in kinds)

    def expect(self, types: ReceiveTypes) -> None:
        """Other payload types for the same codec, from now on."""
        self._types = types

    def frame(self) -> bytes:
        """The next 20 ms of PCM; concealed or silent where nothing came."""
        pcm = self._take()
        packets = self._jitter.excess / self._frame_ticks
        if packets > SLACK:
            return self._shorter(pcm, packets)
        if packets < -LACK:
            return self._longer(pcm)
        return pcm

    def update_stats(self) -> ReceptionStats:
        """The counters, with the jitter and the delay as of now."""
        self.stats.jitter_ms = round(self._meter.ms, 2)
        self.stats.depth_ms = round(self._jitter.depth * 1000 / self._main.clock, 1)
        return self.stats

    @property
    def jitter_ticks(self) -> float:
        """For RTCP: RFC 3550, A.8."""
        return self._meter.ticks

    @property
    def ssrc(self) -> int | None:
        """The source that we listen to; None before the first packet."""
        return self._ssrc

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

    # Frames

    def _take(self) -> bytes:
        """20 ms from what came."""
        if self._left:
            return self._assemble()
        payload = self._jitter.get(self._frame_ticks)
        if payload is None and self._jitter.missing == self._frame_ticks:
            return self._fill()
        if payload is not None:
            pcm = self._decode(payload)
            if len(pcm) == self._size:  # a packet time of 20 ms
                return self._plc.heard(pcm)
            self._left = pcm
        else:
            self._left = self._fill()[: self._main.size(self._jitter.missing)]
        return self._assemble()

    def _decode(self, payload: bytes) -> bytes:
        self._noisy = False
        kind = self._jitter.kind
        if kind != self._kind:
            self._switch(kind)
        return self._decoder(payload)

    def _switch(self, kind: int) -> None:
        """The sender has changed to another type that was agreed on."""
        codec = self._types.others.get(kind, self._main)
        self._kind = kind
        if codec is not self._codec:
            self._codec, self._decoder = codec, codec.decoder()

    def _assemble(self) -> bytes:
        """A frame from packets of another length than ours."""
        size = self._size
        while len(self._left) < size:
            need = (size - len(self._left)) // 2 * self._main.clock // self._main.rate or 1
            payload = self._jitter.get(need)
            if payload is not None:
                self._left += self._decode(payload)
            else:
                self._left += self._fill()[: self._main.size(self._jitter.missing)]
        frame, self._left = self._left[:size], self._left[size:]
        return self._plc.heard(frame)

    def _fill(self) -> bytes:
        """A frame in place of one that did not come: repaired, noise, or made up."""
        if self._noisy or (self._noise_announced and not self._jitter.waiting):
            self._noisy = True
            self.stats.noise += 1
            return self._noise.frame(self._size // 2)
        if self._plc.fading:
            self.stats.concealed += 1
        return self._plc.conceal()

    def _shorter(self, pcm: bytes, packets: float) -> bytes:
        """Leave some sound out: the delay is too long by so many frames."""
        if self._jitter.waiting < self._frame_ticks or not (packets > HURRY or quiet(pcm)):
            return pcm
        sound, less = shorter(pcm, self._take(), self._main.rate)
        self._paced(sound, -less)
        self.stats.shortened += 1
        return sound[: self._size]

    def _longer(self, pcm: bytes) -> bytes:
        """Put some sound in."""
        sound, more = longer(pcm, self._main.rate)
        self._paced(sound, more)
        self.stats.lengthened += 1
        return sound[: self._size]

    def _paced(self, sound: bytes, samples: int) -> None:
        self._left = sound[self._size :] + self._left
        self._jitter.moved(samples * self._main.clock // self._main.rate)

    # Sources

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
        self.reception.restart()
        return True

    def _forget(self) -> None:
        self._jitter.reset()
        self._events.reset()
        self._codec, self._decoder, self._kind = self._main, self._main.decoder(), -1
        self._plc.forget()
        self._noise_announced = self._noisy = False
        self._left = b""


class RtpSender:
    """Frames and digits -> packets for the far end."""

    def __init__(self, codec: Codec, source: RtpSource, payload_type: int, ptime_ms: int = FRAME_MS) -> None:
        self._codec, self._source, self._type = codec, source, payload_type
        self._encoder = codec.encoder()
        self._size = 2 * codec.rate * FRAME_MS // 1000
        self._frame_ticks = codec.clock * FRAME_MS // 1000
        if not codec.octets:
            ptime_ms = FRAME_MS  # the far end's wish is no more than that
        self._packet_ticks = codec.clock * ptime_ms // 1000
        self._pending = b""
        self._silence = self._encoder(bytes(self._size)) if codec.stateless else None
        self._silent = 0  # frames in a row that were not sent
        self.suppress_silence = False
        """Send comfort noise now and then (RFC 3389) in place of silence."""

    def audio(self, pcm: bytes) -> list[bytes]:
        """The packets that one frame completes."""
        self._silent = 0
        return self._payload(self._encoder(pcm))

    def silence(self) -> list[bytes]:
        """The packets that one silent frame completes."""
        if self.suppress_silence:
            return self._noise()
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

    def _noise(self) -> list[bytes]:
        source, packets = self._source, []
        if self._silent % NOISE_FRAMES == 0:
            level = noise.payload(NOISE_LEVEL)
            packets = [source.event(COMFORT_NOISE, level, source.timestamp, marker=False)]
        self._silent += 1
        self.pause()
        return packets

    def _payload(self, payload: bytes) -> list[bytes]:
        if self._packet_ticks == self._frame_ticks:
            return [self._source.packet(self._type, payload, self._frame_ticks)]
        self._pending += payload
        size, packets = self._packet_ticks * self._codec.octets, []
        while len(self._pending) >= size:
            packets.append(self._source.packet(self._type, self._pending[:size], self._packet_ticks))
            self._pending = self._pending[size:]
        return packets
