"""What the server knows of a call, held against what a scenario expects."""

from typing import Any

import pytest

from voicegw.phone.script import ServerExpect
from voicegw.simulate.expected import judge_served
from voicegw.simulate.served import Served

TURNS = [
    {"role": "bot", "text": "Hello. How can I help you?", "heard": "Hello. How can", "latency_ms": {}},
    {"role": "caller", "text": "opening hours", "latency_ms": {}},
    {
        "role": "bot",
        "text": "From nine to five.",
        "heard": "From nine to five.",
        "latency_ms": {"total": 700},
    },
    {"role": "caller", "text": "no thank you", "latency_ms": {}},
    {"role": "bot", "text": "Goodbye.", "heard": "Goodbye.", "latency_ms": {"total": 400.4}},
]
EVENTS = [
    {"event": "note", "name": "node", "data": {"id": "help"}},
    {"event": "note", "name": "intent", "data": {"name": "hours"}},
    {"event": "note", "name": "node", "data": {"id": "hours"}},
    {"event": "note", "name": "slot", "data": {"name": "day", "value": "2026-01-02"}},
    {"event": "note", "name": "slot", "data": {"name": "count", "value": 3}},
    {"event": "note", "name": "booked", "data": {"who": "Johnson", "time": "15:00:00"}},
    {"event": "barge_in"},
    {"event": "no_input", "count": 1},
    {"event": "error", "where": "stt", "message": "gone"},
    {"event": "note", "name": "node", "data": {"id": "bye"}},
]
CALL = {"id": "c1", "cause": "normal", "recording_state": "complete", "turns": TURNS}


def verdict(**expected: Any) -> list[str]:
    return judge_served(Served(CALL, tuple(EVENTS)), ServerExpect(**expected))


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"cause": "normal", "recording": "complete", "calls": 1},
        {"states": ("help", "bye"), "intents": ("hours",)},
        {"transcript": ("Opening hours!", "thank you")},
        {"heard": ("how can", "nine to five", "/good.?bye/")},
        {"not_heard": ("help you",)},  # said, but interrupted before it was heard
        {"slots": {"day": "2026-01-02", "count": "3"}},
        {"slots": {"day": None}, "notes": {"booked": None}},
        {"notes": {"booked": {"who": "johnson", "time": "/^15:/"}}},
        {"barge_ins": 1, "no_input": 1, "errors": 1, "turn_latency_ms": 700},
    ],
)
def test_what_is_as_expected(expected: dict[str, Any]) -> None:
    assert verdict(**expected) == []


@pytest.mark.parametrize(
    ("expected", "complaint"),
    [
        ({"cause": "busy"}, "cause is normal, expected busy"),
        ({"recording": "partial"}, "recording_state is complete, expected partial"),
        ({"calls": 2}, "the server kept 1 calls of this one, expected 2"),
        ({"states": ("bye", "help")}, "states: 'help' is not there (in order) in ['help', 'hours', 'bye']"),
        ({"intents": ("book",)}, "intents: 'book' is not there"),
        ({"transcript": ("no", "opening")}, "transcript: 'opening' is not there (in order)"),
        ({"transcript": ("pen hours",)}, "transcript: 'pen hours' is not there"),
        ({"heard": ("help you",)}, "heard: 'help you' is not there"),
        ({"not_heard": ("five",)}, "heard: 'five' is there, expected not to be"),
        ({"slots": {"day": "2026-01-03"}}, "slot day is '2026-01-02', expected '2026-01-03'"),
        ({"slots": {"name": None}}, "slot name was not filled; there are day, count"),
        ({"notes": {"moved": None}}, "there is no note moved"),
        ({"notes": {"booked": {"who": "Smith"}}}, "note booked: who is 'Johnson', expected 'Smith'"),
        ({"barge_ins": 2}, "1 barge-ins, expected 2 at least"),
        ({"no_input": 2}, "1 silences, expected 2 at least"),
        ({"errors": 0}, "1 errors, expected 0 at most: stt: gone"),
        ({"turn_latency_ms": 600}, "'From nine to five.' came after 700 ms, expected 600 at most"),
    ],
)
def test_what_is_not(expected: dict[str, Any], complaint: str) -> None:
    (found,) = verdict(**expected)
    assert found.startswith(complaint)
