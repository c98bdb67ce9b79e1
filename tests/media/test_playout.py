"""What the caller hears, against a far end that really plays."""

import heapq
import random

import pytest

from media.frames import AudioFormat, AudioFrame
from media.playout import Playout


def speak(playout: Playout, text: str, ms: int, words: tuple[tuple[int, int], ...] = ()) -> int:
    utterance = playout.begin()
    playout.piece(utterance, text)
    playout.write(utterance, b"\x01\x00" * 8 * ms, words)
    playout.end(utterance)
    return utterance


def test_ticks_with_jitter_lose_no_frame_time() -> None:
    rng, playout, sent = random.Random(1), Playout(AudioFormat()), []
    speak(playout, "x", 2000)
    for n in range(101):
        now = 0.020 * n + rng.uniform(-0.008, 0.008)
        sent += [now] * len(playout.due(now))
    assert len(sent) == 100
    assert all(-0.021 < at - 0.020 * n < 0.021 for n, at in enumerate(sent))


class FarEnd:
    """A carrier with a network delay each way that plays in real time and echoes marks."""

    def __init__(self, delay: float, rng: random.Random) -> None:
        self.delay, self.rng, self.play_end = delay, rng, 0.0
        self.events: list[tuple[float, int]] = []
        self.spans: list[tuple[float, int, int]] = []

    def send(self, frames: list[AudioFrame], now: float) -> None:
        for frame in frames:
            arrives = now + self.delay + self.rng.uniform(0, 0.03)
            start = max(arrives, self.play_end)
            self.play_end = start + 0.02
            self.spans.append((start, frame.pts, frame.end))
            if frame.end % 1600 == 0:
                heapq.heappush(self.events, (self.play_end + self.delay, frame.end))

    def marks(self, now: float) -> list[int]:
        due = []
        while self.events and self.events[0][0] <= now:
            due.append(heapq.heappop(self.events)[1])
        return due

    def truly_heard(self, now: float) -> int:
        heard = 0
        for start, pts, end in self.spans:
            if start <= now:
                heard = min(end, pts + int((now - start) * 8000))
        return heard


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15])
def test_heard_estimate_follows_the_truth(delay: float) -> None:
    rng = random.Random(7)
    playout, far = Playout(AudioFormat(), lead_ms=200), FarEnd(delay, rng)
    speak(playout, "x", 10_000)
    worst, now = 0, 0.0
    for n in range(480):
        now = 0.02 * n
        for pts in far.marks(now):
            playout.confirm(pts, now)
        far.send(playout.due(now), now)
        if n > 60:
            worst = max(worst, abs(playout.heard_pts(now) - far.truly_heard(now)))
    assert worst / 8 < 60  # ms, whatever the delay
    gaps = [b[0] - a[0] for a, b in zip(far.spans, far.spans[1:], strict=False)]
    assert max(gaps[60:]) < 0.021  # the lead hides the network's jitter
    cut, learned = playout.cut(now), now + delay  # the far end plays on until the clear arrives
    assert cut is not None
    assert abs(cut.ms - far.truly_heard(learned) / 8) < 60


def test_cut_keeps_whole_words_and_refuses_late_audio() -> None:
    playout = Playout(AudioFormat())
    utterance = speak(playout, "one two three four", 1800)
    for n in range(45):
        playout.due(0.02 * n)
    heard = playout.cut(0.9)
    assert heard is not None
    assert (heard.text, heard.said, heard.complete) == ("one two", "one two three four", False)
    assert 880 <= heard.ms <= 900
    playout.write(utterance, bytes(320))
    assert playout.due(0.92) == []
    assert not playout.busy


@pytest.mark.parametrize(
    "at, text", [(0.1, ""), (0.55, "one"), (0.69, "one"), (0.75, "one two"), (1.79, "one two three")]
)
def test_word_marks_say_which_word_was_reached(at: float, text: str) -> None:
    playout = Playout(AudioFormat())
    marks = (
        (0, 0),
        (4, 4000),
        (8, 5600),
        (14, 6400),
    )  # "two" begins at 500 ms, "three" at 700, "four" at 800
    speak(playout, "one two three four", 1800, marks)
    for n in range(90):
        if 0.02 * n < at:
            playout.due(0.02 * n)
    heard = playout.cut(at)
    assert heard is not None
    assert heard.text == text


def test_end_is_heard_not_sent() -> None:
    playout = Playout(AudioFormat(), lead_ms=200)
    speak(playout, "hello", 100)
    assert len(playout.due(0.0)) == 5
    assert playout.finished(0.05) == []
    [heard] = playout.finished(0.101)
    assert (heard.text, heard.ms, heard.complete, heard.began_at) == ("hello", 100, True, 0.0)


def test_played_is_what_was_heard_and_when() -> None:
    playout = Playout(AudioFormat(), lead_ms=200)
    speak(playout, "hello there", 400)
    for n in range(5):
        playout.due(0.02 * n)
    first = list(playout.played(0.09))
    assert [round(at, 3) for _, at in first] == [0.0, 0.02, 0.04, 0.06, 0.08]
    playout.cut(0.09)  # the far end had 200 ms more, which nobody heard
    assert list(playout.played(1.0)) == []
    speak(playout, "again", 40)
    playout.due(2.0)
    assert [round(at, 3) for _, at in playout.played(2.5)] == [2.0, 2.02]


def test_a_gap_in_the_synthesis_starts_a_new_run() -> None:
    playout = Playout(AudioFormat())
    utterance = playout.begin()
    playout.piece(utterance, "slow voice")
    playout.write(utterance, bytes(320))
    assert len(playout.due(0.0)) == 1
    assert playout.due(0.5) == []
    playout.write(utterance, bytes(640))
    assert len(playout.due(1.0)) == 1
    assert len(playout.due(1.02)) == 1
    playout.end(utterance)
    assert [h.complete for h in playout.finished(1.05)] == [True]
    assert len(list(playout.played(2.0))) == 3


def test_an_utterance_without_a_word_leaves_no_trace() -> None:
    playout = Playout(AudioFormat())
    playout.end(playout.begin())
    speak(playout, "hi", 20)
    playout.due(0.0)
    assert [h.text for h in playout.finished(0.03)] == ["hi"]
    assert playout.cut(0.04) is None


def test_half_a_frame_is_padded_at_the_end_only() -> None:
    playout = Playout(AudioFormat())
    utterance = playout.begin()
    playout.piece(utterance, "x")
    playout.write(utterance, bytes(200))
    assert playout.due(0.0) == []
    playout.end(utterance)
    [frame] = playout.due(0.02)
    assert len(frame.pcm) == 320
