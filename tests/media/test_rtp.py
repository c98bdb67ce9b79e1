"""RTP packets: every form of the header, and nothing that makes the parser raise."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp import JitterMeter, RtpSource, is_rtcp, parse


def header(flags: int = 0x80, kind: int = 0, tail: bytes = b"") -> bytes:
    return struct.pack("!BBHII", flags, kind, 7, 160, 0xDEADBEEF) + tail


@pytest.mark.parametrize(
    "data, payload",
    [
        (header(tail=b"abc"), b"abc"),
        (header(), b""),
        (header(0x82, tail=bytes(8) + b"abc"), b"abc"),  # two CSRCs
        (header(0x90, tail=b"\xbe\xde\0\1extnabc"), b"abc"),  # an extension of one word
        (header(0x90, tail=b"\xbe\xde\0\0abc"), b"abc"),  # an empty extension
        (header(0xA0, tail=b"abc\0\2"), b"abc"),  # two bytes of padding
        (header(0xA0, tail=b"\0\0\3"), b""),  # padding alone
        (header(0xB1, tail=bytes(4) + b"\0\0\0\1extnabc\1"), b"abc"),  # all of them
    ],
)
def test_the_payload_is_found_behind_any_header(data: bytes, payload: bytes) -> None:
    assert parse(data) == (0, False, 7, 160, 0xDEADBEEF, payload)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header()[:11],
        header(0x40),  # version 1
        header(0xC0),  # version 3
        header(0x81),  # a CSRC that is not there
        header(0x90, tail=b"\0\0\0"),  # half an extension header
        header(0x90, tail=b"\0\0\xff\xff"),  # an extension longer than the packet
        header(0xA0),  # padding, but no byte to say how much: the SSRC's last is 0xEF
        header(0xA0, tail=b"abc\0"),  # padding of 0
        header(0xA0, tail=b"abc\5"),  # more padding than payload
        b"OPTIONS sip:a SIP/2.0\r\n",
    ],
)
def test_what_is_no_rtp_gives_none(data: bytes) -> None:
    assert parse(data) is None


def test_marker_and_type_are_told_apart() -> None:
    packet = parse(header(kind=0x80 | 101))
    assert packet is not None
    assert packet[:2] == (101, True)


@given(st.binary(max_size=200))
def test_any_datagram_is_parsed_or_refused(data: bytes) -> None:
    packet = parse(data)
    is_rtcp(data)
    assert packet is None or (len(packet[5]) <= len(data) - 12 and data[0] >> 6 == 2)


def test_rtcp_on_the_same_port_is_known() -> None:
    assert is_rtcp(struct.pack("!BBHI", 0x80, 200, 6, 1) + bytes(20))
    assert not is_rtcp(header())


def test_a_source_counts_on_and_wraps() -> None:
    source = RtpSource(1, 0xFFFF, 0xFFFFFFFF - 159)
    packets = [parse(source.packet(8, b"x" * 160, 160)) for _ in range(3)]
    assert [p[:5] for p in packets if p] == [
        (8, True, 0xFFFF, 0xFFFFFF60, 1),  # the marker stands at the start of a talk spurt
        (8, False, 0, 0, 1),
        (8, False, 1, 160, 1),
    ]


def test_time_goes_on_in_a_pause_and_the_next_packet_is_marked() -> None:
    source = RtpSource(1, 0, 0)
    source.packet(0, b"", 160)
    source.pause(160)
    source.pause(160)
    packet = parse(source.packet(0, b"", 160))
    assert packet is not None
    assert packet[:4] == (0, True, 1, 480)  # the sequence has no gap: nothing was lost


def test_an_event_keeps_its_own_timestamp() -> None:
    source = RtpSource(1, 5, 1000)
    packet = parse(source.event(101, b"abcd", 840, marker=True))
    assert packet == (101, True, 5, 840, 1, b"abcd")
    assert (source.sequence, source.timestamp) == (6, 1000)


def test_jitter_of_a_steady_stream_is_zero_and_of_a_shaky_one_is_not() -> None:
    steady, shaky = JitterMeter(8000), JitterMeter(8000)
    for n in range(400):
        steady.arrived(160 * n, 0.02 * n)
        shaky.arrived(160 * n, 0.02 * n + (0.004 if n % 2 else 0))
    assert steady.ms == pytest.approx(0, abs=1e-6)
    assert shaky.ms == pytest.approx(4, abs=0.1)  # each transit differs from the last by 4 ms


def test_a_jump_of_the_timestamps_is_no_jitter() -> None:
    meter = JitterMeter(8000)
    for n in range(10):
        meter.arrived((160 * n + (1 << 31) * (n > 4)) & 0xFFFFFFFF, 0.02 * n)
    assert meter.ms < 0.01
