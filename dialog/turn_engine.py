"""Turn taking: when has the caller finished, and may he interrupt?

Sans-I/O: `feed` takes what happened and when, `deadline` says when to call `tick`, and both return
decisions. Times are milliseconds of call time.

    quiet --SpeechStarted--> speaking --SpeechStopped--> pausing --silence--> finishing --final--> TurnEnded
                                 ^------SpeechStarted------|                      |
                                 ^------SpeechStarted-----------------------------|

Speech over the bot is a barge-in once it lasts long enough or holds enough words. Speech that begins
after a turn has ended, but before anything of the reply was audible, belongs to that turn: the reply
is dropped and the turn is given again, longer (`continues`). Speech over a bot that may not be
interrupted counts only if it outlasts the bot.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dialog.turn import (
    BargeIn,
    BeginSpeech,
    BotSpeaking,
    CallOverdue,
    Decision,
    DropSpeech,
    Dtmf,
    EndOfSpeech,
    Interrupt,
    ReplyReady,
    SilenceExpired,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    TurnEnded,
    TurnInput,
    TurnPolicy,
    TurnSource,
)

NOISE_MS = 300  # speech shorter than this that gave no word was a click or a cough, not a turn


@dataclass(slots=True)
class _Speech:
    """What the caller has said since the last turn."""

    since: int | None = None  # onset of the speech now heard; None while silent
    silent_since: int | None = None  # end of the last sound of an utterance that is still open
    final_due: int | None = None  # the recogniser owes a final, and this is how long we wait
    last_sound: int = 0
    spoken_ms: int = 0  # speech so far, without pauses
    partial: Transcript = Transcript("", final=False)
    finals: list[Transcript] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether the recogniser holds an utterance."""
        return self.since is not None or self.silent_since is not None

    def text(self) -> str:
        return " ".join(t.text for t in self.finals if t.text)

    def words(self) -> int:
        return len(self.text().split()) + len(self.partial.text.split())


