"""The estimate that comes along, on real voices; and that it beats silence alone."""

from dataclasses import replace

import numpy as np
import pytest

from bench import turns
from dialog.turn import Transcript, TurnPolicy
from dialog.types import Hints
from media.eot import off, prosody, rules
from media.frames import AudioFormat, AudioFrame
from tests.callers import caller


def tone(start_hz: float, end_hz: float, ms: int, *, fade_db: float = 0.0) -> np.ndarray:
    """A voice: a glide with harmonics, softer towards its end."""
    n = 8 * ms
    phase = np.cumsum(np.linspace(start_hz, end_hz, n)) * 2 * np.pi / 8000
    wave = sum(np.sin(k * phase) / k for k in range(1, 8))
    return wave * 3000 * 10 ** (np.linspace(0, -fade_db, n) / 20)


def heard(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([*parts, np.random.default_rng(0).standard_normal(1600) * 5]).astype(np.float32)


def test_a_falling_fading_voice_sounds_more_finished_than_a_level_one() -> None:
    level = prosody.score(prosody.signs(heard(tone(120, 125, 900)), 8000))
    falling = prosody.score(prosody.signs(heard(tone(130, 125, 600), tone(120, 85, 300, fade_db=10)), 8000))
    assert falling > level + 0.2
    assert 0.1 <= level <= falling <= 0.9


@pytest.mark.parametrize(
    "samples", [np.zeros(100), np.zeros(8000), np.random.default_rng(1).standard_normal(8000) * 4]
)
def test_of_silence_and_noise_nothing_is_said(samples: np.ndarray) -> None:
    assert 0.1 <= prosody.score(prosody.signs(samples.astype(np.float32), 8000)) <= 0.9


def stream(scores: list[float], **how: float) -> rules.RulesStream:
    made = rules.create(rules.Config(**how)).stream(AudioFormat(), scores.append)
    assert isinstance(made, rules.RulesStream)
    made.begin()
    return made


def test_words_decide_and_are_looked_at_again_when_more_are_known() -> None:
    scores: list[float] = []
    estimate = stream(scores)
    estimate.expect(Hints(digits=(6, 6)), "en")
    pcm = caller("four five six", "slt")
    for at in range(0, len(pcm) - 320, 320):
        estimate.push(AudioFrame(pcm[at : at + 320], 8000, at // 2))
    estimate.partial(Transcript("four five", final=False))
    assert scores == [], "nobody asked"
    estimate.paused()
    estimate.partial(Transcript("four five six seven eight nine", final=False))
    assert scores == [0.05, 1.0]
    estimate.resumed()
    estimate.partial(Transcript("four", final=False))
    assert len(scores) == 2


def test_a_new_turn_forgets_the_words_of_the_last() -> None:
    scores: list[float] = []
    estimate = stream(scores, prosody=0.0)
    estimate.partial(Transcript("i want to", final=False))
    estimate.begin()
    estimate.paused()
    assert scores == [prosody.NEUTRAL]


def test_words_of_a_recogniser_that_is_far_behind_tell_nothing() -> None:
    scores: list[float] = []
    estimate = stream(scores, prosody=0.0)
    estimate.partial(Transcript("i want to speak to", final=False))
    for n in range(70):
        estimate.push(AudioFrame(bytes(320), 8000, n * 160))
    estimate.paused()
    assert scores == [prosody.NEUTRAL]


def test_off_says_nothing() -> None:
    estimate = off.create(off.Config()).stream(AudioFormat(), lambda score: pytest.fail("a score"))
    estimate.begin()
    estimate.partial(Transcript("yes", final=False))
    estimate.paused()
    estimate.close()


def test_a_wrong_weight_is_named() -> None:
    with pytest.raises(ValueError, match="prosody"):
        rules.Config(prosody=2)


def test_the_estimate_cuts_off_fewer_callers_than_twice_the_silence() -> None:
    """A part of bench/turns.py: one voice, all answers and pauses."""
    voices, turns.VOICES = turns.VOICES, ("en-us",)
    try:
        plain = TurnPolicy()
        silence = {
            ms: turns.measure(replace(plain, end_silence_ms=ms, complete_silence_ms=ms), estimate=False)
            for ms in (500, 800)
        }
        cut, wait = turns.measure(plain, estimate=True)
    finally:
        turns.VOICES = voices
    assert cut < silence[500][0] / 2
    assert cut < silence[800][0]
    assert wait < 0.6 * silence[800][1]
