"""Grammars are read as the recogniser will read them, or refused with a reason."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.capture import jsgf
from dialog.errors import GrammarError

HEAD = "#JSGF V1.0; grammar g; "


def test_alternatives_options_groups_and_rules() -> None:
    grammar = jsgf.parse(HEAD + "public <g> = [please] (call | ring) <who> ; <who> = mary | my mother ;")
    assert set(grammar.phrases()) == {
        f"{a}{b} {c}" for a in ("", "please ") for b in ("call", "ring") for c in ("mary", "my mother")
    }
    assert grammar.words() == {"please", "call", "ring", "mary", "my", "mother"}
    assert grammar.matches("please ring my mother")
    assert not grammar.matches("please ring my")
    assert not grammar.matches("ring mary now")
    assert not grammar.matches("")
    assert grammar.name == grammar.root == "g"


def test_repetition() -> None:
    grammar = jsgf.parse(HEAD + "public <g> = a+ [b]* ;")
    assert grammar.matches("a a a a a a b b") and grammar.matches("a")
    assert not grammar.matches("b") and not grammar.matches("a b a")
    assert "a a a b" in set(grammar.phrases())


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_is_a_sentence(seed: int) -> None:
    grammar = jsgf.parse(HEAD + "public <g> = (a | b c)+ [<x>] ; <x> = d (e | f) ;")
    assert grammar.matches(grammar.sample(Random(seed)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "begins with"),
        ("public <g> = a ;", "begins with"),
        (HEAD, "one rule must be public, found 0"),
        (HEAD + "<g> = a ;", "found 0"),
        (HEAD + "public <g> = a ; public <h> = b ;", "found 2"),
        (HEAD + "public <g> = a", "expected"),
        (HEAD + "public <g> = ;", "empty"),
        (HEAD + "public <g> = a | ;", "empty"),
        (HEAD + "public <g> = (a ;", "never closed"),
        (HEAD + "public <g> = a ) ;", "unexpected ')'"),
        (HEAD + "public <g> = [ ] ;", "empty"),
        (HEAD + "public <g> = a ; <g> = b ;", "twice"),
        (HEAD + "public <g> = <h> ;", "<h>, which is not defined"),
        (HEAD + "public <g> = a <g> ;", "refers to itself"),
        (HEAD + "public <g> = <h> ; <h> = <g> | a ;", "refers to itself"),
        (HEAD + "public <g> = Hello ;", "'Hello' is not a plain lower-case word"),
        (HEAD + "public <g> = 3 p.m. ;", "'3' is not a plain"),
        (HEAD + "public <g> = a {tag} ;", "cannot read"),
        (HEAD + "public <g> = " + "(" * 60 + "a" + ")" * 60 + " ;", "groups inside each other"),
        (HEAD + "public <g> = " + "a " * 20_000 + " ;", "characters"),
    ],
)
def test_wrong_grammars_are_refused(text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message.replace("(", r"\(").replace(")", r"\)")):
        jsgf.parse(text)


def test_a_grammar_cannot_explode() -> None:
    rules = "".join(f"<r{i}> = <r{i + 1}> <r{i + 1}> ; " for i in range(40))
    with pytest.raises(GrammarError, match="written out"):
        jsgf.parse(HEAD + "public <g> = <r0> ; " + rules + "<r40> = [x] ;")


@given(st.text(alphabet="ab<>[]()|*+=; \n", max_size=80))
def test_any_text_is_a_grammar_or_one_error(text: str) -> None:
    try:
        grammar = jsgf.parse(HEAD + "public <g> = a ;" + text)
    except GrammarError:
        return
    assert grammar.matches("a")
