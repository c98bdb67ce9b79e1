"""Feeding a turn engine on a virtual clock: events with times in, decisions with times out."""

from dialog.turn import (
    BotSpeaking,
    Decision,
    ReplyReady,
    Transcript,
    TurnEnded,
    TurnInput,
    TurnPolicy,
)
from dialog.turn_engine import TurnEngine

GREETED: list[tuple[int, TurnInput]] = [(0, ReplyReady())]  # a bot that has said nothing
BOT_TALKS: list[tuple[int, TurnInput]] = [(0, BotSpeaking(True)), (0, ReplyReady())]


def final(text: str, rejected: bool = False, confidence: float | None = None) -> Transcript:
    return Transcript(text, final=True, rejected=rejected, confidence=confidence)


def partial(text: str, complete: bool = False) -> Transcript:
    return Transcript(text, final=False, complete=complete)


def play(
    events: list[tuple[int, TurnInput]],
    policy: TurnPolicy = TurnPolicy(),
    until: int = 6000,
    answers: tuple[str, ...] | None = None,
) -> list[tuple[int, Decision]]:
    """Feed events at their times and ticks at the engine's deadlines."""
    engine, out, queue = TurnEngine(policy), [], sorted(events, key=lambda e: e[0])
    engine.listen(policy, "en", answers)
    while True:
        due = engine.deadline()
        if queue and (due is None or queue[0][0] < due):
            now, event = queue.pop(0)
            out += [(now, d) for d in engine.feed(event, now)]
        elif due is not None and due <= until:
            decisions = engine.tick(due)
            assert decisions or engine.deadline() != due, "a timer that brings nothing would spin"
            out += [(due, d) for d in decisions]
        else:
            return out


def turns(out: list[tuple[int, Decision]]) -> list[tuple[int, TurnEnded]]:
    return [(at, d) for at, d in out if isinstance(d, TurnEnded)]
