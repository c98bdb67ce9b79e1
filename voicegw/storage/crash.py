"""Calls that an earlier run of the server did not live to end get an end: cause `crashed`.

Their timelines know more than the database, which is written a little later: turns, length, and the end
itself where only the database missed it come from there. A call that the database has never heard of is
entered whole.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from media.leg import CallInfo, Direction
from recordings.calllog import Event, read_timeline
from recordings.recorder import RecordingState
from recordings.recover import Recovery
from recordings.timeline import turns
from voicegw.storage.models import Call, CallState
from voicegw.storage.ops import CRASHED, Answered, Ended, Op, Recorded, Spoken, Started, statements


@dataclass(frozen=True, slots=True)
class _Open:
    """A call that is not ended in the database."""

    id: str
    started_at: datetime
    answered_at: datetime | None
    recording_path: str | None
    timeline_path: str | None


async def close_crashed(
    connection: AsyncConnection, data_dir: Path, recovery: Recovery, server: str
) -> list[str]:
    """Ids of the calls that were closed. Where several servers share a database, those of `server`."""
    query = select(Call.id, Call.started_at, Call.answered_at, Call.recording_path, Call.timeline_path).where(
        Call.state != CallState.ENDED.value
    )
    if connection.dialect.name != "sqlite":
        query = query.where(Call.server == server)
    left = [_Open(*row) for row in await connection.execute(query) if row.id not in recovery.living]
    found = {file.call_id for file in recovery.closed}
    known = set(await connection.scalars(select(Call.id).where(Call.id.in_(found))))
    for call_id in sorted(found - known):
        begun = await asyncio.to_thread(lambda id: list(_begun(id, data_dir, recovery, server)), call_id)
        await _execute(connection, begun)
        left += [_opened(begun)] if begun else []
    for call in left:
        await _execute(connection, await asyncio.to_thread(_ops, call, data_dir, recovery))
    return [call.id for call in left]


async def _execute(connection: AsyncConnection, ops: list[Op]) -> None:
    for op in ops:
        for statement, rows in statements(op):
            await connection.execute(statement, rows or None)


def _begun(call_id: str, data_dir: Path, recovery: Recovery, server: str) -> Iterator[Op]:
    """What the database should have been told when the call began, by its timeline."""
    files = {file.path.suffix: str(file.path.relative_to(data_dir)) for file in recovery.closed
             if file.call_id == call_id and file.path.exists()}  # fmt: skip
    events = [e for e in _events(data_dir, files.get(".jsonl")) if e.name == "call"]
    states = {str(event.fields.get("state")): event for event in events}
    if (ringing := states.get("ringing")) is None:
        return
    said = {key: str(value) for key, value in ringing.fields.items()}
    direction = Direction.OUTBOUND if said.get("direction") == Direction.OUTBOUND.value else Direction.INBOUND
    parties = said.get("from", ""), said.get("to", "")
    info = CallInfo(call_id, *parties, said.get("carrier", ""), said.get("carrier_id", ""), direction)
    at = datetime.fromisoformat(ringing.at)
    yield Started(info, said.get("flow", ""), at, server, files.get(".jsonl"))
    if (answered := states.get("answered")) is not None:
        yield Answered(call_id, datetime.fromisoformat(answered.at), files.get(".wav"))


def _opened(begun: list[Op]) -> _Open:
    match begun:
        case [Started(info, _, at, _, timeline), Answered(_, answered_at, recording)]:
            return _Open(info.call_id, at, answered_at, recording, timeline)
        case [Started(info, _, at, _, timeline)]:
            return _Open(info.call_id, at, None, None, timeline)
    raise AssertionError(begun)


def _ops(call: _Open, data_dir: Path, recovery: Recovery) -> list[Op]:
    closed = [file for file in recovery.closed if file.call_id == call.id]
    events = _events(data_dir, call.timeline_path)
    last_ms = max([file.last_ms for file in closed] + [event.t_ms for event in events], default=None)
    ended_at = call.answered_at or call.started_at
    if last_ms is not None:
        ended_at = max(ended_at, call.started_at + timedelta(milliseconds=last_ms))
    duration = None
    if call.answered_at is not None:
        duration = round((ended_at - call.answered_at).total_seconds() * 1000)
    ops: list[Op] = [Ended(call.id, ended_at, _cause(events), None, duration)]
    if events:
        ops.append(Spoken(call.id, 0, turns(events)))
    if call.recording_path is not None:
        ops.append(_recorded(call.id, call.recording_path, data_dir, recovery))
    return ops


def _cause(events: list[Event]) -> str:
    """What the timeline says; nothing but the database may have missed the call's end."""
    last = events[-1] if events else None
    if last is not None and (last.name, last.fields.get("state")) == ("call", "ended"):
        return str(last.fields.get("cause", CRASHED))
    return CRASHED


def _events(data_dir: Path, path: str | None) -> list[Event]:
    if path is None:
        return []
    try:
        return read_timeline(data_dir / path)
    except OSError:
        return []


def _recorded(call_id: str, path: str, data_dir: Path, recovery: Recovery) -> Recorded:
    file = data_dir / path
    if not file.exists():
        return Recorded(call_id, RecordingState.FAILED.value)
    state = RecordingState.COMPLETE
    if any(file == alone.path for alone in recovery.left_alone):
        state = RecordingState.FAILED
    elif any(file == closed.path for closed in recovery.closed):
        state = RecordingState.PARTIAL
    return Recorded(call_id, state.value, path=path)
