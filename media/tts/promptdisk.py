"""Prompts on disk: one file each, named by what it depends on. The longest unused goes at the limit.

A file is a line of JSON (rate, word marks, length, checksum) and the samples. It is written aside and
renamed: there is no half one; one that is damaged all the same is deleted and made anew. All of it happens in
a thread.
"""

import asyncio
import json
import logging
import os
import zlib
from pathlib import Path

from media.tts.base import Speech, WordMark

log = logging.getLogger(__name__)

SUFFIX = ".prompt"


class PromptDisk:
    """A folder. Shared by all voices; belongs to one event loop."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit` in bytes. Raises OSError: the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit = folder, limit
        self._files: dict[str, int] = {}  # key -> bytes, the longest unused first
        found = sorted(((p, p.stat()) for p in folder.glob(f"*{SUFFIX}")), key=lambda one: one[1].st_mtime)
        for path, stat in found:
            self._files[path.stem] = stat.st_size
        self.failures = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self._files.values())

    async def read(self, key: str, rate: int) -> Speech | None:
        """The prompt; None if it is not there, or damaged."""
        if key not in self._files:
            return None
        self._files[key] = self._files.pop(key)
        found = await asyncio.to_thread(_read, self._path(key), rate)
        if found is None:
            self._files.pop(key, None)
        return found

    async def write(self, key: str, rate: int, chunks: list[Speech]) -> None:
        """Keep it. A disk that is full or gone is said, and does no harm."""
        if key in self._files:
            return
        pcm = b"".join(chunk.pcm for chunk in chunks)
        words = [[word.chars, word.sample] for chunk in chunks for word in chunk.words]
        head = json.dumps({"rate": rate, "words": words, "bytes": len(pcm), "crc": zlib.crc32(pcm)})
        data = head.encode() + b"\n" + pcm
        if len(data) > self._limit:
            return
        self._files[key] = len(data)
        gone = []
        while self.size > self._limit:
            oldest = next(iter(self._files))
            del self._files[oldest]
            gone.append(self._path(oldest))
        try:
            await asyncio.to_thread(_write, self._path(key), data, gone)
        except OSError as error:
            self._files.pop(key, None)
            self.failures += 1
            log.warning("prompt could not be kept", extra={"error": str(error)})

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"


def _read(path: Path, rate: int) -> Speech | None:
    try:
        data = path.read_bytes()
        line, _, pcm = data.partition(b"\n")
        head = json.loads(line)
        if (head["rate"], head["bytes"], head["crc"]) == (rate, len(pcm), zlib.crc32(pcm)):
            os.utime(path)
            return Speech(pcm, tuple(WordMark(int(chars), int(at)) for chars, at in head["words"]))
        reason = "it is damaged"
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = str(error)
    log.warning("prompt is made anew", extra={"file": path.name, "reason": reason})
    path.unlink(missing_ok=True)
    return None


def _write(path: Path, data: bytes, gone: list[Path]) -> None:
    for old in gone:
        old.unlink(missing_ok=True)
    aside = path.with_suffix(".new")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)  # a full disk shall not stay so by what it did not hold
        raise
