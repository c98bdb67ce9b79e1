"""Days as people say, type and key them. The day of the call is Wednesday, 4 March 2026."""

import calendar
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog import jsgf
from dialog.capture.day import GRAMMAR, Day, parse_day, spoken_day

NOW = datetime(2026, 3, 4, 10, 0)
TODAY = NOW.date()
SAID = [
    ("today", "2026-03-04"),
    ("tomorrow", "2026-03-05"),
    ("tomorrow morning", "2026-03-05"),
    ("the day after tomorrow", "2026-03-06"),
    ("in three days", "2026-03-07"),
    ("in a week", "2026-03-11"),
    ("in two weeks", "2026-03-18"),
    ("tuesday", "2026-03-10"),
    ("on friday please", "2026-03-06"),
    ("wednesday", "2026-03-11"),
    ("this wednesday", "2026-03-04"),
    ("this friday", "2026-03-06"),
    ("next tuesday", "2026-03-10"),
    ("next friday", "2026-03-13"),
    ("friday next week", "2026-03-13"),
    ("the third of may", "2026-05-03"),
    ("may the third", "2026-05-03"),
    ("may 3rd", "2026-05-03"),
    ("3 may", "2026-05-03"),
    ("May 3", "2026-05-03"),
    ("twenty first of april", "2026-04-21"),
    ("the twenty-first of April", "2026-04-21"),
    ("third of march", "2027-03-03"),
    ("fourth of march", "2026-03-04"),
    ("the second", "2026-04-02"),
    ("the thirty first", "2026-03-31"),
    ("monday the ninth", "2026-03-09"),
    ("monday the sixth", "2026-04-06"),
    ("tuesday the ninth", "2026-03-09"),
    ("February twenty ninth", "2028-02-29"),
    ("how about monday", "2026-03-09"),
    ("could we do tuesday", "2026-03-10"),
    ("2026-05-03", "2026-05-03"),
    ("Tuesday, the third of May", "2026-05-03"),
    ("May 3 2027", "2027-05-03"),
    ("the third of may 2027", "2027-05-03"),
    ("may 2027", None),
    ("may 3 2025", None),
    ("2026-03-03", None),
    ("february 30 2027", None),
    ("a week from monday", None),
    ("two weeks after friday", None),
    ("not tuesday", None),
    ("tuesday or friday", None),
    ("monday and tuesday", None),
    ("the thirtieth of february", None),
    ("april thirty first", None),
    ("2026-13-40", None),
    ("may", None),
    ("monday in may", None),
    ("next", None),
    ("three", None),
    ("in a thousand weeks", None),
    ("in ninety nine weeks", None),
    ("banana", None),
    ("", None),
]


@pytest.mark.parametrize("text, expected", SAID)
def test_days_are_read(text: str, expected: str | None) -> None:
    assert Day().parse(text, NOW) == (date.fromisoformat(expected) if expected else None)


@pytest.mark.parametrize(
    "keying, keys, expected",
    [
        ("weekday", "1", "2026-03-09"),
        ("weekday", "2", "2026-03-10"),
        ("weekday", "3", "2026-03-11"),
        ("weekday", "7", "2026-03-08"),
        ("weekday", "8", None),
        ("weekday", "0", None),
        ("weekday", "12", None),
        ("weekday", "*", None),
        ("weekday", "", None),
        ("weekday", "0305", None),
        ("either", "2", "2026-03-10"),
        ("either", "0305", "2026-05-03"),
        ("either", "030", None),
        ("date", "0305", "2026-05-03"),
        ("date", "3", None),
        ("date", "0303", "2027-03-03"),
        ("date", "2902", "2028-02-29"),
        ("date", "3002", None),
        ("date", "035", None),
        ("date", "0313", None),
        ("date", "03*5", None),
    ],
)
def test_days_are_keyed(keying: str, keys: str, expected: str | None) -> None:
    capture = Day(keying)  # type: ignore[arg-type]
    assert capture.parse_keys(keys, NOW) == (date.fromisoformat(expected) if expected else None)


def impossible(text: str) -> bool:
    """The thirtieth of February: grammars cannot know."""
    months = {"february": 2, "april": 4, "june": 6, "september": 9, "november": 11}
    found = [m for m in months if m in text]
    return bool(found) and ("thirty first" in text or ("thirtieth" in text and found == ["february"]))


@pytest.mark.parametrize(
    "today", [date(2026, 3, 4), date(2026, 1, 31), date(2027, 12, 31), date(2028, 2, 29)]
)
def test_whatever_the_grammar_hears_is_a_day_to_come(today: date) -> None:
    grammar, random = jsgf.parse(GRAMMAR), Random(today.toordinal())
    for _ in range(3000):
        text = grammar.sample(random)
        day = parse_day(text, today)
        assert (day is None) == impossible(text), text
        assert day is None or day >= today, text


def test_a_day_is_spoken_in_english_whatever_the_locale_of_the_process(monkeypatch: Any) -> None:
    monkeypatch.setattr(calendar, "day_name", ["Montag"] * 7)
    monkeypatch.setattr(calendar, "month_name", ["Mai"] * 13)
    assert spoken_day(date(2026, 5, 3)) == "Sunday, the third of May"


@given(st.dates(date(2026, 1, 1), date(2090, 1, 1)), st.integers(0, 300))
def test_a_spoken_day_is_read_as_the_same(today: date, ahead: int) -> None:
    day = today + timedelta(days=ahead)
    assert parse_day(spoken_day(day), today) == day


@given(st.text(max_size=60), st.dates(date(2026, 1, 1), date(2090, 1, 1)))
def test_no_text_is_too_odd(text: str, today: date) -> None:
    parse_day(text, today)


def test_help_names_words_and_keys() -> None:
    assert "next Tuesday" in Day().help and "press 1 for Monday" in Day().help
    assert "0 3 0 5" in Day("date").help
    assert "Tuesday, and so on; or two digits" in Day("either").help


@pytest.mark.parametrize(
    "keying, most, pause", [("weekday", 1, None), ("date", 4, None), ("either", 4, 1500)]
)
def test_keys_are_waited_for(keying: str, most: int, pause: int | None) -> None:
    capture = Day(keying)  # type: ignore[arg-type]
    assert capture.keys is not None and capture.keys.most == most
    assert capture.turn.get("dtmf_pause_ms") == pause
