"""Plays a recorded call again."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dialog.turn import TurnPolicy
from dialog.types import DialogEngine
from media.callconfig import Engines, SessionConfig
from media.echo import Config as EchoConfig
from media.observe import EventName
from media.session import CallSession
from media.tasks import task_scope
from recordings.calllog import Event
from voicegw.replay import clock
from voicegw.replay.dialog import TimedDialog
from voicegw.replay.edges import ReplayEars, ReplayEstimate, ReplayLeg, ReplayVad, ReplayVoice, now_ms, until
from voicegw.replay.script import END_MS, Script


@dataclass(frozen=True, slots=True)
class Again:
    """What is played: a script, by whom it is answered, and how patiently."""

    script: Script
    dialog: Callable[[], DialogEngine]  # called on the replay's clock
    policy: TurnPolicy


class _Observer:
    """Implements CallObserver: keeps what a timeline would."""

    epoch = 0.0

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, name: EventName, /, **fields: object) -> None:
        self.events.append(Event(now_ms(), "", name, fields))


def replay(again: Again) -> Sequence[Event]:
    """The events of the call as it goes now. Takes about 0.2 s a minute of call."""
    return clock.run(_play(again))


async def _play(again: Again) -> Sequence[Event]:
    script, observer = again.script, _Observer()
    vad, ears, voice = ReplayVad(), ReplayEars(script), ReplayVoice(script)
    leg = ReplayLeg(script, vad)
    await until(script.answered)
    config = SessionConfig(again.policy, echo=EchoConfig(enabled=False))
    dialog = TimedDialog(again.dialog(), script, voice)
    estimate = ReplayEstimate(script)
    session = CallSession(leg, Engines(vad, ears, voice, eot=estimate), dialog, config, observer)
    end_ms = script.ended + (END_MS if script.closed_by_bot else 0)

    async def caller() -> None:
        await asyncio.sleep(0)  # the session has started the leg
        await leg.talk(end_ms)

    async with task_scope() as start:
        start(caller(), "caller")
        start(ears.hear(), "ears")
        await session.run()
    await estimate.close()
    return observer.events
