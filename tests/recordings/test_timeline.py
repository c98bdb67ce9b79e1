"""From events to turns and readable lines; and docs/timeline.md says what is really written."""

import ast
import re
from pathlib import Path
from typing import Any, get_args

from media.observe import EventName
from recordings.calllog import ESSENTIAL, Event
from recordings.timeline import DETAILS, STEPS, Conversation, lines, turns

ROOT = Path(__file__).parents[2]


def events(*told: tuple[int, str, dict[str, Any]]) -> list[Event]:
    return [Event(t, "2025-03-01T12:00:00Z", name, fields) for t, name, fields in told]


def turn(text: str, at_ms: int, **fields: Any) -> dict[str, Any]:
    return {"text": text, "source": "speech", "confidence": 0.9, "at_ms": at_ms, **fields}


def heard(said: str, at_ms: int, text: str | None = None, ms: int = 1000) -> dict[str, Any]:
    text = said if text is None else text
    return {"text": text, "said": said, "complete": text == said, "at_ms": at_ms, "ms": ms}


LATENCY = {
    "turn_at_ms": 4000,
    "eot_ms": 500.0,
    "stt_ms": 10.2,
    "dialog_ms": 1.0,
    "tts_ms": 120,
    "total_ms": 640,
}

CALL = events(
    (0, "call", {"state": "ringing", "from": "+49", "to": "100"}),
    (100, "act", {"kind": "say", "text": "Hello there."}),
    (1500, "heard", heard("Hello there.", 300)),
    (3000, "vad", {"speaking": True, "ago_ms": 80}),
    (3200, "partial", {"text": "y"}),
    (3900, "final", {"text": "yes", "confidence": 0.9, "rejected": False}),
    (4000, "turn", turn("yes", 4000)),
    (4001, "note", {"name": "slot", "data": {"name": "day", "value": "monday"}}),
    (4140, "latency", LATENCY),
    (5000, "barge_in", {"speech_ms": 350, "words": 0, "dtmf": False}),
    (5000, "heard", heard("Monday it is. Which time?", 4141, "Monday it", ms=860)),
    (6000, "dtmf", {"digit": "1", "direction": "received"}),
    (6000, "turn", turn("1", 6000, source="dtmf", confidence=None, interrupted=True)),
    (6100, "error", {"where": "stt", "message": "gone"}),
    (7000, "call", {"state": "ended", "cause": "normal"}),
)


def test_turns_with_what_was_heard_and_latency_by_step() -> None:
    found = turns(CALL)
    assert [(t.role, t.text, t.heard, t.at_ms) for t in found] == [
        ("bot", "Hello there.", "Hello there.", 300),
        ("caller", "yes", "yes", 4000),
        ("bot", "Monday it is. Which time?", "Monday it", 4141),
        ("caller", "1", "1", 6000),
    ]
    assert found[0].latency_ms == {} and found[1].latency_ms == {}
    assert found[2].latency_ms == {"eot": 500.0, "stt": 10.2, "dialog": 1.0, "tts": 120.0, "total": 640.0}
    assert [t.interrupted for t in found] == [False, False, True, True]
    assert (found[3].source, found[3].confidence) == ("dtmf", None)


def test_a_turn_that_continues_takes_the_place_of_the_one_before_and_of_an_unheard_answer() -> None:
    conversation = Conversation()
    assert conversation.feed("turn", turn("I want", 1000)) == 0
    assert conversation.feed("heard", heard("Pardon?", 1100, "", ms=0)) == 1
    assert conversation.feed("turn", turn("I want an appointment", 2000, continues=True)) == 0
    assert [t.text for t in conversation.turns] == ["I want an appointment"]


def test_a_turn_that_continues_one_whose_answer_was_heard_stands_beside_it() -> None:
    found = turns(
        events(
            (1000, "turn", turn("yes", 1000)),
            (2000, "heard", heard("Fine.", 1200)),
            (3000, "turn", turn("yes but", 3000, continues=True)),
        )
    )
    assert [t.text for t in found] == ["yes", "Fine.", "yes but"]


