"""What the caller has said since the last turn, as the turn engine keeps it."""

from dataclasses import dataclass, field

from dialog.backchannels import Backchannels
from dialog.turn import Transcript


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

    def words(self, aside: Backchannels) -> int:
        """How many words are recognised, backchannels aside."""
        return aside.words(f"{self.text()} {self.partial.text}")

    @property
    def rejected(self) -> bool:
        """Whether the recogniser heard speech that it did not understand."""
        return any(t.rejected for t in self.finals)
