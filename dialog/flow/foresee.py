"""What a flow may say next, as far as that does not depend on what the caller will answer.

First what follows each way out of the question, then what follows if he is not understood or says nothing,
and what globals and failure lead to.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from dialog.errors import ExpressionError, FlowRunError
from dialog.flow.listening import Ears
from dialog.flow.model import (
    BACK,
    Ask,
    Branch,
    Flow,
    HangupNode,
    Menu,
    NoteNode,
    SetNode,
    TransferNode,
)
from dialog.flow.model import (
    Say as SayNode,
)
from dialog.flow.state import State
from dialog.flow.template import Template
from dialog.flow.values import Value
from dialog.flow.walk import Walk
from dialog.lexicon import mark
from dialog.types import DialogInput, NoInput, Say, UserTurn

MOST_NODES = 40


def foresee(flow: Flow, ears: Ears, state: State, initial: Mapping[str, Value], now: datetime) -> list[Say]:
    """Texts that may be said next in a conversation that listens."""
    node = flow.nodes[state.node]
    if not isinstance(node, Ask | Menu):
        return []
    found: dict[Say, None] = {}
    paths = _Paths(flow, state, now)
    targets = [option.goto for option in node.options] if isinstance(node, Menu) else [node.goto]
    unknown = frozenset([node.slot] if node.slot is not None else [])
    for target in targets:
        found |= dict.fromkeys(paths.follow(target, unknown))
    turns: list[DialogInput] = [UserTurn("", 0, rejected=True), NoInput(1, 0)]
    for turn in turns:
        walk = Walk(flow, ears, state.snapshot(), initial, now)
        try:
            walk.answer(turn)
        except (ExpressionError, FlowRunError):
            continue
        found |= {Say(text, language): None for text, _, language in walk.plan.speech}
    others = [choice.goto for choice in flow.globals] + [node.on_fail or flow.on_fail]
    for other in others:
        found |= dict.fromkeys(paths.follow(other, unknown) if other is not None else ())
    return list(found)


def first_words(flow: Flow, now: datetime) -> list[Say]:
    """What is said at the start of every conversation."""
    unknown = frozenset([*flow.variables, *flow.slots])
    says = _Paths(flow, State(flow.start, {}), now).follow(flow.start, unknown)
    return [replace(say, text=mark(say.text, flow.lexicon)) for say in says]


class _Paths:
    """Ways through the nodes, each node once."""

    def __init__(self, flow: Flow, state: State, now: datetime) -> None:
        self._flow, self._state, self._now = flow, state, now
        self._seen: set[str] = set()

    def follow(self, target: str, unknown: frozenset[str]) -> Iterator[Say]:
        """What is said from `target` on until the next question or the end. `unknown`: values that are not
        known yet."""
        ways = [(target, unknown, self._state.language)]
        while ways and len(self._seen) < MOST_NODES:
            target, unknown, language = ways.pop(0)
            id = (self._state.back or self._flow.start) if target == BACK else target
            if id in self._seen:
                continue
            self._seen.add(id)
            node = self._flow.nodes[id]
            if node.language is not None:
                language = "" if node.language == self._flow.language else node.language
            match node:
                case SayNode():
                    yield from self._said(node.texts, unknown, language)
                    ways.append((node.goto, unknown, language))
                case SetNode():
                    ways.append((node.goto, unknown | frozenset(node.values), language))
                case NoteNode():
                    ways.append((node.goto, unknown, language))
                case Branch():
                    following = [goto for _, goto in node.cases] + [node.otherwise]
                    ways += [(goto, unknown, language) for goto in following]
                case Ask() | Menu():
                    yield from self._said([node.question], unknown, language)
                case TransferNode() | HangupNode():
                    yield from self._said([node.text] if node.text is not None else [], unknown, language)

    def _said(self, texts: Iterable[Template], unknown: frozenset[str], language: str) -> Iterator[Say]:
        for template in texts:
            if template.names & unknown:
                continue
            try:
                text = template.render(self._state.slots, self._now, language)
            except ExpressionError:
                continue
            if text:
                yield Say(text, language)
