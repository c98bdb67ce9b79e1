"""Who has answered: people, machines, assistants; beeps among speech, keys and ringing."""

import numpy as np
import pytest

from dialog.types import AnsweredBy
from media.amd import AnswerDetector, BeepDetector, Config, phrase_of
from media.frames import AudioFrame
from media.keytones import key_tones

RATE = 8000


def tone(frequency: float, ms: int, level: float = 6000.0) -> bytes:
    times = np.arange(RATE * ms // 1000) / RATE
    return bytes((level * np.sin(2 * np.pi * frequency * times)).astype("<i2").tobytes())


def babble(ms: int, seed: int = 1) -> bytes:
    """A voice, as far as a tone detector is concerned: a pitch that moves, with overtones and noise."""
    random = np.random.default_rng(seed)
    times = np.arange(RATE * ms // 1000) / RATE
    pitch = 2 * np.pi * np.cumsum(140 + 25 * np.sin(2 * np.pi * 3 * times)) / RATE
    wave = sum(np.sin(n * pitch) * random.uniform(0.3, 1.0) for n in range(1, 14))
    return bytes((1200 * wave + 300 * random.standard_normal(len(times))).astype("<i2").tobytes())


class Line:
    """An answered call: what is said, and when the detector hears of it."""

    def __init__(self, language: str = "en") -> None:
        self.detector = AnswerDetector(Config(), RATE, language)

    def play(self, pcm: bytes) -> "Line":
        for start in range(0, len(pcm), 320):
            self.detector.frame(AudioFrame(pcm[start : start + 320], RATE, 0))
        return self

    def say(self, ms: int, text: str = "") -> "Line":
        """Speech; the recogniser has its text at the end."""
        self.play(babble(140))
        self.detector.started(140)
        self.play(babble(ms - 140))
        if text:
            self.detector.text(text)
        return self

    def pause(self, ms: int) -> "Line":
        self.play(bytes(16 * 200))
        self.detector.stopped(200)
        return self.play(bytes(16 * (ms - 200)))

    @property
    def by(self) -> AnsweredBy | None:
        return self.detector.verdict.by if self.detector.verdict is not None else None


def test_a_person_says_hello_and_waits() -> None:
    line = Line().play(bytes(16 * 400)).say(500).pause(700)
    verdict = line.detector.verdict
    assert verdict is not None and verdict.by is AnsweredBy.HUMAN and verdict.reason == "short greeting"
    assert verdict.at_ms < 1600


def test_a_machine_talks_on() -> None:
    line = Line().play(bytes(16 * 300)).say(3000)
    verdict = line.detector.verdict
    assert verdict is not None and verdict.by is AnsweredBy.MACHINE and verdict.at_ms <= 3000


def test_a_phrase_decides_at_once() -> None:
    line = Line().say(1200, "Hi, you've reached Ann,").pause(300)
    assert line.by is AnsweredBy.MACHINE and line.detector.now_ms < 1600


@pytest.mark.parametrize(
    "said, by",
    [
        (0, AnsweredBy.HUMAN),  # nobody speaks: better to greet a silent person than to hang up on him
        (900, AnsweredBy.HUMAN),
        (2300, AnsweredBy.MACHINE),
    ],
)
def test_it_is_decided_within_four_seconds(said: int, by: AnsweredBy) -> None:
    line = Line()
    if said:
        line.say(said // 2).pause(400).say(said - said // 2).pause(400)
    line.play(bytes(16 * 5000))
    assert line.by is by and line.detector.verdict is not None and line.detector.verdict.at_ms <= 4020


def test_a_machine_that_began_like_a_person_is_found_out() -> None:
    line = Line().say(500, "hello").pause(800)
    assert line.by is AnsweredBy.HUMAN
    line.say(1500, "please leave a message after the tone")
    assert line.by is AnsweredBy.MACHINE
    late = Line().say(500).pause(9000).say(1000, "I will leave a message for him")
    assert late.by is AnsweredBy.HUMAN  # a person may say so


def test_an_assistant_that_screens_is_a_class_of_its_own() -> None:
    text = "Hi. If you record your name and reason for calling, I'll see if this person is available."
    line = Line().say(2000, text)
    assert line.by is AnsweredBy.SCREENING and line.detector.ready_at is None
    line.pause(900)
    assert line.detector.ready_at is not None  # it listens now


@pytest.mark.parametrize("frequency", [425, 850, 1000, 1400, 2000])
def test_the_message_begins_after_the_beep(frequency: int) -> None:
    line = Line().say(4000, "please leave a message after the tone").pause(600)
    assert line.detector.ready_at is None
    line.play(tone(frequency, 400)).play(bytes(16 * 100))
    ready = line.detector.ready_at
    assert ready is not None and 0 <= ready - 5000 <= 100


def test_without_a_beep_the_message_begins_in_the_silence() -> None:
    line = Line().say(4000).pause(2000)
    assert line.by is AnsweredBy.MACHINE and line.detector.ready_at is None
    line.play(bytes(16 * 600))
    assert line.detector.ready_at is not None


def test_a_machine_that_never_ends_is_not_waited_for_for_ever() -> None:
    line = Line().say(34_000)
    assert line.detector.ready_at is not None and line.detector.ready_at <= 33_000


@pytest.mark.parametrize(
    "pcm",
    [
        babble(5000),
        key_tones("1234567890", RATE),
        tone(440, 5000),  # a tone that does not end is no beep
        tone(1000, 60),
        tone(1000, 400, level=100.0),  # too soft
        bytes((np.random.default_rng(2).standard_normal(40_000) * 3000).astype("<i2").tobytes()),
    ],
)
def test_what_is_no_beep(pcm: bytes) -> None:
    beep = BeepDetector(RATE)
    assert not any(beep.process(pcm[i : i + 320]) for i in range(0, len(pcm), 320))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_beeps_at_any_rate(rate: int) -> None:
    times = np.arange(rate // 2) / rate
    pcm = (5000 * np.sin(2 * np.pi * 1000 * times)).astype("<i2").tobytes() + bytes(rate // 5)
    beep = BeepDetector(rate)
    assert sum(beep.process(pcm[i : i + 320]) for i in range(0, len(pcm), 320)) == 1


@pytest.mark.parametrize(
    "text, language, by",
    [
        ("Please leave your message after the tone.", "en-GB", AnsweredBy.MACHINE),
        ("Bitte sprechen Sie nach dem Signalton", "de", AnsweredBy.MACHINE),
        ("Nennen Sie Ihren Namen", "de", AnsweredBy.SCREENING),
        ("Laissez un message après le bip", "fr", AnsweredBy.MACHINE),
        ("Deje su mensaje después de la señal", "es", AnsweredBy.MACHINE),
        ("hello who is this", "en", None),
        ("mailboxes", "en", None),
        ("leave a message", "xx", None),
    ],
)
def test_phrases(text: str, language: str, by: AnsweredBy | None) -> None:
    assert phrase_of(text, language) is by
