"""JSpeech Grammar Format (W3C note, June 2000): what a caller may answer, as a tree.

Read here rather than by pocketsphinx so that errors say what is wrong, words are spelled as they are
spoken, and the matcher (media/stt/sphinx/matcher.py) knows the same grammar. Imports, recursion to the
left and <VOID> are not supported; weights are kept; tags are dropped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.words import DIGITS, spoken


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word."""

    text: str


@dataclass(frozen=True, slots=True)
class Ref:
    """<rule>"""

    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """One after the other; none: <NULL>."""

    items: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several, each with its weight."""

    options: "tuple[tuple[float, Node], ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """`[x]` is 0..1, `x*` 0..many, `x+` 1..many."""

    item: "Node"
    optional: bool
    many: bool


Node = Word | Ref | Series | Choice | Repeat


@dataclass(frozen=True, slots=True)
class Grammar:
    """Rules by name, and the one to start with."""

    root: str
    rules: Mapping[str, Node]

    def text(self) -> str:
        """JSGF for pocketsphinx."""
        rules = (
            f"{'public ' if n == self.root else ''}<{n}> = {_text(body)} ;" for n, body in self.rules.items()
        )
        return "#JSGF V1.0; grammar g; " + " ".join(rules)

    def words(self) -> set[str]:
        """All words that may be said."""
        return {word for body in self.rules.values() for word in _words(body)}

    def sentences(self, limit: int) -> list[str]:
        """The first `limit` sentences; what repeats is said once, and recursion goes two rounds deep."""
        return [" ".join(s) for s in islice(self._expand(Ref(self.root), ()), limit)]

    def _expand(self, node: Node, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        match node:
            case Word(text):
                yield (text,)
            case Ref(name):
                if path.count(name) < 2:
                    yield from self._expand(self.rules[name], (*path, name))
            case Choice(options):
                for _, option in options:
                    yield from self._expand(option, path)
            case Repeat(item, optional, _):
                yield from self._expand(item, path)
                if optional:
                    yield ()
            case Series(items):
                # The product is lazy in its last factor only: each factor is cut, so that it ends.
                parts = (list(islice(self._expand(item, path), 50)) for item in items)
                for combination in product(*parts):
                    yield tuple(word for part in combination for word in part)


def _text(node: Node) -> str:
    match node:
        case Word(text):
            return text
        case Ref(name):
            return f"<{name}>"
        case Series(items):
            return " ".join(map(_text, items)) if items else "<NULL>"
        case Choice(options):
            even = len({weight for weight, _ in options}) == 1
            return "(" + " | ".join((_text(o) if even else f"/{w:g}/ {_text(o)}") for w, o in options) + ")"
        case Repeat(item, optional, many):
            if optional and not many:
                return f"[ {_text(item)} ]"
            return f"( {_text(item)} ){'*' if optional else '+'}"


def _words(node: Node) -> Iterator[str]:
    match node:
        case Word(text):
            yield text
        case Series(items):
            for item in items:
                yield from _words(item)
        case Choice(options):
            for _, option in options:
                yield from _words(option)
        case Repeat(item):
            yield from _words(item)


def phrases(texts: Sequence[str]) -> Node:
    """One of `texts`."""
    options = dict.fromkeys(tuple(map(Word, spoken(text))) for text in texts)
    if () in options:
        raise DomainError(f"phrases {list(texts)!r}: one of them has no words")
    return Choice(tuple((1.0, Series(words)) for words in options))


def digits(fewest: int, most: int) -> Grammar:
    """A string of `fewest` to `most` digits."""
    if not 1 <= fewest <= most <= 30:
        raise DomainError(f"digits {fewest}..{most}: 1 <= fewest <= most <= 30 is needed")
    tail: Node = Series(())
    for _ in range(most - fewest):
        tail = Repeat(Series((Ref("digit"), tail)), optional=True, many=False)
    one = Choice(tuple((1.0, Word(d)) for d in DIGITS))
    root = Series((*[Ref("digit")] * fewest, tail))
    return Grammar("digits", {"digits": root, "digit": one})


_TOKEN = re.compile(
    r"""\s+ | //[^\n]* | /\*.*?\*/
      | (?P<tag>\{(?:\\.|[^}\\])*\}) | (?P<weight>/\s*[0-9.]+(?:[eE][-+]?\d+)?\s*/) | (?P<ref><[^<>\s;]+>)
      | "(?P<quoted>[^"]*)" | (?P<mark>[=;|()\[\]*+]) | (?P<word>[^\s=;|()\[\]*+<>{}/"]+)""",
    re.VERBOSE | re.DOTALL,
)
_HEADER = re.compile(r"\ufeff?\s*#JSGF\s+V1\.0[^;]*;\s*grammar\s+[^;]+;", re.IGNORECASE)


def parse(text: str) -> Grammar:
    """Read a grammar with one public rule. Raises DomainError saying where it is wrong."""
    header = _HEADER.match(text)
    if header is None:
        raise DomainError(f"grammar must begin with '#JSGF V1.0; grammar NAME;', not {text[:40]!r}")
    parser = _Parser(text, header.end())
    rules: dict[str, Node] = {}
    public = []
    while parser.kind != "end":
        is_public = parser.take_word("public")
        if parser.value == "import":
            parser.fail("imports are not supported: write the rule itself")
        name = parser.take("ref")[1:-1]
        if name in rules:
            parser.fail(f"<{name}> is defined twice")
        parser.take("mark", "=")
        rules[name] = parser.choice()
        parser.take("mark", ";")
        public += [name] if is_public else []
    if len(public) != 1:
        raise DomainError(f"grammar needs exactly one public rule, not {public or 'none'}: {text[:60]!r}")
    for name in _refs(Series(tuple(rules.values()))):
        if name not in rules:
            raise DomainError(f"grammar refers to <{name}>, which it does not define")
    return Grammar(public[0], rules)


def _refs(node: Node) -> Iterator[str]:
    match node:
        case Ref(name):
            yield name
        case Series(items):
            for item in items:
                yield from _refs(item)
        case Choice(options):
            for _, option in options:
                yield from _refs(option)
        case Repeat(item):
            yield from _refs(item)


class _Parser:
    """Recursive descent over the tokens; nesting is bounded by `_DEPTH`."""

    _DEPTH = 50

    def __init__(self, text: str, at: int) -> None:
        self._text, self._at, self._depth = text, at, 0
        self.kind = self.value = ""
        self._advance()

    def fail(self, problem: str) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        raise DomainError(f"grammar, line {line}, near {self._text[: self._at][-30:]!r}: {problem}")

    def take(self, kind: str, value: str | None = None) -> str:
        if self.kind != kind or value not in (None, self.value):
            self.fail(
                f"expected {value or {'ref': '<rule>'}.get(kind, kind)}, found {self.value or 'the end'!r}"
            )
        taken = self.value
        self._advance()
        return taken

    def take_word(self, word: str) -> bool:
        if self.kind == "word" and self.value == word:
            self._advance()
            return True
        return False

    def choice(self) -> Node:
        options = []
        while True:
            weight = float(self.take("weight").strip("/ ")) if self.kind == "weight" else 1.0
            options.append((weight, self._sequence()))
            if self.value != "|" or self.kind != "mark":
                return options[0][1] if len(options) == 1 else Choice(tuple(options))
            self._advance()

    def _sequence(self) -> Node:
        items: list[Node] = []
        while True:
            if self.kind == "tag":
                self._advance()
            elif self.kind == "mark" and self.value in "*+" and items:
                items[-1] = Repeat(items[-1], optional=self.take("mark") == "*", many=True)
            elif (item := self._item()) is not None:
                items.append(item)
            else:
                break
        if not items:
            self.fail("an alternative is empty; <NULL> stands for silence")
        return items[0] if len(items) == 1 else Series(tuple(items))

    def _item(self) -> Node | None:
        if self.kind in ("word", "quoted"):
            words = spoken(self.take(self.kind))
            return Word(words[0]) if len(words) == 1 else Series(tuple(map(Word, words)))
        if self.kind == "ref":
            name = self.take("ref")[1:-1]
            if name == "VOID":
                self.fail("<VOID> is not supported")
            return Series(()) if name == "NULL" else Ref(name)
        if self.kind == "mark" and self.value in "([":
            return self._group(self.take("mark"))
        return None

    def _group(self, opened: str) -> Node:
        self._depth += 1
        if self._depth > self._DEPTH:
            self.fail(f"more than {self._DEPTH} brackets inside each other")
        inner = self.choice()
        self.take("mark", ")" if opened == "(" else "]")
        self._depth -= 1
        return inner if opened == "(" else Repeat(inner, optional=True, many=False)

    def _advance(self) -> None:
        while True:
            match = _TOKEN.match(self._text, self._at)
            if match is None:
                self.kind = self.value = ""
                if self._at < len(self._text):
                    self.fail(f"{self._text[self._at]!r} has no meaning here")
                self.kind = "end"
                return
            self._at = match.end()
            if match.lastgroup is not None:
                self.kind, self.value = match.lastgroup, match[match.lastgroup]
                return
