"""From JSGF text to the tree, in one of two dialects. Imports and <VOID> are in neither.

`parse` takes what all recognisers share, for flows: one public rule, words, <rules>, (groups), [options],
a | b, * and +. `read` takes in addition what one recogniser may know: recursion, <NULL>, /weights/,
{tags} (dropped), "quoted words", comments, and words in any spelling that it can speak.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from dialog.errors import GrammarError
from dialog.jsgf.grammar import Choice, Grammar, Node, Recursive, Ref, Repeat, Series, Word, nodes

MAX_CHARS = 20_000  # a grammar of hundreds of phrases; thousands take a recogniser seconds to build
MAX_DEPTH = 50  # groups inside groups, and rules inside rules
MAX_WORDS = 100_000  # with every rule written out where it is used

_HEADER = re.compile(r"\ufeff?\s*#JSGF\s+V1\.0[^;]*;\s*grammar\s+([^;]+);", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*'?")
_SHARED = r"""(?P<mark>[=;|()\[\]*+]) | (?P<word>[^\s=;|()\[\]*+<>{}/"]+)"""
_COMMON = re.compile(rf"\s+ | (?P<ref><[\w.]+>) | {_SHARED}", re.VERBOSE)
_FULL = re.compile(
    rf"""\s+ | //[^\n]* | /\*.*?\*/
      | (?P<tag>\{{(?:\\.|[^}}\\])*\}}) | (?P<weight>/\s*[0-9.]+(?:[eE][-+]?\d+)?\s*/)
      | (?P<ref><[^<>\s;]+>) | "(?P<quoted>[^"]*)" | {_SHARED}""",
    re.VERBOSE | re.DOTALL,
)

Speller = Callable[[str], tuple[str, ...]]
"""The spoken words of one written word; raises its own error for what cannot be said."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    tokens: re.Pattern[str]
    full: bool  # <NULL> and <VOID> have their meaning, and a repetition may be repeated: a**
    spell: Speller | None  # None: plain words alone


def parse(text: str) -> Grammar:
    """A grammar in the common dialect. Raises GrammarError for anything else, and for a word that is not
    lower case a-z: recognisers' dictionaries know "p m" and "o'clock", not "p.m." or "3"."""
    if len(text) > MAX_CHARS:
        raise GrammarError(f"the grammar has {len(text)} characters, {MAX_CHARS} is the most")
    grammar = _read(text, _Dialect(_COMMON, False, None))
    _check_size(grammar.rules)
    return grammar


def read(text: str, spell: Speller) -> Grammar:
    """A grammar in the full dialect. Raises GrammarError saying where, and what `spell` raises."""
    return _read(text, _Dialect(_FULL, True, spell))


def _read(text: str, dialect: _Dialect) -> Grammar:
    header = _HEADER.match(text)
    if header is None:
        raise GrammarError(
            "a grammar begins with its header: this must begin with '#JSGF V1.0; grammar NAME;', "
            f"not {text[:40]!r}"
        )
    parser = _Parser(text, header.end(), dialect)
    rules: dict[str, Node] = {}
    public: list[str] = []
    while parser.kind != "end":
        parser.rule(rules, public)
    if len(public) != 1:
        raise GrammarError(f"the grammar needs exactly one public rule, found {len(public)}: {text[:60]!r}")
    for name, body in rules.items():
        for node in nodes(body):
            if isinstance(node, Ref) and node.name not in rules:
                raise GrammarError(f"<{name}> refers to <{node.name}>, which is not defined")
    return Grammar(public[0], rules, header[1].strip())


class _Parser:
    """Recursive descent over the tokens; nesting is bounded by MAX_DEPTH."""

    def __init__(self, text: str, at: int, dialect: _Dialect) -> None:
        self._text, self._at, self._depth, self._dialect = text, at, 0, dialect
        self._rule = ""  # the one being read
        self.kind = self.value = ""
        self._advance()

    def rule(self, rules: dict[str, Node], public: list[str]) -> None:
        """Read one rule, and add it."""
        self._rule, is_public = "", (self.kind, self.value) == ("word", "public")
        if is_public:
            self._advance()
        if (self.kind, self.value) == ("word", "import"):
            self._fail("imports are not supported: write the rule itself")
        name = self._take("ref")[1:-1]
        if name in rules:
            self._fail(f"<{name}> is defined twice")
        self._rule = name
        self._take("mark", "=")
        rules[name] = self._choice()
        self._take("mark", ";")
        public += [name] if is_public else []

    def _fail(self, problem: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        rule = f", <{self._rule}>" if self._rule else ""
        raise GrammarError(f"grammar, line {line}{rule}, near {self._text[: self._at][-30:]!r}: {problem}")

    def _take(self, kind: str, value: str | None = None) -> str:
        if self.kind != kind or value not in (None, self.value):
            wanted = value or {"ref": "[public] <rule>"}.get(kind, kind)
            self._fail(f"unexpected {self.value or 'end'!r}; expected {wanted}")
        taken = self.value
        self._advance()
        return taken

    def _choice(self) -> Node:
        options = []
        while True:
            weight = self._weight() if self.kind == "weight" else 1.0
            options.append((weight, self._sequence()))
            if self.value != "|" or self.kind != "mark":
                return options[0][1] if len(options) == 1 else Choice(tuple(options))
            self._advance()

    def _weight(self) -> float:
        written = self._take("weight")
        try:
            return float(written.strip("/ \t\r\n"))
        except ValueError:
            self._fail(f"{written} is no weight")

    def _sequence(self) -> Node:
        items: list[Node] = []
        repeated = False  # the last item, just now
        while True:
            if self.kind == "tag":
                self._advance()
            elif self.kind == "mark" and self.value in "*+" and items:
                if repeated and not self._dialect.full:
                    self._fail(f"unexpected {self.value!r} after a repetition")
                repeated = True
                items[-1] = Repeat(items[-1], optional=self._take("mark") == "*", many=True)
            elif (item := self._item()) is not None:
                items.append(item)
                repeated = False
            else:
                break
        if not items:
            self._fail("an alternative is empty; use [ ] for what may be left out")
        return items[0] if len(items) == 1 else Series(tuple(items))

    def _item(self) -> Node | None:
        if self.kind in ("word", "quoted"):
            words = self._spell(self._take(self.kind))
            return Word(words[0]) if len(words) == 1 else Series(tuple(map(Word, words)))
        if self.kind == "ref":
            name = self._take("ref")[1:-1]
            if name == "VOID" and self._dialect.full:
                self._fail("<VOID> is not supported")
            return Series(()) if name == "NULL" and self._dialect.full else Ref(name)
        if self.kind == "mark" and self.value in "([":
            return self._group(self._take("mark"))
        return None

    def _spell(self, written: str) -> tuple[str, ...]:
        if self._dialect.spell is not None:
            return self._dialect.spell(written)
        if not _PLAIN_WORD.fullmatch(written):
            self._fail(f"{written!r} is not a plain lower-case word")
        return (written,)

    def _group(self, opened: str) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} brackets, groups inside each other")
        inner = self._choice()
        closing = ")" if opened == "(" else "]"
        if (self.kind, self.value) != ("mark", closing):
            self._fail(f"unexpected {self.value or 'end'!r}; expected {closing}: {opened!r} is never closed")
        self._advance()
        self._depth -= 1
        return inner if opened == "(" else Repeat(inner, optional=True, many=False)

    def _advance(self) -> None:
        while True:
            match = self._dialect.tokens.match(self._text, self._at)
            if match is None:
                self.kind = self.value = ""
                if self._at < len(self._text):
                    self._fail(f"cannot read {self._text[self._at : self._at + 20]!r}")
                self.kind = "end"
                return
            self._at = match.end()
            if match.lastgroup is not None:
                self.kind, self.value = match.lastgroup, match[match.lastgroup]
                return


def _check_size(rules: Mapping[str, Node]) -> None:
    """No rule leads back to itself, and none explodes when all rules are written out."""
    sizes: dict[str, int] = {}

    def size(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise Recursive(f"<{name}> refers to itself")
        if len(path) > MAX_DEPTH:
            raise GrammarError(f"more than {MAX_DEPTH} rules inside each other")
        if name not in sizes:
            inner = (*path, name)
            sizes[name] = sum(
                size(node.name, inner) if isinstance(node, Ref) else isinstance(node, Word)
                for node in nodes(rules[name])
            )
        return sizes[name]

    for name in rules:
        if size(name, ()) > MAX_WORDS:
            raise GrammarError(f"<{name}> has more than {MAX_WORDS} words, written out")
