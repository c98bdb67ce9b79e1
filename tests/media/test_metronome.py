"""The clock of all calls, on a virtual loop: absolute deadlines, stalls, and a call that fails."""

import asyncio
from collections.abc import Callable

import pytest

from media.metronome import CATCH_UP, Metronome
from tests.clock import run


class Member:
    def __init__(self, metronome: Metronome, on_receive: Callable[[], None] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.received: list[float] = []
        self.sent: list[float] = []
        self.failures: list[Exception] = []
        self.on_receive = on_receive
        self.leave = metronome.join(self.receive, self.send, self.failures.append)

    def receive(self) -> None:
        self.received.append(round(self.loop.time(), 4))
        if self.on_receive is not None:
            self.on_receive()

    def send(self) -> None:
        self.sent.append(round(self.loop.time(), 4))


def stall(seconds: float) -> None:
    """The loop is busy for so long: only the clock moves."""
    asyncio.get_running_loop()._jump.now += seconds  # type: ignore[attr-defined]


def test_each_call_beats_every_20_ms_and_sends_5_ms_after_receiving() -> None:
    async def calls() -> tuple[Member, Metronome]:
        metronome = Metronome()
        member = Member(metronome)
        await asyncio.sleep(1)
        return member, metronome

    member, metronome = run(calls())
    assert len(member.received) in {50, 51}
    assert {round(b - a, 4) for a, b in zip(member.received, member.received[1:], strict=False)} == {0.02}
    assert {round(s - r, 4) for r, s in zip(member.received, member.sent, strict=False)} == {0.005}
    assert metronome.take().late_max < 0.001


def test_calls_spread_over_the_period() -> None:
    async def calls() -> list[float]:
        metronome = Metronome()
        members = [Member(metronome) for _ in range(8)]
        await asyncio.sleep(0.1)
        return sorted(round(m.received[-1] % 0.02, 4) for m in members)

    phases = run(calls())
    assert len(set(phases)) == 4
    assert all(phases.count(p) == 2 for p in phases)


def test_a_late_beat_does_not_shift_the_next() -> None:
    async def calls() -> list[float]:
        metronome = Metronome()
        member = Member(metronome)
        await asyncio.sleep(0.051)
        stall(0.013)
        await asyncio.sleep(0.2)
        return member.received

    times = run(calls())
    on_time = [t for t in times if t % 0.02 < 0.0001 or t % 0.02 > 0.0199]
    assert len(times) - len(on_time) == 1
    assert len(times) == pytest.approx(14, abs=1)


def test_beats_missed_in_a_short_stall_are_made_up_at_once() -> None:
    async def calls() -> tuple[int, int]:
        metronome = Metronome()
        member = Member(metronome)
        await asyncio.sleep(0.1)
        stall(0.150)
        await asyncio.sleep(0.75)
        return len(member.received), metronome.pulse.skipped

    received, skipped = run(calls())
    assert received == pytest.approx(50, abs=1)
    assert skipped == 0


def test_of_a_long_stall_only_the_end_is_made_up(caplog: pytest.LogCaptureFixture) -> None:
    async def calls() -> tuple[int, int, float]:
        metronome = Metronome()
        member = Member(metronome)
        await asyncio.sleep(0.1)
        before = len(member.received)
        stall(1.0)
        await asyncio.sleep(0.0005)
        pulse = metronome.take()
        return len(member.received) - before, pulse.skipped, pulse.late_max

    made_up, skipped, late = run(calls())
    assert made_up == pytest.approx(CATCH_UP, abs=1)
    assert made_up + skipped == pytest.approx(50, abs=1)
    assert late == pytest.approx(0.2, abs=0.01)
    assert "metronome stalled" in caplog.text


def test_it_stops_with_the_last_call_and_starts_with_the_next() -> None:
    async def calls() -> tuple[int, int, int]:
        metronome = Metronome()
        first = Member(metronome)
        await asyncio.sleep(0.1)
        first.leave()
        first.leave()
        count = len(first.received)
        await asyncio.sleep(10)
        second = Member(metronome)
        await asyncio.sleep(0.1)
        assert metronome.pulse.skipped == 0
        return len(first.received) - count, len(second.received), metronome.calls

    after, of_second, joined = run(calls())
    assert (after, joined) == (0, 1)
    assert of_second == pytest.approx(5, abs=1)


def test_a_call_that_fails_is_told_and_leaves_while_the_others_go_on() -> None:
    async def calls() -> tuple[Member, Member, int]:
        metronome = Metronome()

        def fail() -> None:
            raise RuntimeError("a bug")

        members = [Member(metronome) for _ in range(8)]
        bad = Member(metronome, fail)
        await asyncio.sleep(0.2)
        return bad, members[0], metronome.calls

    bad, good, joined = run(calls())
    assert len(bad.received) == 1
    assert [str(e) for e in bad.failures] == ["a bug"]
    assert len(good.received) >= 9
    assert joined == 8


def test_a_call_that_leaves_in_its_beat_is_not_called_again() -> None:
    async def calls() -> tuple[Member, Member]:
        metronome = Metronome()
        first = Member(metronome)
        for _ in range(3):
            Member(metronome)
        second = Member(metronome)  # the same slot, later in the beat
        first.on_receive = second.leave
        await asyncio.sleep(0.1)
        return first, second

    first, second = run(calls())
    assert len(first.received) >= 4
    assert second.received == []


def test_lateness_is_reported_for_each_beat() -> None:
    async def calls() -> list[float]:
        late: list[float] = []
        metronome = Metronome(late.append)
        Member(metronome)
        await asyncio.sleep(0.05)
        stall(0.012)
        await asyncio.sleep(0.05)
        return late

    late = run(calls())
    assert max(late) == pytest.approx(0.012, abs=0.006)
    assert sum(x > 0.001 for x in late) <= 4
