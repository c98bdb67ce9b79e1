"""How good a call's audio was, in both directions: loss, jitter, delay, and what they mean to an ear. A core.

The opinion score is the E-model's (ITU-T G.107, 12/2011) with its default values and what a network adds:

    R = 93.2 - Id - Ie,eff                        93.2: G.107, Ro - Is with all defaults
    Id = 0.024 d + 0.11 (d - 177.3) H(d - 177.3)  d: mouth to ear, ms; Cole and Rosenbluth, "Voice over IP
                                                  performance monitoring" (2001), a fit of G.107, 7.4
    Ie,eff = Ie + (95 - Ie) Ppl / (Ppl + Bpl)     Ppl: loss in percent, random; G.107, 7.5
    MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6 G.107, annex B

Ie and Bpl are G.711's with concealment: 0 and 25.1 (G.113, appendix I). Other codecs here are no worse.
"""

from dataclasses import dataclass

R_BEST = 93.2
BPL = 25.1  # percent; how much loss a codec with concealment bears
CODEC_MS = 20.0  # of delay: collecting one packet


@dataclass(frozen=True, slots=True)
class StreamQuality:
    """One direction, as its receiver saw it."""

    packets: int = 0  # that came
    lost: int = 0  # that never came, or too late to be played
    jitter_ms: float = 0.0  # RFC 3550, 6.4.1
    buffer_ms: float = 0.0  # delay of the receiver's jitter buffer; 0: not known

    @property
    def loss_percent(self) -> float:
        """Of all packets that were sent."""
        sent = self.packets + self.lost
        return 100 * self.lost / sent if sent else 0.0


@dataclass(frozen=True, slots=True)
class CallQuality:
    """Both directions. `sent` is what the far end reports; None where it says nothing."""

    received: StreamQuality = StreamQuality()
    sent: StreamQuality | None = None
    round_trip_ms: float | None = None  # of the network; None: not known

    @property
    def mos_received(self) -> float | None:
        """Estimated opinion score of what we hear, 1 (bad) to 4.4 (as good as telephony gets); None before
        anything came."""
        return self._mos(self.received)

    @property
    def mos_sent(self) -> float | None:
        """The same of what the far end hears."""
        return None if self.sent is None else self._mos(self.sent)

    def fields(self) -> dict[str, object]:
        """Flat, for the timeline and the metrics; what is not known is left out."""
        fields: dict[str, object] = {}
        for name, stream, mos in (
            ("received", self.received, self.mos_received),
            ("sent", self.sent, self.mos_sent),
        ):
            if stream is None or mos is None:
                continue
            fields[f"{name}_loss_percent"] = round(stream.loss_percent, 2)
            fields[f"{name}_jitter_ms"] = round(stream.jitter_ms, 2)
            fields[f"{name}_mos"] = round(mos, 2)
            if stream.buffer_ms:
                fields[f"{name}_buffer_ms"] = round(stream.buffer_ms, 1)
        if self.round_trip_ms is not None:
            fields["round_trip_ms"] = round(self.round_trip_ms, 1)
        return fields

    def _mos(self, stream: StreamQuality) -> float | None:
        if not stream.packets + stream.lost:
            return None
        # A receiver that does not say how long it buffers needs about twice the jitter.
        buffer_ms = stream.buffer_ms or 2 * stream.jitter_ms
        return mos(stream.loss_percent, (self.round_trip_ms or 0.0) / 2 + buffer_ms + CODEC_MS)


def mos(loss_percent: float, delay_ms: float) -> float:
    """Mean opinion score estimated from random loss and the delay from mouth to ear."""
    delay = 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - 177.3)
    r = R_BEST - delay - 95 * loss_percent / (loss_percent + BPL)
    if r <= 0:
        return 1.0
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
