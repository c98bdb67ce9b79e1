"""A pronunciation lexicon: words that voices say wrong, and how they should.

    Siobhan: shi-VAWN                       # a respelling
    Nguyen: {ipa: ŋwiən, say: win}          # IPA for voices that understand it, a respelling for others
    GmbH: {say: G M B H}

Words are found whole, in any case unless they have a capital inside.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from dialog.markuptree import Phoneme, Sub

LARGEST = 1 << 20  # bytes
MOST = 20_000  # words


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
    """Words -> how they are said. Immutable; all calls share it."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    languages: "Mapping[str, Lexicon]" = field(default_factory=dict)  # of their own

    def of(self, language: str) -> "Lexicon":
        """The one of a language, else this one."""
        return self.languages.get(language, self)

    def apply(self, text: str, *, phonemes: bool = True) -> Iterator[tuple[str, Phoneme | Sub | None]]:
        """The text in pieces, joined it is the same; with how each is said, None: as it stands."""
        if not self.entries:
            yield text, None
            return
        done = 0
        for match in self._pattern().finditer(text):
            entry = self._entry(match.group())
            if entry is None:
                continue
            if match.start() > done:
                yield text[done : match.start()], None
            ipa = Phoneme(entry.ipa) if entry.ipa and phonemes else None
            yield match.group(), ipa or (Sub(entry.say) if entry.say else None)
            done = match.end()
        if done < len(text):
            yield text[done:], None

    def _entry(self, word: str) -> Entry | None:
        return self.entries.get(word) or self.entries.get(word.lower())

    def _pattern(self) -> re.Pattern[str]:
        return _pattern(tuple(self.entries))


_patterns: dict[tuple[str, ...], re.Pattern[str]] = {}


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the words, whole, the longest first."""
    if words not in _patterns:
        longest = sorted(words, key=len, reverse=True)
        _patterns[words] = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)", re.IGNORECASE)
    return _patterns[words]


def make(entries: Mapping[str, Entry]) -> Lexicon:
    """From words as they are written: those without a capital inside are found in any case."""
    found: dict[str, Entry] = {}
    for word, entry in entries.items():
        inside = any(char.isupper() for char in word[1:])
        found[word if inside else word.lower()] = entry
    return Lexicon(found)


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
            entries[_word(word)] = _entry(value)
        except ValueError as error:
            problems.append(f"{path}:{line}: {word}: {error}")
    if problems:
        raise LexiconError(problems)
    return entries


def _word(word: object) -> str:
    if not isinstance(word, str):
        raise ValueError("a word must be text; put it in quotes")
    if not word.strip() or not any(char.isalnum() for char in word):
        raise ValueError("there is no letter in it")
    return word.strip()


def _entry(value: object) -> Entry:
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
