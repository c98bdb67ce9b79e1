"""Grammars are read as the recogniser will read them, or refused with a reason."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog import jsgf
from dialog.errors import GrammarError

HEAD = "#JSGF V1.0; grammar g; "
RECURSIVE = HEAD + "public <a> = very <a> | good;"


def as_written(word: str) -> tuple[str, ...]:
    return tuple(word.split())


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
        (HEAD, "exactly one public rule, found 0"),
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
        (HEAD + "public <g> = /2/ a | b ;", "cannot read"),
        (HEAD + 'public <g> = "a b" ;', "cannot read"),
        (HEAD + "public <g> = a ; // b", "cannot read"),
        (HEAD + "public <g> = a | <NULL> ;", "<NULL>, which is not defined"),
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


# The full dialect


@pytest.mark.parametrize(
    "body",
    [
        *("/0.5/ a | /2/ b", "a {tag} | b", '"a b" // a comment', "a /* a\ncomment */"),
        *("a <NULL>", "very <g> | good", "a+*"),
    ],
)
def test_the_full_dialect_alone_has_more(body: str) -> None:
    text = HEAD + f"public <g> = {body}\n;"
    assert jsgf.read(text, as_written).sentences(1)
    with pytest.raises(GrammarError):
        jsgf.parse(text)


def test_weights_survive_being_written() -> None:
    grammar = jsgf.read(HEAD + "public <g> = /0.5/ a | /2/ b [c+] ;", as_written)
    again = jsgf.read(grammar.text(), as_written)
    assert again == grammar
    assert "/0.5/ a" in grammar.text()
    with pytest.raises(GrammarError, match="weight"):
        jsgf.read(HEAD + "public <g> = /1.2.3/ a ;", as_written)


def test_sentences_of_a_recursive_grammar_end() -> None:
    assert jsgf.read(RECURSIVE, as_written).sentences(100) == ["very good", "good"]


def test_examples_are_the_longest_way_first_and_phrases_the_shortest() -> None:
    grammar = jsgf.parse(HEAD + "public <g> = [a] b+ [c] ;")
    assert grammar.sentences(100) == ["a b c", "a b", "b c", "b"]
    assert [next(grammar.phrases()), len(set(grammar.phrases()))] == ["b", 2 * 3 * 2]


# Completeness


@pytest.mark.parametrize(
    ("rule", "said", "complete"),
    [
        ("a+", "a a a", False),
        ("a* b", "a a b", True),
        ("a* b", "b", True),
        ("[a] [b]", "b", True),
        ("[a] [b]", "a", False),
        ("a <NULL> | <NULL>", "a", True),
        ("(a | a b)", "a", False),
        ("(a | a b)", "a b", True),
    ],
)
def test_repeats_and_options(rule: str, said: str, complete: bool) -> None:
    grammar = jsgf.read(HEAD + f"public <r> = {rule};", as_written)
    assert jsgf.Matcher(grammar).complete(said.split()) is complete


def test_a_recursive_grammar_has_no_automaton_and_a_huge_one_is_refused() -> None:
    with pytest.raises(jsgf.Recursive):
        jsgf.Matcher(jsgf.read(RECURSIVE, as_written))
    doubling = "".join(f"<r{n}> = <r{n + 1}> <r{n + 1}>;" for n in range(20))
    huge = jsgf.read(HEAD + f"public <a> = <r0>; {doubling} <r20> = word;", as_written)
    with pytest.raises(GrammarError, match="more than 50000 words"):
        jsgf.Matcher(huge, 50_000)
