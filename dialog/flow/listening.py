"""A question's ears: what to expect (Hints), how patiently (TurnPolicy), and what an answer means."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from dialog.capture.base import Capture, Scalar
from dialog.capture.simple import NO, YesNo
from dialog.flow.model import Ask, Flow, Global, HangupNode, Menu, Node, Option, TransferNode
from dialog.nlu.base import Intent, normalise
from dialog.nlu.rules import PhraseRules, bare
from dialog.turn import Interrupt, TurnPolicy, TurnSource
from dialog.types import Hints, UserTurn

UNSURE = 0.6  # a recogniser's confidence below which `confirm_when: unsure` reads back
MAX_CORRECTIONS = 60  # phrases; more would drown the yes and no of a read-back

YES_NO = YesNo()


@dataclass(frozen=True, slots=True)
class Chosen:
    """An option of a menu."""

    option: Option
    confidence: float


@dataclass(frozen=True, slots=True)
class Filled:
    """The value of an ask."""

    value: Scalar
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Yes or no to a read-back."""

    yes: bool


Meaning = Chosen | Filled | Confirmed | Global | None
"""What an answer means; None: nothing that was expected."""


class Ears:
    """The listening side of one flow. Immutable."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._globals = PhraseRules({g.id: g.phrases for g in flow.globals})
        self._by_id = {g.id: g for g in flow.globals}
        self._rules = {
            node.id: PhraseRules({o.id: (*o.phrases, *o.examples) for o in node.options})
            for node in flow.nodes.values()
            if isinstance(node, Menu)
        }
        self._general = tuple(p for g in flow.globals for p in g.phrases)
        self.all_hints = self._collect()
        """What to expect in every state in which the flow can listen, each once."""

    # What to expect

    def hints(self, node: Node, *, confirming: bool = False) -> Hints:
        match node:
            case Ask() if confirming:
                return self._with_globals(_confirm_hints(node.capture))
            case Ask():
                return self._with_globals(node.capture.hints)
            case Menu():
                phrases = tuple(p for o in node.options for p in o.phrases)
                sentences = tuple(p for o in node.options for p in o.examples)
                return self._with_globals(Hints(phrases, sentences=sentences))
            case _:
                return Hints(phrases=self._general)

    def _collect(self) -> tuple[Hints, ...]:
        nodes = self._flow.nodes.values()
        found = [self.hints(node) for node in nodes]
        found += [self.hints(n, confirming=True) for n in nodes if isinstance(n, Ask) and n.confirm]
        return tuple(hints for hints in dict.fromkeys(found) if not hints.open)

    def _with_globals(self, hints: Hints) -> Hints:
        return replace(hints, phrases=tuple(dict.fromkeys((*hints.phrases, *self._general))))

    def policy(self, base: TurnPolicy, node: Node, *, confirming: bool = False) -> TurnPolicy:
        """How patient to be at this node: the call's policy, changed by flow, capture and node."""
        changes: dict[str, Any] = dict(self._flow.turn)
        if isinstance(node, Ask) and not confirming:
            changes |= node.capture.turn
            changes["dtmf_max"] = node.capture.keys.most if node.capture.keys else 1
        if isinstance(node, HangupNode | TransferNode):
            changes["interrupt"] = Interrupt.NEVER  # there is nothing left to answer
        changes |= node.turn
        if isinstance(node, Menu) or confirming:
            changes["dtmf_max"] = 1
        return replace(base, **changes)

    def help(self, node: Node, *, confirming: bool = False) -> str:
        """What can be answered and keyed, as a sentence."""
        match node:
            case Ask():
                return YES_NO.help if confirming else node.capture.help
            case Menu():
                return "You can say: " + "; ".join(p for o in node.options if (p := _offer(o))) + "."
            case _:
                return ""

    # What an answer means

    def meaning(self, node: Node, turn: UserTurn, now: datetime, *, confirming: bool = False) -> Meaning:
        if turn.source is TurnSource.DTMF:
            return self._keyed(node, turn.text.strip().removesuffix("#"), now, confirming)
        if turn.rejected or not normalise(turn.text):
            return None
        match node:
            case Ask() if confirming:
                return self._confirmation(node.capture, turn, now)
            case Ask():
                return self._first(self._exact(turn), lambda: self._filled(node.capture, turn, now))
            case Menu():
                return self._first(self._exact_option(node, turn), lambda: self._option(node, turn.text))
            case _:
                return self._exact(turn) or self._within(turn)

    def meaning_of_global(self, turn: UserTurn) -> Global | None:
        """A global option said with a few other words, after everything else failed to match."""
        return None if turn.rejected or turn.source is TurnSource.DTMF else self._within(turn)

    def _first(self, exact: Meaning, other: Callable[[], Meaning]) -> Meaning:
        return exact if exact is not None else other()

    def _exact(self, turn: UserTurn) -> Global | None:
        return self._by_id.get(self._globals.exact(turn.text) or "")

    def _within(self, turn: UserTurn) -> Global | None:
        return self._by_id.get(self._globals.within(turn.text) or "")

    def _exact_option(self, menu: Menu, turn: UserTurn) -> Chosen | Global | None:
        found = self._rules[menu.id].exact(turn.text)
        return Chosen(menu.option(found), 1.0) if found else self._exact(turn)

    def _option(self, menu: Menu, text: str) -> Chosen | None:
        if menu.intents is not None:
            best: list[Intent] = menu.intents.classify(text)[:1]
            return Chosen(menu.option(best[0].name), best[0].confidence) if best else None
        found = self._rules[menu.id].within(text)
        return Chosen(menu.option(found), 1.0) if found else None

    def _filled(self, capture: Capture, turn: UserTurn, now: datetime) -> Filled | None:
        value = capture.parse(turn.text, now)
        sure = turn.confidence is None or turn.confidence >= UNSURE
        return None if value is None else Filled(value, sure)

    def _confirmation(self, capture: Capture, turn: UserTurn, now: datetime) -> Meaning:
        """Yes, no, or at once the right answer: "no, wednesday"."""
        corrected = capture.parse(_without_no(turn.text), now)
        answer = YES_NO.parse(turn.text, now)
        if corrected is not None and capture.value_type is not bool and answer is not True:
            return Filled(corrected)
        return Confirmed(answer) if answer is not None else self._exact(turn)

    def _keyed(self, node: Node, keys: str, now: datetime, confirming: bool) -> Meaning:
        if isinstance(node, Ask) and confirming:
            answer = YES_NO.parse_keys(keys, now)
            if answer is not None:
                return Confirmed(answer)
        elif isinstance(node, Ask):
            value = node.capture.parse_keys(keys, now) if keys else None
            if value is not None:
                return Filled(value)
        elif isinstance(node, Menu):
            option = next((o for o in node.options if keys and o.key == keys), None)
            if option is not None:
                return Chosen(option, 1.0)
        return next((g for g in self._flow.globals if keys and g.key == keys), None)


@lru_cache(maxsize=64)
def ears_of(flow: Flow) -> Ears:
    """The ears of a flow, made once: 2 ms that no call should wait for."""
    return Ears(flow)


def _confirm_hints(capture: Capture) -> Hints:
    own, yes_no = capture.hints, YES_NO.hints
    if own.digits or own.sentences or len(own.phrases) > MAX_CORRECTIONS:
        return yes_no
    return Hints(phrases=(*yes_no.phrases, *own.phrases), grammar=own.grammar)


def _without_no(text: str) -> str:
    words = bare(text).split()
    for refusal in sorted((phrase.split() for phrase in NO), key=len, reverse=True):
        if words[: len(refusal)] == refusal:
            return " ".join(words[len(refusal) :])
    return text


def _offer(option: Option) -> str:
    spoken = next(iter(option.phrases or option.examples), "")
    pressed = f"press {'star' if option.key == '*' else option.key}" if option.key else ""
    return ", or ".join(part for part in (spoken, pressed) if part)
