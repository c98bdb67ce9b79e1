"""Where frames land: jitter, stalls, gaps, overlaps, drift, impossible times."""

import random

import numpy as np
import pytest

from recordings.track import Track

RATE = 8000
FRAME = 160  # samples
PCM = np.random.default_rng(1).integers(-9000, 9000, FRAME * 500, dtype=np.int16)


def frames(count: int) -> list[bytes]:
    return [PCM[n * FRAME : (n + 1) * FRAME].tobytes() for n in range(count)]


def lay(times: list[float], count: int | None = None) -> np.ndarray:
    """Frames 0, 1, 2, ... of PCM at these times, as they end up in the file."""
    track = Track(RATE)
    for pcm, at_ms in zip(frames(len(times)), times, strict=True):
        track.put(pcm, at_ms)
    track.settle(track.newest + 1)
    return np.frombuffer(track.take(track.end if count is None else count), dtype=np.int16)


@pytest.mark.parametrize(
    "late_ms",
    [
        [0] * 100,
        [(n * 7) % 10 for n in range(100)],  # ticks come up to 9 ms late
        [0] * 50 + [18] + [0] * 49,  # one does not come for nearly a packet time
        [0] * 40 + [200 - 20 * n for n in range(10)] + [0] * 50,  # 200 ms of stall, then a burst
    ],
)
def test_late_frames_make_no_click(late_ms: list[float]) -> None:
    laid = lay([20 * n + late for n, late in enumerate(late_ms)])
    assert np.array_equal(laid, PCM[: 100 * FRAME])


@pytest.mark.parametrize("lost", [1, 2, 50])
def test_lost_packets_become_silence_where_they_were_lost(lost: int) -> None:
    times = [20.0 * n for n in range(60)] + [20.0 * (n + lost) for n in range(60, 120)]
    laid = lay([at + random.Random(2).uniform(0, 4) for at in times])
    offset = len(laid) - (120 + lost) * FRAME  # the first frame's own jitter
    laid = laid[offset:]
    assert np.array_equal(laid[: 60 * FRAME], PCM[: 60 * FRAME])
    assert not laid[60 * FRAME : (60 + lost) * FRAME].any()
    assert np.array_equal(laid[(60 + lost) * FRAME :], PCM[60 * FRAME : 120 * FRAME])


def test_speech_after_a_pause_starts_at_its_time_even_if_its_first_ticks_are_late() -> None:
    times = [20.0 * n for n in range(10)] + [5000 + 20.0 * n + (60 if n == 0 else 0) for n in range(40)]
    laid = lay(times)
    start = 5000 * RATE // 1000
    assert not laid[10 * FRAME : start].any()
    assert np.array_equal(laid[start:], PCM[10 * FRAME : 50 * FRAME])


def test_overlap_keeps_what_was_first() -> None:
    """Fifty milliseconds too early: two frames have no room, the third is within the slack."""
    times = [20.0 * n for n in range(50)] + [20.0 * n - 50 for n in range(50, 100)]
    track = Track(RATE)
    for pcm, at_ms in zip(frames(100), times, strict=True):
        track.put(pcm, at_ms)
    track.settle(track.newest + 1)
    laid = np.frombuffer(track.take(track.end), dtype=np.int16)
    assert np.array_equal(laid[: 50 * FRAME], PCM[: 50 * FRAME])
    assert np.array_equal(laid[50 * FRAME :], PCM[52 * FRAME : 100 * FRAME])
    assert track.trimmed == 2 * FRAME


@pytest.mark.parametrize("ppm", [-3000, -200, 200, 3000])
def test_drift_never_grows_beyond_a_frame(ppm: int) -> None:
    """Every sample says at which time it was made; where it lies may differ by 20 ms at most."""
    jitter = random.Random(3)
    track, laid, worst = Track(RATE), [], 0
    count = 30 * 60 * 50  # half an hour
    for n in range(count):
        at_ms = 20 * n * (1 + ppm / 1e6)
        stamp = np.full(FRAME, 1 + n % 30_000, dtype=np.int16)
        track.put(stamp.tobytes(), max(0.0, at_ms + jitter.uniform(-8, 8)))
        if n % 50 == 49:
            until = max(track.start, track.newest - RATE)
            track.settle(until)
            laid.append(np.frombuffer(track.take(until), dtype=np.int16))
    stamps = np.concatenate(laid)
    for n in range(0, len(stamps) // FRAME - 100, 37):
        at = np.flatnonzero(stamps[max(0, n - 400) * FRAME :][: 800 * FRAME] == 1 + n % 30_000)
        if n * 20 * (1 + ppm / 1e6) * 8 > len(stamps) - 8000 or not at.size:
            continue
        lies_ms = (at[0] + max(0, n - 400) * FRAME) / 8
        worst = max(worst, abs(lies_ms - 20 * n * (1 + ppm / 1e6)))
    assert 0 < worst < 20


@pytest.mark.parametrize("at_ms", [float("nan"), float("inf"), -float("inf"), 1e12, -1e12])
def test_an_impossible_time_is_refused_and_counted(at_ms: float) -> None:
    track = Track(RATE)
    track.put(frames(1)[0], at_ms)
    assert (track.misplaced, track.newest) == (1, 0)


def test_what_came_before_the_call_began_is_cut_off() -> None:
    laid = lay([-30.0, -10.0, 10.0])
    assert np.array_equal(laid, PCM[240 : 3 * FRAME])


def test_audio_after_its_place_was_written_is_dropped_and_counted() -> None:
    track = Track(RATE)
    track.take(RATE)
    track.put(frames(1)[0], 500)
    track.settle(RATE)
    assert not any(track.take(2 * RATE))
    assert track.trimmed == FRAME


def test_short_and_odd_frames() -> None:
    track = Track(RATE)
    for pcm in (b"", b"\x01", b"\x01\x00\x02"):
        track.put(pcm, 0)
    track.settle(100)
    assert bytes(track.take(2)) == b"\x01\x00\x00\x00"
