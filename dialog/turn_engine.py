"""Turn taking: when has the caller finished, and may he interrupt?

Sans-I/O: `feed` takes what happened and when, `deadline` says when to call `tick`, and both return
decisions. Times are milliseconds of call time.

    quiet --SpeechStarted--> speaking --SpeechStopped--> pausing --silence--> finishing --final--> TurnEnded
                                 ^------SpeechStarted------|                      |
                                 ^------SpeechStarted-----------------------------|

Speech over the bot pauses it once it lasts long enough, and is a barge-in once it holds a word or
lasts longer than any cough; else the bot goes on:

    bot speaks --barge_in_ms--> PauseBot --a word, barge_in_sure_ms--> BargeIn
         ^----ResumeBot----resume_ms, a final without words----'

A listener's "mhm" does neither. An answer over the bot that may not interrupt counts if the bot ends
soon after it. Speech that begins after a turn has ended, but before anything of the reply was audible,
belongs to that turn: the reply is dropped and the turn is given again, longer (`continues`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dialog.backchannels import Backchannels, backchannels_of
from dialog.nlu.base import normalise
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
    KeysDropped,
    OnHold,
    PauseBot,
    ReplyReady,
    ResumeBot,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    TurnEnded,
    TurnInput,
    TurnPolicy,
    TurnScore,
    TurnSource,
)
from dialog.turn_bot import BotState, Silence
from dialog.turn_keys import Keys
from dialog.turn_speech import Speech


class TurnEngine:
    """Turn taking of one call."""

    def __init__(self, policy: TurnPolicy = TurnPolicy()) -> None:
        self.policy = policy  # replaced when the dialog listens for something else
        self._aside: Backchannels = backchannels_of(policy.backchannels, "en")
        self._answers: frozenset[str] | None = None  # what is expected; None: anything
        self._speech = Speech()
        self._voice = False  # the detector hears somebody
        self._keys = Keys()
        self._bot = BotState()
        self._on_hold = False
        self._silence = Silence()
        self._overdue = False

    # What happens

    def listen(
        self, policy: TurnPolicy, language: str = "en", answers: Iterable[str] | None = None
    ) -> list[Decision]:
        """The dialog expects something else from now on: `answers`, None being anything."""
        self.policy = policy
        self._aside = backchannels_of(policy.backchannels, language)
        self._answers = None if answers is None else frozenset(map(normalise, answers))
        dropped = self._keys.flush() if policy.dtmf_flush else 0
        return [KeysDropped(dropped)] if dropped else []

    def feed(self, event: TurnInput, now: int) -> list[Decision]:
        """Take one event; returns what follows from it, in order."""
        decisions: list[Decision] = []
        match event:
            case SpeechStarted(ago):
                self._voice = True
                decisions += self._started(now - ago)
            case SpeechStopped(ago):
                self._voice = False
                self._speech.stopped(now - ago)
            case Transcript(final=False):
                decisions += self._partial(event, now)
            case Transcript():
                decisions += self._final(event, now)
            case TurnScore(score):
                self._speech.score = score if self._speech.silent_since is not None else None
            case Dtmf(digit):
                decisions += self._key(digit, now)
            case BotSpeaking(active):
                self._bot.heard(active=active)
                decisions += self._keys_barge_in()
            case ReplyReady():
                self._bot.replying = False
            case OnHold(active):
                self._on_hold = active
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
        yield from self._interruption_timers()
        if speech.since is not None:
            yield speech.since + policy.max_speech_ms, self._end_of_speech
        elif speech.silent_since is not None:
            complete = speech.partial.complete
            wait = policy.complete_silence_ms if complete else policy.silence_ms(speech.score)
            yield speech.silent_since + wait, self._end_of_speech
        if speech.final_due is not None:
            yield speech.final_due, self._final_missing
        if speech.early_until is not None:
            yield speech.early_until, self._forget
        if self._keys and not self._bot.talking:
            yield self._keys.due(policy), self._keys_done
        if (due := self._silence.due(policy)) is not None:
            yield due, self._nobody_spoke
        if not self._overdue:
            yield policy.max_call_ms, self._expired

    def _interruption_timers(self) -> Iterator[tuple[int, Callable[[int], list[Decision]]]]:
        policy, speech = self.policy, self._speech
        if speech.partial.text and (at := self._words_at()) is not None:
            yield at, self._barge_in
        if speech.since is None:
            if self._bot.paused:
                yield speech.last_sound + policy.resume_ms, self._resume
        elif self._bot.may_be_stopped(Interrupt.SPEECH, policy):
            onset = speech.since - speech.spoken_ms
            listening = bool(speech.partial.text) and not speech.words(self._aside)
            if self._bot.paused or listening:  # a word would have interrupted by now
                yield onset + max(policy.barge_in_ms, policy.barge_in_sure_ms), self._barge_in
            else:
                yield onset + policy.barge_in_ms, self._pause if policy.resume_ms else self._barge_in

    def _settle(self, now: int) -> list[Decision]:
        """Bring in step what depends on several things: who is quiet, and who speaks on."""
        decisions, speech = list[Decision](), self._speech
        if speech.early_until is not None and not self._bot.talking:
            decisions = self._turn()  # the bot has ended: it was an answer
        elif self._voice and not (self._bot.talking or speech.pending):
            decisions = self._started(now)  # a noise that never stops counts anew after the bot's words
        busy = self._bot.talking or self._speech.pending or self._keys or self._on_hold
        self._silence.settle(now, quiet=not busy)
        return decisions

    # Speech

    def _started(self, at: int) -> list[Decision]:
        speech = self._speech
        if not speech.pending and not speech.finals:
            self._bot.speech_begins()
        begin: list[Decision] = [] if speech.open else [BeginSpeech()]
        speech.started(at)
        return begin

    def _end_of_speech(self, now: int) -> list[Decision]:
        self._speech.ended(now, now + self.policy.final_timeout_ms)
        return [EndOfSpeech(self._speech.last_sound)]

    def _partial(self, partial: Transcript, now: int) -> list[Decision]:
        begin: list[Decision] = []
        if not self._speech.open:
            if not partial.unasked or self._speech.final_due is not None:
                return []
            begin = self._started(now)  # a word too short for the detector, or before it
            self._speech.stopped(now)
        self._speech.guess(partial, now)
        return begin + self._interrupt_by_words(now)

    def _final(self, final: Transcript, now: int) -> list[Decision]:
        speech = self._speech
        if speech.final_due is None:
            if not final.unasked:
                return []  # nobody asked: its utterance was dropped meanwhile
            if not speech.open:
                self._started(now)  # it opens and closes a turn
                speech.stopped(now)
                speech.silent_since = None
        speech.understood(final)
        if speech.open:
            return self._interrupt_by_words(now)  # speech goes on: one turn, when that ends
        if not self._bot.talking:
            return self._turn()
        return self._over_bot(now)

    def _final_missing(self, now: int) -> list[Decision]:
        """The recogniser is late. What it believed last may still have become anything: not understood."""
        speech = self._speech
        dropped: list[Decision] = [DropSpeech(), BeginSpeech()] if speech.open else [DropSpeech()]
        return dropped + self._final(Transcript("", final=True, rejected=True), now)

    def _over_bot(self, now: int) -> list[Decision]:
        """Speech has ended while the bot was at it: an interruption, an early answer, or nothing."""
        if found := self._interrupt_by_words(now):
            return found + self._turn()
        resumed = self._resume(now) if self._bot.paused else []
        until = self._speech.last_sound + self.policy.early_answer_ms
        answers = self._speech.may_answer(self._aside, self._answers)
        if self._bot.barged or self._bot.late or until <= now or not answers:
            return resumed + self._forget(now)
        self._speech.early_until, self._speech.spoken_ms = until, 0
        return resumed

    def _forget(self, now: int) -> list[Decision]:
        self._speech, self._bot.late = Speech(), False
        return []

    def _turn(self) -> list[Decision]:
        turn, self._speech = self._speech.turn(), Speech()
        late, self._bot.late = self._bot.late and self._bot.barged, False
        before = self._bot.last_turn if late else None
        if before is not None:  # with nothing new understood, the turn is given again as it was
            turn = replace(turn, text=f"{before} {turn.text}".strip(), rejected=False, continues=True)
        elif not turn.text and not turn.rejected:
            return []
        return self._ended(replace(turn, interrupted=self._bot.interrupted))

    def _ended(self, turn: TurnEnded) -> list[Decision]:
        self._silence.count = 0
        self._bot.answers(turn)
        return [turn]

    # Interruption

    def _words_at(self) -> int | None:
        """When the words interrupt the bot; None: never."""
        if not self._bot.may_be_stopped(Interrupt.WORDS, self.policy):
            return None
        least = 1 if self._bot.paused else max(1, self.policy.barge_in_words)
        return self._speech.interrupts_at(self._aside, least, self.policy.barge_in_firm_ms)

    def _interrupt_by_words(self, now: int) -> list[Decision]:
        at = self._words_at()
        return self._barge_in(now) if at is not None and at <= now else []

    def _pause(self, now: int) -> list[Decision]:
        self._bot.pause(now)
        return [PauseBot(self._speech.length(now))]

    def _resume(self, now: int) -> list[Decision]:
        self._speech.spoken_ms = 0  # what comes next is judged for itself
        return [ResumeBot(self._bot.resume(now))]

    def _barge_in(self, now: int) -> list[Decision]:
        self._bot.silenced()
        return [BargeIn(self._speech.length(now), self._speech.words(self._aside))]

    # Keys

    def _key(self, digit: str, now: int) -> list[Decision]:
        if not self._keys.press(digit, now, self.policy.dtmf_ahead):
            return [KeysDropped(1)]
        return self._keys_barge_in()

    def _keys_barge_in(self) -> list[Decision]:
        """Keys silence the bot, but not while a reply is in the making: they were typed ahead."""
        if not self._keys or not self._bot.speaking or self.policy.interrupt is Interrupt.NEVER:
            return []
        self._bot.silenced()
        return [BargeIn(dtmf=True)]

    def _keys_done(self, now: int) -> list[Decision]:
        dropped: list[Decision] = [DropSpeech()] if self._speech.pending else []
        self._speech = Speech()
        keys = self._keys.take(self.policy)
        return dropped + self._ended(TurnEnded(keys, TurnSource.DTMF, interrupted=self._bot.interrupted))

    # Silence

    def _nobody_spoke(self, now: int) -> list[Decision]:
        self._bot.reply_begins()
        return [self._silence.expire(self.policy)]

    def _expired(self, now: int) -> list[Decision]:
        self._overdue = True
        self._bot.reply_begins()
        self._bot.barged = True
        return [CallOverdue()]
