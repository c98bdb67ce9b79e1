"""Texts are filled with values as one says them."""

from datetime import date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.errors import ExpressionError
from dialog.flow.template import UnknownFormat, compile_template
from dialog.flow.values import FORMATS, Value, from_json, plain, to_json, type_name

NOW = datetime(2026, 3, 4, 10, 30)
VALUES: dict[str, Value] = {
    "day": date(2026, 5, 3),
    "at": time(9, 30),
    "code": "4711",
    "n": 23,
    "who": "mary Smith",
    "yes": True,
    "half": 0.5,
    "list": ("a", 1),
    "nothing": None,
}


@pytest.mark.parametrize(
    "source, expected",
    [
        (
            "See you {day|day} at {at|time}.",
            "See you Sunday, the third of May at half past nine in the morning.",
        ),
        ("{day|weekday}", "Sunday"),
        ("{code|spell}", "4 7 1 1"),
        ("{n|number} and {n|ordinal}", "twenty three and twenty third"),
        ("{code|number}", "four thousand seven hundred and eleven"),
        ("{who|upper} {who|lower} {who|title}", "MARY SMITH mary smith Mary Smith"),
        ("{n + 1} {half} {yes}", "24 0.5 yes"),
        ("{list}", "a, 1"),
        ("{day} {at}", "Sunday, the third of May half past nine in the morning"),
        ("{nothing}{nothing|day}.", "."),
        ("{{day}} is {n}", "{day} is 23"),
        ("{ n }", "23"),
        ("{'x' if n > 3 else 'y'}", "x"),
        ("  plain  ", "plain"),
    ],
)
def test_texts(source: str, expected: str) -> None:
    assert compile_template(source).render(VALUES, NOW) == expected


@pytest.mark.parametrize(
    "source", ["{", "}", "{}", "{n", "n}", "{n|}", "{n|tim}", "{n +}", "{{n}", "x" * 2001]
)
def test_wrong_texts(source: str) -> None:
    with pytest.raises(ExpressionError):
        compile_template(source)


def test_unknown_formats_and_names() -> None:
    with pytest.raises(UnknownFormat) as error:
        compile_template("{n|spel}")
    assert error.value.name == "spel"
    assert compile_template("{day|day} {a + b} {{c}}").names == {"day", "a", "b"}


@pytest.mark.parametrize(
    "source", ["{code|day}", "{day|time}", "{who|number}", "{n|weekday}", "{code|ordinal}"]
)
def test_a_format_that_does_not_fit(source: str) -> None:
    with pytest.raises(ExpressionError, match=r"\|"):
        compile_template(source).render(VALUES, NOW)


@given(st.text(max_size=60))
def test_any_text_compiles_or_is_the_one_error(source: str) -> None:
    try:
        compile_template(source).render(VALUES, NOW)
    except ExpressionError:
        pass


@pytest.mark.parametrize("value", [*VALUES.values(), (date(2026, 1, 1), time(9, 5), None)])
def test_values_survive_json(value: Value) -> None:
    assert from_json(to_json(value)) == value
    assert plain(value) is not None
    assert type_name(value) in {"text", "number", "yes/no", "day", "time", "list", "nothing"}


@pytest.mark.parametrize("data", [{"day": "soon"}, {"x": 1}, {"time": "25:00"}, object()])
def test_other_json_is_refused(data: object) -> None:
    with pytest.raises(ValueError):
        from_json(data)


def test_every_format_says_what_it_wants() -> None:
    for name, format in FORMATS.items():
        for value in VALUES.values():
            try:
                assert isinstance(format(value), str), name
            except ExpressionError as error:
                assert "wanted" in str(error) or "ordinal" in str(error)
