"""The small captures: yes and no, choices, phrases, digits, numbers, names."""

from datetime import datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog import jsgf
from dialog.capture.base import Capture
from dialog.capture.digits import Digits, Number
from dialog.capture.name import Name
from dialog.capture.numbers import ORDINALS, cardinal, ordinal, parse_cardinal, parse_digits
from dialog.capture.simple import NO, YES, Choice, Phrase, YesNo
from dialog.errors import GrammarError

NOW = datetime(2026, 3, 4, 10, 0)
CHOICE = Choice({"dentist": ("the dentist", "tooth doctor"), "nurse": ()})
NAMES = Name(("Smith", "Smithers", "Garcia", "O'Brien"), spell=True)
GRAMMAR = "#JSGF V1.0; grammar g; public <g> = room (one | two) ;"
PHRASE = Phrase(("the garden",), GRAMMAR)

READ = [
    (YesNo(), "yes", True),
    (YesNo(), "Yes, please!", True),
    (YesNo(), "uh yeah", True),
    (YesNo(), "yes that is fine", True),
    (YesNo(), "that's right", True),
    (YesNo(), "no", False),
    (YesNo(), "no, thank you", False),
    (YesNo(), "no that's wrong", False),
    (YesNo(), "nope i meant tuesday", False),
    (YesNo(), "yes but not on monday", None),
    (YesNo(), "yes or no", None),
    (YesNo(), "not now", None),
    (YesNo(), "maybe", None),
    (YesNo(), "", None),
    (CHOICE, "the dentist", "dentist"),
    (CHOICE, "i would like the dentist please", "dentist"),
    (CHOICE, "Nurse!", "nurse"),
    (CHOICE, "not the dentist", None),
    (CHOICE, "the dentist or the nurse", None),
    (CHOICE, "the one who looks after my teeth", None),
    (Digits(4, 4), "one two three four", "1234"),
    (Digits(4, 4), "oh one double five", "0155"),
    (Digits(4, 4), "it's 12 34", "1234"),
    (Digits(4, 4), "12-34", "1234"),
    (Digits(4, 4), "triple seven one", "7771"),
    (Digits(4, 4), "one two three", None),
    (Digits(4, 4), "one two three four five", None),
    (Digits(4, 4), "one two tree four", None),
    (Digits(1, 4), "double", None),
    (Digits(1, 4), "double double one", None),
    (Number(), "twenty five", 25),
    (Number(), "seven please", 7),
    (Number(), "42", 42),
    (Number(), "one hundred", None),
    (Number(0, 9999), "one thousand two hundred and five", 1205),
    (Number(0, 9999), "a hundred", 100),
    (Number(5, 9), "four", None),
    (Number(), "a lot", None),
    (NAMES, "garcia", "Garcia"),
    (NAMES, "my name is Garcia", "Garcia"),
    (NAMES, "it's o'brien", "O'Brien"),
    (NAMES, "s m i t h", "Smith"),
    (NAMES, "S-M-I-T-H-E-R-S", "Smithers"),
    (NAMES, "m o", "Mo"),
    (NAMES, "miller", None),
    (NAMES, "m", None),
    (Name(("Smith",)), "m o", None),
    (PHRASE, "The garden, please.", "the garden"),
    (PHRASE, "room two", "room two"),
    (PHRASE, "room three", None),
    (Phrase(sentences=("i have a headache",)), "My knee hurts!", "my knee hurts"),
    (Phrase(sentences=("i have a headache",)), "...", None),
]
KEYED = [
    (YesNo(), "1", True),
    (YesNo(), "2", False),
    (YesNo(), "3", None),
    (CHOICE, "1", "dentist"),
    (CHOICE, "2", "nurse"),
    (CHOICE, "3", None),
    (CHOICE, "0", None),
    (CHOICE, "*", None),
    (Digits(4, 4), "1234", "1234"),
    (Digits(4, 4), "123", None),
    (Digits(4, 4), "12*4", None),
    (Number(1, 20), "12", 12),
    (Number(1, 20), "21", None),
    (Number(1, 20), "", None),
    (NAMES, "764", None),  # smi: two of them
    (NAMES, "76484", "Smith"),
    (NAMES, "764843", "Smithers"),
    (NAMES, "42", None),
    (NAMES, "427", "Garcia"),
    (NAMES, "627", "O'Brien"),
    (NAMES, "999", None),
    (PHRASE, "1", None),
]


