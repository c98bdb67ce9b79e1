"""An appointment is booked by four callers at once who share no code: our phone by voice, baresip by voice
and keys, our phone on pjsip by keys, sipp by keys in INFO. What remains of their calls is then looked at."""

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from media.tts import espeak
from tests.callers import caller as line_of
from tests.callers import write_wav
from tests.e2e.baresip import baresip
from tests.e2e.server import COMMAND, ROOT, Server, booked, environment, events, serving
from tests.e2e.sipp import Scenario, sipp
from tests.tools import need

pytestmark = pytest.mark.real

KEYS = ["1", "2", "2", "1000", "1", "427242#", "1", "2"]
BY_KEYS = """\
turn_silence_ms: 500
caller: [{steps}]
expect: {{hangup: bot, latency_ms: 2500}}
"""
BARESIP_VOICE = "rms"
TALK = [  # what baresip says, and what the bot answers at most
    ("i would like to book an appointment", "Would you like to see the doctor, the dentist, or the nurse?"),
    ("the doctor please", "Which day would suit you?"),
    ("next thursday", "At what time on Thursday?"),
    ("at eleven in the morning", "And what is your last name?"),
    (
        "johnson",
        "So that is the doctor, on Thursday, the twenty seventh of September, at eleven in the morning,"
        " for Johnson. Is that right?",
    ),
    (
        "yes please",
        "You are booked on Thursday, the twenty seventh of September at eleven in the morning."
        " Your reference number is 1 2 3 4. Is there anything else I can do for you?",
    ),
]
WELCOME = "Hello, this is Riverside Clinic. How can I help you?"
THINKING_MS = 2000  # after the bot has finished; it asks again after 7 s


def prompt_ms(text: str) -> int:
    """How long the bot takes to say it."""

    async def measure() -> int:
        voice = espeak.create(espeak.Config())
        async with aclosing(voice.synthesize(text)) as speech:
            size = sum([len(chunk.pcm) async for chunk in speech])
        await voice.close()
        return 1000 * size // 2 // voice.rate

    return asyncio.run(measure())


