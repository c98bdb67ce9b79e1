"""Audio on the wire and back, through both cores: every codec, every packet time, keys, new sources."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import Codec, codec
from media.dtmf import EventSender
from media.rtp import ReceptionStats, RtpSource, parse
from media.rtpstream import ReceiveTypes, RtpReceiver, RtpSender

AUDIO, EVENT = 96, 101
TYPES = ReceiveTypes(frozenset({AUDIO}), frozenset({EVENT}))
NAMES = ["PCMU", "PCMA", "G722", "L16/8000", "L16/16000"]


def pair(chosen: Codec, ptime_ms: int = 20, ssrc: int = 1) -> tuple[RtpSender, RtpReceiver]:
    source = RtpSource(ssrc, 65530, 2**32 - 800)  # both wrap soon
    return RtpSender(chosen, source, AUDIO, ptime_ms), RtpReceiver(chosen, TYPES, ReceptionStats())


def speech(rate: int, frames: int) -> list[bytes]:
    tone = (np.sin(np.arange(rate // 50 * frames) * 2 * np.pi * 440 / rate) * 8000).astype("<i2").tobytes()
    size = rate // 25
    return [tone[i : i + size] for i in range(0, len(tone), size)]


def power(pcm: bytes) -> float:
    return float(np.sqrt((np.frombuffer(pcm, "<i2").astype(float) ** 2).mean()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60, 120])
def test_every_codec_passes_at_every_packet_time(name: str, ptime_ms: int) -> None:
    chosen = codec(name)
    sender, receiver = pair(chosen, ptime_ms)
    got = []
    for n, frame in enumerate(speech(chosen.rate, 100)):
        for packet in sender.audio(frame):
            receiver.datagram(packet, n * 0.02)
        got.append(receiver.frame())
    assert {len(f) for f in got} == {2 * chosen.rate // 50}
    # After the first packets the tone is whole: no gap, no repetition, the right pitch.
    settled = np.frombuffer(b"".join(got[25:]), "<i2").astype(float)
    t = np.arange(len(settled))
    basis = np.stack([np.sin(t * 2 * np.pi * 440 / chosen.rate), np.cos(t * 2 * np.pi * 440 / chosen.rate)])
    fitted = np.linalg.lstsq(basis.T, settled, rcond=None)[0] @ basis
    assert ((settled - fitted) ** 2).mean() < 0.01 * (settled**2).mean()
    stats = receiver.update_stats()
    assert (stats.lost, stats.late, stats.duplicate, stats.discarded, stats.garbage) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 60])
def test_packets_have_the_length_and_times_that_were_asked_for(ptime_ms: int) -> None:
    sender, _ = pair(codec("PCMU"), ptime_ms)
    packets = [parse(p) for frame in speech(8000, 12) for p in sender.audio(frame)]
    assert {len(p[5]) for p in packets if p} == {8 * ptime_ms}
    assert len(packets) == 240 // ptime_ms
    times = [p[3] for p in packets if p]
    assert all(b - a & 0xFFFFFFFF == 8 * ptime_ms for a, b in zip(times, times[1:], strict=False))


def test_silence_is_sent_ready_made() -> None:
    sender, receiver = pair(codec("PCMA"))
    for n in range(5):
        for packet in sender.silence():
            assert packet[12:] == b"\xd5" * 160
            receiver.datagram(packet, n * 0.02)
    assert max(np.frombuffer(receiver.frame(), "<i2")) <= 8


def test_one_lost_packet_is_concealed_and_counted() -> None:
    sender, receiver = pair(codec("PCMU"))
    levels = []
    for n, frame in enumerate(speech(8000, 50)):
        for packet in sender.audio(frame):
            if n != 20:
                receiver.datagram(packet, n * 0.02)
        levels.append(power(receiver.frame()))
    assert receiver.stats.lost == 1
    assert min(levels[2:]) > 0.5 * max(levels)  # nobody hears a hole


def test_keys_are_heard_between_the_audio() -> None:
    sender, receiver = pair(codec("PCMU"))
    keys, digits = EventSender(8000), ""
    frames = speech(8000, 60)
    keys_at = {10: "1", 25: "2#"}
    for n, frame in enumerate(frames):
        keys.press(keys_at.get(n, ""))
        for packet in sender.events(keys, EVENT) if keys.busy else sender.audio(frame):
            digits += receiver.datagram(packet, n * 0.02) or ""
        receiver.frame()
    assert digits == "12#"
    assert (receiver.stats.lost, receiver.stats.resets) == (0, 0)
    assert power(receiver.frame()) > 1000  # and the audio goes on afterwards


def test_other_payload_types_and_garbage_are_counted() -> None:
    _, receiver = pair(codec("PCMU"))
    receiver.datagram(RtpSource(1, 0, 0).packet(34, b"video", 160), 0)
    receiver.datagram(b"GET / HTTP/1.0\r\n\r\n", 0)
    receiver.datagram(b"", 0)
    receiver.datagram(struct.pack("!BBHI", 0x80, 200, 6, 1) + bytes(20), 0)
    stats = receiver.stats
    assert (stats.wrong_type, stats.garbage, stats.rtcp, stats.received) == (1, 2, 1, 0)
    assert receiver.frame() == bytes(320)


def test_comfort_noise_is_a_pause_not_a_loss() -> None:
    chosen = codec("PCMU")
    source = RtpSource(1, 0, 0)
    receiver = RtpReceiver(chosen, TYPES, ReceptionStats())
    for n in range(5):
        receiver.datagram(source.packet(AUDIO, b"\x80" * 160, 160), n * 0.02)
        receiver.frame()
    receiver.datagram(source.event(13, b"\x40", source.timestamp, marker=False), 0.1)
    for _ in range(20):
        source.pause(160)
        receiver.frame()
    assert receiver.noisy and receiver.stats.noise > 15
    assert 5 < power(receiver.frame()) < 60  # -64 dBov is 20
    for n in range(5):
        receiver.datagram(source.packet(AUDIO, b"\x80" * 160, 160), 0.5 + n * 0.02)
        receiver.frame()
    assert receiver.stats.lost == 0
    assert not receiver.noisy and power(receiver.frame()) > 30000


def test_silence_is_sent_as_comfort_noise_if_the_far_end_takes_it() -> None:
    sender, receiver = pair(codec("PCMU"))
    sender.suppress_silence = True
    packets = []
    for n in range(100):
        new = sender.audio(speech(8000, 1)[0]) if n < 20 or n >= 90 else sender.silence()
        for packet in new:
            receiver.datagram(packet, n * 0.02)
        packets += new
        receiver.frame()
    parsed = [p for p in map(parse, packets) if p]
    assert [p[0] for p in parsed].count(13) == 2
    assert len(parsed) == 30 + 2
    assert [p[1] for p in parsed] == [True] + [False] * 21 + [True] + [False] * 9  # each spurt is marked
    assert (receiver.stats.lost, receiver.stats.concealed) == (0, 0)


def test_the_sender_may_switch_to_another_codec_that_was_agreed_on() -> None:
    types = ReceiveTypes(frozenset({0}), others={8: codec("PCMA")})
    receiver = RtpReceiver(codec("PCMU"), types, ReceptionStats())
    source, levels = RtpSource(1, 0, 0), []
    for n, frame in enumerate(speech(8000, 40)):
        kind, chosen = (0, "PCMU") if n < 20 else (8, "PCMA")
        receiver.datagram(source.packet(kind, codec(chosen).encoder()(frame), 160), n * 0.02)
        levels.append(power(receiver.frame()))
    assert min(levels[3:]) > 0.9 * max(levels)
    assert (receiver.stats.wrong_type, receiver.stats.lost) == (0, 0)


def test_a_new_source_is_believed_from_its_second_packet() -> None:
    chosen = codec("PCMU")
    receiver = RtpReceiver(chosen, TYPES, ReceptionStats())
    old, new = RtpSource(1, 100, 0), RtpSource(2, 9000, 77)
    for _ in range(4):
        receiver.datagram(old.packet(AUDIO, b"\x80" * 160, 160), 0)
    receiver.datagram(new.packet(AUDIO, b"\x00" * 160, 160), 0)
    assert receiver.stats.resets == 0
    for _ in range(3):
        receiver.datagram(new.packet(AUDIO, b"\x00" * 160, 160), 0)
    assert receiver.stats.resets == 1
    assert set(np.frombuffer(receiver.frame(), "<i2")) == {-32124}
    # One stray packet of the old source changes nothing.
    receiver.datagram(old.packet(AUDIO, b"\x80" * 160, 160), 0)
    assert receiver.stats.resets == 1


@given(st.lists(st.binary(max_size=80), max_size=40), st.sampled_from(NAMES))
def test_any_datagrams_leave_whole_frames(datagrams: list[bytes], name: str) -> None:
    chosen = codec(name)
    receiver = RtpReceiver(chosen, TYPES, ReceptionStats())
    for n, data in enumerate(datagrams):
        receiver.datagram(data, n * 0.02)
        assert len(receiver.frame()) == 2 * chosen.rate // 50


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.binary(max_size=400)), max_size=30
    ),
    st.sampled_from(NAMES),
)
def test_any_payloads_leave_whole_frames(packets: list[tuple[int, int, bytes]], name: str) -> None:
    chosen = codec(name)
    receiver = RtpReceiver(chosen, TYPES, ReceptionStats())
    for sequence, timestamp, payload in packets:
        receiver.datagram(struct.pack("!BBHII", 0x80, AUDIO, sequence, timestamp, 1) + payload, 0)
        assert len(receiver.frame()) == 2 * chosen.rate // 50
