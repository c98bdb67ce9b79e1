"""What a call reports about itself: the names of its events, and the port that takes them.

One stream of events feeds the timeline on disk, the metrics and the database; docs/timeline.md
says which fields each event carries.
"""

from typing import Literal, Protocol

EventName = Literal[
    "call",  # state, cause, ...: a milestone of the call as a whole
    "sip",  # a signalling message or state worth keeping
    "media",  # codec, addresses; at the end packet counts, loss and jitter
    "vad",  # speaking
    "partial",  # text: what the recogniser believes so far
    "final",  # text, confidence, rejected
    "session",  # the call is answered: what its turn taking starts from
    "eot",  # score: how finished the caller sounds in this pause
    "end_of_speech",  # the caller has finished: the recogniser is asked for its final
    "turn",  # the caller's turn as given to the dialog
    "act",  # what the dialog decided
    "heard",  # what the caller heard of one utterance of the bot
    "latency",  # ms by step from the end of the caller's speech to the bot's first packet
    "barge_in",
    "pause",  # a sound over the bot silenced it; what it had to say is kept
    "resume",  # it was nothing: the bot goes on
    "echo",  # the bot's voice comes back in the caller's line, and is taken for silence
    "hold",  # active: the far end has put us on hold, or is back
    "no_input",
    "dtmf",
    "carrier",  # kind, ...: what the carrier tells besides (a machine answered, a recording); left, error
    "party",  # who else is in the call: joined, left, on hold
    "speaker",  # name: who speaks now, where several are
    "note",  # what the dialog wants to be remembered: node, slot, intent
    "error",  # where, message: something failed and the call went on
]


class CallObserver(Protocol):
    """Takes the events of one call and keeps its clock. Returns at once, never raises."""

    @property
    def epoch(self) -> float:
        """The loop's time, in seconds, at which the call clock reads 0."""

    def event(self, name: EventName, /, **fields: object) -> None:
        """Record one event; the observer stamps it with the call's clock."""


class CallTap(Protocol):
    """Takes the audio of one call for recording. Returns at once, never raises."""

    def received(self, pcm: bytes, at_ms: float) -> None:
        """Audio from the far end, and when its first sample arrived in call time."""

    def played(self, pcm: bytes, at_ms: float) -> None:
        """Audio that reached the far end's ear, and when its first sample did."""
