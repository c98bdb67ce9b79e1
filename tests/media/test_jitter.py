"""The jitter buffer: order, loss, pauses, jumps and a delay that fits the line."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.jitter import JitterBuffer
from media.pace import LACK, SLACK
from media.rtp import ReceptionStats

TICKS = 160  # of a packet of 20 ms


class Buffer(JitterBuffer):
    """Its clock goes on by 20 ms with each `get`."""

    now = 0.0

    def arrive(self, sequence: int, timestamp: int, payload: bytes, ticks: int) -> None:
        self.put(sequence, timestamp, payload, ticks, self.now)


def buffer(min_ms: int = 40, max_ms: int = 200) -> tuple[Buffer, ReceptionStats]:
    stats = ReceptionStats()
    return Buffer(stats, 8000, min_ms, max_ms), stats


def put(jitter: Buffer, *numbers: int, shift: int = 0) -> None:
    """Packets whose payload is their number; `shift` moves the timestamps."""
    for n in numbers:
        jitter.arrive(n & 0xFFFF, n * TICKS + shift & 0xFFFFFFFF, str(n).encode(), TICKS)


def get(jitter: Buffer, times: int = 1) -> list[int | None]:
    payloads = []
    for _ in range(times):
        payloads.append(jitter.get(TICKS))
        jitter.now += 0.02
    return [None if p is None else int(p) for p in payloads]


@pytest.mark.parametrize(
    "arrivals, expected, lost",
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0),
        ([1, 3, 2, 4], [1, 2, 3, 4], 0),
        ([2, 1, 3, 4], [1, 2, 3, 4], 0),  # the first one we see is not the first
        ([1, 2, 4, 5], [1, 2, None, 4], 1),
        ([1, 2, 5, 6], [1, 2, None, None], 2),
        ([1, 1, 2, 2, 3, 4], [1, 2, 3, 4], 0),
        ([65534, 65535, 65536, 65537], [65534, 65535, 65536, 65537], 0),  # 16 bits wrap
    ],
)
def test_order_loss_and_repetition(arrivals: list[int], expected: list[int | None], lost: int) -> None:
    jitter, stats = buffer(min_ms=60)
    put(jitter, *arrivals)
    assert (get(jitter, 4), stats.lost) == (expected, lost)
    assert stats.duplicate == len(arrivals) - len(set(arrivals))


def test_nothing_leaves_before_the_delay_is_there() -> None:
    jitter, _ = buffer(min_ms=60)
    put(jitter, 1, 2)
    assert get(jitter) == [None]
    put(jitter, 3)
    assert get(jitter) == [1]


def test_timestamps_wrap() -> None:
    jitter, stats = buffer()
    shift = 0xFFFFFFFF - 3 * TICKS
    put(jitter, 1, 2, 3, 5, 6, shift=shift)
    assert get(jitter, 6) == [1, 2, 3, None, 5, 6]
    assert stats.lost == 1


def test_a_packet_after_its_turn_is_late_not_lost() -> None:
    jitter, stats = buffer()
    put(jitter, 1, 2, 4)
    assert get(jitter, 4) == [1, 2, None, 4]
    put(jitter, 3)
    assert (stats.lost, stats.late, stats.duplicate) == (0, 1, 0)
    put(jitter, 3, 2)
    assert (stats.lost, stats.late, stats.duplicate) == (0, 1, 2)


def test_a_sender_that_suppresses_silence_loses_nothing() -> None:
    jitter, stats = buffer()
    put(jitter, 1, 2, 3)
    assert get(jitter, 5) == [1, 2, 3, None, None]
    put(jitter, 4, 5, shift=100 * TICKS)  # the sequence goes on, time has jumped
    assert get(jitter, 2) == [4, 5]
    assert (stats.lost, jitter.depth) == (0, 320)  # nor was the delay too short


def test_a_short_pause_inside_the_buffer_is_waited_out() -> None:
    jitter, stats = buffer(min_ms=80)
    put(jitter, 1, 2)
    put(jitter, 3, 4, shift=2 * TICKS)
    assert get(jitter, 6) == [1, 2, None, None, 3, 4]
    assert stats.lost == 0


def test_wrong_timestamps_of_a_sender_do_no_lasting_harm() -> None:
    jitter, stats = buffer()
    out = []
    for n in range(1, 200):  # G.722 with a clock of 16 kHz: twice the ticks
        jitter.arrive(n, 2 * n * TICKS, str(n).encode(), TICKS)
        out += get(jitter)
    assert out[10:] == list(range(out[10] or 0, (out[10] or 0) + len(out) - 10))
    assert (stats.lost, stats.discarded) == (0, 0)


def test_the_delay_grows_when_the_buffer_runs_dry_in_mid_speech() -> None:
    jitter, stats = buffer()
    put(jitter, 1, 2)
    assert get(jitter, 3) == [1, 2, None]
    put(jitter, 3)
    assert get(jitter) == [None]
    put(jitter, 4)
    assert get(jitter) == [None]  # 40 ms were too few: it waits for 60 now
    put(jitter, 5)
    assert get(jitter, 3) == [3, 4, 5]
    assert (stats.lost, stats.late) == (0, 0)


def play(jitter: Buffer, arrivals: list[tuple[float, int]], seconds: float) -> None:
    """Packets that come at these times (s), on a player that keeps to the advice."""
    waiting = sorted(arrivals)
    for _ in range(int(seconds * 50)):
        while waiting and waiting[0][0] <= jitter.now:
            at, n = waiting.pop(0)
            jitter.put(n & 0xFFFF, n * TICKS, b"x", TICKS, at)
        if jitter.excess < -LACK * TICKS:
            jitter.moved(TICKS)  # plays a frame of its own
        else:
            if jitter.excess > SLACK * TICKS and jitter.waiting >= TICKS:
                jitter.get(TICKS)  # leaves one out
                jitter.moved(-TICKS)
            jitter.get(TICKS)
        jitter.now += 0.02


@pytest.mark.parametrize(
    "jitter_ms, least, most", [(0, 40, 40), (40, 50, 80), (80, 90, 120), (300, 150, 180)]
)
def test_the_delay_fits_the_jitter_of_the_line(jitter_ms: int, least: int, most: int) -> None:
    chance = random.Random(3)
    jitter, stats = buffer()
    arrivals = [(n * 0.02 + chance.random() * jitter_ms / 1000 + 0.001, n) for n in range(500)]
    play(jitter, arrivals, 10)
    assert least <= jitter.depth / 8 <= most
    if jitter_ms <= 80:
        assert stats.late + stats.lost + stats.discarded < 15  # 3 % of 500


def test_the_delay_grows_within_a_second_and_shrinks_within_half_a_minute() -> None:
    chance = random.Random(4)
    jitter, _ = buffer()
    shaky = [(n * 0.02 + chance.random() * 0.1 + 0.001, n) for n in range(50)]
    play(jitter, shaky, 1)
    assert jitter.depth >= 80 * 8
    play(jitter, [(n * 0.02 + 0.001, n) for n in range(50, 1550)], 30)
    assert jitter.depth == 40 * 8
    assert jitter.waiting <= 3 * TICKS


@pytest.mark.parametrize("drift_ppm", [-500, 500])
def test_a_clock_that_differs_is_made_up_for(drift_ppm: int) -> None:
    """Two minutes at 500 ppm are 60 ms: three packets too many, or too few."""
    jitter, stats = buffer()
    step = 0.02 * (1 + drift_ppm / 1e6)
    play(jitter, [(n * step + 0.005, n) for n in range(6000)], 119)
    assert jitter.depth == 40 * 8
    assert jitter.waiting <= 4 * TICKS
    assert (stats.lost, stats.late, stats.discarded) == (0, 0, 0)


def test_a_stall_is_no_jitter() -> None:
    jitter, stats = buffer()
    arrivals = [(max(n * 0.02, 3.0 if n >= 125 and n < 150 else 0), n) for n in range(400)]
    play(jitter, arrivals, 8)
    assert jitter.depth <= 80 * 8
    assert stats.discarded > 10
    assert jitter.waiting <= 80 * 8


def test_a_burst_after_a_stall_is_cut_to_the_usual_delay() -> None:
    jitter, stats = buffer()
    put(jitter, *range(1, 30))
    assert jitter.waiting <= 200 * 8
    first = get(jitter)[0]
    assert first is not None
    assert first > 10
    assert stats.discarded == first - 1
    assert stats.lost == 0


def test_a_restart_of_the_sender_is_followed_at_once() -> None:
    jitter, stats = buffer()
    put(jitter, 1, 2, 3)
    get(jitter, 2)
    put(jitter, 30000, 30001)
    assert get(jitter, 2) == [30000, 30001]
    assert (stats.resets, stats.lost) == (1, 0)


def test_an_event_keeps_its_place_in_the_sequence() -> None:
    jitter, stats = buffer()
    put(jitter, 1, 2)
    get(jitter, 2)
    for n in range(3, 8):  # a key is pressed: no audio meanwhile
        jitter.arrive(n, 3 * TICKS, b"", 0)
        assert get(jitter) == [None]
    put(jitter, 8, 9)
    assert get(jitter, 2) == [8, 9]
    assert (stats.lost, stats.discarded) == (0, 0)


def test_events_alone_fill_no_memory() -> None:
    jitter, _ = buffer()
    for n in range(5000):
        jitter.arrive((2 * n) & 0xFFFF, 0, b"", 0)
    assert len(jitter._packets) <= 64


def test_packets_of_other_lengths() -> None:
    jitter, stats = buffer(min_ms=60)
    for n in (1, 2, 4, 5):  # 30 ms each, the third is lost
        jitter.arrive(n, n * 240, str(n).encode(), 240)
    assert get(jitter, 2) == [1, 2]
    assert (get(jitter), jitter.missing) == ([None], 160)
    assert (get(jitter), jitter.missing) == ([None], 80)
    assert get(jitter, 2) == [4, 5]
    assert stats.lost == 1


def test_packets_so_long_that_two_pass_the_longest_delay() -> None:
    jitter, stats = buffer()
    ticks = 6 * TICKS  # 120 ms
    for n in range(300):  # calm enough to shorten the delay several times
        jitter.arrive(n, n * ticks, str(n).encode(), ticks)
        get(jitter)
        jitter.now += 0.1
    assert jitter.depth == 2 * TICKS
    for n in range(300, 303):  # at once, after a stall
        jitter.arrive(n, n * ticks, str(n).encode(), ticks)
    assert get(jitter) == [302] and stats.discarded == 2


@given(
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 480)), max_size=60)
)
def test_any_packets_in_any_order_are_survived(packets: list[tuple[int, int, int]]) -> None:
    jitter, stats = buffer()
    for sequence, timestamp, ticks in packets:
        jitter.arrive(sequence, timestamp, b"x" * ticks, ticks)
        jitter.get(160)
        assert 0 < jitter.missing <= 160
        assert jitter.waiting == sum(p[2] for p in jitter._packets.values())
        assert jitter.waiting <= 1600 + 480
    assert stats.lost >= 0


@given(st.integers(0, 2**32), st.integers(0, 8))
def test_a_lossy_shaky_line_accounts_for_every_packet(seed: int, shake: int) -> None:
    """Each packet is played once and in order, or counted as lost, late or discarded."""
    chance = random.Random(seed)
    jitter, stats = buffer()
    arrivals = [(n + chance.random() * shake, n) for n in range(300) if chance.random() > 0.05]
    arrivals.sort()
    played: list[int] = []
    for tick in range(330):
        while arrivals and arrivals[0][0] <= tick:
            put(jitter, arrivals.pop(0)[1])
        played += [n for n in get(jitter) if n is not None]
    assert played == sorted(set(played))
    gone = stats.lost + stats.late + stats.discarded
    assert len(played) + gone == max(played) - min(played) + 1
