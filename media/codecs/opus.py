"""Opus (RFC 6716) as RTP carries it (RFC 7587), by libopus through PyAV.

The RTP clock is 48 kHz whatever the audio's rate. We work at 16 kHz: speech engines hear no more, and the
encoder takes it as it is. The decoder gives 48 kHz; FFmpeg's resampler brings that down with 1 ms of delay
(soxr would hold back whole blocks). Measured: 100 us to encode 20 ms, 35 us to decode.

Packets vary in size and length: they are never cut or joined.
"""

from fractions import Fraction

import av

from media.codecs import Codec, Coder

RATE = 16000  # Hz
CLOCK = 48000  # Hz
FRAME = RATE // 50  # samples in 20 ms
BIT_RATE = 28_000  # wideband speech without audible loss (RFC 7587, section 3.1.1: 16-20 kbit/s are usual)
COMPLEXITY = 5  # of 10: half the CPU of the default; at this rate nobody hears the difference
SILENT_FRAMES = 10  # after which silence is not encoded anew

# RFC 6716, section 3.1: ticks of a frame by configuration number, four of each kind.
_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
_FRAME_TICKS = _SILK * 3 + _HYBRID * 2 + _CELT * 4
_MAX_TICKS = 5760  # RFC 6716, section 3.4: 120 ms


def duration(payload: bytes) -> int:
    """Ticks that a packet plays for; 0 for what is no Opus packet."""
    if not payload:
        return 0
    code = payload[0] & 3
    if code == 3 and len(payload) < 2:
        return 0
    frames = (1, 2, 2)[code] if code < 3 else payload[1] & 0x3F
    ticks = frames * _FRAME_TICKS[payload[0] >> 3]
    return ticks if ticks <= _MAX_TICKS else 0


def _encoder() -> Coder:
    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = RATE, "mono", "s16"
    context.bit_rate, context.time_base = BIT_RATE, Fraction(1, RATE)
    context.options = {"application": "voip", "compression_level": str(COMPLEXITY), "frame_duration": "20"}
    context.options |= {"fec": "1", "packet_loss": "5"}
    count, quiet, last = 0, 0, b""

    def encode(pcm: bytes) -> bytes:
        nonlocal count, quiet, last
        quiet = 0 if any(pcm) else quiet + 1
        count += 1
        if quiet > SILENT_FRAMES:
            return last  # a frame without content: "nothing to say" (RFC 6716, section 2.1.9)
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(pcm)
        frame.sample_rate, frame.time_base, frame.pts = RATE, context.time_base, count * FRAME
        payload = b"".join(bytes(packet) for packet in context.encode(frame))
        last = bytes([payload[0] & 0xFC]) if payload else b""
        return payload

    return encode


def _decoder() -> Coder:
    context = av.CodecContext.create("libopus", "r")
    context.sample_rate, context.layout, context.format = CLOCK, "mono", "s16"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    behind = bytes(2 * RATE // 50)  # what the filter has not yet given: so packets give whole frames

    def decode(payload: bytes) -> bytes:
        nonlocal behind
        wanted = 2 * duration(payload) * RATE // CLOCK
        try:
            decoded = context.decode(av.Packet(payload))
        except av.FFmpegError:
            return bytes(wanted)
        pcm = b"".join(
            bytes(part.planes[0])[: 2 * part.samples]
            for frame in decoded
            for part in resampler.resample(frame)
        )
        if behind:
            pcm, behind = bytes(max(0, wanted - len(pcm))) + pcm, b""
        return pcm

    return decode


# RFC 7587, 6.1: what our decoder can use. FFmpeg's decoder conceals, yet does not read forward error
# correction; the encoder sends it, since others do.
PARAMETERS = f"maxplaybackrate={RATE};sprop-maxcapturerate={RATE};stereo=0;sprop-stereo=0;useinbandfec=0"
OPUS = Codec(
    "opus", None, CLOCK, RATE, 0, _encoder, _decoder, stateless=False, duration=duration,
    channels=2, parameters=PARAMETERS,
)  # fmt: skip
