"""The bad network: as bad as it is told to be, and the same for the same seed."""

import pytest

from media.impairment import Channel, Impairment

PACKETS = 20_000


def arrivals(network: Impairment, seed: int = 1) -> list[tuple[float, ...]]:
    channel = Channel(network, seed)
    return [channel.arrivals(n * 0.02) for n in range(PACKETS)]


def test_a_good_network_changes_nothing() -> None:
    assert arrivals(Impairment()) == [(n * 0.02,) for n in range(PACKETS)]


def test_the_same_seed_brings_the_same_network() -> None:
    bad = Impairment(loss=5, burst=3, jitter_ms=40, reorder=2, duplicate=1)
    assert arrivals(bad) == arrivals(bad) != arrivals(bad, seed=2)


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_as_much_is_lost_as_was_said_and_in_bursts_as_long(burst: float) -> None:
    found = arrivals(Impairment(loss=10, burst=burst))
    lost = [not copies for copies in found]
    assert sum(lost) / PACKETS == pytest.approx(0.10, abs=0.015)
    runs = sum(1 for before, now in zip([False, *lost], lost, strict=False) if now and not before)
    assert sum(lost) / runs == pytest.approx(burst if burst > 1 else 1 / 0.9, rel=0.1)


def test_everything_is_lost_where_all_is() -> None:
    assert not any(arrivals(Impairment(loss=100)))


def test_jitter_delays_and_keeps_the_order() -> None:
    found = [copies[0] for copies in arrivals(Impairment(delay_ms=50, jitter_ms=80))]
    late = [at - n * 0.02 for n, at in enumerate(found)]
    assert found == sorted(found)
    assert min(late) >= 0.05 and max(late) <= 0.13 + 1e-9 and max(late) > 0.12


def test_some_packets_are_overtaken_and_some_come_twice() -> None:
    found = arrivals(Impairment(reorder=3, duplicate=2))
    first = [copies[0] for copies in found]
    overtaken = sum(1 for at, after in zip(first, first[1:], strict=False) if after < at)
    assert overtaken / PACKETS == pytest.approx(0.03, abs=0.01)
    assert sum(len(copies) == 2 for copies in found) / PACKETS == pytest.approx(0.02, abs=0.005)
