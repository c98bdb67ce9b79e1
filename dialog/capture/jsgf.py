"""JSGF grammars as the recogniser gets them: read, checked, matched and enumerated.

The subset that speech engines share: one public rule, words, <rules>, (groups), [options], a | b,
repetition with * and +. No imports, weights, tags or recursion. JSpeech Grammar Format, W3C note of 2000.

    #JSGF V1.0; grammar yes_no; public <yes_no> = yes [please] | no [thank you];
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from dialog.errors import GrammarError

MAX_CHARS = 20_000  # a grammar of hundreds of phrases; thousands take a recogniser seconds to build
MAX_DEPTH = 50  # groups inside groups inside rules
MAX_WORDS = 100_000  # with every rule written out where it is used
MAX_REPEATS = 3  # how far * and + are unrolled when phrases are listed

_HEADER = re.compile(r"\s*#JSGF\s+V1\.0[^;]*;\s*grammar\s+([\w.]+)\s*;")
_RULE = re.compile(r"\s*(public\s+)?<([\w.]+)>\s*=\s*([^;]*);")
_TOKEN = re.compile(r"\s*(<[\w.]+>|[()\[\]|*+]|[^\s()\[\]|*+<>;{}/\"=]+)")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*'?\Z")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    parts: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: "_Node"
    least: int
    most: int | None  # None: any number


_Node = _Word | _Rule | _Sequence | _Choice | _Repeat


@dataclass(frozen=True, slots=True)
class Grammar:
    """A checked grammar. Make it with `parse`."""

    name: str
    root: str
    rules: dict[str, _Node] = field(repr=False)

    def words(self) -> frozenset[str]:
        """Every word that the grammar can hear."""
        found: set[str] = set()
        todo = list(self.rules.values())
        while todo:
            match todo.pop():
                case _Word(text):
                    found.add(text)
                case _Sequence(parts) | _Choice(parts):
                    todo += parts
                case _Repeat(part):
                    todo.append(part)
                case _Rule():
                    pass
        return frozenset(found)

    def matches(self, text: str) -> bool:
        """Whether the whole text is a sentence of the grammar."""
        words = text.split()
        return len(words) in self._ends(self.rules[self.root], words, {0})

    def phrases(self) -> Iterator[str]:
        """Every sentence, each repetition up to MAX_REPEATS times; may be very many."""
        for words in self._list(self.rules[self.root]):
            yield " ".join(words)

    def sample(self, random: Random) -> str:
        """One sentence, drawn at random."""
        return " ".join(self._draw(self.rules[self.root], random))

    def _ends(self, node: _Node, words: list[str], starts: set[int]) -> set[int]:
        """Positions in `words` that can be reached by reading `node` from any of `starts`."""
        match node:
            case _Word(text):
                return {i + 1 for i in starts if i < len(words) and words[i] == text}
            case _Rule(name):
                return self._ends(self.rules[name], words, starts)
            case _Sequence(parts):
                for part in parts:
                    starts = self._ends(part, words, starts)
                return starts
            case _Choice(parts):
                return set().union(*(self._ends(part, words, starts) for part in parts))
            case _Repeat(part, least, most):
                reached = set(starts) if least == 0 else set()
                new, times = starts, 0
                while new and (most is None or times < most):
                    new = self._ends(part, words, new) - reached
                    reached, times = reached | new, times + 1
                return reached

    def _list(self, node: _Node) -> Iterator[tuple[str, ...]]:
        match node:
            case _Word(text):
                yield (text,)
            case _Rule(name):
                yield from self._list(self.rules[name])
            case _Sequence(parts):
                yield from self._list_sequence(parts)
            case _Choice(parts):
                for part in parts:
                    yield from self._list(part)
            case _Repeat(part, least, most):
                for times in range(least, (MAX_REPEATS if most is None else most) + 1):
                    yield from self._list_sequence((part,) * times)

    def _list_sequence(self, parts: tuple[_Node, ...]) -> Iterator[tuple[str, ...]]:
        if not parts:
            yield ()
            return
        for first in self._list(parts[0]):
            for rest in self._list_sequence(parts[1:]):
                yield first + rest

    def _draw(self, node: _Node, random: Random) -> list[str]:
        match node:
            case _Word(text):
                return [text]
            case _Rule(name):
                return self._draw(self.rules[name], random)
            case _Sequence(parts):
                return [word for part in parts for word in self._draw(part, random)]
            case _Choice(parts):
                return self._draw(random.choice(parts), random)
            case _Repeat(part, least, most):
                times = random.randint(least, MAX_REPEATS if most is None else most)
                return [word for _ in range(times) for word in self._draw(part, random)]


def parse(text: str) -> Grammar:
    """Read a grammar. Raises GrammarError for anything else, and for a word that is not lower case a-z:
    recognisers' dictionaries know "p m" and "o'clock", not "p.m." or "3"."""
    if len(text) > MAX_CHARS:
        raise GrammarError(f"the grammar has {len(text)} characters, {MAX_CHARS} is the most")
    header = _HEADER.match(text)
    if header is None:
        raise GrammarError("a grammar begins with: #JSGF V1.0; grammar name;")
    rules: dict[str, _Node] = {}
    public: list[str] = []
    position = header.end()
    while text[position:].strip():
        rule = _RULE.match(text, position)
        if rule is None:
            raise GrammarError(f"expected [public] <name> = ... ; at {text[position:].strip()[:40]!r}")
        if rule[2] in rules:
            raise GrammarError(f"<{rule[2]}> is defined twice")
        rules[rule[2]] = _Parser(rule[3], rule[2]).whole()
        public += [rule[2]] if rule[1] else []
        position = rule.end()
    if len(public) != 1:
        raise GrammarError(f"one rule must be public, found {len(public)}")
    _check_references(rules)
    return Grammar(header[1], public[0], rules)


