"""What a simulated caller does, step by step, over what line, and what the call is expected to be like.

The same file is a script of `voicegw call` and a scenario of `voicegw simulate`; docs/simulate.md has its
format, voicegw/phone/load.py reads it.

`say`, `wav` and `dtmf` wait for their turn: until the bot has spoken since our last line and has then
been silent for `turn_silence_ms`. `now: true` does not wait.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from media.impairment import Impairment

TURN_SILENCE_MS = 900  # people wait 200, but bots pause 500 between two sentences
PATIENCE_MS = 15_000  # for a bot that owes us something
LINGER_MS = 4_000  # of silence after the script, then we hang up
DTMF_KEYS = "0123456789*#ABCDabcd"


@dataclass(frozen=True, slots=True)
class OnTurn:
    """Once the bot has spoken and fallen silent."""

    silence_ms: int | None = None  # None: the script's `turn_silence_ms`


@dataclass(frozen=True, slots=True)
class Now:
    """Without waiting."""


@dataclass(frozen=True, slots=True)
class OverBot:
    """While the bot speaks, `after_ms` into what it says."""

    after_ms: int


When = OnTurn | Now | OverBot


class KeyWay(StrEnum):
    """How keys travel."""

    EVENT = "rfc4733"  # telephone events where agreed, else INFO
    INFO = "info"
    INBAND = "inband"  # as tones in the audio


class NoiseKind(StrEnum):
    """Noise that is generated."""

    WHITE = "white"
    PINK = "pink"  # a street, a fan
    HUM = "hum"  # 50 Hz and its overtones
    BABBLE = "babble"  # many people talk at once


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a text."""

    text: str
    when: When = OnTurn()
    voice: str = ""  # "": the script's


@dataclass(frozen=True, slots=True)
class Play:
    """Play a sound file."""

    file: Path
    when: When = OnTurn()


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys."""

    digits: str
    when: When = OnTurn()
    by: KeyWay | None = None  # None: the script's


@dataclass(frozen=True, slots=True)
class WaitBot:
    """Wait until the bot speaks."""


@dataclass(frozen=True, slots=True)
class WaitSilence:
    """Wait until the bot has been silent for so long, whether it has spoken or not."""

    ms: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    ms: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""

    when: When = Now()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a call stands by what the server knows."""

    node: str = ""  # of the flow; "": nobody knows
    slots: Mapping[str, Any] = field(default_factory=dict)  # as understood so far


@dataclass(frozen=True, slots=True)
class Reply:
    """What is said at a node, provided that the slots named have these values."""

    line: Say
    when: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, slots: Mapping[str, Any]) -> bool:
        """Whether it is to be said."""
        return all(str(slots.get(name)).lower() == str(value).lower() for name, value in self.when.items())


@dataclass(frozen=True, slots=True)
class Answer:
    """Say what the bot asks for, however often it asks, until the call is over."""

    replies: Mapping[str, tuple[Reply, ...]]  # by the node of the flow that asks; the first that fits

    def to(self, standing: Standing) -> Say | None:
        """The line to say there."""
        fitting = (reply.line for reply in self.replies.get(standing.node, ()) if reply.fits(standing.slots))
        return next(fitting, None)


Step = Say | Play | Press | WaitBot | WaitSilence | Pause | HangUp | Answer


@dataclass(frozen=True, slots=True)
class Noise:
    """What is heard behind the caller, all through the call."""

    snr_db: int  # below the level of lines that are spoken
    source: NoiseKind | Path = NoiseKind.PINK


@dataclass(frozen=True, slots=True)
class LineQuality:
    """What lies between the caller and the bot."""

    noise: Noise | None = None
    send: Impairment | None = None  # of our packets on their way to the bot
    receive: Impairment | None = None


@dataclass(frozen=True, slots=True)
class Expect:
    """What must hold for the call to count as good; None: anything goes. All of it is measured here."""

    bot_utterances: int | None = None
    latency_ms: int | None = None
    barge_in_ms: int | None = None
    total_s: int | None = None
    hangup: Literal["bot", "caller"] | None = None
    median_latency_ms: int | None = None
    dtmf: str | None = None  # keys that the bot presses
    status: int | None = None  # final status of a call that is refused
    least_total_s: int | None = None


@dataclass(frozen=True, slots=True)
class ServerExpect:
    """What only the server knows: its timeline and its calls are asked. Texts are compared by their words;
    lists are in order, and more may lie between."""

    cause: str | None = None
    states: tuple[str, ...] = ()  # nodes of the flow
    transcript: tuple[str, ...] = ()  # the caller's turns as understood
    heard: tuple[str, ...] = ()  # of the bot's words, what reached the caller's ear
    not_heard: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    slots: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)  # None: there is one by this name
    barge_ins: int | None = None
    no_input: int | None = None  # silences that the bot noticed, at least
    errors: int | None = None  # errors in the timeline, at most
    turn_latency_ms: int | None = None  # of each answer, by the server's clock, at most
    calls: int | None = None  # how many calls the server has kept of this one
    recording: str | None = None  # complete, partial, failed

    @property
    def anything(self) -> bool:
        """Whether the server must be asked."""
        return self != ServerExpect()


@dataclass(frozen=True, slots=True)
class Script:
    """One call."""

    steps: tuple[Step, ...]
    expect: Expect = Expect()
    voice: str = ""  # "": the best there is
    turn_silence_ms: int = TURN_SILENCE_MS
    patience_ms: int = PATIENCE_MS
    linger_ms: int = LINGER_MS
    name: str = ""
    caller: str = ""  # user part of the From; "": whatever the phone is called
    callee: str = ""  # user part to call instead of the target's
    headers: dict[str, str] = field(default_factory=dict)  # of the INVITE
    keys_by: KeyWay = KeyWay.EVENT
    line: LineQuality = LineQuality()
    give_up_after_ms: int | None = None  # of ringing: then the call is cancelled
    served: ServerExpect = ServerExpect()

    @property
    def asks(self) -> bool:
        """Whether the server must be asked while the call runs."""
        return any(isinstance(step, Answer) for step in self.steps)

    def sounding(self) -> Iterator[Say | Play]:
        """All that makes a sound."""
        for step in self.steps:
            match step:
                case Say() | Play():
                    yield step
                case Answer(replies):
                    yield from (reply.line for some in replies.values() for reply in some)
