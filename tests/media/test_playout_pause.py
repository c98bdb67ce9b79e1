"""Pausing the bot and going on from the word where it stopped, on legs with and without a lead."""

import pytest

from media.frames import AudioFormat
from media.playout import Playout

WORDS = "one two three four five six"
MS = 300  # a word


def pcm_of(word: int, ms: int = MS) -> bytes:
    return bytes((word + 1, 0)) * 8 * ms


def speak(playout: Playout, *, marks: bool = True) -> int:
    utterance = playout.begin()
    playout.piece(utterance, WORDS)
    for n, word in enumerate(WORDS.split()):
        playout.write(utterance, pcm_of(n), [(WORDS.index(word), MS * 8 * n)] if marks else [])
    playout.end(utterance)
    return utterance


class Ear:
    """A far end that buffers what it gets, plays it in real time, and forgets it when told to."""

    def __init__(self) -> None:
        self.buffer, self.heard = b"", b""

    def beat(self) -> None:
        self.heard += self.buffer[:320]
        self.buffer = self.buffer[320:]

    def clear(self) -> None:
        self.buffer = b""


def run(playout: Playout, ear: Ear, beats: int, start: float = 0.0) -> float:
    for n in range(beats):
        now = start + 0.02 * n
        for frame in playout.due(now):
            ear.buffer += frame.pcm
        ear.beat()
    return start + 0.02 * beats


def words_in(heard: bytes) -> list[int]:
    """Which word is in each 20 ms."""
    return [heard[at] - 1 for at in range(0, len(heard), 320)]


@pytest.mark.parametrize("lead_ms", [0, 100, 200, 1500])
@pytest.mark.parametrize("paused_after", [16, 40, 44, 59, 74])  # 20 ms each
def test_the_bot_goes_on_from_the_word_where_it_stopped(lead_ms: int, paused_after: int) -> None:
    playout, ear = Playout(AudioFormat(), lead_ms), Ear()
    speak(playout)
    now = run(playout, ear, paused_after)
    before = words_in(ear.heard)
    playout.pause(now)
    ear.clear()
    assert playout.busy and playout.left_ms(now) > 0
    assert run(playout, ear, 30, now) and words_in(ear.heard) == before, "silent while paused"
    assert playout.finished(now + 0.6) == []
    playout.resume()
    now = run(playout, ear, 120, now + 0.6)
    after = words_in(ear.heard)[len(before) :]
    stopped_at = paused_after * 20 // MS
    assert after[0] == stopped_at
    assert after == sorted(after) and after.count(stopped_at) == MS // 20
    [heard] = playout.finished(now)
    assert heard.complete and heard.text == WORDS
    assert playout.left_ms(now) == 0


def test_without_word_marks_it_goes_back_a_little() -> None:
    playout, ear = Playout(AudioFormat()), Ear()
    speak(playout, marks=False)
    now = run(playout, ear, 50)  # 1 s: in the fourth word
    playout.pause(now)
    assert playout.left_ms(now) == 6 * MS - 1000 + 300
    playout.resume()
    assert run(playout, ear, 100, now)
    assert words_in(ear.heard).count(5) == MS // 20


def test_a_pause_that_becomes_an_interruption_reports_the_words_before_it() -> None:
    playout, ear = Playout(AudioFormat(), 200), Ear()
    speak(playout)
    now = run(playout, ear, 50)
    playout.pause(now)
    heard = playout.cut(now + 0.7)
    assert heard is not None and heard.text == "one two three" and not heard.complete
    assert not playout.paused and not playout.busy


def test_the_next_utterance_is_not_paused() -> None:
    playout, ear = Playout(AudioFormat()), Ear()
    speak(playout)
    playout.pause(run(playout, ear, 5))
    playout.cut(0.1)
    speak(playout)
    assert not playout.paused
    run(playout, ear, 5, 0.2)
    assert words_in(ear.heard)[-5:] == [0] * 5


def test_speech_that_is_still_being_made_waits_too() -> None:
    playout, ear = Playout(AudioFormat()), Ear()
    utterance = playout.begin()
    playout.piece(utterance, WORDS)
    playout.write(utterance, pcm_of(0), [(0, 0)])
    now = run(playout, ear, 10)
    playout.pause(now)
    for n in range(1, 6):
        playout.write(utterance, pcm_of(n), [(n, MS * 8 * n)])
    playout.end(utterance)
    assert playout.due(now + 1) == []
    playout.resume()
    run(playout, ear, 100, now + 1)
    assert words_in(ear.heard)[10:] == [n for n in range(6) for _ in range(15)]


def test_recording_holds_what_was_played_and_not_what_was_taken_back() -> None:
    playout, ear = Playout(AudioFormat(), 200), Ear()
    speak(playout)
    now = run(playout, ear, 40)
    playout.pause(now)
    played = b"".join(pcm for pcm, _ in playout.played(now))
    assert played == ear.heard


def test_a_long_speech_keeps_only_the_end_of_what_was_sent() -> None:
    playout, ear = Playout(AudioFormat(), 200), Ear()
    for _ in range(20):
        speak(playout)
        run(playout, ear, 95)
    assert len(playout._past) <= 2 * 16 * (200 + 2000)
