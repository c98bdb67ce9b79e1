"""Opus: lengths of packets by RFC 6716, and what is left of sound that went through."""

import numpy as np
import pytest

from media.codecs.opus import FRAME, OPUS, RATE, duration
from media.rtp import ReceptionStats, RtpSource
from media.rtpstream import ReceiveTypes, RtpReceiver, RtpSender


@pytest.mark.parametrize(
    "payload, ticks",
    [
        (b"\x08", 960),  # SILK narrowband, 20 ms, one frame
        (b"\x18", 2880),  # 60 ms
        (b"\x48\x00", 960),
        (b"\x49\x00", 1920),  # two frames
        (b"\x4b\x03", 2880),  # as many as the second byte says
        (b"\x4b", 0),
        (b"\xe0", 120),  # CELT, 2.5 ms
        (b"\x5b\x3f", 0),  # 63 frames of 60 ms: over the limit
        (b"", 0),
    ],
)
def test_a_packet_tells_its_length(payload: bytes, ticks: int) -> None:
    assert duration(payload) == OPUS.ticks(payload) == ticks


def test_speechlike_sound_survives_at_a_delay_under_12_ms() -> None:
    encode, decode = OPUS.encoder(), OPUS.decoder()
    time = np.arange(RATE) / RATE
    sound = (8000 * np.sin(2 * np.pi * (200 + 300 * time) * time)).astype("<i2")
    frames = [sound[at : at + FRAME].tobytes() for at in range(0, len(sound), FRAME)]
    packets = [encode(frame) for frame in frames]
    decoded = [decode(packet) for packet in packets]
    assert {len(pcm) for pcm in decoded} == {2 * FRAME}, "whole frames, from the first on"
    assert 40 < np.mean([len(packet) for packet in packets]) < 120
    heard = np.frombuffer(b"".join(decoded), "<i2").astype(float)
    correlation = np.correlate(heard, sound[: -RATE // 10].astype(float), "valid")
    delay = int(np.argmax(correlation))
    assert delay < RATE * 0.012
    norm = np.linalg.norm(heard[delay : delay + len(sound) * 9 // 10]) * np.linalg.norm(sound[: -RATE // 10])
    assert correlation[delay] / norm > 0.9


def test_long_silence_costs_nothing_and_speech_comes_back() -> None:
    encode, decode = OPUS.encoder(), OPUS.decoder()
    quiet = [encode(bytes(2 * FRAME)) for _ in range(50)]
    assert len(quiet[-1]) == 1 and quiet[-1] == quiet[-2]
    for packet in quiet:
        assert max(abs(np.frombuffer(decode(packet), "<i2"))) < 50
    loud = (8000 * np.sin(np.arange(FRAME) * 0.2)).astype("<i2").tobytes()
    assert max(abs(np.frombuffer([decode(encode(loud)) for _ in range(5)][-1], "<i2"))) > 4000


def test_rubbish_is_silence() -> None:
    decode = OPUS.decoder()
    for payload in (b"\xff" * 7, b"\x4b\x3f\x00", b"\x4b"):
        assert set(decode(payload)) <= {0}


def test_loss_is_concealed_and_time_goes_on() -> None:
    sender = RtpSender(OPUS, RtpSource(1, 0, 0), 111)
    receiver = RtpReceiver(OPUS, ReceiveTypes(frozenset({111})), ReceptionStats())
    loud = (8000 * np.sin(np.arange(FRAME) * 0.2)).astype("<i2").tobytes()
    heard = []
    for number in range(50):
        (packet,) = sender.audio(loud)
        if number % 10 != 5:
            receiver.datagram(packet, number * 0.02)
        heard.append(receiver.frame())
    assert {len(pcm) for pcm in heard} == {2 * FRAME}
    assert receiver.stats.lost in (4, 5)
    assert all(max(abs(np.frombuffer(pcm, "<i2"))) > 2000 for pcm in heard[5:])