class _Parser:
    """One rule's right-hand side, by recursive descent."""

    def __init__(self, text: str, rule: str) -> None:
        self._rule, position = rule, 0
        self._tokens: list[str] = []
        while text[position:].strip():
            token = _TOKEN.match(text, position)
            if token is None:
                raise GrammarError(f"<{rule}>: cannot read {text[position:].strip()[:20]!r}")
            self._tokens.append(token[1])
            position = token.end()
        self._at = 0

    def whole(self) -> _Node:
        node = self._choice(0)
        if self._at < len(self._tokens):
            raise GrammarError(f"<{self._rule}>: unexpected {self._tokens[self._at]!r}")
        return node

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _choice(self, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise GrammarError(f"<{self._rule}>: more than {MAX_DEPTH} groups inside each other")
        parts = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in {"", "|", ")", "]"}:
            part = self._atom(depth)
            if self._peek() in {"*", "+"}:
                part = _Repeat(part, 0 if self._peek() == "*" else 1, None)
                self._at += 1
            parts.append(part)
        if not parts:
            raise GrammarError(f"<{self._rule}>: an alternative is empty; use [ ] for what may be left out")
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _atom(self, depth: int) -> _Node:
        token = self._peek()
        self._at += 1
        if token in {"(", "["}:
            node, closing = self._choice(depth + 1), ")" if token == "(" else "]"
            if self._peek() != closing:
                raise GrammarError(f"<{self._rule}>: {token!r} is never closed")
            self._at += 1
            return node if token == "(" else _Repeat(node, 0, 1)
        if token.startswith("<"):
            return _Rule(token[1:-1])
        if not _WORD.match(token):
            raise GrammarError(f"<{self._rule}>: {token!r} is not a plain lower-case word")
        return _Word(token)


def _check_references(rules: dict[str, _Node]) -> None:
    """Every rule named exists, and none leads back to itself."""
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise GrammarError(f"<{name}> refers to itself")
        if name not in rules:
            raise GrammarError(f"<{path[-1]}> refers to <{name}>, which is not defined")
        if len(path) > MAX_DEPTH:
            raise GrammarError(f"more than {MAX_DEPTH} rules inside each other")
        if name not in finished:
            for reference in _references(rules[name]):
                visit(reference, (*path, name))
            finished.add(name)

    for name in rules:
        visit(name, ())
    sizes: dict[str, int] = {}
    for name in rules:
        if _size(_Rule(name), rules, sizes) > MAX_WORDS:
            raise GrammarError(f"<{name}> has more than {MAX_WORDS} words, written out")


def _size(node: _Node, rules: dict[str, _Node], sizes: dict[str, int]) -> int:
    """Words of a node with all rules written out; `sizes` remembers those of rules."""
    match node:
        case _Word():
            return 1
        case _Rule(name):
            if name not in sizes:
                sizes[name] = _size(rules[name], rules, sizes)
            return sizes[name]
        case _Sequence(parts) | _Choice(parts):
            return sum(_size(part, rules, sizes) for part in parts)
        case _Repeat(part):
            return _size(part, rules, sizes)


def _references(node: _Node) -> Iterator[str]:
    match node:
        case _Rule(name):
            yield name
        case _Sequence(parts) | _Choice(parts):
            for part in parts:
                yield from _references(part)
        case _Repeat(part):
            yield from _references(part)
        case _Word():
            return
