import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.sentences import SentenceSplitter, sentences, split
from tests.clock import run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello. How are you?", ["Hello. ", "How are you?"]),
        ("Dr. Smith is in. He waits.", ["Dr. Smith is in. ", "He waits."]),
        ("J. R. Ewing of the U.S. Army called.", ["J. R. Ewing of the U.S. Army called."]),
        ("It costs 3.50 at 10:30. Fine?", ["It costs 3.50 at 10:30. ", "Fine?"]),
        (
            "At 5 p.m. on Monday. At 6 p.m. Monday ends.",
            ["At 5 p.m. on Monday. ", "At 6 p.m. ", "Monday ends."],
        ),
        ("No. 5 is free. I said no. We left.", ["No. 5 is free. ", "I said no. ", "We left."]),
        ("See e.g. Chapter 5. Good.", ["See e.g. Chapter 5. ", "Good."]),
        ("1. Press one. 2. Press two.", ["1. Press one. ", "2. Press two."]),
        ('"Really?" he said. "Yes." Good.', ['"Really?" he said. ', '"Yes." ', "Good."]),
        ("Wait... what? No!! Oh.", ["Wait... what? ", "No!! ", "Oh."]),
        ("first line\nSecond line\nof two\n\nthird", ["first line\n", "Second line\nof two\n\n", "third"]),
        ("我很好。你呢？好", ["我很好。", "你呢？", "好"]),
        ("... Hello.", ["... Hello."]),
        ("", []),
        ("   ", ["   "]),
    ],
)
def test_sentences_end_where_a_reader_would_pause(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_a_stream_gives_a_sentence_out_with_the_first_character_after_it() -> None:
    splitter = SentenceSplitter(first=0)
    given_out = [splitter.push(token) for token in ("Your code", " is 3", ".", "5.", " ", "O", "k?")]
    assert given_out == [[], [], [], [], [], ["Your code is 3.5. "], []]
    assert splitter.flush() == ["Ok?"]
    assert splitter.flush() == []


def test_only_the_first_piece_of_a_stream_ends_at_a_comma() -> None:
    text = "Well, we are open on weekdays from nine, and on Saturdays, but not on Sundays, sorry."
    splitter = SentenceSplitter(first=24)
    assert splitter.push(text) + splitter.flush() == [
        "Well, we are open on weekdays from nine, ",
        "and on Saturdays, but not on Sundays, sorry.",
    ]
    assert splitter.push("Next, please, and then this, and on") == [
        "Next, please, and then this, "
    ]  # new after flush


@pytest.mark.parametrize("text", ["word " * 300, "clause one, " * 100, "x" * 1000, "no end; " + "y" * 900])
def test_a_sentence_without_end_is_cut(text: str) -> None:
    pieces = split(text, longest=100)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 100
    assert min(map(len, pieces[:-1])) >= 8
    if "clause" in text:
        assert all(piece.endswith(", ") for piece in pieces)


@given(st.lists(st.text(alphabet="aB1 .,!?\n\"'。)-", max_size=8), max_size=40))
def test_nothing_is_lost_however_the_text_arrives(tokens: list[str]) -> None:
    splitter = SentenceSplitter(first=5, longest=30)
    pieces = [piece for token in tokens for piece in splitter.push(token)] + splitter.flush()
    assert "".join(pieces) == "".join(tokens)
    assert all(len(piece) > 0 for piece in pieces)


def test_the_stream_of_sentences_leaves_out_what_cannot_be_spoken() -> None:
    async def collect() -> list[str]:
        async def tokens():  # type: ignore[no-untyped-def]
            for token in ["Good mor", "ning. ", "--- ", "🙂\n\n", "Bye", "."]:
                yield token

        return [sentence async for sentence in sentences(tokens())]

    assert run(collect()) == ["Good morning. ", "--- 🙂\n\nBye."]
