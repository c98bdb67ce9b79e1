"""Whether words sound finished: by what is expected, by counted digits, by how sentences end."""

import pytest

from dialog.nlu.completeness import MOST, completeness, is_prepared, prepare
from dialog.types import Hints

DAY = Hints(phrases=("tuesday", "tuesday at three", "next tuesday"))
WHEN = "(next | on) (monday | tuesday) [at (three | four)]"
GRAMMAR = Hints(grammar=f"#JSGF V1.0; grammar d; public <d> = {WHEN};")
NUMBER = Hints(digits=(6, 8))


def test_grammars_that_other_calls_compose_do_not_push_out_those_in_use() -> None:
    every = [Hints(grammar=f"#JSGF V1.0; grammar d{n}; public <d> = monday;") for n in range(MOST + 50)]
    for hints in every:
        prepare(hints)
    assert all(is_prepared(hints) for hints in every[-MOST:])
    assert not is_prepared(every[0])


def test_a_grammar_too_deep_to_be_read_tells_nothing() -> None:
    rules = "".join(f"<r{n}> = <r{n + 1}>;" for n in range(5000))
    deep = Hints(grammar=f"#JSGF V1.0; grammar d; public <d> = <r0>; {rules} <r5000> = monday;")
    prepare(deep)
    assert is_prepared(deep)


@pytest.mark.parametrize(
    "text, hints, low, high",
    [
        ("my number is", NUMBER, 0.3, 0.6),
        ("my number is four five", NUMBER, 0.0, 0.1),
        ("four five six double seven", NUMBER, 0.0, 0.1),
        ("four five six seven eight nine", NUMBER, 0.3, 0.5),
        ("four five six seven double eight nine oh", NUMBER, 1.0, 1.0),
        ("456789", NUMBER, 0.3, 0.5),
        ("tuesday", DAY, 0.7, 0.8),
        ("tuesday at", DAY, 0.0, 0.2),
        ("tuesday at three", DAY, 1.0, 1.0),
        ("next", DAY, 0.0, 0.2),
        ("on tuesday", GRAMMAR, 0.7, 0.8),
        ("on tuesday at", GRAMMAR, 0.0, 0.2),
        ("on tuesday at four", GRAMMAR, 1.0, 1.0),
        ("i lost my card and", Hints(), 0.0, 0.1),
        ("i live in london um", Hints(), 0.0, 0.1),
        ("thank you", Hints(), 0.3, 0.6),
        ("that's it", Hints(), 0.3, 0.6),
        ("i would like to change it.", Hints(), 0.7, 0.8),
        ("first of all,", Hints(), 0.0, 0.2),
    ],
)
def test_english(text: str, hints: Hints, low: float, high: float) -> None:
    prepare(hints)
    score = completeness(text, hints, "en")
    assert score is not None and low <= score <= high


@pytest.mark.parametrize(
    "language, unfinished, finished",
    [
        ("de", "ich habe meine Karte verloren und", "weil ich krank bin"),
        ("de-AT", "meine Nummer ist die", "das ist alles"),
        ("es", "quiero hablar con", "creo que no"),
        ("fr", "je voudrais parler à", "je ne sais pas"),
        ("el", "θέλω να μιλήσω με", "αυτό είναι το όνομά μου"),
        ("xx", "i want to speak to", "i want to speak to somebody"),
    ],
)
def test_other_languages(language: str, unfinished: str, finished: str) -> None:
    low, high = (completeness(text, Hints(), language) for text in (unfinished, finished))
    assert low is not None and low < 0.1
    assert high is not None and high >= 0.4


FOUR_FIVE = {"de": "vier fünf", "es": "cuatro cinco", "fr": "quatre cinq", "el": "τέσσερα πέντε"}


@pytest.mark.parametrize("language", FOUR_FIVE)
def test_digits_are_counted_in_every_language(language: str) -> None:
    digits = FOUR_FIVE[language]
    assert completeness(digits, NUMBER, language) == 0.05
    assert completeness(" ".join([digits] * 4), NUMBER, language) == 1.0


def test_the_recognisers_grammar_is_believed() -> None:
    assert completeness("half past", Hints(), "en", fragment=True) == 0.15
    assert completeness("half past nine", Hints(), "en", complete=True) == 1.0


def test_without_words_nothing_is_said() -> None:
    assert completeness("", DAY) is None
    assert completeness(" ... ", DAY) is None


def test_a_broken_or_endless_grammar_tells_nothing() -> None:
    for grammar in ("#JSGF V1.0; grammar g; public <a> = b <a> | b;", "no grammar"):
        prepare(Hints(grammar=grammar))
        assert is_prepared(Hints(grammar=grammar))
        assert completeness("b b b", Hints(grammar=grammar)) is not None
