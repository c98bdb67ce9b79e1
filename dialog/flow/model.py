"""A loaded flow: nodes, texts and targets, checked and compiled. Made by `load`, played by `engine`.

    say, set, branch, note    run at once and go on        ask, menu    stop and listen
    transfer, hangup          end the conversation (a transfer that fails comes back)

Everything here is immutable; one Flow serves all calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dialog.capture.base import Capture
from dialog.flow.expr import Expression
from dialog.flow.template import Template
from dialog.flow.values import Value
from dialog.lexicon import Lexicon
from dialog.nlu.base import IntentModel
from dialog.types import AnsweredBy, TransferMode

BACK = "back"
"""The target that returns to the question which was left for a global option or a transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseNode:
    id: str
    line: int  # in the flow file
    turn: Mapping[str, object] = field(default_factory=dict)  # TurnPolicy fields for this node
    language: str | None = None  # spoken from here on


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(BaseNode):
    """Speak and go on."""

    texts: tuple[Template, ...]
    goto: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode(BaseNode):
    """Give slots new values, one after the other."""

    values: Mapping[str, Expression]
    goto: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch(BaseNode):
    """Go where the first true condition leads."""

    cases: tuple[tuple[Expression, str], ...]
    otherwise: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteNode(BaseNode):
    """Write something into the call's timeline: an outcome, a measure."""

    name: str
    data: Mapping[str, Expression]
    goto: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferNode(BaseNode):
    """Hand the caller over. Without `on_failed`: an apology, and back to the last question."""

    target: Template
    text: Template | None = None
    on_failed: str | None = None
    mode: TransferMode = TransferMode.BLIND
    summary: Template | None = None
    aloud: bool = False
    music: str = ""
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HangupNode(BaseNode):
    """End the call."""

    reason: str
    text: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningNode(BaseNode):
    """What ask and menu share: a question and what to do about silence and misunderstanding."""

    question: Template
    reprompts: tuple[Template, ...] = ()  # by attempt; the last one repeats; empty: the flow's
    no_input: tuple[Template, ...] = ()  # by silence; the last one repeats; empty: the flow's
    help: Template | None = None  # None: made from what the node expects
    retries: int = 2  # misunderstandings that are asked again; the next one is `on_fail`
    on_fail: str | None = None  # None: the flow's


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(ListeningNode):
    """Fill a slot."""

    slot: str
    capture: Capture
    goto: str
    confirm: Template | None = None  # read the answer back and want a yes
    only_unsure: bool = False  # read back only what the recogniser was unsure of


@dataclass(frozen=True, slots=True)
class Option:
    """One way out of a menu."""

    id: str
    line: int
    goto: str
    phrases: tuple[str, ...] = ()
    key: str = ""
    examples: tuple[str, ...] = ()  # sentences to learn the intent from


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu(ListeningNode):
    """Choose a way. With examples it is an open question, understood by intent."""

    options: tuple[Option, ...]
    slot: str | None = None  # keeps the id of the option chosen
    intents: IntentModel | None = None

    def option(self, id: str) -> Option:
        return next(option for option in self.options if option.id == id)


Node = Say | SetNode | Branch | NoteNode | TransferNode | HangupNode | Ask | Menu


@dataclass(frozen=True, slots=True)
class Global:
    """An option of every question: "operator", "say that again"."""

    id: str
    line: int
    goto: str | None  # None: repeat the question
    phrases: tuple[str, ...] = ()
    key: str = ""
    clear: bool = False  # forget all slots on the way
    language: str | None = None  # spoken from then on


@dataclass(frozen=True, slots=True)
class Texts:
    """What is said where a node has no words of its own. In reprompts and no_input, {question} is the
    question that was asked and {help} says what can be answered and keyed."""

    reprompts: tuple[Template, ...]
    no_input: tuple[Template, ...]
    again: Template  # after a "no" to a read-back
    goodbye: Template  # silence for too long
    give_up: Template  # not understood too often, and no `on_fail`
    expired: Template  # the call has reached its longest time
    transfer_failed: Template
    fallback: Template  # the flow itself failed


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: loaded once, shared by all calls
class Flow:
    """A conversation to be played."""

    name: str
    file: str
    start: str
    nodes: Mapping[str, Node]
    texts: Texts
    language: str = "en"  # BCP 47
    others: tuple[str, ...] = ()  # further languages that it can change to
    globals: tuple[Global, ...] = ()
    variables: Mapping[str, Value] = field(default_factory=dict)
    slots: frozenset[str] = frozenset()  # every slot that some node fills
    turn: Mapping[str, object] = field(default_factory=dict)
    on_fail: str | None = None  # None: apologise and hang up
    answered_by: Mapping[AnsweredBy, str] = field(default_factory=dict)  # where to begin; people: `start`
    lexicon: Lexicon = Lexicon()  # how its names are said
