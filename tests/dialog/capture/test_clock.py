"""Times of day as people say, type and key them."""

from datetime import datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog import jsgf
from dialog.capture.clock import GRAMMAR, Clock, spoken_time

NOW = datetime(2026, 3, 4, 10, 0)
SAID = [
    ("half past nine", "09:30"),
    ("half nine", "09:30"),
    ("three p m", "15:00"),
    ("3pm", "15:00"),
    ("3 P.M.", "15:00"),
    ("three", "15:00"),
    ("at nine please", "09:00"),
    ("seven", "07:00"),
    ("six", "18:00"),
    ("quarter to ten", "09:45"),
    ("a quarter past two", "14:15"),
    ("quarter to one", "12:45"),
    ("ten to twelve", "11:50"),
    ("twenty five past four", "16:25"),
    ("five minutes past four", "16:05"),
    ("ten thirty", "10:30"),
    ("ten thirty in the morning", "10:30"),
    ("ten oh five", "10:05"),
    ("ten o five", "10:05"),
    ("eight o'clock", "08:00"),
    ("8 o clock", "08:00"),
    ("eight oh clock", "08:00"),
    ("around four", "16:00"),
    ("15:30", "15:30"),
    ("15.30", "15:30"),
    ("9:05", "09:05"),
    ("fifteen thirty", "15:30"),
    ("noon", "12:00"),
    ("midday", "12:00"),
    ("midnight", "00:00"),
    ("twelve", "12:00"),
    ("twelve thirty", "12:30"),
    ("twelve a m", "00:00"),
    ("twelve p m", "12:00"),
    ("one in the morning", "01:00"),
    ("six in the morning", "06:00"),
    ("six in the evening", "18:00"),
    ("ten at night", "22:00"),
    ("two at night", "02:00"),
    ("quarter to one p m", "12:45"),
    ("quarter to one a m", "00:45"),
    ("twenty five", None),
    ("twenty five hundred", None),
    ("25:00", None),
    ("9:75", None),
    ("nine ninety", None),
    ("not at nine", None),
    ("ten or eleven", None),
    ("in the morning", None),
    ("past nine", None),
    ("half past", None),
    ("tuesday", None),
    ("", None),
]


@pytest.mark.parametrize("text, expected", SAID)
def test_times_are_read(text: str, expected: str | None) -> None:
    assert Clock().parse(text, NOW) == (time.fromisoformat(expected) if expected else None)


@pytest.mark.parametrize(
    "keys, expected",
    [
        ("0930", "09:30"),
        ("930", "09:30"),
        ("1500", "15:00"),
        ("0300", "15:00"),
        ("300", "15:00"),
        ("1200", "12:00"),
        ("0000", "00:00"),
        ("2359", "23:59"),
        ("2400", None),
        ("0960", None),
        ("9", None),
        ("15", None),
        ("15000", None),
        ("09*0", None),
        ("", None),
    ],
)
def test_times_are_keyed(keys: str, expected: str | None) -> None:
    assert Clock().parse_keys(keys, NOW) == (time.fromisoformat(expected) if expected else None)


def test_opening_hours_decide_what_a_bare_hour_means() -> None:
    night = Clock(earliest=time(18), latest=time(23, 30))
    assert night.parse("eight", NOW) == time(20)
    assert Clock().parse("eight", NOW) == time(8)
    with pytest.raises(ValueError, match="earliest"):
        Clock(earliest=time(12), latest=time(9))


def test_everything_the_grammar_hears_is_a_time() -> None:
    capture = Clock()
    wrong = [text for text in jsgf.parse(GRAMMAR).phrases() if capture.parse(text, NOW) is None]
    assert not wrong


@given(st.times().map(lambda t: t.replace(second=0, microsecond=0)))
def test_a_spoken_time_is_read_as_the_same(value: time) -> None:
    assert Clock().parse(spoken_time(value), NOW) == value


@given(st.text(max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    Clock().parse(text, NOW)
    Clock().parse_keys(text, NOW)
