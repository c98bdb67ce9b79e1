"""The words of turn taking: what happens in a call (inputs), what follows from it (decisions), and how
patient the bot is (policy). `dialog.turn_engine` turns the one into the other.

Times are milliseconds of call time.
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
    incomplete_silence_ms: int = 1200
    """The same where the caller sounds as if he would go on ("my number is four five ..."). Between the
    three it follows the score of the end-of-turn estimate (section `eot`); without one, `end_silence_ms`
    holds."""
    final_timeout_ms: int = 2000
    """Wait this long for the recogniser's final after the turn's end; then the turn counts as not understood.
    A partial is not acted on: halfway, "I would like to book" may read as "goodbye"."""
    interrupt: Interrupt = Interrupt.BOTH
    """What stops the bot: never, speech, words, or both (whichever comes first)."""
    barge_in_ms: int = 350
    """Speech that silences the bot: longer than most coughs, shorter than a word of protest. A recognised
    word or `barge_in_sure_ms` makes it an interruption; else the bot goes on after `resume_ms`."""
    barge_in_sure_ms: int = 1_200
    """Speech that interrupts for good although no word of it is recognised: no cough is that long."""
    barge_in_words: int = 1
    """Recognised words needed to interrupt the bot; 3 where it reads back money or identity."""
    barge_in_firm_ms: int = 200
    """A word interrupts once the recogniser has believed in it for so long: the first guess at a cough is a
    word, too. With 0, the embedded recogniser stops the bot for half of all that is no word."""
    resume_ms: int = 1_000
    """A bot silenced by a sound without words goes on from the word where it stopped, this long after the
    sound; sooner when the recogniser has found nothing in it. Slow recognisers want 2000. 0: it never goes
    on, every sound of `barge_in_ms` is an interruption."""
    backchannels: tuple[str, ...] | None = None
    """Words of a listener ("mhm", "okay", "right"): they do not interrupt, but answer a question when the bot
    is silent. None: those of the flow's language; []: every word interrupts."""
    early_answer_ms: int = 1_200
    """An answer that did not interrupt counts if the bot's last word comes so shortly after it: "yes" into
    the end of a question must not be lost."""
    max_speech_ms: int = 30_000
    """Longest utterance: a radio or a bad line never falls silent, the turn is ended for it."""
    no_input_ms: tuple[int, ...] = (7_000, 14_000, 25_000)
    """Silence of the caller, added up while the bot is silent too: prompts, and at the last one goodbye."""
    max_call_ms: int = 1_800_000
    """Longest call, 30 minutes: a forgotten line must not cost money for days."""
    dtmf_max: int = 1
    """Keys in one answer; the turn ends with the last."""
    dtmf_finish: str = "#"
    """Key that ends the answer early; "" for none."""
    dtmf_pause_ms: int = 3_000
    """Pause between keys after which a shorter answer is taken."""
    dtmf_ahead: int = 32
    """Keys that may wait for questions which are not asked yet; further ones are dropped."""
    dtmf_flush: bool = False
    """Forget keys that were pressed before this question: for what must be answered knowingly."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.dtmf_max < 1:
            raise ValueError(f"dtmf_max must be at least 1, not {self.dtmf_max}")
        if len(self.dtmf_finish) > 1 or (self.dtmf_finish and self.dtmf_finish not in "0123456789*#ABCD"):
            raise ValueError(f"dtmf_finish must be one key, not {self.dtmf_finish!r}")
        if list(self.no_input_ms) != sorted(set(self.no_input_ms)) or any(ms <= 0 for ms in self.no_input_ms):
            raise ValueError(f"no_input_ms must rise from above 0, not {list(self.no_input_ms)}")
        for name in _FROM_ZERO:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, is {getattr(self, name)}")
        for name in ("max_speech_ms", "max_call_ms", "dtmf_pause_ms", "dtmf_ahead"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, is {getattr(self, name)}")

    def silence_ms(self, score: float | None) -> int:
        """How long to wait for more after the caller's last sound; `score` says how finished he sounds."""
        if score is None:
            return self.end_silence_ms
        far = (
            self.complete_silence_ms if score > 0.5 else max(self.end_silence_ms, self.incomplete_silence_ms)
        )
        share = abs(min(max(score, 0.0), 1.0) - 0.5) * 2
        return round(self.end_silence_ms + share * (far - self.end_silence_ms))


_FROM_ZERO = (
    *("end_silence_ms", "complete_silence_ms", "incomplete_silence_ms", "final_timeout_ms"),
    *(
        "barge_in_ms",
        "barge_in_sure_ms",
        "barge_in_words",
        "barge_in_firm_ms",
        "resume_ms",
        "early_answer_ms",
    ),
)


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
    fragment: bool = False  # a partial that is only the beginning of an answer, and may become any
    unasked: bool = False  # of an utterance that the recogniser found by itself, before any detector did


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


@dataclass(frozen=True, slots=True)
class TurnScore:
    """How likely the caller has finished, 0..1, as he sounds in this pause."""

    score: float


@dataclass(frozen=True, slots=True)
class OnHold:
    """The caller has put us on hold, or is back."""

    active: bool


TurnInput = SpeechStarted | SpeechStopped | Transcript | TurnScore | Dtmf | BotSpeaking | ReplyReady | OnHold


@dataclass(frozen=True, slots=True)
class PauseBot:
    """Silence the bot, but keep what it has to say: this may be a cough."""

    speech_ms: int


@dataclass(frozen=True, slots=True)
class ResumeBot:
    """It was nothing: go on from the word where the bot stopped."""

    silent_ms: int = 0  # for how long it was silenced


@dataclass(frozen=True, slots=True)
class BargeIn:
    """Silence the bot and drop its reply."""

    speech_ms: int = 0  # how long the caller has been speaking
    words: int = 0  # how many words of it are recognised
    dtmf: bool = False  # a key did it


@dataclass(frozen=True, slots=True)
class BeginSpeech:
    """The caller speaks: let the recogniser open an utterance."""


@dataclass(frozen=True, slots=True)
class EndOfSpeech:
    """The caller has finished: ask the recogniser for its final."""

    spoke_until_ms: int  # when his last sound ended


@dataclass(frozen=True, slots=True)
class DropSpeech:
    """The utterance does not count, or its final came too late: let the recogniser forget it."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The caller's turn, to be answered."""

    text: str
    source: TurnSource = TurnSource.SPEECH
    confidence: float | None = None
    rejected: bool = False
    interrupted: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class SilenceExpired:
    """The caller has said nothing for the n-th time."""

    count: int
    last: bool


@dataclass(frozen=True, slots=True)
class CallOverdue:
    """The call has reached its maximum length."""


@dataclass(frozen=True, slots=True)
class KeysDropped:
    """Keys were forgotten: too many were typed ahead, or the question wants none from before."""

    count: int


Decision = (
    BargeIn
    | PauseBot
    | ResumeBot
    | BeginSpeech
    | EndOfSpeech
    | DropSpeech
    | TurnEnded
    | SilenceExpired
    | CallOverdue
    | KeysDropped
)
