"""A grammar as a tree: its words, its sentences, and the automaton that knows them.

Rules are named in the tree, not written out. Trees come from dialog/jsgf/reader.py, or are put together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from random import Random

from dialog.errors import GrammarError

MAX_REPEATS = 3  # how far * and + are unrolled when phrases are listed or drawn
MAX_PARTS = 50  # ways to say each part of a series, in examples
MAX_STATES = 1_000_000  # of an automaton: a few hundred MB


class Recursive(GrammarError):
    """A rule uses itself."""


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
    rules: Mapping[str, Node] = field(repr=False)
    name: str = "g"

    def text(self) -> str:
        """JSGF for a recogniser."""
        rules = (
            f"{'public ' if n == self.root else ''}<{n}> = {_text(body)} ;" for n, body in self.rules.items()
        )
        return f"#JSGF V1.0; grammar {self.name}; " + " ".join(rules)

    def words(self) -> set[str]:
        """All words that may be said."""
        return {n.text for body in self.rules.values() for n in nodes(body) if isinstance(n, Word)}

    def matches(self, text: str) -> bool:
        """Whether the whole text is a sentence; for more than one text make a Matcher."""
        return Matcher(self).accepts(text.split())

    def phrases(self) -> Iterator[str]:
        """Every sentence, the shortest way first, repetitions up to MAX_REPEATS times; may be very many."""

        def times(repeat: Repeat) -> range:
            return range(0 if repeat.optional else 1, (MAX_REPEATS if repeat.many else 1) + 1)

        return map(" ".join, _Listing(self.rules, times, None).of(Ref(self.root)))

    def sentences(self, limit: int) -> list[str]:
        """The first `limit` examples, the longest way first: what repeats is said once, recursion goes two
        rounds deep, and each part of a series is said in MAX_PARTS ways at most."""

        def times(repeat: Repeat) -> tuple[int, ...]:
            return (1, 0) if repeat.optional else (1,)

        examples = _Listing(self.rules, times, MAX_PARTS).of(Ref(self.root))
        return [" ".join(words) for words in islice(examples, limit)]

    def sample(self, random: Random) -> str:
        """One sentence, drawn at random; weights do not count. Not for a grammar that recurs."""
        return " ".join(self._draw(Ref(self.root), random))

    def _draw(self, node: Node, random: Random) -> list[str]:
        match node:
            case Word(text):
                return [text]
            case Ref(name):
                return self._draw(self.rules[name], random)
            case Series(items):
                return [word for item in items for word in self._draw(item, random)]
            case Choice(options):
                return self._draw(random.choice(options)[1], random)
            case Repeat(item, optional, many):
                times = random.randint(0 if optional else 1, MAX_REPEATS if many else 1)
                return [word for _ in range(times) for word in self._draw(item, random)]


@dataclass(frozen=True, slots=True)
class _Listing:
    """Sentences one by one."""

    rules: Mapping[str, Node]
    times: Callable[[Repeat], Iterable[int]]  # how often, in which order
    most: int | None  # of each part of a series

    def of(self, node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        match node:
            case Word(text):
                yield (text,)
            case Ref(name):
                if path.count(name) < 2:
                    yield from self.of(self.rules[name], (*path, name))
            case Choice(options):
                for _, option in options:
                    yield from self.of(option, path)
            case Repeat(item):
                for times in self.times(node):
                    yield from self.of(item, path) if times == 1 else self._series((item,) * times, path)
            case Series(items):
                yield from self._series(items, path)

    def _series(self, items: tuple[Node, ...], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if self.most is not None:
            # Cut and kept, so that it ends: a part that recurs may have no sentence at all.
            parts = (list(islice(self.of(item, path), self.most)) for item in items)
            for combination in product(*parts):
                yield tuple(word for part in combination for word in part)
        elif not items:
            yield ()
        else:
            for first in self.of(items[0], path):
                for rest in self._series(items[1:], path):
                    yield first + rest


class Matcher:
    """A finite automaton over words. Rules are written out in it, so a grammar that recurs has none.

    Raises Recursive, and GrammarError for a grammar that is too large.
    """

    def __init__(self, grammar: Grammar, max_states: int = MAX_STATES) -> None:
        self._rules, self._max_states = grammar.rules, max_states
        self._silent: list[list[int]] = []  # by state: where one gets without a word
        self._spoken: list[dict[str, list[int]]] = []  # by state: where one gets with a word
        start = self._state()
        self._end = self._add(Ref(grammar.root), start, ())
        self._start = self._closure({start})

    def accepts(self, words: Iterable[str]) -> bool:
        """Whether `words` is a sentence."""
        return self._end in self._after(words)

    def complete(self, words: Iterable[str]) -> bool:
        """Whether `words` is a sentence and the beginning of no longer one."""
        states = self._after(words)
        return self._end in states and not any(self._spoken[s] for s in states)

    def begins(self, words: Iterable[str]) -> bool:
        """Whether `words` is the beginning of a longer sentence."""
        return any(self._spoken[s] for s in self._after(words))

    def _after(self, words: Iterable[str]) -> set[int]:
        states = self._start
        for word in words:
            states = self._closure({t for s in states for t in self._spoken[s].get(word, ())})
        return states

    def _state(self) -> int:
        if len(self._silent) >= self._max_states:
            raise GrammarError(
                f"grammar grows to more than {self._max_states} words when its rules are put in"
            )
        self._silent.append([])
        self._spoken.append({})
        return len(self._silent) - 1

    def _closure(self, states: set[int]) -> set[int]:
        todo = list(states)
        while todo:
            for target in self._silent[todo.pop()]:
                if target not in states:
                    states.add(target)
                    todo.append(target)
        return states

    def _add(self, node: Node, at: int, path: tuple[str, ...]) -> int:
        """Add `node` from state `at`; returns the state after it."""
        match node:
            case Word(text):
                end = self._state()
                self._spoken[at].setdefault(text, []).append(end)
                return end
            case Ref(name):
                if name in path:
                    raise Recursive(f"<{name}> refers to itself")
                return self._add(self._rules[name], at, (*path, name))
            case Series(items):
                for item in items:
                    at = self._add(item, at, path)
                return at
            case Choice(options):
                end = self._state()
                for _, option in options:
                    begin = self._state()
                    self._silent[at].append(begin)
                    self._silent[self._add(option, begin, path)].append(end)
                return end
            case Repeat(item, optional, many):
                begin, end = self._state(), self._state()
                self._silent[at].append(begin)
                last = self._add(item, begin, path)
                self._silent[last].append(end)
                if optional:
                    self._silent[begin].append(end)
                if many:
                    self._silent[last].append(begin)
                return end


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


def nodes(node: Node) -> Iterator[Node]:
    """The node and all below it; rules are named, not entered."""
    todo = [node]
    while todo:
        yield (node := todo.pop())
        match node:
            case Series(items):
                todo += reversed(items)
            case Choice(options):
                todo += [option for _, option in reversed(options)]
            case Repeat(item):
                todo.append(item)
            case _:
                pass
