"""Whose turn it is: what the turn engine knows of the bot, and of a line on which nobody speaks."""

from dataclasses import dataclass

from dialog.turn import Interrupt, SilenceExpired, TurnEnded, TurnPolicy, TurnSource


@dataclass(slots=True)
class BotState:
    """The bot's side of turn taking."""

    replying: bool = True  # the dialog is at work; a call begins with its greeting
    audible: bool = False  # something of the reply has been heard
    speaking: bool = False  # it is being heard
    paused: bool = False  # it is silenced by what may be a cough
    paused_at: int = 0  # when that happened last, ms of call time
    barged: bool = False  # it was silenced for good
    interrupted: bool = False  # so the caller's turn is an interruption
    last_turn: str | None = None  # a turn whose reply is not audible yet
    late: bool = False  # the open speech belongs to that turn

    @property
    def talking(self) -> bool:
        """Whether it is the bot's turn."""
        return self.replying or self.speaking or self.paused

    def heard(self, *, active: bool) -> None:
        """The voice reached the caller's ear, or has ended there."""
        self.speaking = active
        if active:
            self.audible = True
            self.last_turn = self.last_turn if self.late else None

    def reply_begins(self) -> None:
        """The dialog is asked."""
        self.replying, self.audible, self.paused, self.barged = True, False, False, False
        self.last_turn = None

    def answers(self, turn: TurnEnded) -> None:
        """The dialog is asked to answer this."""
        self.reply_begins()
        self.interrupted = False
        by_voice = turn.source is TurnSource.SPEECH and not turn.rejected
        self.last_turn = turn.text if by_voice else None

    def speech_begins(self) -> None:
        """The first sound of a new turn: does it go on with the last one?"""
        self.late = self.replying and not self.audible and self.last_turn is not None

    def may_be_stopped(self, by: Interrupt, policy: TurnPolicy) -> bool:
        """Whether it is at it and `by` may stop it. A reply not yet audible always may be dropped."""
        if not self.talking or self.barged:
            return False
        return self.late or self.paused or policy.interrupt in {by, Interrupt.BOTH}

    def pause(self, now: int) -> None:
        """Silence it for the moment."""
        self.paused, self.paused_at = True, now

    def resume(self, now: int) -> int:
        """Let it go on. Returns for how long it was silent."""
        self.paused = False
        return now - self.paused_at

    def silenced(self) -> None:
        """Its reply is dropped."""
        self.interrupted = self.audible
        self.barged, self.speaking, self.paused, self.replying = True, False, False, False


@dataclass(slots=True)
class Silence:
    """How long nobody has spoken, and how often that was too long."""

    since: int | None = None  # ms of call time
    count: int = 0  # of prompts since the caller's last turn

    def settle(self, now: int, *, quiet: bool) -> None:
        """Nobody speaks, or somebody does."""
        if not quiet:
            self.since = None
        elif self.since is None:
            self.since = now

    def due(self, policy: TurnPolicy) -> int | None:
        """When it is too long."""
        if self.since is None or self.count >= len(policy.no_input_ms):
            return None
        before = policy.no_input_ms[self.count - 1] if self.count else 0
        return self.since + policy.no_input_ms[self.count] - before

    def expire(self, policy: TurnPolicy) -> SilenceExpired:
        """It was."""
        self.count += 1
        return SilenceExpired(self.count, self.count == len(policy.no_input_ms))
