"""Reading what remains of calls, for the web pages."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from recordings.calllog import append, encode
from voicegw import clock
from voicegw.storage.reader import CallReader, UnknownCall
from voicegw.storage.view import call_json

REPORTS = timedelta(days=2)  # carriers' recordings are ready within minutes

Call = dict[str, Any]
"""The same shape as `voicegw calls show --json`, files by name only: paths are nobody's business there."""


class Archive:
    """Calls of the past, and those in progress. Raises StorageError when the database cannot be read."""

    def __init__(self, reader: CallReader, data_dir: Path) -> None:
        self._reader, self._data = reader, data_dir

    async def recent(self, limit: int) -> list[Call]:
        """The last calls without their turns, newest first."""
        return [_public(call_json(call, self._data)) for call in await self._reader.recent(limit)]

    async def find(self, call_id: str) -> Call | None:
        """One call with its turns."""
        found = await self._full(call_id)
        return None if found is None else _public(found)

    async def file(self, call_id: str, kind: str) -> Path | None:
        """Its `recording` (stereo WAV) or `timeline` (JSON lines), if there is one."""
        found = await self._full(call_id)
        path = None if found is None else found[kind]
        if path is None or not await asyncio.to_thread(Path(path).is_file):
            return None
        return Path(path)

    async def report(self, carrier: str, carrier_id: str, fields: Mapping[str, str]) -> bool:
        """Add to the timeline of a call that is over what its carrier tells of it; False: there is none."""
        now = clock.utc()
        call = await self._reader.of_carrier(carrier, carrier_id, now - REPORTS)
        if call is None or call.timeline_path is None:
            return False
        path = self._data / call.timeline_path
        started = call.started_at if call.started_at.tzinfo else call.started_at.replace(tzinfo=UTC)
        t_ms = round((now - started).total_seconds() * 1000)
        return await asyncio.to_thread(append, path, encode(t_ms, now, "carrier", fields))

    async def _full(self, call_id: str) -> Call | None:
        try:
            found = await self._reader.find(call_id)
        except UnknownCall:
            return None
        return call_json(found, self._data, turns=True)


def _public(call: Call) -> Call:
    """What may leave by HTTP: where the files are to be had, not where they lie."""
    for kind in ("recording", "timeline"):
        if call[kind] is not None:
            call[kind] = f"/api/calls/{call['id']}/{kind}"
    return call
