"""Expressions compute what they say, and everything else is one clear error."""

import time as clock
from datetime import date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog.errors import ExpressionError
from dialog.flow.expr import FUNCTIONS, UnknownFunction, compile_expression
from dialog.flow.values import Value

NOW = datetime(2026, 3, 4, 10, 30)
VALUES: dict[str, Value] = {
    "n": 3,
    "name": "Garcia",
    "day": date(2026, 3, 10),
    "at": time(14, 30),
    "yes": True,
    "busy": ("tuesday 14:30", "monday 09:00"),
    "nothing": None,
    "phone": "0123",
    "ratio": 0.5,
}


def value(source: str) -> Value:
    return compile_expression(source).evaluate(VALUES, NOW)


@pytest.mark.parametrize(
    "source, expected",
    [
        ("1 + 2 * 3", 7),
        ("7 // 2 + 7 % 2", 4),
        ("-n", -3),
        ("10 / 4", 2.5),
        ("ratio * 2", 1.0),
        ("'a' + \"b\"", "ab"),
        ("n == 3 and name == 'Garcia'", True),
        ("n > 5 or yes", True),
        ("not yes", False),
        ("none or 'default'", "default"),
        ("1 < n <= 3", True),
        ("1 < n < 3", False),
        ("true != false", True),
        ("'big' if n > 2 else 'small'", "big"),
        ("n in [1, 2, 3]", True),
        ("n not in (1, 2)", True),
        ("'arc' in name", True),
        ("weekday(day) + ' ' + text(at) in busy", True),
        ("day == '2026-03-10'", True),
        ("'2026-03-09' < day", True),
        ("at >= '14:30'", True),
        ("not '09:00' <= at <= '12:00'", True),
        ("day - today", 6),
        ("day - 6 == today", True),
        ("today + 6 == day", True),
        ("day in ['2026-03-10']", True),
        ("now", time(10, 30)),
        ("at > now", True),
        ("weekday(day)", "tuesday"),
        ("weekday(nothing)", None),
        ("day_of_month(day) + month(day)", 13),
        ("days_until(day, today)", 6),
        ("hour(at) * 100 + minute(at)", 1430),
        ("hour('09:15')", 9),
        ("add_minutes(at, 45)", time(15, 15)),
        ("add_minutes('09:00', -30)", time(8, 30)),
        ("text(day)", "2026-03-10"),
        ("text(n) + text(ratio)", "30.5"),
        ("lower(name)", "garcia"),
        ("spell(phone)", "0 1 2 3"),
        ("length(name) + length(busy)", 8),
        ("number(phone) + number('-3') + number(2.9)", 122),
        ("first(nothing, none, name)", "Garcia"),
        ("first(nothing)", None),
        ("known(name) and not known(nothing)", True),
        ("reference(day, at, name) == reference('2026-03-10', '14:30', 'Garcia')", True),
        ("length(reference(nothing))", 4),
        # nothing compares as False, in either direction
        ("nothing < 3", False),
        ("nothing > 3", False),
        ("at < nothing", False),
        ("nothing in busy", False),
        ("3 in nothing", False),
        ("nothing == none", True),
        ("nothing != 3", True),
        ("day == nothing", False),
        ("  n  ", 3),
    ],
)
def test_values(source: str, expected: Value) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    "source, message",
    [
        ("", "cannot read"),
        ("1 +", "cannot read"),
        ("a = 1", "cannot read"),
        ("\x00", "cannot read"),
        ("(" * 300 + ")" * 300, "characters"),
        ("(" * 240 + "1" + ")" * 240, "cannot read"),
        ("x" * 501, "501 characters"),
        ("+".join("1" * 150), "parts"),
        ("2 ** 8", "Pow is not allowed"),
        ("name.upper()", "only plain function calls"),
        ("name.__class__", "Attribute is not allowed"),
        ("busy[0]", "Subscript is not allowed"),
        ("lambda: 1", "Lambda is not allowed"),
        ("[x for x in busy]", "is not allowed"),
        ("{'a': 1}", "Dict is not allowed"),
        ("f'{n}'", "JoinedStr is not allowed"),
        ("n is none", "Is is not allowed"),
        ("~n", "Invert is not allowed"),
        ("1 << 5", "LShift is not allowed"),
        ("(n := 3)", "NamedExpr is not allowed"),
        ("b'x'", "is not allowed"),
        ("1j", "is not allowed"),
        ("...", "is not allowed"),
        ("__import__('os')", "unknown function '__import__'"),
        ("weekday(day=1)", "only plain function calls"),
        ("weekday()", "called with 0 values"),
        ("weekday(*busy)", "not allowed"),
        ("(weekday)(1, 2)", "called with 2 values"),
        ("10000000000000000", "too large"),
        ("1e999", "too large"),
    ],
)
def test_what_cannot_be_compiled(source: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(")):
        compile_expression(source)


@pytest.mark.parametrize(
    "source, message",
    [
        ("unknown", "unknown name 'unknown'"),
        ("n < name", "cannot compare number with text in 'n < name'"),
        ("day < at", "cannot compare day with time"),
        ("busy < 3", "cannot compare list with number"),
        ("day == 'soon'", "'soon' is no day like"),
        ("at < 'noon'", "'noon' is no time like"),
        ("n + name", "cannot calculate with text"),
        ("nothing + 1", "cannot calculate with nothing"),
        ("yes + 1", "cannot calculate with yes/no"),
        ("n / 0", "division by zero"),
        ("n % 0", "division by zero"),
        ("100000000000 * 100000000000", "too large"),
        ("name * 3", "cannot calculate with text"),
        ("day + 10000000", "no day is"),
        ("3 in 4", "number has no parts"),
        ("weekday(name)", "weekday.* a day is wanted, not text"),
        ("hour(day)", "hour.* a time is wanted, not day"),
        ("add_minutes('23:45', 30)", "leaves the day"),
        ("number(name)", "'Garcia' is no number"),
        ("length(n)", "number has no length"),
    ],
)
def test_what_cannot_be_computed(source: str, message: str) -> None:
    expression = compile_expression(source)
    with pytest.raises(ExpressionError, match=message):
        expression.evaluate(VALUES, NOW)


def test_texts_cannot_grow_without_end() -> None:
    long: dict[str, Value] = {"a": "x" * 600}
    with pytest.raises(ExpressionError, match="longer than"):
        compile_expression("a + a").evaluate(long, NOW)


def test_names_are_known_before_running() -> None:
    assert compile_expression("weekday(day) == x and today > y or true").names == {"day", "x", "y"}
    assert compile_expression("number(number)").names == {"number"}
    with pytest.raises(UnknownFunction) as error:
        compile_expression("weekdy(day)")
    assert error.value.name == "weekdy"


ATOMS = st.sampled_from(
    [
        *VALUES,
        "1",
        "0",
        "-7",
        "2.5",
        "'x'",
        "'09:00'",
        "'2026-03-10'",
        "none",
        "true",
        "today",
        "now",
        "[1, n]",
    ]
)


def _grow(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(
        ["+", "-", "*", "/", "//", "%", "<", ">=", "==", "!=", "in", "not in", "and", "or"]
    )
    calls = st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(parts, min_size=1, max_size=2))
    return st.one_of(
        st.tuples(parts, binary, parts).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        calls.map(lambda c: f"{c[0]}({', '.join(c[1])})"),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        parts.map(lambda p: f"(not {p})"),
    )


@settings(max_examples=400)
@given(st.recursive(ATOMS, _grow, max_leaves=12))
def test_every_expression_ends_with_a_value_or_the_one_error(source: str) -> None:
    began = clock.process_time()
    try:
        found = value(source)
    except ExpressionError as error:
        assert str(error)
    else:
        assert found is None or isinstance(found, str | int | float | date | time | tuple)
    assert clock.process_time() - began < 0.5


@given(st.text(max_size=80))
def test_any_text_compiles_or_is_the_one_error(source: str) -> None:
    try:
        compile_expression(source)
    except ExpressionError:
        pass
