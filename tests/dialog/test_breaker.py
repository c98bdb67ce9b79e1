import pytest

from dialog.breaker import Breaker, BreakerConfig, Health

CONFIG = BreakerConfig(failures=3, cool_down_s=5, longest_s=15)


def broken(at: float = 0.0) -> Breaker:
    breaker = Breaker(CONFIG)
    for _ in range(3):
        assert breaker.allows(at)
        breaker.failed(at)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(CONFIG)
    for _ in range(10):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()
    assert breaker.allows(0) and breaker.opened == 0
    assert not broken().allows(4.9) and broken().opened == 1


def test_after_the_cool_down_one_request_tries_and_the_others_wait_for_it() -> None:
    breaker = broken()
    assert breaker.allows(5) and breaker.health is Health.HALF_OPEN
    assert not breaker.allows(5)
    breaker.succeeded()
    assert breaker.allows(5) and breaker.allows(5)


def test_the_cool_down_doubles_up_to_its_limit() -> None:
    breaker, now, waits = broken(), 0.0, []
    for _ in range(4):
        start = now
        while not breaker.allows(now):
            now += 1
        waits.append(now - start)
        breaker.failed(now)
    assert waits == [5, 10, 15, 15]


def test_a_probe_that_nobody_waited_for_leaves_room_for_the_next() -> None:
    breaker = broken()
    assert breaker.allows(6)
    breaker.abandoned()
    assert breaker.allows(6)
    well = Breaker(CONFIG)
    well.abandoned()
    assert well.health is Health.CLOSED


def test_a_probe_that_never_tells_does_not_shut_the_engine_out() -> None:
    breaker = broken()
    assert breaker.allows(5)  # by a call in which nobody speaks
    assert not breaker.allows(19)
    assert breaker.allows(20) and not breaker.allows(20)


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"cool_down_s": 0}, {"cool_down_s": 61}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BreakerConfig(**wrong)  # type: ignore[arg-type]
