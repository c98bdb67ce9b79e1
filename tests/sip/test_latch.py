from ipaddress import ip_network

import pytest

from sip.latch import PACKETS, Latch

PRIVATE, PUBLIC, STRANGER = ("192.168.1.7", 4000), ("203.0.113.5", 31000), ("198.51.100.9", 4000)


def latch(signalling: str = "203.0.113.5") -> Latch:
    made = Latch(signalling, [ip_network("10.0.0.0/8")])
    made.agree(*PRIVATE)
    return made


def test_before_the_first_packet_the_agreed_address_is_used() -> None:
    assert latch().target == PRIVATE
    assert latch().source is None


@pytest.mark.parametrize("source", [PRIVATE, ("192.168.1.7", 5555), PUBLIC, ("10.9.8.7", 1)])
def test_believed_sources_are_followed(source: tuple[str, int]) -> None:
    one = latch()
    assert one.accepts(source, 0.0)
    assert one.target == one.source == source


def test_strangers_are_not() -> None:
    one = latch()
    assert not one.accepts(STRANGER, 0.0)
    assert one.target == PRIVATE


def test_once_latched_nobody_else_gets_the_call() -> None:
    one = latch()
    assert one.accepts(PUBLIC, 0.0)
    assert not one.accepts((PUBLIC[0], 31002), 0.0)
    assert one.target == PUBLIC


def test_the_agreed_address_itself_may_correct_the_first_guess_but_only_early() -> None:
    one = latch()
    assert one.accepts(PUBLIC, 0.0)
    assert one.accepts(PRIVATE, 0.0)
    late = latch()
    assert late.accepts(PUBLIC, 0.0)
    late.packets = PACKETS + 1
    assert not late.accepts(PRIVATE, 0.0)


def test_a_new_agreement_opens_it_again() -> None:
    one = latch()
    assert one.accepts(PUBLIC, 0.0)
    one.agree("192.168.1.8", 5000)
    assert (one.target, one.source, one.packets) == (("192.168.1.8", 5000), None, 0)
    assert one.accepts((PUBLIC[0], 40000), 0.0)


def test_a_nat_that_binds_anew_is_followed_after_a_silence() -> None:
    one = latch()
    assert one.accepts(PUBLIC, 10.0)
    one.packets, one.heard_at = 500, 20.0
    moved = (PUBLIC[0], 40000)
    assert not one.accepts(moved, 21.0)  # the old port speaks still
    assert not one.accepts(STRANGER, 60.0)  # whatever the silence
    assert not one.accepts(PRIVATE, 60.0)  # nor another believed host, without a new agreement
    assert one.accepts(moved, 22.5)
    assert one.target == moved


def test_reports_come_from_the_host_of_the_audio() -> None:
    one = latch()
    assert one.same_host((PUBLIC[0], 9)) and one.same_host((PRIVATE[0], 9))
    one.accepts(PUBLIC, 0.0)
    assert one.same_host((PUBLIC[0], 9)) and not one.same_host((PRIVATE[0], 9))
