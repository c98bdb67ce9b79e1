"""Calls of the past for the web pages (voicegw/archive.py: `Archive`)."""

from pathlib import Path
from typing import Any

from voicegw.storage.models import Call
from voicegw.storage.reader import CallReader, UnknownCall
from voicegw.storage.view import call_json


class CallArchive:
    """Reads through its own connection: what the writer does never waits for it."""

    def __init__(self, reader: CallReader, data_dir: Path) -> None:
        self._reader, self._data_dir = reader, data_dir

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """The last calls, newest first. Raises StorageError."""
        return [call_json(call, self._data_dir) for call in await self._reader.recent(limit)]

    async def find(self, call_id: str) -> dict[str, Any] | None:
        """One call with its turns. Raises StorageError."""
        call = await self._call(call_id)
        return None if call is None else call_json(call, self._data_dir, turns=True)

    async def recording(self, call_id: str) -> Path | None:
        """Its stereo WAV, which can be played while the call goes on. Raises StorageError."""
        call = await self._call(call_id)
        return None if call is None else self._file(call.recording_path)

    async def timeline(self, call_id: str) -> Path | None:
        """Its events. Raises StorageError."""
        call = await self._call(call_id)
        return None if call is None else self._file(call.timeline_path)

    async def _call(self, call_id: str) -> Call | None:
        try:
            return await self._reader.find(call_id)
        except UnknownCall:
            return None

    def _file(self, path: str | None) -> Path | None:
        file = None if path is None else (self._data_dir / path).absolute()
        return file if file is not None and file.is_file() else None
