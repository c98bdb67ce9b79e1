"""The dialog of a replayed call: a flow, asked again, or what an agent said then."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dialog.turn import TurnPolicy
from dialog.types import (
    Act,
    DialogEngine,
    DialogInput,
    Domain,
    Hangup,
    Listen,
    Note,
    Say,
    SendDtmf,
    Transfer,
    UserTurn,
)
from recordings.calllog import Event
from voicegw.replay.edges import ReplayVoice, now_ms
from voicegw.replay.script import Script, as_fields

_ASKS = frozenset({"turn", "no_input"})


def local_time(script: Script, timezone: str) -> datetime:
    """What the wall clock showed at this moment of the call. Raises ValueError for a timeline without."""
    began = datetime.fromisoformat(script.started_at.replace("Z", "+00:00"))
    return (began + timedelta(milliseconds=now_ms())).astimezone(ZoneInfo(timezone) if timezone else None)


class TimedDialog:
    """Implements DialogEngine: another one, whose replies take as long as they took then."""

    def __init__(self, inner: DialogEngine, script: Script, voice: ReplayVoice) -> None:
        self._inner, self._script, self._voice = inner, script, voice

    @property
    def domain(self) -> Domain:
        return self._inner.domain

    def greet(self) -> AsyncGenerator[Act, None]:
        return self._inner.greet()

    def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        at = turn.at_ms if isinstance(turn, UserTurn) else now_ms()
        self._voice.first_audio_ms = self._script.first_audio_ms(at)
        return self._inner.reply(turn)

    def heard(self, text: str, complete: bool) -> None:  # noqa: FBT001 - the port has it so
        self._inner.heard(text, complete)


class RecordedDialog:
    """Implements DialogEngine: what was said then, turn by turn. For agents: a model would answer anew."""

    domain = Domain("recorded")

    def __init__(self, events: Iterable[Event], base: TurnPolicy) -> None:
        """`base` is the call's policy, which the dialog changed then. Raises TypeError or ValueError for
        settings of another version."""
        self._replies: list[list[Act]] = [[]]
        for event in events:
            if event.name in _ASKS or (event.name == "error" and event.fields.get("where") == "transfer"):
                self._replies.append([])
            elif (act := _act(event, base)) is not None:
                self._replies[-1].append(act)

    async def greet(self) -> AsyncGenerator[Act, None]:
        for act in self._replies.pop(0) if self._replies else []:
            yield act

    def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        return self.greet()

    def heard(self, text: str, complete: bool) -> None:  # noqa: FBT001 - the port has it so
        """It remembers nothing."""


def _act(event: Event, base: TurnPolicy) -> Act | None:
    fields = event.fields
    if event.name == "note":
        data = fields.get("data")
        return Note(str(fields.get("name", "")), data if isinstance(data, dict) else {})
    if event.name == "dtmf" and fields.get("direction") == "sent":
        return SendDtmf(str(fields.get("digit", "")))
    if event.name != "act":
        return None
    match fields.get("kind"):
        case "say":
            return Say(str(fields.get("text", "")))
        case "listen":
            turn = fields.get("turn")
            changes = dict(turn) if isinstance(turn, dict) else {}
            return Listen(
                policy=replace(base, **as_fields(changes)), language=str(fields.get("language", "en"))
            )
        case "transfer":
            return Transfer(str(fields.get("target", "")))
        case "hangup":
            return Hangup(str(fields.get("reason", "done")))
    return None
