"""Whether a hypothesis is a whole answer that cannot go on: a finite automaton over words.

Rules are inlined, so a grammar that recurs has no automaton, and its answers are never called complete.
"""

from collections.abc import Iterable

from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.jsgf import Choice, Grammar, Node, Ref, Repeat, Series, Word

# pocketsphinx inlines as well; at this size a grammar takes it seconds and tens of megabytes.
MAX_STATES = 50_000


class Recursive(Exception):
    """A rule uses itself."""


class Matcher:
    """Raises Recursive, and DomainError for a grammar that is too large."""

    def __init__(self, grammar: Grammar) -> None:
        self._silent: list[list[int]] = []  # by state: where one gets without a word
        self._spoken: list[dict[str, list[int]]] = []  # by state: where one gets with a word
        start = self._state()
        self._end = self._add(Ref(grammar.root), start, grammar, ())
        self._start = self._closure({start})

    def accepts(self, words: Iterable[str]) -> bool:
        """Whether `words` is a sentence."""
        return self._end in self._after(words)

    def complete(self, words: Iterable[str]) -> bool:
        """Whether `words` is a sentence and the beginning of no longer one."""
        states = self._after(words)
        return self._end in states and not any(self._spoken[s] for s in states)

    def _after(self, words: Iterable[str]) -> set[int]:
        states = self._start
        for word in words:
            states = self._closure({t for s in states for t in self._spoken[s].get(word, ())})
        return states

    def _state(self) -> int:
        if len(self._silent) >= MAX_STATES:
            raise DomainError(f"grammar grows to more than {MAX_STATES} words when its rules are put in")
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

    def _add(self, node: Node, at: int, grammar: Grammar, path: tuple[str, ...]) -> int:
        """Add `node` from state `at`; returns the state after it."""
        match node:
            case Word(text):
                end = self._state()
                self._spoken[at].setdefault(text, []).append(end)
                return end
            case Ref(name):
                if name in path:
                    raise Recursive(name)
                return self._add(grammar.rules[name], at, grammar, (*path, name))
            case Series(items):
                for item in items:
                    at = self._add(item, at, grammar, path)
                return at
            case Choice(options):
                end = self._state()
                for _, option in options:
                    begin = self._state()
                    self._silent[at].append(begin)
                    self._silent[self._add(option, begin, grammar, path)].append(end)
                return end
            case Repeat(item, optional, many):
                begin, end = self._state(), self._state()
                self._silent[at].append(begin)
                last = self._add(item, begin, grammar, path)
                self._silent[last].append(end)
                if optional:
                    self._silent[begin].append(end)
                if many:
                    self._silent[last].append(begin)
                return end