def phone(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`voicegw call`."""
    command = [*COMMAND, "call", server.uri, "--json", *arguments]
    env = environment(server.data)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def talk_by_baresip(server: Server, folder: Path) -> None:
    folder.mkdir()
    pause_ms = prompt_ms(WELCOME) + THINKING_MS
    said, length_ms = b"", 0
    for text, answer in TALK:
        line = line_of(text, BARESIP_VOICE, lead_ms=pause_ms, tail_ms=0)
        said, length_ms = said + line, length_ms + len(line) // 16
        pause_ms = prompt_ms(answer) + THINKING_MS
    write_wav(folder / "said.wav", said + bytes(16 * 60_000))
    with baresip(folder, "bob") as telephone:
        telephone.command("dial", server.uri)
        assert telephone.wait(15, "CALL_ESTABLISHED")
        telephone.wait((length_ms + pause_ms) / 1000)
        telephone.command("sndcode", "2")  # no, nothing else
        assert telephone.wait(10, "CALL_CLOSED"), telephone.events


def keys_by_sipp(server: Server, folder: Path) -> None:
    scenario = Scenario("dave").call().pause(1000)
    for key in "122":
        scenario.key(key).pause(1800)  # a single key for the day waits for a second one
    for key in "1000":
        scenario.key(key).pause(150)
    scenario.pause(1000).key("1").pause(1000)
    for key in "427242#":
        scenario.key(key).pause(150)
    scenario.pause(1000).key("1").pause(13_000)  # the reference number cannot be interrupted
    scenario.key("2").hung_up(10_000)
    with sipp(folder, scenario, f"127.0.0.1:{server.sip_port}", "-m", "1") as caller:
        caller.finished(90)


class Booking:
    """The four calls."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.saved = server, folder / "alice.wav"
        (folder / "keys.yaml").write_text(BY_KEYS.format(steps=", ".join(f'{{dtmf: "{k}"}}' for k in KEYS)))
        self.failures: dict[str, BaseException] = {}
        self.reports: dict[str, subprocess.CompletedProcess[str]] = {}
        scenario = str(ROOT / "config" / "scenarios" / "book.yaml")
        works = {
            "alice": lambda: self.report(
                "alice", "--script", scenario, "--voice", "slt", "--save", str(self.saved)
            ),
            "bob": lambda: talk_by_baresip(server, folder / "bob"),
            "carol": lambda: self.report("carol", "--script", str(folder / "keys.yaml"), "--stack", "pjsua2"),
            "dave": lambda: keys_by_sipp(server, folder / "dave"),
        }
        threads = [threading.Thread(target=self._try, args=work) for work in works.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.settled()
        self.calls = {name: server.call_from(name) for name in works}

    def _try(self, name: str, work: Any) -> None:
        try:
            work()
        except BaseException as error:
            self.failures[name] = error

    def report(self, name: str, *arguments: str) -> None:
        self.reports[name] = phone(self.server, "--from", name, *arguments)

    def good(self, name: str) -> dict[str, Any]:
        """The call of `name`, which went well for the caller."""
        if name in self.failures:
            raise AssertionError(f"{name}: {self.failures[name]!r}") from self.failures[name]
        if name in self.reports:
            assert self.reports[name].returncode == 0, self.reports[name]
        return self.calls[name]


@pytest.fixture(scope="module")
def booking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booking]:
    need("flite", "baresip", "sipp")
    folder = tmp_path_factory.mktemp("booking")
    with serving(folder) as server:
        yield Booking(server, folder)
        assert not server.logged("error", "critical")


def test_by_voice(booking: Booking) -> None:
    call = booking.good("alice")
    appointment = booked(call)
    assert (appointment["service"], appointment["time"], appointment["who"]) == (
        "dentist",
        "15:00:00",
        "Johnson",
    )
    assert date.fromisoformat(appointment["day"]).weekday() == 1
    heard = [turn["text"] for turn in call["turns"] if turn["role"] == "caller"]
    assert heard == [
        "i would like to book an appointment",
        "the dentist please",
        "next tuesday",
        "at three in the afternoon",
        "johnson",
        "yes please",
        "no thank you",
    ]
    report = json.loads(booking.reports["alice"].stdout)
    assert report["failures"] == [] and report["hangup"] == "bot"


def test_by_baresip_with_voice_and_keys(booking: Booking) -> None:
    call = booking.good("bob")
    appointment = booked(call)
    found = (appointment["service"], appointment["time"], appointment["who"])
    assert found == ("doctor", "11:00:00", "Johnson")
    assert date.fromisoformat(appointment["day"]).weekday() == 3
    sources = [turn["source"] for turn in call["turns"] if turn["role"] == "caller"]
    assert sources == ["speech"] * len(TALK) + ["dtmf"]
    assert not events(call, "no_input") and not events(call, "note", name="no_match")


@pytest.mark.parametrize("name", ["carol", "dave"])
def test_by_keys_alone(booking: Booking, name: str) -> None:
    """On pjsip by RFC 4733, from sipp by INFO."""
    call = booking.good(name)
    appointment = booked(call)
    found = (appointment["service"], appointment["time"], appointment["who"])
    assert found == ("dentist", "10:30:00", "Garcia")
    turns = [turn for turn in call["turns"] if turn["role"] == "caller"]
    assert [turn["text"] for turn in turns] == [keys.rstrip("#") for keys in KEYS]
    assert {turn["source"] for turn in turns} == {"dtmf"}


def test_the_same_appointment_has_the_same_reference(booking: Booking) -> None:
    assert booked(booking.good("carol"))["reference"] == booked(booking.good("dave"))["reference"]


@pytest.mark.parametrize("name", ["alice", "bob", "carol", "dave"])
def test_what_is_shown_of_a_call(booking: Booking, name: str) -> None:
    """The contract of `voicegw calls show --json`."""
    call = booking.good(name)
    found = (call["direction"], call["from"], call["to"], call["state"], call["cause"])
    assert found == ("inbound", name, "bot", "ended", "normal")
    assert call["id"] and call["started_at"] <= call["answered_at"] < call["ended_at"]
    assert Path(call["recording"]).is_file() and call["recording_state"] == "complete"
    assert call["turns"] and {"caller", "bot"} == {turn["role"] for turn in call["turns"]}
    for turn in call["turns"]:
        assert {"role", "text", "at_ms", "heard", "latency_ms"} <= turn.keys()
    answers = [turn for turn in call["turns"] if turn["role"] == "bot"][1:]
    for turn in answers:
        steps = turn["latency_ms"]
        assert steps["total"] > 0 and {"dialog", "tts", "playout"} <= steps.keys(), turn


def test_answers_to_speech_come_within_900_ms(booking: Booking) -> None:
    totals = [
        turn["latency_ms"]["total"]
        for name in ("alice", "bob")
        for turn in booking.good(name)["turns"]
        if turn["role"] == "bot" and "stt" in turn["latency_ms"]
    ]
    assert len(totals) >= 12 and float(np.median(totals)) <= 900


# The recording

Loudness = npt.NDArray[np.float64]
STEP_MS = 10
LOUD = 200.0  # rms, of 32768: a voice
AUDIBLE = 15.0  # a soft consonant; the line's noise is 3


def loudness(file: Path) -> tuple[Loudness, Loudness]:
    """Of the left and the right side, for each 10 ms."""
    samples, rate = soundfile.read(str(file), dtype="int16")
    step = rate * STEP_MS // 1000
    assert samples.ndim == 2 and samples.shape[1] == 2
    cut = samples[: len(samples) // step * step].astype(np.float64).reshape(-1, step, 2)
    power = np.sqrt((cut**2).mean(axis=1))
    return power[:, 0], power[:, 1]


def loudest(side: Loudness, from_ms: float, to_ms: float) -> float:
    """Between two times; 0 where there is nothing."""
    return float(side[max(0, int(from_ms)) // STEP_MS : max(0, int(to_ms)) // STEP_MS].max(initial=0))


@pytest.mark.parametrize("name", ["alice", "bob", "carol", "dave"])
def test_the_bot_is_on_the_right_when_the_timeline_says(booking: Booking, name: str) -> None:
    call = booking.good(name)
    _, right = loudness(Path(call["recording"]))
    heard = events(call, "heard")
    spoken = [turn for turn in heard if turn["ms"] > 200]
    assert len(spoken) >= 6
    ends = [
        max([-60, *(one["at_ms"] + one["ms"] for one in heard if one["at_ms"] < turn["at_ms"])])
        for turn in spoken
    ]
    starts = [
        min([1_000_000, *(one["at_ms"] for one in heard if one["at_ms"] > turn["at_ms"])]) for turn in spoken
    ]
    for turn, before, after in zip(spoken, ends, starts, strict=False):
        start, end = turn["at_ms"], turn["at_ms"] + turn["ms"]
        assert loudest(right, start, start + 60) > AUDIBLE, turn
        assert loudest(right, max(0, start - 300, before + 60), start - 60) < AUDIBLE, turn
        assert loudest(right, end - 200, end) > AUDIBLE, turn
        assert loudest(right, end + 60, min(end + 300, after - 60)) < AUDIBLE, turn


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_the_caller_is_on_the_left_when_the_timeline_says(booking: Booking, name: str) -> None:
    call = booking.good(name)
    left, right = loudness(Path(call["recording"]))
    starts = [event["t"] - event["ago_ms"] for event in events(call, "vad", speaking=True)]
    assert len(starts) >= len(TALK)
    for start in starts:
        assert loudest(left, start - 60, start + 60) > AUDIBLE, start
    for turn in events(call, "turn", source="speech"):  # his last sound, by the latency that follows
        (latency,) = events(call, "latency", turn_at_ms=turn["at_ms"])
        end = turn["at_ms"] - latency["eot_ms"] - latency["stt_ms"]
        assert loudest(left, end - 200, end) > LOUD, turn
        assert loudest(left, end + 60, turn["at_ms"]) < LOUD, turn
    assert (right > LOUD).any()


def test_who_only_presses_keys_is_silent_on_the_left(booking: Booking) -> None:
    left, _ = loudness(Path(booking.good("dave")["recording"]))
    assert left.max() < LOUD


def test_the_recording_holds_what_the_caller_heard(booking: Booking) -> None:
    """The phone's own recording, with the bot on its right, shows the same speech."""
    call = booking.good("alice")
    _, right = loudness(Path(call["recording"]))
    _, heard = loudness(booking.saved)
    ours, theirs = (float((side > LOUD).sum()) * STEP_MS for side in (right, heard))
    assert abs(ours - theirs) <= 0.02 * theirs
