"""Text on its way to a voice: what cannot be spoken goes, what is too long is cut.

Every piece remembers where its characters stood in the text it came from, so that a word mark of
the engine points into the text of the dialog.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from dialog.sentences import speakable

LONGEST = 160  # characters: about 11 s of speech, 11 ms of espeak
_FIRST_PICTURE = 0x2190  # "So" holds emoji, arrows and box drawings, and below them ° © ® № ™
_CLAUSE_END = re.compile(r"[,;:.!?…—–)]+[\"'”’»]*\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that an engine is asked to speak at once."""

    text: str
    positions: tuple[int, ...] | range  # of each character in the original text


def pieces(text: str, longest: int = LONGEST) -> Iterator[Piece]:
    """The speakable stretches of `text`, cut between clauses where it is longer than `longest`."""
    clean, positions = _clean(text)
    start = 0
    while start < len(clean):
        end = _cut(clean, start, longest)
        if speakable(clean[start:end]):
            yield Piece(clean[start:end], positions[start:end])
        start = end


def _clean(text: str) -> tuple[str, tuple[int, ...] | range]:
    if text.isascii() and text.isprintable():
        return text, range(len(text))
    kept = [(spoken, index) for index, char in enumerate(text) if (spoken := _spoken(char))]
    return "".join(char for char, _ in kept), tuple(index for _, index in kept)


def _spoken(char: str) -> str:
    """What is said in place of `char`; "" where it stands inside words and has no sound."""
    match unicodedata.category(char):
        case "Cf":
            return ""  # soft hyphen, joiners, marks of direction
        case "Mn" if "\ufe00" <= char <= "\ufe0f":
            return ""  # selects the picture form of the character before
        case "Cc" | "Co" | "Cn" | "Cs" | "Me" | "Zl" | "Zp":
            return " "
        case "So" | "Sk" if ord(char) >= _FIRST_PICTURE:
            return " "
        case _:
            return char


def _cut(text: str, start: int, longest: int) -> int:
    if len(text) - start <= longest:
        return len(text)
    window = start + longest
    ends = [match.end() for match in _CLAUSE_END.finditer(text, start, window)]
    if ends and ends[-1] - start >= longest // 4:  # not after "Yes, " when a long clause follows
        return ends[-1]
    space = text.rfind(" ", start + 1, window)
    return space + 1 if space > start else window
