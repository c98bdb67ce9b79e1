"""Markup in texts: read, cut, written; and text that only looks like it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog.errors import FlowError
from dialog.markup import cut, escape, parse, plain, rest, split, write
from dialog.markuptree import Break, Emphasis, Lang, Phoneme, Prosody, SayAs, Span, Sub
from dialog.sentences import SentenceSplitter
from tests.dialog.flow.flows import SHOP, Talk, flow, spoken

ANY = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            "<break time='1s'/>",
            "<prosody rate='80%'>",
            "</prosody>",
            "<sub alias='x'>",
            "</sub>",
            "<",
            ">",
            "&",
        ]
        + [
            "&amp;",
            "&#65;",
            "&#0;",
            "<speak>",
            "</p>",
            "Hello there. ",
            "one",
            "<say-as interpret-as='date'>",
        ]
        + [
            "<break time='9999s'/>",
            "<prosody pitch='?'>",
            "</say-as>",
            " ",
            "<name>",
            "<emphasis level='no'/>",
        ]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    "text, nodes",
    [
        ("Hello.", ("Hello.",)),
        ("a <break time='1.5s'/> b", ("a ", Break(1500), " b")),
        ('<break strength="strong"/>', (Break(700),)),
        ('<say-as interpret-as="spell-out">AB</say-as>', (Span(SayAs("characters"), ("AB",)),)),
        ("<prosody rate='slow' pitch='+2st'>x</prosody>", (Span(Prosody(0.8, 1.1225), ("x",)),)),
        ("<prosody volume='-6dB'>x</prosody>", (Span(Prosody(volume_db=-6), ("x",)),)),
        ("<phoneme alphabet='ipa' ph='ŋwiən'>Nguyen</phoneme>", (Span(Phoneme("ŋwiən"), ("Nguyen",)),)),
        ("<sub alias='World &amp; Co'>W&amp;C</sub>", (Span(Sub("World & Co"), ("W&C",)),)),
        (
            "<lang xml:lang='de'>so <emphasis>gut</emphasis></lang>",
            (Span(Lang("de"), ("so ", Span(Emphasis("moderate"), ("gut",)))),),
        ),
        ("<speak><p><s>Hi.</s></p></speak>", ("Hi.",)),
    ],
)
def test_tags_become_a_tree(text: str, nodes: object) -> None:
    marked = parse(text)
    assert marked.nodes == nodes and not marked.faults


@pytest.mark.parametrize(
    "text", ["a < b and c > d", "R&D, Tom & Jerry", "<name>", "x <- y", "<3", "a<b>c</b>"]
)
def test_text_that_only_looks_like_markup_is_text(text: str) -> None:
    assert plain(text) == text and not parse(text).faults


@pytest.mark.parametrize(
    "text, at, message",
    [
        ("one <prosody rate='80%'>two", 4, "<prosody> has no end"),
        ("one</sub> two", 3, "</sub> has no beginning"),
        ("<break time='soon'/>", 0, "write 500ms or 1.5s"),
        ("<break time='60s'/>", 0, "more than 10 s"),
        ("<say-as interpret-as='magic'>x</say-as>", 0, "not one of"),
        ("a <prosody rate='9000%'>x</prosody>", 2, "outside of"),
        ("<phoneme alphabet='x-sampa' ph='a'>x</phoneme>", 0, "ipa is understood"),
        ("<sub>x</sub>", 0, "alias is missing"),
        ("<sub alias='x'/>", 0, "has no words"),
    ],
)
def test_mistakes_have_a_place_and_cost_no_word(text: str, at: int, message: str) -> None:
    marked = parse(text)
    assert [fault.at for fault in marked.faults] == [at] and message in marked.faults[0].message
    assert marked.words.split() == re.sub(r"<[^>]*>", "", text).split()


@settings(deadline=None)
@given(ANY)
def test_any_text_is_read_and_written_again(text: str) -> None:
    marked = parse(text)
    again = parse(write(marked.nodes))
    assert again.words == marked.words and not again.faults
    assert plain(escape(text)) == text


@settings(deadline=None)
@given(ANY, st.integers(0, 30))
def test_cutting_loses_no_word_and_leaves_whole_markup(text: str, at: int) -> None:
    marked = parse(text)
    words = marked.words
    pieces = cut(marked.nodes, 0, at), cut(marked.nodes, at, len(words))
    assert "".join(plain(write(piece)) for piece in pieces) == words
    assert not parse(write(pieces[1])).faults
    assert plain(rest(text, at)) == words[at:]
    assert "".join(plain(sentence) for sentence in split(text)) == words


def test_sentences_within_a_style_each_have_it() -> None:
    assert split("<prosody rate='80%'>One. Two.</prosody> Three.") == [
        '<prosody rate="80%">One. </prosody>',
        '<prosody rate="80%">Two.</prosody> ',
        "Three.",
    ]


def test_a_break_between_sentences_stays_between_them() -> None:
    assert split("One. <break time='1s'/>Two.") == ['One. <break time="1000ms"/>', "Two."]


def test_a_text_that_is_being_written_is_not_cut_within_a_tag() -> None:
    text = 'This is what I found for you <sub alias="first, then second. Then third">x</sub> today. And more.'
    splitter = SentenceSplitter()
    found = [piece for char in text for piece in splitter.push(char)] + splitter.flush()
    assert "".join(found) == text
    assert all(not parse(piece).faults for piece in found)


def test_a_mistake_in_a_flow_is_named_with_its_line() -> None:
    text = SHOP.replace("say: Goodbye.", "say: \"<break time='soon'/>Goodbye.\"")
    with pytest.raises(FlowError) as raised:
        flow(text)
    (problem,) = raised.value.problems
    assert "write 500ms or 1.5s" in problem.message
    assert "Goodbye." in text.splitlines()[problem.line - 1]


def test_a_flow_says_its_names_its_own_way() -> None:
    text = SHOP.replace("start: hello", "start: hello\nlexicon: {Hill: HEE-yl, Shop: {ipa: ʃɒp, say: shopp}}")
    said = spoken(Talk(text).greet())
    assert '<sub alias="HEE-yl">Hill</sub>' in said
    assert '<phoneme alphabet="ipa" ph="ʃɒp"><sub alias="shopp">Shop</sub></phoneme>' in said
    assert plain(said).startswith("Welcome to Hill Shop.")


def test_a_mistake_in_a_flows_lexicon_is_named_with_its_line() -> None:
    with pytest.raises(FlowError) as raised:
        flow(SHOP.replace("start: hello", "start: hello\nlexicon:\n  Hill: hill\n  Shop: {say: ''}"))
    assert {problem.line for problem in raised.value.problems} == {5}
