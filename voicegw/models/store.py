"""The folder of models: one folder a model, with a manifest of its files and their sums.

A model without a manifest is not whole: its download was interrupted.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from voicegw.models.catalog import Entry, ModelError, catalog, find

MANIFEST = "voicegw-model.json"
PART = ".part"  # of a file that is not whole yet
_BLOCK = 1 << 20  # bytes


class State(StrEnum):
    """Of a model on disk."""

    ABSENT = "absent"
    PARTIAL = "partial"  # its download was interrupted
    THERE = "there"
    DAMAGED = "damaged"  # a file is missing, or is not what it was


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file, relative to the model's folder."""

    path: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Status:
    """Of one model."""

    entry: Entry
    state: State
    size: int  # bytes on disk
    problem: str = ""


class ModelStore:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, entry: Entry) -> Path:
        """Where the model's files are, or will be."""
        return self.folder / entry.name

    def model(self, entry: Entry) -> Path:
        """What the engine's `model` names."""
        return self.place(entry) / entry.model if entry.model else self.place(entry)

    def locate(self, name: str) -> Path | None:
        """A model that is there, by its name; None if the name is none of ours, or it is not there."""
        entry = catalog().get(name)
        if entry is None or not (self.place(entry) / MANIFEST).is_file():
            return None
        return self.model(entry)

    def all(self) -> Iterator[Status]:
        """Every model we know, looked at without reading it."""
        for entry in catalog().values():
            yield self.status(entry)

    def status(self, entry: Entry, on_bytes: Callable[[int], None] | None = None) -> Status:
        """Whether it is there. With `on_bytes`, which is told what has been read, its sums are checked."""
        place = self.place(entry)
        if not place.is_dir():
            return Status(entry, State.ABSENT, 0)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        try:
            files = self.files(entry)
        except ModelError as error:
            absent = not (place / MANIFEST).exists()
            return Status(entry, State.PARTIAL if absent else State.DAMAGED, size, str(error))
        for file in files:
            problem = _problem(place / file.path, file, on_bytes)
            if problem:
                return Status(entry, State.DAMAGED, size, f"{file.path}: {problem}")
        return Status(entry, State.THERE, size)

    def files(self, entry: Entry) -> list[ModelFile]:
        """What belongs to it. Raises ModelError if that is not known."""
        try:
            found = json.loads((self.place(entry) / MANIFEST).read_text(encoding="utf-8"))
            return [ModelFile(f["path"], int(f["size"]), f["sha256"]) for f in found["files"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{entry.name} is not whole: {error}; pull it again") from error

    def prepared(self, entry: Entry, name: str) -> Path:
        """Where a file of the model goes; its folder is made. Raises ModelError for a name that leads out."""
        target = _inside(self.place(entry), name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def complete(self, entry: Entry, files: list[ModelFile]) -> None:
        """All files are there and right: say so."""
        listed = [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in files]
        text = {"name": entry.name, "repository": entry.repository, "licence": entry.licence, "files": listed}
        target = self.place(entry) / MANIFEST
        part = target.with_name(target.name + PART)
        part.write_text(json.dumps(text, indent=1), encoding="utf-8")
        part.replace(target)

    def bring(self, source: Path, on_bytes: Callable[[int], None]) -> list[Entry]:
        """Take over models from a folder that another machine pulled into (its models folder, or one
        model's). Sums are checked on the way. Raises ModelError."""
        found = source.glob(f"*/{MANIFEST}")
        folders = [source] if (source / MANIFEST).is_file() else sorted(path.parent for path in found)
        if not folders:
            raise ModelError(f"{source} holds no model: no {MANIFEST} in it or in its folders")
        return [self._bring_one(folder, on_bytes) for folder in folders]

    def _bring_one(self, folder: Path, on_bytes: Callable[[int], None]) -> Entry:
        try:
            name = str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["name"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder / MANIFEST} cannot be read: {error}") from error
        entry = find(name)
        files = self._files_of(folder, entry)
        for file in files:
            target = self.prepared(entry, file.path)
            problem = _problem(folder / file.path, file, on_bytes)
            if problem:
                raise ModelError(f"{folder / file.path}: {problem}")
            part = target.with_name(target.name + PART)
            shutil.copyfile(folder / file.path, part)
            part.replace(target)
        self.complete(entry, files)
        return entry

    @staticmethod
    def _files_of(folder: Path, entry: Entry) -> list[ModelFile]:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        try:
            return [ModelFile(str(f["path"]), int(f["size"]), str(f["sha256"])) for f in found["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{folder / MANIFEST} does not list the files of {entry.name}: {error}"
            ) from error


def sha256(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if on_bytes is not None:
                on_bytes(len(block))
    return digest.hexdigest()


def _problem(path: Path, file: ModelFile, on_bytes: Callable[[int], None] | None) -> str:
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != file.size:
        return f"has {size} bytes, not {file.size}"
    if on_bytes is not None and sha256(path, on_bytes) != file.sha256:
        return "is not what it was: its SHA-256 sum differs"
    return ""


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder. Raises ModelError for a name that leads out of it."""
    path = folder / name
    if not os.path.normpath(path).startswith(os.path.normpath(folder) + os.sep):
        raise ModelError(f"{name!r} leads out of the model's folder")
    return path
