"""Recorded calls once more: with the same settings nothing differs, with others exactly what they change.

The timelines are of real calls over SIP, with the embedded recogniser and voice: a booking with an
interruption, one with a cough and an "okay" over the bot, one by keys with a transfer that is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dialog.flow.engine import FlowEngine
from dialog.flow.load import load_flow
from dialog.flow.model import Flow
from dialog.turn import Interrupt, Transcript, TurnPolicy
from recordings.calllog import Event, read_timeline
from voicegw.cli import app
from voicegw.replay.compare import Item, Line, Mark, compare, items
from voicegw.replay.dialog import RecordedDialog, local_time
from voicegw.replay.run import Again, replay
from voicegw.replay.script import Recogniser, Utterance, read

HERE = Path(__file__).parent
CALLS = ("booking", "cough", "keys")


@pytest.fixture(scope="module")
def clinic() -> Flow:
    return load_flow(HERE / "clinic.yaml")


def again(
    name: str, flow: Flow | None, policy: TurnPolicy = TurnPolicy()
) -> tuple[list[Line], Sequence[Event]]:
    """Replays a call; what an agent said then where there is no flow."""
    events = read_timeline(HERE / f"{name}.jsonl")
    script = read(events)

    def dialog() -> FlowEngine | RecordedDialog:
        if flow is None:
            return RecordedDialog(events, policy)
        return FlowEngine(flow, policy, lambda: local_time(script, "UTC"), {"caller": "", "called": ""})

    now = replay(Again(script, dialog, policy))
    return list(compare(items(events), items(now))), now


def differences(lines: list[Line]) -> list[str]:
    return [f"{line.mark} {line.item}" for line in lines if line.mark is not Mark.SAME]


@pytest.mark.parametrize("name", CALLS)
def test_a_recorded_call_goes_as_it_went(name: str, clinic: Flow) -> None:
    lines, _ = again(name, clinic)
    assert differences(lines) == []
    assert sum(line.item.kind == "caller" for line in lines) >= 3


@pytest.mark.parametrize("name", CALLS)
def test_what_an_agent_said_is_said_again(name: str) -> None:
    lines, _ = again(name, None)
    assert [d for d in differences(lines) if "note" not in d] == []


def test_more_patience_moves_the_turns_that_waited_for_it(clinic: Flow) -> None:
    lines, _ = again("booking", clinic, TurnPolicy(end_silence_ms=900))
    moved = [line.moved_ms for line in lines if line.mark is Mark.MOVED and line.item.kind == "caller"]
    assert moved and all(100 <= ms <= 440 for ms in moved)  # less, where the estimate was sure of itself
    assert "no thank you" not in str([line.item for line in lines if line.mark is Mark.MOVED][:1])


def test_without_recovery_the_cough_costs_the_bot_its_sentence(clinic: Flow) -> None:
    lines, _ = again("cough", clinic, TurnPolicy(resume_ms=0))
    assert any(line.item.kind == "resume" and line.mark is Mark.RECORDED for line in lines)
    cut = [line.item.text for line in lines if line.mark is Mark.REPLAYED and line.item.kind == "bot"]
    assert "Hello, this is Riverside Clinic. How can I help you? (cut)" in cut


def test_a_bot_that_may_not_be_interrupted_speaks_on(clinic: Flow) -> None:
    _, now = again("booking", clinic, TurnPolicy(interrupt=Interrupt.NEVER))
    assert not [event for event in now if event.name in {"barge_in", "pause"}]


def test_another_flow_shows_as_other_acts(clinic: Flow) -> None:
    nodes = dict(clinic.nodes)
    nodes["welcome"] = replace(
        nodes["welcome"], texts=nodes["bye"].texts if hasattr(nodes["bye"], "texts") else ()
    )
    lines, _ = again("cough", replace(clinic, nodes=nodes))
    assert any("Riverside Clinic" in d and d.startswith("-") for d in differences(lines))


# The recogniser, asked at other times than then


def utterance(begin: int, end: int, text: str, *partials: tuple[int, str]) -> Utterance:
    heard = [(at, Transcript(words, final=False)) for at, words in partials]
    return Utterance(begin, end, end + 500, end + 510, Transcript(text, final=True, confidence=0.9), heard)


def test_an_utterance_cut_in_its_pause_gives_what_was_believed_and_then_the_rest() -> None:
    recogniser = Recogniser([utterance(1000, 4000, "next tuesday at three", (1800, "next tuesday"))])
    assert recogniser.finish(2300) == (10, Transcript("next tuesday", final=True))
    assert recogniser.finish(4300) == (10, Transcript("at three", final=True))


def test_two_utterances_in_one_are_joined() -> None:
    recogniser = Recogniser([utterance(1000, 1500, "next tuesday"), utterance(2100, 2600, "at three")])
    assert recogniser.finish(3500)[1].text == "next tuesday at three"


def test_what_was_said_before_a_cancel_is_forgotten() -> None:
    recogniser = Recogniser([utterance(1000, 1500, "no"), utterance(2100, 2600, "yes")])
    recogniser.cancel(1600)
    assert recogniser.finish(3000)[1].text == "yes"


def test_comparison_tells_moved_from_missing() -> None:
    old = [Item(100, "caller", "yes"), Item(200, "bot", "good"), Item(900, "caller", "bye")]
    new = [Item(120, "caller", "yes"), Item(400, "bot", "good"), Item(900, "caller", "by")]
    marks = [(line.mark.value, line.item.text) for line in compare(old, new)]
    assert marks == [(" ", "yes"), ("~", "good"), ("-", "bye"), ("+", "by")]


# The command

FLOWS = {"VOICEGW_FLOWS": f'["{HERE / "clinic.yaml"}"]', "VOICEGW_TIMEZONE": "UTC"}


def test_the_command_says_that_nothing_differs() -> None:
    result = CliRunner().invoke(app, ["replay", str(HERE / "cough.jsonl")], env=FLOWS)
    assert result.exit_code == 0, result.output
    assert "no difference" in result.output and "the dentist please" in result.output


def test_the_command_fails_where_something_differs() -> None:
    arguments = ["replay", str(HERE / "cough.jsonl"), "--policy", "resume_ms=0", "--json"]
    result = CliRunner().invoke(app, arguments, env=FLOWS)
    assert result.exit_code == 1
    assert {"recorded", "replayed", "same"} <= {line["difference"] for line in json.loads(result.stdout)}


@pytest.mark.parametrize(
    "wrong, said",
    [
        (["--policy", "end_silence=3"], "KEY=VALUE"),
        (["--policy", "end_silence_ms=soon"], "end_silence_ms"),
        (["--policy", "dtmf_max=0"], "dtmf_max must be at least 1"),
    ],
)
def test_a_wrong_setting_is_named(wrong: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["replay", str(HERE / "cough.jsonl"), *wrong], env=FLOWS)
    assert result.exit_code == 2 and said in result.output.replace("\n", " ")


def test_a_timeline_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "no.jsonl")], env=FLOWS)
    assert result.exit_code == 2
