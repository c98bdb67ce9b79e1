"""The words between whatever talks to a person and a dialog engine. Text only, no audio.

Turns go in, acts come out:

    UserTurn | NoInput | TransferFailed  ->  DialogEngine.reply  ->  Say, Listen, Transfer, Hangup, ...
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from dialog.turn import TurnPolicy, TurnSource


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What a person said, typed or keyed in one turn."""

    text: str  # "" if speech was heard but not understood (see `rejected`)
    at_ms: int  # call time at which the turn ended
    source: TurnSource = TurnSource.SPEECH
    confidence: float | None = None  # 0..1, where the recogniser gives one
    rejected: bool = False  # speech outside of what was expected
    interrupted: bool = False  # spoken over the bot
    continues: bool = False
    """Replaces the turn before: the person went on speaking while its reply was being prepared, so
    `text` holds both. The engine undoes what the previous turn changed and takes this one instead."""


@dataclass(frozen=True, slots=True)
class NoInput:
    """Nobody spoke for the n-th time. `last` means: say goodbye, the line will be closed."""

    count: int
    at_ms: int
    last: bool = False


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """The person could not be handed over and is back."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallExpired:
    """The call has reached its maximum length: say goodbye."""


class AnsweredBy(StrEnum):
    """Who has answered a call that we placed."""

    HUMAN = "human"
    MACHINE = "machine"  # voicemail, an answering machine
    SCREENING = "screening"  # an assistant that asks who calls, and why


@dataclass(frozen=True, slots=True)
class Answered:
    """No person has answered; whoever has listens now: after the beep, after the question."""

    by: AnsweredBy


DialogInput = UserTurn | NoInput | TransferFailed | CallExpired | Answered


@dataclass(frozen=True, slots=True)
class Hints:
    """What the bot expects to hear next. An engine uses what it can and ignores the rest."""

    phrases: tuple[str, ...] = ()  # complete answers, lower case: "yes please", "next tuesday"
    grammar: str | None = None  # JSGF, one public rule; complete answers too
    sentences: tuple[str, ...] = ()  # examples of free speech: train a language model on them
    digits: tuple[int, int] | None = None  # a string of digits, fewest and most

    @property
    def open(self) -> bool:
        """Whether nothing in particular is expected."""
        return not (self.phrases or self.grammar or self.sentences or self.digits)


@dataclass(frozen=True, slots=True)
class Domain:
    """All that one flow may expect to hear: engines build dictionaries and grammars from it once."""

    name: str
    language: str = "en"  # BCP 47
    hints: tuple[Hints, ...] = ()
    others: tuple[str, ...] = ()  # further languages to which the conversation may change


@dataclass(frozen=True, slots=True)
class Say:
    """Speak. Only what was heard of it reaches the history."""

    text: str
    language: str = ""  # BCP 47; "": the conversation's own


@dataclass(frozen=True, slots=True)
class Listen:
    """From now on expect this. Sent before the question it belongs to, so that a barge-in finds it."""

    hints: Hints = Hints()
    policy: TurnPolicy | None = None  # None: the call's default
    language: str = "en"  # BCP 47: what the caller speaks


@dataclass(frozen=True, slots=True)
class SendDtmf:
    """Press keys towards the far end."""

    digits: str


class TransferMode(StrEnum):
    """Who talks to the target first."""

    BLIND = "blind"  # nobody: the person is connected as soon as the target answers
    ATTENDED = "attended"  # the bot: it tells the target what the call is about, then connects


@dataclass(frozen=True, slots=True)
class Transfer:
    """Hand the person over, once the speech before has been heard. If the target does not answer, the person
    comes back: the engine gets TransferFailed."""

    target: str  # number or SIP URI
    mode: TransferMode = TransferMode.BLIND
    summary: str = ""  # attended: what the target is told before it is connected
    aloud: bool = False  # both hear the summary, once they are connected; else only the target does
    music: str = ""  # what the person hears meanwhile: music, ringing, silence, a WAV file; "": as configured
    timeout_s: float | None = None  # how long the target may ring; None: as configured


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call, once the speech before has been heard."""

    reason: str = "done"


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the timeline: a node entered, a slot filled, an intent recognised."""

    name: str
    data: Mapping[str, object] = field(default_factory=dict)


class NoteName(StrEnum):
    """Names of notes that tools rely on."""

    NODE = "node"  # id
    SLOT = "slot"  # name, value
    INTENT = "intent"  # name, confidence
    NO_MATCH = "no_match"  # text
    LANGUAGE = "language"  # code: spoken from now on
    LLM = "llm"  # model, first_token_ms, took_ms, prompt, completion, cached (tokens): a request to a model
    SWITCHED = "switched"  # kind (llm, stt, tts), failed, to, reason: one engine gave way to another
    TOOL = "tool"  # name, arguments, result, ok, took_ms: a tool that a model called


Act = Say | Listen | SendDtmf | Transfer | Hangup | Note


class DialogEngine(Protocol):
    """One conversation. Used unchanged by phone and text channels."""

    @property
    def domain(self) -> Domain:
        """All that may be expected in this conversation."""

    def greet(self) -> AsyncGenerator[Act, None]:
        """Open the conversation."""

    def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        """Answer. Closed early on barge-in; what was yielded until then counts as decided.

        The generator may run ahead of the ear by one sentence: Transfer and Hangup take effect
        only after the speech before them was heard, and never if it was cut.
        """

    def heard(self, text: str, complete: bool) -> None:
        """The truth for the history: what of the last utterance reached the person."""