class TurnEngine:
    """Turn taking of one call."""

    def __init__(self, policy: TurnPolicy = TurnPolicy()) -> None:
        self.policy = policy  # replaced when the dialog listens for something else
        self._speech = _Speech()
        self._voice = False  # the detector hears somebody
        self._keys = ""
        self._keys_at = 0
        self._replying = True  # the dialog is at work; a call begins with its greeting
        self._audible = False  # something of the reply has been heard
        self._bot = False  # the bot is being heard
        self._barged = False
        self._interrupted = False
        self._last_turn: str | None = None  # a turn whose reply is not audible yet
        self._late = False  # the open speech belongs to that turn
        self._quiet_since: int | None = None
        self._no_inputs = 0
        self._overdue = False

    # What happens

    def feed(self, event: TurnInput, now: int) -> list[Decision]:
        """Take one event; returns what follows from it, in order."""
        decisions: list[Decision] = []
        match event:
            case SpeechStarted(ago):
                self._voice = True
                decisions += self._started(now - ago)
            case SpeechStopped(ago):
                self._voice = False
                self._stopped(now - ago)
            case Transcript(final=False):
                if self._speech.open:
                    self._speech.partial = event
                    decisions += self._interrupt_by_words(now)
            case Transcript():
                decisions += self._final(event, now)
            case Dtmf(digit):
                decisions += self._key(digit, now)
            case BotSpeaking(active):
                self._bot = active
                if active:
                    self._audible = True
                    self._last_turn = self._last_turn if self._late else None
                    decisions += self._keys_barge_in()
            case ReplyReady():
                self._replying = False
        return decisions + self.tick(now)

    def deadline(self) -> int | None:
        """When `tick` must be called next, if nothing else happens."""
        return min((due for due, _ in self._timers()), default=None)

    def tick(self, now: int) -> list[Decision]:
        """Let time pass."""
        decisions = self._settle(now)
        while due := min((t for t in self._timers() if t[0] <= now), key=lambda t: t[0], default=None):
            decisions += due[1](now)
            decisions += self._settle(now)
        return decisions

    def _timers(self) -> Iterator[tuple[int, Callable[[int], list[Decision]]]]:
        policy, speech = self.policy, self._speech
        if speech.since is not None:
            yield speech.since + policy.max_speech_ms, self._end_of_speech
            if self._may_interrupt(Interrupt.SPEECH):
                yield speech.since + policy.barge_in_ms - speech.spoken_ms, self._barge_in
        elif speech.silent_since is not None:
            complete = speech.partial.complete
            wait = policy.complete_silence_ms if complete else policy.end_silence_ms
            yield speech.silent_since + wait, self._end_of_speech
        if speech.final_due is not None:
            yield speech.final_due, self._final_missing
        if self._keys and not self._talking:
            due = 0 if self._keys_complete() else self._keys_at + policy.dtmf_pause_ms
            yield due, self._keys_done
        if self._quiet_since is not None and self._no_inputs < len(policy.no_input_ms):
            before = policy.no_input_ms[self._no_inputs - 1] if self._no_inputs else 0
            yield self._quiet_since + policy.no_input_ms[self._no_inputs] - before, self._silence
        if not self._overdue:
            yield policy.max_call_ms, self._expired

    @property
    def _talking(self) -> bool:
        """Whether it is the bot's turn."""
        return self._replying or self._bot

    def _settle(self, now: int) -> list[Decision]:
        """Bring in step what depends on several things: who is quiet, and who speaks on."""
        decisions: list[Decision] = []
        if self._voice and not self._talking and not self._speech.open and self._speech.final_due is None:
            decisions = self._started(now)  # a noise that never stops counts anew after the bot's words
        quiet = not (self._talking or self._speech.open or self._keys or self._speech.final_due is not None)
        if not quiet:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        return decisions

    # Speech

    def _started(self, at: int) -> list[Decision]:
        speech = self._speech
        if not speech.open and speech.final_due is None and not speech.finals:
            self._late = self._replying and not self._audible and self._last_turn is not None
        begin: list[Decision] = [] if speech.open else [BeginSpeech()]
        speech.since, speech.silent_since, speech.last_sound = at, None, at
        return begin

    def _stopped(self, at: int) -> None:
        speech = self._speech
        if speech.since is None:
            return
        speech.spoken_ms += max(0, at - speech.since)
        speech.since, speech.silent_since, speech.last_sound = None, at, at

    def _end_of_speech(self, now: int) -> list[Decision]:
        speech = self._speech
        if speech.since is not None:  # it never ends: cut it here
            speech.spoken_ms += now - speech.since
            speech.last_sound = now
        speech.since = speech.silent_since = None
        speech.final_due = now + self.policy.final_timeout_ms
        return [EndOfSpeech(speech.last_sound)]

    def _final(self, final: Transcript, now: int) -> list[Decision]:
        speech = self._speech
        if speech.final_due is None:
            return []  # nobody asked: its utterance was dropped meanwhile
        speech.finals.append(final)
        speech.partial, speech.final_due = Transcript("", final=False), None
        if speech.open:
            return []  # speech has gone on meanwhile: one turn, when that ends
        if not self._talking:
            return self._turn()
        return self._turn_over_bot(now)

    def _final_missing(self, now: int) -> list[Decision]:
        """The recogniser is late. What it believed last may still have become anything: not understood."""
        speech = self._speech
        dropped: list[Decision] = [DropSpeech(), BeginSpeech()] if speech.open else [DropSpeech()]
        return dropped + self._final(Transcript("", final=True, rejected=True), now)

    def _turn_over_bot(self, now: int) -> list[Decision]:
        """Speech has ended while the bot was at it: an interruption by words, or nothing."""
        enough = self._speech.words() >= self.policy.barge_in_words
        if self._barged or not enough or not self._may_interrupt(Interrupt.WORDS):
            self._speech = _Speech()
            self._late = False
            return []
        return self._barge_in(now) + self._turn()

    def _turn(self) -> list[Decision]:
        speech, self._speech = self._speech, _Speech()
        late, self._late = self._late and self._barged, False
        text = speech.text()
        scores = [t.confidence for t in speech.finals if t.confidence is not None]
        rejected = not text and (speech.spoken_ms >= NOISE_MS or any(t.rejected for t in speech.finals))
        before = self._last_turn if late else None
        if before is not None:  # with nothing new understood, the turn is given again as it was
            text, rejected = f"{before} {text}".strip(), False
        elif not text and not rejected:
            return []
        confidence, continues = min(scores, default=None), before is not None
        return self._ended(
            TurnEnded(text, TurnSource.SPEECH, confidence, rejected, self._interrupted, continues)
        )

    def _ended(self, turn: TurnEnded) -> list[Decision]:
        self._no_inputs = 0
        self._replying, self._audible, self._barged, self._interrupted = True, False, False, False
        self._last_turn = turn.text if turn.source is TurnSource.SPEECH and not turn.rejected else None
        return [turn]

    # Interruption

    def _may_interrupt(self, by: Interrupt) -> bool:
        """Whether the bot is at it and `by` may stop it. A reply not yet audible always may be dropped."""
        if not self._talking or self._barged:
            return False
        return self._late or self.policy.interrupt in {by, Interrupt.BOTH}

    def _interrupt_by_words(self, now: int) -> list[Decision]:
        enough = self._speech.words() >= self.policy.barge_in_words
        return self._barge_in(now) if enough and self._may_interrupt(Interrupt.WORDS) else []

    def _barge_in(self, now: int) -> list[Decision]:
        speech = self._speech
        spoken = speech.spoken_ms + (now - speech.since if speech.since is not None else 0)
        self._silenced()
        return [BargeIn(spoken, speech.words())]

    def _silenced(self) -> None:
        self._interrupted = self._audible
        self._barged, self._bot, self._replying = True, False, False

    # Keys

    def _key(self, digit: str, now: int) -> list[Decision]:
        self._keys += digit
        self._keys_at = now
        return self._keys_barge_in()

    def _keys_barge_in(self) -> list[Decision]:
        """Keys silence the bot, but not while a reply is in the making: they were typed ahead."""
        if not self._keys or not self._bot or self.policy.interrupt is Interrupt.NEVER:
            return []
        self._silenced()
        return [BargeIn(dtmf=True)]

    def _keys_complete(self) -> bool:
        finish = self.policy.dtmf_finish
        return len(self._keys) >= self.policy.dtmf_max or bool(finish and finish in self._keys)

    def _keys_done(self, now: int) -> list[Decision]:
        keys, finish = self._keys, self.policy.dtmf_finish
        end = keys.find(finish) if finish else -1
        if end > 0 and end <= self.policy.dtmf_max:
            text, self._keys = keys[:end], keys[end + 1 :]
        else:  # a finish key alone is an answer, too
            text, self._keys = keys[: self.policy.dtmf_max], keys[self.policy.dtmf_max :]
            if finish and text and self._keys.startswith(finish):
                self._keys = self._keys[1:]
        dropped: list[Decision] = []
        if self._speech.open or self._speech.final_due is not None:
            self._speech = _Speech()
            dropped = [DropSpeech()]
        return dropped + self._ended(TurnEnded(text, TurnSource.DTMF, interrupted=self._interrupted))

    # Silence

    def _silence(self, now: int) -> list[Decision]:
        self._no_inputs += 1
        last = self._no_inputs == len(self.policy.no_input_ms)
        self._replying, self._audible, self._barged, self._last_turn = True, False, False, None
        return [SilenceExpired(self._no_inputs, last)]

    def _expired(self, now: int) -> list[Decision]:
        self._overdue = True
        self._replying, self._audible, self._barged, self._last_turn = True, False, True, None
        return [CallOverdue()]
