"""Passes to media sockets: for one call, for one connection, for a short while."""

import pytest

from sip.streamtoken import BadToken, StreamTokens


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pass_names_its_call_and_is_good_once() -> None:
    tokens = StreamTokens(Clock())
    one, two = tokens.issue("call-1"), tokens.issue("call-2")
    assert one != two and tokens.redeem(two) == "call-2" and tokens.redeem(one) == "call-1"
    with pytest.raises(BadToken, match="used before"):
        tokens.redeem(one)


def test_a_pass_grows_old_and_is_forgotten() -> None:
    clock = Clock()
    tokens = StreamTokens(clock, lifetime_s=60)
    old, older = tokens.issue("call-1"), tokens.issue("call-2")
    clock.now += 61
    with pytest.raises(BadToken, match="too old"):
        tokens.redeem(old)
    tokens.issue("call-3")
    with pytest.raises(BadToken, match="forgotten"):
        tokens.redeem(older)


@pytest.mark.parametrize("forged", ["", ".", "x.y", "ü.ü", "\udcff.\ud800", "a" * 10_000])
def test_a_forged_pass_is_told(forged: str) -> None:
    tokens = StreamTokens(Clock())
    with pytest.raises(BadToken, match="forged"):
        tokens.redeem(forged)


def test_a_pass_of_another_process_is_forged() -> None:
    with pytest.raises(BadToken, match="forged"):
        StreamTokens(Clock()).redeem(StreamTokens(Clock()).issue("call-1"))
