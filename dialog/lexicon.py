"""A pronunciation lexicon: words that voices say wrong, and how they should.

    Siobhan: shi-VAWN                       # a respelling
    Nguyen: {ipa: ŋwiən, say: win}          # IPA for voices that understand it, a respelling for others
    GmbH: {say: G M B H}

Words are found whole, in any case unless they have a capital inside.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from dialog.markup import parse, write
from dialog.markuptree import Node, Phoneme, SayAs, Span, Sub

LARGEST = 1 << 20  # bytes
MOST = 20_000  # words
_WORD = re.compile(r"\w+")


class LexiconError(Exception):
    """A lexicon is wrong; each problem as `file:line: what`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Entry:
    """How a word is said."""

    say: str = ""
    ipa: str = ""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words -> how they are said. Immutable; all calls share it. Made by `make`."""

    entries: Mapping[str, tuple[tuple[str, Entry], ...]] = field(default_factory=dict)
    """By the first word in lower case: what it begins, the longest first."""

    def apply(self, text: str, *, phonemes: bool = True) -> Iterator[tuple[str, Phoneme | Sub | None]]:
        """The text in pieces, joined it is the same; with how each is said, None: as it stands."""
        done = 0
        for match in _WORD.finditer(text) if self.entries else ():
            if match.start() < done or (found := self._find(text, match)) is None:
                continue
            length, entry = found
            if match.start() > done:
                yield text[done : match.start()], None
            done = match.start() + length
            ipa = Phoneme(entry.ipa) if entry.ipa and phonemes else None
            yield text[match.start() : done], ipa or (Sub(entry.say) if entry.say else None)
        if done < len(text):
            yield text[done:], None

    def _find(self, text: str, match: re.Match[str]) -> tuple[int, Entry] | None:
        for phrase, entry in self.entries.get(match.group().lower(), ()):
            end = match.start() + len(phrase)
            said = text[match.start() : end]
            exact = phrase if any(char.isupper() for char in phrase[1:]) else phrase.lower()
            same = said == exact if exact == phrase != phrase.lower() else said.lower() == exact
            if same and not text[end : end + 1].isalnum():
                return len(phrase), entry
        return None


def make(entries: Mapping[str, Entry]) -> Lexicon:
    """From words as they are written: those without a capital inside are found in any case."""
    found: dict[str, list[tuple[str, Entry]]] = {}
    for phrase, entry in entries.items():
        first = _WORD.search(phrase)
        if first is not None:
            found.setdefault(first.group().lower(), []).append((phrase[first.start() :], entry))
    longest = {word: tuple(sorted(some, key=lambda one: -len(one[0]))) for word, some in found.items()}
    return Lexicon(longest)


def mark(text: str, lexicon: Lexicon) -> str:
    """The text with its words marked up as the lexicon says; what is marked up so already stays."""
    return write(_marked(parse(text).nodes, lexicon)) if lexicon.entries else text


def _marked(nodes: Sequence[Node], lexicon: Lexicon) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        match node:
            case str():
                for (piece, first), (_, second) in zip(
                    lexicon.apply(node), lexicon.apply(node, phonemes=False), strict=True
                ):
                    inside: Node = piece if second is None else Span(second, (piece,))
                    found.append(Span(first, (inside,)) if isinstance(first, Phoneme) else inside)
            case Span(style, children) if not isinstance(style, Sub | Phoneme | SayAs):
                found.append(Span(style, tuple(_marked(children, lexicon))))
            case _:
                found.append(node)
    return found


def load(path: Path) -> dict[str, Entry]:
    """Read a file. Raises LexiconError with every mistake in it."""
    try:
        if path.stat().st_size > LARGEST:
            raise LexiconError([f"{path}: larger than {LARGEST >> 20} MB"])
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LexiconError([f"{path}: cannot be read: {error.strerror}"]) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise LexiconError([f"{path}:{line}: {error.problem}"]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise LexiconError([f"{path}: {error}"]) from error
    if data is None:
        return {}
    if not isinstance(data, CommentedMap):
        raise LexiconError([f"{path}:1: a lexicon is a table of words"])
    if len(data) > MOST:
        raise LexiconError([f"{path}: {len(data)} words, {MOST} is the most"])
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for word, value in data.items():
        line = data.lc.key(word)[0] + 1
        try:
            entries[word_of(word)] = entry_of(value)
        except ValueError as error:
            problems.append(f"{path}:{line}: {word}: {error}")
    if problems:
        raise LexiconError(problems)
    return entries


def word_of(word: object) -> str:
    """Raises ValueError."""
    if not isinstance(word, str):
        raise ValueError("a word must be text; put it in quotes")
    if not word.strip() or not any(char.isalnum() for char in word):
        raise ValueError("there is no letter in it")
    return word.strip()


def entry_of(value: object) -> Entry:
    """A respelling, or {ipa, say}. Raises ValueError."""
    if isinstance(value, str) and value.strip():
        return Entry(value.strip())
    if not isinstance(value, Mapping):
        raise ValueError("write a respelling, or {ipa: ..., say: ...}")
    if unknown := set(value) - {"say", "ipa"}:
        raise ValueError(f"unknown {', '.join(sorted(map(str, unknown)))}; there are say and ipa")
    say, ipa = value.get("say", ""), value.get("ipa", "")
    if not isinstance(say, str) or not isinstance(ipa, str) or not (say.strip() or ipa.strip()):
        raise ValueError("say or ipa must be text")
    return Entry(say.strip(), ipa.strip())
