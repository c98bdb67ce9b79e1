"""Telling a few languages apart by a sentence."""

import pytest

from dialog.nlu.language import identify

ALL = ("en", "de", "es", "fr", "el")


@pytest.mark.parametrize(
    "text, code",
    [
        ("I would like to speak to somebody please", "en"),
        ("Guten Tag, ich möchte bitte einen Termin", "de"),
        ("sprechen sie deutsch", "de"),
        ("buenos días, quiero hablar con alguien", "es"),
        ("bonjour, je voudrais parler à quelqu'un", "fr"),
        ("γεια σας, θέλω να μιλήσω με κάποιον", "el"),
        ("tuesday", None),
        ("", None),
        ("zwölf", None),
    ],
)
def test_among_five(text: str, code: str | None) -> None:
    assert identify(text, ALL) == code


def test_only_what_may_be_spoken_is_found() -> None:
    assert identify("ich möchte bitte einen Termin", ("en", "fr")) is None
    assert identify("ich möchte bitte einen Termin", ("en", "de-AT")) == "de-AT"


def test_two_languages_in_one_sentence_are_none() -> None:
    assert identify("yes please danke ja", ("en", "de")) is None
