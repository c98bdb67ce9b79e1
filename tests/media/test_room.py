"""Who hears whom, and what it costs."""

import time

import numpy as np
import pytest

from media.liverate import LiveRate
from media.room import QUEUE, Room


def tone(level: int, rate: int = 8000, hertz: float = 400.0, frames: int = 1) -> list[bytes]:
    t = np.arange(rate // 50 * frames) / rate
    pcm = (np.sin(2 * np.pi * hertz * t) * level).astype("<i2").tobytes()
    return [pcm[i : i + rate // 25] for i in range(0, len(pcm), rate // 25)]


def flat(value: int, rate: int = 8000) -> bytes:
    return np.full(rate // 50, value, "<i2").tobytes()


def test_everybody_hears_the_others_and_not_himself() -> None:
    room = Room(8000)
    a, b, c = (room.join(name, 8000) for name in "abc")
    for member, value in ((a, 1), (b, 20), (c, 300)):
        member.put(flat(value))
    assert [m.take() for m in (a, b, c)] == [flat(320), flat(301), flat(21)]
    assert a.take() is None


def test_two_pass_their_audio_through_untouched() -> None:
    room = Room(8000)
    a, b = room.join("a", 8000), room.join("b", 8000)
    frame = tone(12_345)[0]
    a.put(frame)
    assert b.take() is frame


def test_loud_sums_saturate() -> None:
    room = Room(8000)
    a, b, c = (room.join(name, 8000) for name in "abc")
    a.put(flat(30_000)), b.put(flat(30_000))
    assert c.take() == flat(32_767)
    a.put(flat(-30_000)), b.put(flat(-30_000))
    assert c.take() == flat(-32_768)


def test_listeners_whisperers_and_the_muted() -> None:
    room = Room(8000)
    caller, agent, boss = (room.join(name, 8000) for name in ("caller", "agent", "boss"))
    boss.audience = ()  # listens
    boss.put(flat(5))
    caller.put(flat(1))
    assert (caller.take(), agent.take(), boss.take()) == (None, flat(1), flat(1))
    boss.audience = {"agent"}  # whispers
    boss.put(flat(5))
    assert (caller.take(), agent.take()) == (None, flat(5))
    boss.audience = None  # barges in
    boss.put(flat(5))
    assert (caller.take(), agent.take()) == (flat(5), flat(5))
    boss.muted = True
    boss.put(flat(5))
    assert caller.take() is None
    agent.put(flat(9))
    caller.deaf = True
    assert caller.take() is None


def test_who_leaves_is_heard_no_more_and_names_are_not_doubled() -> None:
    room = Room(8000)
    a, b = room.join("guest", 8000), room.join("guest", 8000)
    assert room.names == ("guest", "guest-2")
    a.put(flat(1))
    a.leave(), a.leave()
    a.put(flat(1))
    assert b.take() is None
    assert room.names == ("guest-2",)


def test_a_listener_that_sleeps_gets_the_latest_only() -> None:
    room = Room(8000)
    a, b = room.join("a", 8000), room.join("b", 8000)
    for n in range(10):
        a.put(flat(n))
    assert [b.take() for _ in range(QUEUE + 1)] == [*(flat(n) for n in range(10 - QUEUE, 10)), None]
    assert b.dropped == 10 - QUEUE


@pytest.mark.parametrize("rates", [(8000, 16000), (16000, 8000), (8000, 48000)])
def test_legs_of_other_rates_meet(rates: tuple[int, int]) -> None:
    one, other = rates
    room = Room(one)
    a, b = room.join("a", one), room.join("b", other)
    heard = b""
    for frame in tone(8000, one, 1000.0, 50):
        a.put(frame)
        got = b.take()
        assert got is not None and len(got) == other // 25
        heard += got
    spectrum = abs(np.fft.rfft(np.frombuffer(heard, "<i2")[other // 5 :].astype(float)))
    hertz = np.argmax(spectrum) * other / (2 * (len(spectrum) - 1))
    assert hertz == pytest.approx(1000, abs=3)
    peak = spectrum.max() ** 2
    assert (spectrum**2).sum() - (spectrum[int(spectrum.argmax()) - 5 :][:11] ** 2).sum() < 0.002 * peak


def test_a_change_of_rate_keeps_the_level_and_removes_what_does_not_fit() -> None:
    for rate, hertz, expected in ((16000, 1000.0, 1.0), (16000, 3000.0, 1.0), (16000, 6000.0, 0.0)):
        live = LiveRate(rate, 8000)
        out = b"".join(live.process(frame) for frame in tone(8000, rate, hertz, 25))
        level = np.sqrt((np.frombuffer(out, "<i2")[800:].astype(float) ** 2).mean()) / (8000 / np.sqrt(2))
        assert level == pytest.approx(expected, abs=0.06)


def test_the_speaker_is_who_speaks_for_a_while() -> None:
    said: list[str] = []
    room = Room(8000, said.append)
    a, b = room.join("a", 8000), room.join("b", 8000)
    for n in range(200):
        a.put(tone(8000)[0] if n < 100 else flat(0))
        b.put(tone(8000)[0] if n > 110 or n == 50 else flat(0))
    assert said == ["a", "b"]


def test_ten_legs_cost_less_than_100_us_each_and_tick() -> None:
    room = Room(8000)
    members = [room.join(f"m{n}", 8000) for n in range(10)]
    frames = tone(3000, frames=10)
    best = 1.0
    for _ in range(20):
        start = time.process_time()
        for frame in frames:
            for member in members:
                member.put(frame)
            for member in members:
                member.take()
        best = min(best, (time.process_time() - start) / len(frames) / len(members))
    assert best < 100e-6
