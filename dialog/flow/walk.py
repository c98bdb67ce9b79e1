"""One turn through a flow: from what the caller said to the next node that listens or ends the call."""

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from dialog.errors import FlowRunError
from dialog.flow.listening import Chosen, Confirmed, Ears, Filled
from dialog.flow.model import (
    BACK,
    Ask,
    Branch,
    Flow,
    Global,
    HangupNode,
    Menu,
    Node,
    NoteNode,
    Say,
    SetNode,
    TransferNode,
)
from dialog.flow.plan import Plan
from dialog.flow.state import State
from dialog.flow.template import Template
from dialog.flow.tongue import Tongue
from dialog.flow.values import Value
from dialog.types import (
    Answered,
    AnsweredBy,
    CallExpired,
    DialogInput,
    Hangup,
    NoInput,
    NoteName,
    Transfer,
    TransferFailed,
    UserTurn,
)

MAX_NODES = 100  # in one turn; a flow that needs more runs in a circle


class Walk:
    """Moves `state` and fills `plan`. Raises FlowRunError or ExpressionError if the flow fails."""

    def __init__(
        self, flow: Flow, ears: Ears, state: State, initial: Mapping[str, Value], now: datetime
    ) -> None:
        self.plan = Plan()
        self._flow, self._ears, self._state, self._now = flow, ears, state, now
        self._initial = initial
        self._tongue = Tongue(flow, state, self.plan)

    @property
    def _node(self) -> Node:
        return self._flow.nodes[self._state.node]

    # What came in

    def answer(self, turn: DialogInput) -> None:
        """React to whatever happened."""
        match turn:
            case UserTurn():
                self._understand(turn)
            case NoInput(count=count, last=last):
                self._silence(count, last=last)
            case TransferFailed(target=target, reason=reason):
                self.plan.note("transfer_failed", target=target, reason=reason)
                self._came_back()
            case CallExpired():
                self._end(self._flow.texts.expired, "expired")
            case Answered(by=by):
                self._answered(by)

    def _understand(self, turn: UserTurn) -> None:
        node, state = self._node, self._state
        meaning = self._ears.meaning(node, turn, self._now, confirming=state.pending is not None)
        match meaning or self._ears.meaning_of_global(turn):
            case Chosen(option, confidence):
                self.plan.note(NoteName.INTENT, name=option.id, confidence=confidence)
                if isinstance(node, Menu) and node.slot is not None:
                    self._fill(node.slot, option.id)
                self._leave(option.goto)
            case Filled(value, sure) if isinstance(node, Ask):
                self._filled(node, value, sure=sure)
            case Confirmed(yes) if isinstance(node, Ask):
                self._confirmed(node, yes=yes)
            case Global() as choice:
                self.plan.note(NoteName.INTENT, name=choice.id, confidence=1.0)
                self._global(choice)
            case _:
                self._not_understood(turn)

    def _filled(self, node: Ask, value: Value, *, sure: bool) -> None:
        if self._state.pending is not None and value == self._state.pending:
            self._confirmed(node, yes=True)  # "tuesday?" - "tuesday"
        elif node.confirm is None or (node.only_unsure and sure and self._state.pending is None):
            self._accept(node, value)
        else:
            self._state.pending = value
            self._ask(self._text(node.confirm, {node.slot: value}))

    def _confirmed(self, node: Ask, *, yes: bool) -> None:
        if yes:
            self._accept(node, self._state.pending)
            return
        self._state.pending = None
        self._state.attempts += 1
        if self._gave_up(node):
            return
        self.plan.say(self._text(self._flow.texts.again))
        self._ask(self._text(node.question))

    def _accept(self, node: Ask, value: Value) -> None:
        self._fill(node.slot, value)
        self._leave(node.goto)

    def _fill(self, slot: str, value: Value) -> None:
        self._state.slots[slot] = value
        shown = value.isoformat() if isinstance(value, date | time) else value
        self.plan.note(NoteName.SLOT, name=slot, value=shown)

    def _global(self, choice: Global) -> None:
        if choice.clear:
            self._state.slots = dict(self._initial)
        if self._tongue.speak(choice.language) and choice.goto is None:
            self._ask_again()
            return
        if choice.goto is not None:
            self._leave(choice.goto)
        elif isinstance(self._node, Ask | Menu):
            self.plan.say(self._state.question)
        else:
            self.go(self._state.node)

    def _not_understood(self, turn: UserTurn) -> None:
        if self._tongue.follow(turn.text):
            self._ask_again()  # who is asked in the wrong language does not answer the question
            return
        self.plan.note(NoteName.NO_MATCH, text=turn.text)
        node = self._node
        if not isinstance(node, Ask | Menu):
            self.go(self._state.node)  # said over the goodbye: say it again, and end
            return
        self._state.attempts += 1
        if not self._gave_up(node):
            self._prompt(node, node.reprompts or self._flow.texts.reprompts, self._state.attempts)

    def _gave_up(self, node: Ask | Menu) -> bool:
        """After too many attempts: where `on_fail` leads, or goodbye."""
        if self._state.attempts <= node.retries:
            return False
        target = node.on_fail or self._flow.on_fail
        if target is None:
            self._end(self._flow.texts.give_up, "no_match")
        else:
            self._leave(target)
        return True

    def _silence(self, count: int, *, last: bool) -> None:
        node = self._node
        if last or not isinstance(node, Ask | Menu):
            self._end(self._flow.texts.goodbye, "no_input")
        else:
            self._prompt(node, node.no_input or self._flow.texts.no_input, count)

    def _came_back(self) -> None:
        node = self._node
        if isinstance(node, TransferNode) and node.on_failed is not None:
            self.go(node.on_failed)
        elif isinstance(node, Ask | Menu):
            self.plan.say(self._text(self._flow.texts.transfer_failed))
            self.plan.say(self._state.question)
        elif self._state.back:
            self.plan.say(self._text(self._flow.texts.transfer_failed))
            self.go(BACK)
        else:
            self._end(self._flow.texts.transfer_failed, "transfer_failed")

    def _answered(self, by: AnsweredBy) -> None:
        target = self._flow.answered_by.get(by)
        if target is not None:
            self.go(target)
        elif by is AnsweredBy.SCREENING:
            self.go(self._flow.start)  # who asks for our name gets our greeting
        else:
            self.plan.end = Hangup(by.value)

    def ask_again(self) -> None:
        """Go on where the conversation stands: after an interruption of the call itself."""
        if isinstance(self._node, Ask | Menu) and self._state.question:
            self.plan.say(self._state.question)
        else:
            self.go(self._state.node)

    # Through the nodes

    def go(self, target: str) -> None:
        """Run nodes from `target` on until one listens or ends the call."""
        for _ in range(MAX_NODES):
            id = self._resolve(target)
            node = self._flow.nodes[id]
            self.plan.note(NoteName.NODE, id=id)
            self._tongue.speak(node.language)
            following = self._run(node)
            if following is None:
                self._state.node = id
                return
            target = following
        raise FlowRunError(f"more than {MAX_NODES} nodes in one turn, the last was {target!r}")

    def _run(self, node: Node) -> str | None:
        """Do what a node does; the next one, or None if the turn ends here."""
        match node:
            case Say():
                for text in node.texts:
                    self.plan.say(self._text(text), node)
                return node.goto
            case SetNode():
                for slot, expression in node.values.items():
                    self._fill(slot, expression.evaluate(self._state.slots, self._now))
                return node.goto
            case NoteNode():
                data = {k: e.evaluate(self._state.slots, self._now) for k, e in node.data.items()}
                self.plan.note(node.name, **_json(data))
                return node.goto
            case Branch():
                slots, now = self._state.slots, self._now
                taken = (goto for when, goto in node.cases if when.evaluate(slots, now))
                return next(taken, node.otherwise)
            case Ask() | Menu():
                self._state.attempts, self._state.pending = 0, None
                self._ask(self._text(node.question))
            case TransferNode():
                self.plan.say(self._text(node.text))
                self.plan.end = Transfer(
                    self._text(node.target),
                    node.mode,
                    self._text(node.summary),
                    node.aloud,
                    node.music,
                    node.timeout_s,
                )
            case HangupNode():
                self.plan.say(self._text(node.text))
                self.plan.end = Hangup(node.reason)
        return None

    def _resolve(self, target: str) -> str:
        return (self._state.back or self._flow.start) if target == BACK else target

    def _leave(self, target: str) -> None:
        """Go on from a question, and remember it as the one to come back to."""
        if isinstance(self._node, Ask | Menu):
            self._state.back = self._state.node
        self._state.pending = None
        self.go(target)

    def _end(self, text: Template, reason: str) -> None:
        self.plan.say(self._text(text))
        self.plan.end = Hangup(reason)

    # Words

    def _ask_again(self) -> None:
        """The question, or the read-back, in the language that is spoken now."""
        node = self._node
        if isinstance(node, Ask) and self._state.pending is not None:
            self._ask(self._text(node.confirm, {node.slot: self._state.pending}))
        elif isinstance(node, Ask | Menu):
            self._ask(self._text(node.question))
        else:
            self.go(self._state.node)

    def _ask(self, question: str) -> None:
        self._state.question = question
        self.plan.say(question)

    def _prompt(self, node: Ask | Menu, texts: tuple[Template, ...], count: int) -> None:
        """The reprompt for the n-th time; the last one repeats."""
        confirming = self._state.pending is not None
        help = self._ears.help(node, confirming=confirming)
        if node.help is not None and not confirming:
            help = self._text(node.help)
        text = texts[min(max(count, 1), len(texts)) - 1]
        self.plan.say(self._text(text, {"question": self._state.question, "help": help}))

    def _text(self, template: Template | None, more: Mapping[str, Value] | None = None) -> str:
        if template is None:
            return ""
        return template.render({**self._state.slots, **(more or {})}, self._now, self._state.language)


def _json(data: Mapping[str, Value]) -> dict[str, Any]:
    """A note's data as JSON can hold it: days and times as ISO text."""
    return {k: v.isoformat() if isinstance(v, date | time) else v for k, v in data.items()}
