"""Texts are made comparable, and fixed phrases are found in them but not read into them."""

import pytest

from dialog.nlu.base import normalise
from dialog.nlu.rules import PhraseRules, bare

RULES = PhraseRules({"person": ["operator", "a real person"], "repeat": ["say that again"], "no": ["no"]})


@pytest.mark.parametrize(
    "text, expected",
    [
        ("3 P.M.", "3 p m"),
        ("3pm", "3 p m"),
        ("3:15PM", "3:15 p m"),
        ("Ten thirty a.m. please!", "ten thirty a m please"),
        ("at 5 p.m. on Tuesday", "at 5 p m on tuesday"),
        ("It’s o'clock", "it's o'clock"),
        ("half-past   nine\n", "half past nine"),
        ("snake_case", "snake case"),
        ("'quoted'", "quoted"),
        ("?!", ""),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


def test_bare() -> None:
    assert bare("Uh, well, the dentist please") == "the dentist"
    assert bare("oh one please", frozenset({"oh"})) == "oh one"
    assert bare("um uh") == ""


@pytest.mark.parametrize(
    "text, exact, within",
    [
        ("operator", "person", "person"),
        ("Operator, please!", "person", "person"),
        ("say that again", "repeat", "repeat"),
        ("i want a real person", None, "person"),
        ("could you say that again", None, "repeat"),
        ("no", "no", "no"),
        ("i don't want an operator", None, None),
        ("operator say that again", None, None),
        ("please give me some kind of an operator now or never", None, None),
        ("operators", None, None),
        ("", None, None),
    ],
)
def test_phrases(text: str, exact: str | None, within: str | None) -> None:
    assert RULES.exact(text) == exact
    assert RULES.within(text) == within
