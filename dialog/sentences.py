"""Running text to speakable sentences, also while it is still being written.

Nothing is lost: the pieces of a text, joined, are the text. A sentence is given out as soon as the
character after it has come, since only that tells "3.5" from "3. 5" and "p.m. on Monday" from
"p.m. On Monday". The first piece of a stream may end at a comma, so that speech starts early.
"""

import re
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Iterator

FIRST = 24  # characters: 1.5 s of speech, while the rest is being written
LONGEST = 240  # characters: 15 s of speech; nobody listens longer without a pause

_ENDING = re.compile(
    r"""(?P<mark>[.!?…]+)["'”’»)\]]*(?P<space>\s+)   # Latin: a mark, perhaps a closing quote, white space
      | [。！？؟।]+["”’」』）]*\s*                      # scripts without a space after it
      | \s*\n\s*                                     # a line of its own
    """,
    re.VERBOSE,
)
_CLAUSE = re.compile(r"[,;:—–][\"'”’»)\]]*\s+")
_TAGS = "speak|break|say-as|prosody|phoneme|sub|emphasis|lang|voice"
_IN_TAG = re.compile(rf"</?(?:{_TAGS})\b[^<>]*$")  # dialog.markup
_WORD_BEFORE = re.compile(r"(\S+)$")

# Never the end of a sentence: something always follows.
_TITLES = frozenset(
    (
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "rev",
        "hon",
        "gen",
        "col",
        "capt",
        "lt",
        "sgt",
        "sen",
        "rep",
        "gov",
    )
    + ("messrs", "mme", "mlle", "vs", "e.g", "i.e", "cf", "approx")
)
# The same, but only before a number: "No. 5" and "Jan. 2026", not "I said no. We left".
_COUNTED = frozenset(
    ("no", "nr", "tel", "ext", "fig", "vol", "p", "pp", "sec", "art")
    + ("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec")
)
_INITIAL = re.compile(r"(?:^|[\s(\"'“‘.])[A-Z]$")  # J. R. Smith, U.S. Army
_LIST_NUMBER = re.compile(r"^\s*[(\[]?\d{1,3}$")  # "1. Press the star key"


def speakable(text: str) -> bool:
    """Whether there is anything to say: a letter, a number, a currency or mathematical sign."""
    return any(char.isalnum() or unicodedata.category(char) in ("Sc", "Sm") for char in text)


class SentenceSplitter:
    """Push text, get sentences. One a stream; after `flush` it is new again."""

    def __init__(self, first: int = FIRST, longest: int = LONGEST) -> None:
        """`first`: fewest characters of a first piece that ends at a comma; 0 for whole sentences only."""
        self._first, self._longest = first, longest
        self._text = ""
        self._start = 0  # of what has not been given out
        self._begun = False

    def push(self, text: str) -> list[str]:
        """Add text; returns the sentences that it completes."""
        self._text = self._text[self._start :] + text
        self._start = 0
        return list(self._complete())

    def flush(self) -> list[str]:
        """The text has ended; returns what is left."""
        found = list(self._complete())
        rest = self._text[self._start :]
        self._text, self._start, self._begun = "", 0, False
        return [*found, rest] if rest else found

    def _complete(self) -> Iterator[str]:
        while (end := self._end()) is not None:
            piece, self._start = self._text[self._start : end], end
            self._begun = True
            yield piece

    def _end(self) -> int | None:
        """Where the next piece ends; None if that cannot be told yet."""
        text, start = self._text, self._start
        limit = start + self._longest
        for match in _ENDING.finditer(text, start, limit + 1):
            if match.end() == len(text):
                break  # what follows is not known yet
            if self._ends_sentence(match):
                return match.end()
        if self._first and not self._begun:
            early = _CLAUSE.search(text, start + self._first, limit)
            if early and early.end() < len(text) and not _IN_TAG.search(text[start : early.start()]):
                return early.end()
        return self._cut(limit) if len(text) > limit else None

    def _ends_sentence(self, match: re.Match[str]) -> bool:
        before = self._text[self._start : match.start()]
        if "<" in before and _IN_TAG.search(before):
            return False
        if not speakable(before):
            return False  # leading dots and empty lines stay with what follows
        follower = self._text[match.end()]
        if match["mark"] is None:
            return not follower.islower() or "\n\n" in match.group()
        if "\n\n" in match["space"]:
            return True
        if follower.islower():
            return False  # "p.m. on Monday", '"Really?" he said', "wait... what"
        return match["mark"] != "." or not _is_abbreviation(before, follower)

    def _cut(self, limit: int) -> int:
        """A sentence without end: cut it between clauses, else between words, else anywhere."""
        text, start = self._text, self._start
        ends = [match.end() for match in _CLAUSE.finditer(text, start + self._longest // 4, limit)]
        if ends:
            return ends[-1]
        space = max(text.rfind(" ", start + 1, limit), text.rfind("\n", start + 1, limit))
        return space + 1 if space > start else limit


def split(text: str, first: int = 0, longest: int = LONGEST) -> list[str]:
    """The sentences of a whole text; joined, they are the text."""
    splitter = SentenceSplitter(first, longest)
    return splitter.push(text) + splitter.flush()


async def sentences(tokens: AsyncIterable[str]) -> AsyncIterator[str]:
    """The speakable sentences of a text that is still being written. Closes with its source."""
    splitter = SentenceSplitter()
    async for token in tokens:
        for sentence in splitter.push(token):
            if speakable(sentence):
                yield sentence
    for sentence in splitter.flush():
        if speakable(sentence):
            yield sentence


def _is_abbreviation(before: str, follower: str) -> bool:
    """Whether the full stop after `before` belongs to its last word."""
    if _INITIAL.search(before) or _LIST_NUMBER.match(before):
        return True
    match = _WORD_BEFORE.search(before)
    word = match.group().strip("(\"'“‘").lower() if match else ""
    return word in _TITLES or (word in _COUNTED and follower.isdigit())