def test_the_bot_s_turn_stands_where_it_began_even_if_known_later() -> None:
    conversation = Conversation()
    conversation.feed("turn", turn("yes", 1000))
    conversation.feed("turn", turn("stop", 3000))
    assert conversation.feed("heard", heard("Welcome to our line.", 1500, "Welcome")) == 1
    assert [t.text for t in conversation.turns] == ["yes", "Welcome to our line.", "stop"]


def test_latency_of_a_reply_that_was_never_heard_is_not_given_to_the_next() -> None:
    conversation = Conversation()
    conversation.feed("turn", turn("a", 1000))
    conversation.feed("latency", LATENCY)
    conversation.feed("turn", turn("b", 2000))
    conversation.feed("heard", heard("Yes.", 2500))
    assert conversation.turns[-1].latency_ms == {}


def test_events_with_nothing_in_them_do_no_harm() -> None:
    for name in get_args(EventName):
        told = events((0, name, {}), (1, name, {"text": None, "at_ms": "x", "data": 3, "ms": []}))
        turns(told)
        lines(told, details=True)


def test_the_readable_timeline() -> None:
    text = [f"{line.at_ms} {line.kind} {line.text} | {line.detail}" for line in lines(CALL)]
    assert text == [
        "0 call ringing | from=+49, to=100",
        "300 bot Hello there. | ",
        "4000 caller yes | confidence 0.90",
        "4001 note slot | name=day, value=monday",
        "4141 bot Monday it | cut after 0.9 s, meant: Monday it is. Which time?,"
        " total 640 ms: eot 500, stt 10, dialog 1, tts 120",
        "5000 barge_in  | speech_ms=350, words=0, dtmf=False",
        "6000 dtmf pressed 1 | ",
        "6000 caller 1 | by dtmf, interrupted",
        "6100 error stt: gone | ",
        "7000 call ended | cause=normal",
    ]
    everything = lines(CALL, details=True)
    # heard and turn stand for themselves; the latency stands with the reply
    assert len(everything) == len(CALL) - 1


# docs/timeline.md


def documented() -> dict[str, set[str]]:
    """Events of the table, each with its fields."""
    found: dict[str, set[str]] = {}
    event = ""
    for line in (ROOT / "docs/timeline.md").read_text().splitlines():
        if match := re.match(r"\| (`(\w+)`)? *\| ([^|]+) \|", line):
            event = match[2] or event
            found.setdefault(event, set()).update(re.findall(r"`(\w+)`", match[3]))
    return found


def emitted() -> dict[str, set[str]]:
    """Events that the sources write, each with its fields: every call of `event` with a constant name."""
    found: dict[str, set[str]] = {}
    for package in ("media", "dialog", "sip", "recordings", "voicegw"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    not isinstance(node, ast.Call)
                    or not node.args
                    or not isinstance(node.func, ast.Attribute)
                ):
                    continue
                name = node.args[0]
                if node.func.attr in {"event", "_event"} and isinstance(name, ast.Constant):
                    fields = found.setdefault(str(name.value), set())
                    fields.update(keyword.arg for keyword in node.keywords if keyword.arg)
    return found


def test_every_event_is_documented_and_no_other() -> None:
    assert set(documented()) == set(get_args(EventName))
    assert set(get_args(EventName)) >= ESSENTIAL | DETAILS


def test_every_field_that_is_written_is_documented() -> None:
    known, free = documented(), {"sip", "media"}
    written = emitted()
    assert {"call", "turn", "heard", "latency", "vad", "error"} <= set(written)
    missing = {
        f"{name}.{field}"
        for name, fields in written.items()
        if name in known and name not in free
        for field in fields - known[name]
    }
    assert not missing
    assert {f"{step}_ms" for step in STEPS} <= known["latency"]