@pytest.mark.parametrize("capture, text, expected", READ)
def test_answers_are_read(capture: Capture, text: str, expected: object) -> None:
    value = capture.parse(text, NOW)
    assert value == expected
    assert value is None or isinstance(value, capture.value_type)


@pytest.mark.parametrize("capture, keys, expected", KEYED)
def test_answers_are_keyed(capture: Capture, keys: str, expected: object) -> None:
    assert capture.parse_keys(keys, NOW) == expected
    if expected is not None:
        assert capture.keys is not None and len(keys) <= capture.keys.most


ALL = [YesNo(), CHOICE, Digits(4, 4), Number(), Number(0, 9999), NAMES, PHRASE]


@pytest.mark.parametrize("capture", ALL, ids=lambda c: type(c).__name__)
def test_what_is_expected_is_understood(capture: Capture) -> None:
    hints, random = capture.hints, Random(1)
    said = [*hints.phrases]
    if hints.grammar:
        grammar = jsgf.parse(hints.grammar)
        said += [grammar.sample(random) for _ in range(2000)]
    if hints.digits:
        said += [" ".join(random.choice(["one", "oh", "five"]) for _ in range(hints.digits[0]))]
    assert said
    assert not [text for text in said if capture.parse(text, NOW) is None]


@pytest.mark.parametrize(
    "capture", [YesNo(), CHOICE, Digits(4, 4), Number(0, 9999), NAMES], ids=lambda c: str(c)[:6]
)
def test_a_value_is_understood_when_it_is_said_back(capture: Capture) -> None:
    values = [v for c, _, v in READ if type(c) is type(capture) and isinstance(v, str | int) and v != "Mo"]
    assert values
    for value in values:
        assert capture.parse(capture.spoken(value), NOW) == value


@pytest.mark.parametrize("capture", ALL, ids=lambda c: type(c).__name__)
@given(text=st.text(max_size=40))
def test_no_answer_is_too_odd(capture: Capture, text: str) -> None:
    capture.parse(text, NOW)
    capture.parse_keys(text, NOW)


@pytest.mark.parametrize("capture", ALL[:-1], ids=lambda c: type(c).__name__)
def test_help_names_the_keys(capture: Capture) -> None:
    assert "press" in capture.help  # or pressing
    assert capture.help.endswith(".")


def test_yes_and_no_share_nothing() -> None:
    assert not set(YES) & set(NO)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Choice({}), "1 to 9"),
        (lambda: Choice({"a": ("x",), "b": ("X!",)}), "'x' means both 'a' and 'b'"),
        (lambda: Digits(5, 4), "min <= max"),
        (lambda: Digits(1, 40), "32"),
        (lambda: Number(5, 4), "min <= max"),
        (lambda: Number(0, 10_000), "9999"),
        (lambda: Name(()), "empty"),
        (lambda: Name(("Smith", "smith")), "twice"),
        (Phrase, "needs phrases"),
    ],
)
def test_wrong_options_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_a_phrase_checks_its_grammar() -> None:
    with pytest.raises(GrammarError):
        Phrase(grammar="nonsense")


@given(st.integers(0, 9999))
def test_cardinals_there_and_back(n: int) -> None:
    assert parse_cardinal(cardinal(n).split()) == n


@pytest.mark.parametrize("n", [-1, 10_000])
def test_numbers_without_words(n: int) -> None:
    with pytest.raises(ValueError):
        cardinal(n)
    with pytest.raises(ValueError):
        ordinal(n)


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 12, 20, 21, 30, 31)] == [
        *("first", "twelfth", "twentieth", "twenty first", "thirtieth", "thirty first")
    ]
    assert all(ordinal(n) == text for text, n in ORDINALS.items()) and len(ORDINALS) == 31


@given(st.text(alphabet="0123456789", min_size=1, max_size=12))
def test_digits_there_and_back(digits: str) -> None:
    assert parse_digits([cardinal(int(d)) for d in digits]) == digits
