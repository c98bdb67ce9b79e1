"""The bot's echo is not the caller; a caller who speaks over it is.

Synthetic lines, real voices, the real detector."""

import numpy as np
import numpy.typing as npt
import pytest

from dialog.turn import SpeechStarted
from media.echo import Config, EchoGuard
from media.frames import AudioFrame
from media.vad import webrtc
from tests.callers import caller

Line = npt.NDArray[np.float64]
SAID = "please tell me for which day you would like an appointment, we are open from nine to five"
TALK_AT_MS = 2000
DETECTED_MS = 2340  # without any echo


def voice(text: str, name: str) -> Line:
    return np.frombuffer(caller(text, name, lead_ms=0, tail_ms=0), np.int16).astype(np.float64)


def path(delay_ms: int, gain_db: float, *, room: bool) -> Line:
    """Impulse response of an echo: a hybrid's single reflection, or a speakerphone in a room."""
    response = np.zeros(delay_ms * 8 + (800 if room else 1))
    response[delay_ms * 8] = 1
    if room:
        tail = np.random.default_rng(1).standard_normal(800) * np.exp(-np.arange(800) / 120)
        response[delay_ms * 8 :] += tail * 0.25
    return response * 10 ** (gain_db / 20) / np.sqrt((response**2).sum())


def starts(
    echo: Line | None, *, talks: bool, clock: float = 100.0, jitter: float = 0.0, lead_ms: int = 0
) -> tuple[list[int], EchoGuard]:
    """When the detector notices a caller, in ms from the bot's first sound."""
    bot = voice(SAID, "rms")
    line = np.random.default_rng(2).standard_normal(len(bot) + 8000) * 6
    if echo is not None:
        returned = np.convolve(bot, echo)[: len(line)]
        line[: len(returned)] += returned
    if talks:
        said = voice("no wait a moment please", "slt")
        line[TALK_AT_MS * 8 : TALK_AT_MS * 8 + len(said)] += said
    guard, detector, found = EchoGuard(Config(), 8000), webrtc.create(webrtc.Config()), []
    rng, pcm = np.random.default_rng(3), np.clip(line, -32768, 32767).astype(np.int16)
    for n in range(len(pcm) // 160):
        now = clock + n * 0.02
        if (n + 1) * 160 <= len(bot):
            guard.played(bot[n * 160 : (n + 1) * 160].astype(np.int16).tobytes(), now)
        frame = AudioFrame(pcm[n * 160 : (n + 1) * 160].tobytes(), 8000, n * 160)
        if guard.received(frame, now + 0.02 + rng.uniform(0, jitter)):
            frame = AudioFrame(bytes(320), 8000, n * 160)
        if isinstance(detector.process(frame), SpeechStarted):
            found.append(n * 20)
    return found, guard


@pytest.mark.parametrize("gain_db", [-10, -20, -30])
@pytest.mark.parametrize("delay_ms", [30, 80, 150, 250])
def test_an_echo_is_no_caller_but_who_speaks_over_it_is(delay_ms: int, gain_db: int) -> None:
    echo = path(delay_ms, gain_db, room=False)
    found, guard = starts(echo, talks=False)
    assert found == []
    assert guard.delay_ms == delay_ms and guard.gain_db == pytest.approx(gain_db, abs=1)
    found, _ = starts(echo, talks=True)
    assert found and found[0] <= DETECTED_MS + 60


@pytest.mark.parametrize("gain_db", [-10, -20, -30])
@pytest.mark.parametrize("delay_ms", [80, 250])
def test_a_speakerphone_in_a_room_is_learnt_from_its_first_syllables(delay_ms: int, gain_db: int) -> None:
    found, _ = starts(path(delay_ms, gain_db, room=True), talks=True)
    echoes = [at for at in found if at < TALK_AT_MS]
    assert len(echoes) <= 1 and all(at < 700 for at in echoes)
    assert found[len(echoes)] <= DETECTED_MS + 60


def test_without_an_echo_nobody_is_taken_for_one() -> None:
    found, guard = starts(None, talks=True)
    assert found == [DETECTED_MS]
    assert guard.delay_ms is None and guard.muted == 0


def test_late_beats_do_not_hide_the_echo() -> None:
    found, _ = starts(path(80, -15, room=False), talks=False, jitter=0.015)
    assert found == []


def test_whoever_speaks_while_the_bot_is_silent_is_not_looked_at() -> None:
    guard = EchoGuard(Config(), 8000)
    pcm = voice("good morning", "slt").astype(np.int16)
    for n in range(len(pcm) // 160):
        frame = AudioFrame(pcm[n * 160 : (n + 1) * 160].tobytes(), 8000, n * 160)
        assert not guard.received(frame, n * 0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_any_rate_of_a_line(rate: int) -> None:
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.standard_normal(rate * 2), np.ones(rate // 1000), "same") * 900
    guard, size, muted = EchoGuard(Config(), rate), rate // 50, 0
    for n in range(100):
        part = noise[n * size : (n + 1) * size].astype(np.int16)
        guard.played(part.tobytes(), n * 0.02)
        back = noise[(n - 3) * size : (n - 2) * size] * 0.2 if n >= 3 else np.zeros(size)
        muted += guard.received(AudioFrame(back.astype(np.int16).tobytes(), rate, n * size), n * 0.02 + 0.02)
    assert guard.delay_ms == pytest.approx(60, abs=1)
    assert muted > 80


@pytest.mark.parametrize("wrong", [{"max_delay_ms": 20}, {"margin_db": 40}, {"correlation": 1.0}])
def test_a_wrong_setting_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)  # type: ignore[arg-type]
