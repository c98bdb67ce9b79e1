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
    assert one.accepts(source)
    assert one.target == one.source == source


def test_strangers_are_not() -> None:
    one = latch()
    assert not one.accepts(STRANGER)
    assert one.target == PRIVATE


def test_once_latched_nobody_else_gets_the_call() -> None:
    one = latch()
    assert one.accepts(PUBLIC)
    assert not one.accepts((PUBLIC[0], 31002))
    assert one.target == PUBLIC


def test_the_agreed_address_itself_may_correct_the_first_guess_but_only_early() -> None:
    one = latch()
    assert one.accepts(PUBLIC)
    assert one.accepts(PRIVATE)
    late = latch()
    assert late.accepts(PUBLIC)
    late.packets = PACKETS + 1
    assert not late.accepts(PRIVATE)


def test_a_new_agreement_opens_it_again() -> None:
    one = latch()
    assert one.accepts(PUBLIC)
    one.agree("192.168.1.8", 5000)
    assert (one.target, one.source, one.packets) == (("192.168.1.8", 5000), None, 0)
    assert one.accepts((PUBLIC[0], 40000))
