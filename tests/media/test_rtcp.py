"""Two sides report to each other; what each learns is what really happened on the way."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtcp import Reception, RtcpSession, Sent


def test_both_sides_learn_loss_jitter_and_round_trip() -> None:
    """50 packets, 5 lost on the way out; 40 ms there, 60 ms back; 2 s between the reports."""
    us, them = RtcpSession(1, 65_530, "us", 8000), RtcpSession(2, 0, "them", 8000)
    seen = Reception()
    for n in range(50):
        if n % 10 != 3:
            seen.arrived(65_530 + n & 0xFFFF)
    them.receive(us.report(100.0, Sent(50, 8000, 0), None, Reception(), 0), 500.04)
    us.receive(them.report(502.04, Sent(0, 0, 0), 1, seen, 24.0), 102.1)
    assert us.round_trip_ms == pytest.approx(100, abs=1)
    assert us.far is not None
    assert (us.far.packets, us.far.lost, us.far.jitter_ms) == (45, 5, 3.0)
    assert (us.garbage, them.garbage, us.received) == (0, 0, 1)


def test_the_fraction_is_of_the_time_since_the_last_report() -> None:
    seen = Reception()
    for n in range(0, 100, 2):
        seen.arrived(n)
    assert (seen.lost, seen.fraction()) == (49, 49 * 256 // 99)
    for n in range(100, 200):
        seen.arrived(n)
    assert (seen.lost, seen.fraction()) == (50, 1 * 256 // 101)
    assert seen.fraction() == 0


def test_a_goodbye_is_understood() -> None:
    us, them = RtcpSession(1, 0, "us", 8000), RtcpSession(2, 0, "them", 8000)
    us.receive(them.goodbye(1.0, Sent(3, 480, 0), None, Reception(), 0), 1.0)
    assert us.bye and us.far is None


def test_reports_about_others_and_clocks_that_lie_say_nothing() -> None:
    us, them = RtcpSession(1, 0, "us", 8000), RtcpSession(2, 0, "them", 8000)
    us.receive(them.report(1.0, Sent(0, 0, 0), 99, Reception(), 0), 1.0)
    assert us.far is None and us.round_trip_ms is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data: bytes) -> None:
    us = RtcpSession(1, 0, "us", 8000)
    us.receive(data, 1.0)
    us.receive(b"\x81\xc8\x00" + data, 1.0)


def test_every_broken_report_is_survived() -> None:
    chance = random.Random(1)
    whole = RtcpSession(2, 0, "them", 8000).report(1.0, Sent(1, 1, 1), 1, Reception(), 1)
    for _ in range(500):
        broken = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(3):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        RtcpSession(1, 0, "us", 8000).receive(bytes(broken), 1.0)
