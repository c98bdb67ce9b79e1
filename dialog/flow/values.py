"""What a slot can hold, and how it becomes speech or JSON."""

from collections.abc import Callable, Mapping
from datetime import date, time

from dialog.capture.clock import spoken_time
from dialog.capture.day import WEEKDAYS, spoken_day
from dialog.capture.numbers import MAX_CARDINAL, cardinal, ordinal
from dialog.errors import ExpressionError

Value = str | int | float | bool | date | time | tuple["Value", ...] | None
"""The value of a slot, a variable or an expression. None: not yet known."""


def type_name(value: object) -> str:
    """The type as a flow author knows it."""
    names = {str: "text", bool: "yes/no", int: "number", float: "number", date: "day", time: "time"}
    return "nothing" if value is None else names.get(type(value), "list")


def plain(value: Value) -> str:
    """A value in a text where no format is given: nothing becomes "", days and times are spoken out."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case date():
            return spoken_day(value)
        case time():
            return spoken_time(value)
        case tuple():
            return ", ".join(plain(v) for v in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _spell(value: Value) -> str:
    return " ".join(c for c in plain(value) if not c.isspace())


def _number(value: Value) -> str:
    number = _whole(value)
    return cardinal(number) if 0 <= number <= MAX_CARDINAL else str(number)


def _whole(value: Value) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    raise ExpressionError(f"a number is wanted, not {type_name(value)}")


def _day(value: Value) -> str:
    if not isinstance(value, date):
        raise ExpressionError(f"a day is wanted, not {type_name(value)}")
    return spoken_day(value)


def _weekday(value: Value) -> str:
    if not isinstance(value, date):
        raise ExpressionError(f"a day is wanted, not {type_name(value)}")
    return WEEKDAYS[value.weekday()].capitalize()


def _time(value: Value) -> str:
    if not isinstance(value, time):
        raise ExpressionError(f"a time is wanted, not {type_name(value)}")
    return spoken_time(value)


def _ordinal(value: Value) -> str:
    number = _whole(value)
    if not 1 <= number <= 31:
        raise ExpressionError(f"an ordinal goes from 1 to 31, not {number}")
    return ordinal(number)


FORMATS: Mapping[str, Callable[[Value], str]] = {
    "day": _day,  # Tuesday, the third of May
    "weekday": _weekday,  # Tuesday
    "time": _time,  # half past nine in the morning
    "spell": _spell,  # 4 7 1 1
    "number": _number,  # forty seven
    "ordinal": _ordinal,  # third
    "upper": lambda value: plain(value).upper(),
    "lower": lambda value: plain(value).lower(),
    "title": lambda value: plain(value).title(),
}
"""What may stand behind the bar in `{slot|format}`."""


def to_json(value: Value) -> object:
    """A value as JSON can hold it; `from_json` brings it back."""
    match value:
        case date():
            return {"day": value.isoformat()}
        case time():
            return {"time": value.isoformat("minutes")}
        case tuple():
            return [to_json(v) for v in value]
        case _:
            return value


def from_json(data: object) -> Value:
    """Undo `to_json`. Raises ValueError for anything that it never makes."""
    match data:
        case {"day": str(text)}:
            return date.fromisoformat(text)
        case {"time": str(text)}:
            return time.fromisoformat(text)
        case list():
            return tuple(from_json(v) for v in data)
        case str() | int() | float() | None:
            return data
        case _:
            raise ValueError(f"no slot value: {data!r}")
