"""Calls that an earlier run of the server did not live to end get an end: cause `crashed`.

Their timelines know more than the database, which is written a little later: turns and length come from
there.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from recordings.calllog import Event, read_timeline
from recordings.recorder import RecordingState
from recordings.recover import Recovery
from recordings.timeline import turns
from voicegw.storage.models import Call, CallState
from voicegw.storage.ops import CRASHED, Ended, Op, Recorded, Spoken, statements


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
    for call in left:
        for op in await asyncio.to_thread(_ops, call, data_dir, recovery):
            for statement, rows in statements(op):
                await connection.execute(statement, rows or None)
    return [call.id for call in left]


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
    ops: list[Op] = [Ended(call.id, ended_at, CRASHED, None, duration)]
    if events:
        ops.append(Spoken(call.id, 0, turns(events)))
    if call.recording_path is not None:
        ops.append(_recorded(call.id, call.recording_path, data_dir, {file.path for file in closed}))
    return ops


def _events(data_dir: Path, path: str | None) -> list[Event]:
    if path is None:
        return []
    try:
        return read_timeline(data_dir / path)
    except OSError:
        return []


def _recorded(call_id: str, path: str, data_dir: Path, closed: set[Path]) -> Recorded:
    file = data_dir / path
    if not file.exists():
        return Recorded(call_id, RecordingState.FAILED.value)
    state = RecordingState.PARTIAL if file in closed else RecordingState.COMPLETE
    return Recorded(call_id, state.value, path=path)
