"""Turn taking: when has the caller finished, and may he interrupt?

Sans-I/O: `TurnEngine.feed` takes what happened and when, `deadline` says when to call `tick`, and
both return decisions. Times are milliseconds of call time.
"""

from dataclasses import dataclass
from enum import StrEnum


class TurnSource(StrEnum):
    """How a turn came in."""

    SPEECH = "speech"
    DTMF = "dtmf"
    TEXT = "text"


class Interrupt(StrEnum):
    """What it takes to stop the bot in mid-sentence."""

    NEVER = "never"
    SPEECH = "speech"  # `barge_in_ms` of speech
    WORDS = "words"  # `barge_in_words` recognised words
    BOTH = "both"  # whichever comes first


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """How patient the bot is. Each call has one; a flow node may override any field."""

    end_silence_ms: int = 500
    """Silence after which the caller's turn is over. Under 400 cuts people off between words, over 900
    feels sluggish; 1200 suits dictated digits."""
    complete_silence_ms: int = 300
    """The same once the recogniser says that the answer is complete and cannot go on ("yes please")."""
    final_timeout_ms: int = 2000
    """Wait this long for the recogniser's final after the turn's end, then take the last partial."""
    interrupt: Interrupt = Interrupt.BOTH
    """What stops the bot: never, speech, words, or both (whichever comes first)."""
    barge_in_ms: int = 350
    """Speech needed to interrupt the bot: longer than most coughs, shorter than a word of protest."""
    barge_in_words: int = 1
    """Recognised words needed to interrupt the bot; 3 where it reads back money or identity."""
    no_input_ms: tuple[int, ...] = (7_000, 14_000, 25_000)
    """Silence since the bot's last word, while nobody speaks: prompts, and at the last one goodbye."""
    max_call_ms: int = 1_800_000
    """Longest call, 30 minutes: a forgotten line must not cost money for days."""
    dtmf_max: int = 1
    """Keys in one answer; the turn ends with the last."""
    dtmf_finish: str = "#"
    """Key that ends the answer early; "" for none."""
    dtmf_pause_ms: int = 3_000
    """Pause between keys after which a shorter answer is taken."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak `ago_ms` before this report."""

    ago_ms: int = 0


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller fell silent `ago_ms` before this report."""

    ago_ms: int = 0


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the recogniser made of the utterance so far, or for good (`final`)."""

    text: str
    final: bool
    confidence: float | None = None  # 0..1
    rejected: bool = False  # speech, but nothing that was expected; `text` is then ""
    complete: bool = False  # a partial that is a whole answer and cannot go on


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key was pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class BotSpeaking:
    """The bot's voice reached the caller's ear, or has ended there."""

    active: bool


@dataclass(frozen=True, slots=True)
class ReplyReady:
    """The dialog has no more to say to the last turn."""


TurnInput = SpeechStarted | SpeechStopped | Transcript | Dtmf | BotSpeaking | ReplyReady
