import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.sentences import speakable
from media.tts.text import pieces


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello", "Hello"),
        ("a\x00b\x07c\nd", "a b c d"),
        ("hi 😀\ufe0f!", "hi  !"),
        ("thumbs 👍🏽 up", "thumbs    up"),
        ("ap\u00adpoint\u200bment", "appointment"),
        ("20 °C, № 5 ©", "20 °C, № 5 ©"),
        ("naïve café", "naïve café"),
        ("bad \ud800 half", "bad   half"),
        ("$5 = 5", "$5 = 5"),
    ],
)
def test_what_cannot_be_spoken_goes(text: str, spoken: str) -> None:
    (piece,) = pieces(text)
    assert piece.text == spoken
    assert [text[i] for i, c in zip(piece.positions, spoken, strict=True) if c != " "] == [
        c for c in spoken if c != " "
    ]


@pytest.mark.parametrize("text", ["", "  ", "...", "?!", "😀", "\x00\x1f", "—", "\u200b", "*", "🎉🎉 ... "])
def test_there_may_be_nothing_to_say(text: str) -> None:
    assert not speakable(text) or text == "*"
    assert list(pieces(text)) == []


def test_long_text_is_cut_between_clauses_then_words_then_anywhere() -> None:
    assert [p.text for p in pieces("one two, three four, five six seven", longest=22)] == [
        "one two, three four, ",
        "five six seven",
    ]
    assert [p.text for p in pieces("one two three four five", longest=10)] == [
        "one two ",
        "three ",
        "four five",
    ]
    assert [p.text for p in pieces("abcdefghij", longest=4)] == ["abcd", "efgh", "ij"]
    assert [p.text for p in pieces("Yes, but this is one long clause", longest=24)][
        0
    ] == "Yes, but this is one "


@given(st.text(max_size=400), st.integers(5, 60))
def test_pieces_are_bounded_in_order_and_point_into_the_text(text: str, longest: int) -> None:
    last = -1
    for piece in pieces(text, longest):
        assert 0 < len(piece.text) <= longest
        assert len(piece.positions) == len(piece.text)
        piece.text.encode()  # a lone surrogate would raise
        for char, position in zip(piece.text, piece.positions, strict=True):
            assert position > last
            assert char in (text[position], " ")
            last = position
