"""Reading what remains of calls, for the web pages."""

import asyncio
from pathlib import Path
from typing import Any

from voicegw.storage.reader import CallReader, UnknownCall
from voicegw.storage.view import call_json

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
