"""From what a flow writes to what a decoder hears: words, pronunciations, grammars, completeness."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pocketsphinx import get_model_path

from dialog import jsgf
from dialog.types import Domain, Hints
from media.stt.sphinx import g2p, grammars
from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.grammars import MAX_STATES
from media.stt.sphinx.lexicon import Lexicon
from media.stt.sphinx.plan import Kind, Thresholds, build
from media.stt.sphinx.wire import OPEN
from media.stt.sphinx.words import cardinal, ordinal, spoken

CMUDICT = Path(get_model_path("en-us/cmudict-en-us.dict"))
THRESHOLDS = Thresholds(-0.002, -0.0023, -0.0027)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("yes please", "yes please"),
        ("Yes, please!", "yes please"),
        ("I'd like that", "i'd like that"),
        ("it’s fine", "it's fine"),
        ("check-in", "check in"),
        ("black & white", "black and white"),
        ("José Müller", "jose muller"),
        ("at 3", "at three"),
        ("at 0", "at zero"),
        ("room 42", "room forty two"),
        ("3 p.m.", "three p m"),
        ("11am", "eleven a m"),
        ("i am late", "i am late"),
        ("9:00", "nine o'clock"),
        ("9:05", "nine oh five"),
        ("half past 9 PM", "half past nine p m"),
        ("16:30", "sixteen thirty"),
        ("the 3rd", "the third"),
        ("on the 21st", "on the twenty first"),
        ("30th", "thirtieth"),
        ("50%", "fifty percent"),
        ("  ", ""),
        ("...", ""),
    ],
)
def test_phrases_are_spelled_as_they_are_said(written: str, said: str) -> None:
    assert " ".join(spoken(written)) == said


@pytest.mark.parametrize(
    ("written", "names"),
    [("call 911", "911"), ("in 2024", "2024"), ("$5 off", "5"), ("me@home", "me@home"), ("東京", "東京")],
)
def test_what_cannot_be_said_is_an_error_that_names_it(written: str, names: str) -> None:
    with pytest.raises(DomainError) as e:
        spoken(written)
    assert names in str(e.value)
    assert written in str(e.value)


@given(st.text(max_size=40))
def test_any_text_gives_plain_words_or_its_error(text: str) -> None:
    try:
        words = spoken(text)
    except DomainError:
        return
    assert all(word.strip("abcdefghijklmnopqrstuvwxyz'") == "" and word for word in words)
    assert spoken(" ".join(words)) == words


def test_numbers_in_words() -> None:
    assert [cardinal(n) for n in (0, 13, 20, 99)] == ["zero", "thirteen", "twenty", "ninety nine"]
    assert [ordinal(n) for n in (1, 2, 3, 5, 8, 9, 12, 20, 22, 14)] == [
        *("first", "second", "third", "fifth", "eighth", "ninth", "twelfth", "twentieth", "twenty second"),
        "fourteenth",
    ]


# Pronunciations


def test_lexicon_finds_every_word_with_all_its_pronunciations() -> None:
    everything: dict[str, list[str]] = {}
    for line in CMUDICT.read_text().splitlines():
        word, _, phones = line.partition(" ")
        everything.setdefault(word.partition("(")[0], []).append(phones)
    words = list(everything)
    sample = [*words[:3], *words[-3:], *random.Random(1).sample(words, 2000), "the", "a", "read"]
    lexicon = Lexicon(CMUDICT)
    assert [lexicon.lookup(w) for w in sample] == [tuple(everything[w]) for w in sample]
    assert lexicon.lookup("zzzz") == lexicon.lookup("aaaa") == lexicon.lookup("voicegw") == ()


def test_dictionary_holds_the_wanted_words_alone() -> None:
    assert Lexicon(CMUDICT).dictionary(["the", "bill", "the"]) == "bill B IH L\nthe DH AH\nthe(2) DH IY\n"


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("kˈɑːvəltʃˌɪk", "K AA V AH L CH IH K"),
        ("zˈʊɹɪk", "Z UH R IH K"),
        ("mˈɑːɹtʃ", "M AA R CH"),
        ("dʒˈɔɪ", "JH OY"),
        ("bˈɜːd", "B ER D"),
        ("ǃǂ", ""),
    ],
)
def test_ipa_becomes_phones_of_the_acoustic_model(ipa: str, phones: str) -> None:
    assert g2p.phones_of(ipa) == phones


@pytest.mark.real
def test_unknown_names_are_pronounced_by_espeak() -> None:
    legal = {p.split("(")[0] for line in CMUDICT.read_text().splitlines()[::97] for p in line.split()[1:]}
    found = g2p.pronounce(["kowalczyk", "voicegw", "szczepanek"])
    assert set(" ".join(found.values()).split()) <= legal
    assert found["kowalczyk"].startswith("K ")


def test_a_missing_espeak_is_an_error_that_names_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No module named 'espeakng_loader'")

    monkeypatch.setattr(g2p, "_espeak", missing)
    with pytest.raises(DomainError, match=r"'szczepanek', 'voicegw'.*voicegw\[espeak\]"):
        Lexicon(CMUDICT).dictionary(["yes", "voicegw", "szczepanek"])


# Grammars

TIME = """#JSGF V1.0 UTF-8 en;
grammar time; // when
/* a day, then an hour */
<day> = today | tomorrow | [next | on] (monday {DAY=1} | tuesday);
public <time> = <day> [at] <hour> [o'clock] | /0.5/ "half past 9";
<hour> = one | two | 12;
"""


def test_grammar_is_read_and_written_in_spoken_words() -> None:
    grammar = grammars.parse(TIME)
    assert grammar.root == "time"
    assert " ".join(sorted(grammar.words())) == (
        "at half monday next nine o'clock on one past today tomorrow tuesday twelve two"
    )
    assert len(grammar.sentences(1000)) == 8 * 2 * 3 * 2 + 1
    assert grammar.sentences(2) == ["today at one o'clock", "today at one"]
    again = grammars.parse(grammar.text())
    assert again.sentences(1000) == grammar.sentences(1000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yes | no", "must begin with"),
        ("#JSGF V1.0; grammar g;", "exactly one public rule"),
        ("#JSGF V1.0; grammar g; <a> = b;", "exactly one public rule"),
        ("#JSGF V1.0; grammar g; public <a> = b; public <c> = d;", "exactly one public rule"),
        ("#JSGF V1.0; grammar g; public <a> = b |;", "alternative is empty"),
        ("#JSGF V1.0; grammar g; public <a> = ();", "alternative is empty"),
        ("#JSGF V1.0; grammar g; public <a> = (b;", "expected )"),
        ("#JSGF V1.0; grammar g; public <a> = b", "expected ;"),
        ("#JSGF V1.0; grammar g; public <a> = <b>;", "<b>, which is not defined"),
        ("#JSGF V1.0; grammar g; public <a> = b; <a> = c;", "defined twice"),
        ("#JSGF V1.0; grammar g; public <a> = <VOID>;", "VOID"),
        ("#JSGF V1.0; grammar g; import <x.y>; public <a> = b;", "imports are not supported"),
        ("#JSGF V1.0; grammar g;\npublic <a> = b > c;", "line 2"),
        ("#JSGF V1.0; grammar g; public <a> = at 1234;", "1234"),
        ("#JSGF V1.0; grammar g; public <a> = " + "(" * 60 + "b" + ")" * 60 + ";", "brackets"),
    ],
)
def test_a_bad_grammar_is_an_error_that_says_where(text: str, problem: str) -> None:
    with pytest.raises(DomainError) as e:
        grammars.parse(text)
    assert problem in str(e.value)


@given(st.text(alphabet='ab <>()[]|*+;={}/"#\n\\', max_size=60))
def test_any_grammar_is_read_or_refused(body: str) -> None:
    try:
        grammar = grammars.parse("#JSGF V1.0; grammar g; public <a> = " + body)
    except DomainError:
        return
    grammar.text()


# Complete answers

PHRASES = ("yes", "yes please", "no", "next tuesday", "next tuesday at three")


@pytest.mark.parametrize(
    ("said", "complete"),
    [
        ("no", True),
        ("yes", False),  # may go on: please
        ("yes please", True),
        ("next tuesday", False),
        ("next tuesday at three", True),
        ("next", False),
        ("maybe", False),
        ("", False),
    ],
)
def test_a_phrase_is_complete_when_no_longer_one_begins_with_it(said: str, complete: bool) -> None:
    grammar = jsgf.Grammar("a", {"a": grammars.phrases(PHRASES)})
    assert jsgf.Matcher(grammar).complete(said.split()) is complete


@pytest.mark.parametrize(
    ("said", "complete"),
    [
        ("today at one o'clock", True),
        ("today at one", False),
        ("on monday twelve o'clock", True),
        ("half past nine", True),
        ("half past", False),
        ("today monday", False),
    ],
)
def test_a_grammar_knows_its_complete_sentences(said: str, complete: bool) -> None:
    assert jsgf.Matcher(grammars.parse(TIME)).complete(said.split()) is complete


def test_digits_are_complete_at_their_greatest_count() -> None:
    matcher = jsgf.Matcher(grammars.digits(3, 5))
    assert [n for n in range(1, 7) if matcher.complete(["oh"] * n)] == [5]
    for fewest, most in ((0, 3), (4, 3), (1, 31)):
        with pytest.raises(DomainError, match="fewest"):
            grammars.digits(fewest, most)


def test_a_recursive_grammar_has_no_automaton_and_a_huge_one_is_refused() -> None:
    recursive = grammars.parse("#JSGF V1.0; grammar g; public <a> = very <a> | good;")
    assert recursive.sentences(100) == ["very good", "good"]
    assert grammars.matcher(recursive) is None
    doubling = "".join(f"<r{n}> = <r{n + 1}> <r{n + 1}>;" for n in range(20))
    with pytest.raises(DomainError, match=str(MAX_STATES)):
        grammars.matcher(
            grammars.parse(f"#JSGF V1.0; grammar g; public <a> = <r0>; {doubling} <r20> = word;")
        )


# Plans


def dictionary_of(words: object) -> str:
    return " ".join(sorted(set(words)))  # type: ignore[call-overload]


def test_each_state_has_a_reader_for_each_kind_of_answer() -> None:
    domain = Domain(
        "clinic",
        hints=(
            Hints(phrases=("At 3!", "later")),
            Hints(phrases=("skip",), digits=(4, 4)),
            Hints(digits=(4, 4)),
            Hints(digits=(3, 5)),
            Hints(grammar=TIME, sentences=("some time next week",)),
            Hints(),
        ),
    )
    plan = build(domain, THRESHOLDS, dictionary_of)
    kinds = {state: [(r.kind, r.threshold) for r in readers] for state, readers in plan.readers.items()}
    assert kinds == {
        0: [(Kind.GRAMMAR, -0.002)],
        1: [(Kind.GRAMMAR, -0.002), (Kind.DIGITS, -0.0023)],
        2: [(Kind.GRAMMAR, -0.0023)],
        3: [(Kind.DIGITS, -0.0023)],
        4: [(Kind.GRAMMAR, -0.002), (Kind.FREE, -0.0027)],
        5: [(Kind.FREE, -0.0027)],
        OPEN: [(Kind.FREE, -0.0027)],
    }
    assert plan.readers[0][0].originals == {"at three": "At 3!"}
    assert "o'clock" in plan.dictionary
    assert "<s> at three" in plan.models["open"]


def test_a_domain_that_expects_nothing_is_dictation() -> None:
    assert build(Domain("chat", hints=(Hints(),)), THRESHOLDS, dictionary_of).general


@pytest.mark.parametrize(
    ("domain", "problem"),
    [
        (Domain("d", language="de-DE"), "English alone, not 'de-DE'"),
        (Domain("d", hints=(Hints(phrases=("dial 911",)),)), "dial 911"),
        (Domain("d", hints=(Hints(phrases=("yes", "!")),)), "no words"),
        (Domain("d", hints=(Hints(sentences=("...",)),)), "no words"),
        (Domain("d", hints=(Hints(grammar="yes"),)), "must begin with"),
        (Domain("d", hints=(Hints(digits=(3, 2)),)), "digits 3..2"),
    ],
)
def test_a_domain_that_cannot_be_built_says_why(domain: Domain, problem: str) -> None:
    with pytest.raises(DomainError) as e:
        build(domain, THRESHOLDS, dictionary_of)
    assert problem in str(e.value)


def test_rules_nested_beyond_reason_are_refused() -> None:
    chain = "".join(f"<r{n}> = a <r{n + 1}>;" for n in range(2000))
    grammar = f"#JSGF V1.0; grammar g; public <a> = <r0>; {chain} <r2000> = b;"
    with pytest.raises(DomainError, match="too deeply"):
        build(Domain("d", hints=(Hints(grammar=grammar),)), THRESHOLDS, dictionary_of)
