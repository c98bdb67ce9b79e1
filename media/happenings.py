"""What a call session's control plane reads from its queue, in the order in which it happened."""

from dataclasses import dataclass

from dialog.turn import BotSpeaking, Dtmf, OnHold, SpeechStarted, SpeechStopped, Transcript, TurnScore
from dialog.types import Hangup, Transfer, TransferFailed
from media.leg import HangupCause


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """A reply was decided to its end."""

    number: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The server ends the call."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The turn engine's deadline has passed."""

    due: int


TurnEvent = SpeechStarted | SpeechStopped | Transcript | Dtmf | BotSpeaking | OnHold | TurnScore
Happening = TurnEvent | ReplyDone | Goodbye | Tick | Hangup | Transfer | TransferFailed | HangupCause
