"""What the caller has said since the last turn, as the turn engine keeps it."""

from dataclasses import dataclass, field

from dialog.backchannels import Backchannels
from dialog.nlu.base import normalise
from dialog.turn import Transcript, TurnEnded, TurnSource

NOISE_MS = 300  # speech shorter than this that gave no word was a click or a cough, not a turn


@dataclass(slots=True)
class Speech:
    """One turn's speech in the making. Times are milliseconds of call time."""

    since: int | None = None  # onset of the speech now heard; None while silent
    silent_since: int | None = None  # end of the last sound of an utterance that is still open
    final_due: int | None = None  # the recogniser owes a final, and this is how long we wait
    early_until: int | None = None  # an answer over the bot, which counts if the bot ends by then
    last_sound: int = 0
    spoken_ms: int = 0  # speech so far, without pauses
    score: float | None = None  # how finished it sounds, 0..1, in this pause
    partial: Transcript = Transcript("", final=False)
    finals: list[Transcript] = field(default_factory=list)
    guesses: list[tuple[str, int]] = field(default_factory=list)  # words of the partial, believed since

    @property
    def open(self) -> bool:
        """Whether the recogniser holds an utterance."""
        return self.since is not None or self.silent_since is not None

    @property
    def pending(self) -> bool:
        """Whether something of it is still to come."""
        return self.open or self.final_due is not None

    def started(self, at: int) -> None:
        """The caller speaks."""
        self.since, self.silent_since, self.last_sound = at, None, at
        self.early_until = self.score = None

    def stopped(self, at: int) -> None:
        """The caller is silent, maybe only for a moment."""
        if self.since is not None:
            self.spoken_ms += max(0, at - self.since)
            self.since, self.silent_since, self.last_sound = None, at, at

    def ended(self, now: int, final_due: int) -> None:
        """That was all: the final is asked for."""
        if self.since is not None:  # it never ends: cut it here
            self.spoken_ms += now - self.since
            self.last_sound = now
        self.since = self.silent_since = None
        self.final_due = final_due

    def length(self, now: int) -> int:
        """Milliseconds of speech so far."""
        return self.spoken_ms + (now - self.since if self.since is not None else 0)

    def text(self) -> str:
        """What is understood for good."""
        return " ".join(t.text for t in self.finals if t.text)

    def guess(self, partial: Transcript, now: int) -> None:
        """What the recogniser believes so far; words that it has not changed are as old as they are."""
        words, kept = partial.text.split(), 0
        while kept < min(len(words), len(self.guesses)) and words[kept] == self.guesses[kept][0]:
            kept += 1
        self.guesses[kept:] = [(word, now) for word in words[kept:]]
        self.partial = partial

    def understood(self, final: Transcript) -> None:
        """A final: the partials before it are history."""
        self.finals.append(final)
        self.guesses, self.partial, self.final_due = [], Transcript("", final=False), None

    def words(self, aside: Backchannels) -> int:
        """How many words are recognised, backchannels aside."""
        return aside.words(f"{self.text()} {self.partial.text}")

    def interrupts_at(self, aside: Backchannels, least: int, firm_ms: int) -> int | None:
        """Since when, or from when on, `least` words are sure enough; None: there are not so many."""
        text = self.text()
        if aside.words(text) >= least:
            return 0
        if self.partial.fragment:
            return None
        for word, since in self.guesses:
            text += f" {word}"
            if aside.words(text) >= least:
                return since + firm_ms
        return None

    def may_answer(self, aside: Backchannels, answers: frozenset[str] | None) -> bool:
        """Whether it could be an answer. An "okay" is only where it is expected; None: anything is."""
        text = self.text()
        expected = answers is None or normalise(text) in answers
        return bool(text) and (expected or aside.words(text) > 0)

    def turn(self) -> TurnEnded:
        """All of it as the caller's turn; with neither text nor rejection it was nothing."""
        text = self.text()
        scores = [t.confidence for t in self.finals if t.confidence is not None]
        speech = self.spoken_ms >= NOISE_MS or any(t.rejected for t in self.finals)
        return TurnEnded(text, TurnSource.SPEECH, min(scores, default=None), rejected=speech and not text)
