"""What a call session tells its observer: one method a kind of thing, so that the names and fields of
events (docs/timeline.md) stand in one place."""

from dataclasses import asdict, fields

from dialog.breaker import Switched
from dialog.turn import (
    BargeIn,
    Dtmf,
    EndOfSpeech,
    OnHold,
    PauseBot,
    ResumeBot,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    TurnInput,
    TurnPolicy,
    TurnScore,
)
from dialog.types import Act, Hangup, Listen, Note, NoteName, Say, SendDtmf, Transfer, UserTurn
from media.observe import CallObserver
from media.playout import Heard
from media.reply import Milestones


class CallReport:
    """Words for one call's events."""

    def __init__(self, observer: CallObserver) -> None:
        self._event = observer.event
        self._policy = TurnPolicy()  # the call's own

    def happened(self, event: TurnInput) -> None:
        """An input of the turn engine; the bot's own speech is told by what was heard."""
        match event:
            case SpeechStarted(ago):
                self._event("vad", speaking=True, ago_ms=ago)
            case SpeechStopped(ago):
                self._event("vad", speaking=False, ago_ms=ago)
            case Transcript(final=False):
                self._event("partial", text=event.text, **_flags(event))
            case Transcript(text, True, confidence, rejected):
                self._event("final", text=text, confidence=confidence, rejected=rejected, **_flags(event))
            case Dtmf(digit):
                self._event("dtmf", digit=digit, direction="received")
            case TurnScore(score):
                self._event("eot", score=round(score, 3))
            case OnHold(active):
                self._event("hold", active=active)

    def began(self, policy: TurnPolicy, lead_ms: int) -> None:
        """The call is answered; `policy` is its own, which flow nodes change."""
        self._policy = policy
        self._event("session", lead_ms=lead_ms, turn=_changes(policy, TurnPolicy()))

    def end_of_speech(self, decision: EndOfSpeech) -> None:
        """The caller has finished: the recogniser is asked for its final."""
        self._event("end_of_speech", spoke_until_ms=decision.spoke_until_ms)

    def turn(self, turn: UserTurn) -> None:
        """The caller's turn, as the dialog gets it."""
        self._event(
            "turn",
            text=turn.text,
            source=turn.source.value,
            confidence=turn.confidence,
            rejected=turn.rejected,
            interrupted=turn.interrupted,
            continues=turn.continues,
            at_ms=turn.at_ms,
        )

    def switched(self, kind: str, change: Switched) -> None:
        """An engine gave way to another."""
        self._event("note", name=NoteName.SWITCHED, data={"kind": kind, **asdict(change)})

    def act(self, act: Act) -> None:
        """What the dialog decided, at the moment it takes effect."""
        match act:
            case Say(text, language):
                other = {"language": language} if language else {}
                self._event("act", kind="say", text=text, **other)
            case Listen(hints, policy, language):
                turn = _changes(policy or self._policy, self._policy)
                what = {"phrases": len(hints.phrases), "open": hints.open, "language": language}
                self._event("act", kind="listen", **what, turn=turn)
            case Note(name, data):
                self._event("note", name=name, data=dict(data))
            case SendDtmf(digits):
                self._event("dtmf", digit=digits, direction="sent")
            case Transfer(target, mode):
                self._event("act", kind="transfer", target=target, mode=mode.value)
            case Hangup(reason):
                self._event("act", kind="hangup", reason=reason)

    def heard(self, heard: Heard, at_ms: int) -> None:
        """What of one utterance reached the caller, and when it began to."""
        self._event(
            "heard", text=heard.text, said=heard.said, complete=heard.complete, at_ms=at_ms, ms=heard.ms
        )

    def latency(self, turn_at_ms: int, milestones: Milestones) -> None:
        """How long each step took, from the caller's last sound to the bot's first packet."""
        self._event("latency", turn_at_ms=turn_at_ms, **milestones.steps_ms())

    def barge_in(self, barge_in: BargeIn) -> None:
        """The bot was silenced."""
        self._event("barge_in", speech_ms=barge_in.speech_ms, words=barge_in.words, dtmf=barge_in.dtmf)

    def paused(self, decision: PauseBot | ResumeBot) -> None:
        """The bot was silenced by what may be a cough; or goes on."""
        match decision:
            case PauseBot(speech_ms):
                self._event("pause", speech_ms=speech_ms)
            case ResumeBot(silent_ms):
                self._event("resume", silent_ms=silent_ms)

    def echo(self, delay_ms: float, gain_db: float) -> None:
        """The bot's own voice was found in the caller's line."""
        self._event("echo", delay_ms=delay_ms, gain_db=gain_db)

    def keys_dropped(self, count: int) -> None:
        """Keys were forgotten. Which ones is nobody's business."""
        self._event("dtmf", count=count, direction="dropped")

    def no_input(self, count: int) -> None:
        """Nobody spoke, for the n-th time."""
        self._event("no_input", count=count)

    def closing(self, reason: str) -> None:
        """We are about to hang up."""
        self._event("call", state="closing", reason=reason)

    def error(self, where: str, message: str) -> None:
        """Something failed and the call goes on."""
        self._event("error", where=where, message=message)


def _flags(transcript: Transcript) -> dict[str, bool]:
    """What is out of the ordinary about it."""
    return {name: True for name in ("complete", "fragment", "unasked") if getattr(transcript, name)}


def _changes(policy: TurnPolicy, base: TurnPolicy) -> dict[str, object]:
    """Fields in which a policy differs from another."""
    values = {f.name: getattr(policy, f.name) for f in fields(policy)}
    return {name: value for name, value in values.items() if value != getattr(base, name)}
