"""The models that `voicegw models pull` knows (voicegw/data/models.yaml)."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from voicegw.errors import VoicegwError


class ModelError(VoicegwError):
    """A model that is not known, cannot be had, or is damaged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model."""

    name: str
    kind: str  # stt, tts, llm
    engine: str
    repository: str  # of the hub
    licence: str
    mb: int
    languages: str  # a code, or how many
    folder: str = ""  # inside the repository
    files: tuple[str, ...] = ()  # of the folder; empty: all of it
    model: str = ""  # what the engine's `model` names, inside our folder; empty: the folder


@cache
def catalog() -> Mapping[str, Entry]:
    """All models by name."""
    text = (files("voicegw") / "data" / "models.yaml").read_text(encoding="utf-8")
    raw = YAML(typ="safe", pure=True).load(text)
    read = TypeAdapter(Entry)
    return {name: read.validate_python({"name": name, **_texts(fields)}) for name, fields in raw.items()}


def find(name: str) -> Entry:
    """One model. Raises ModelError, with the nearest name."""
    found = catalog().get(name)
    if found is None:
        close = get_close_matches(name, catalog(), n=1)
        hint = f"did you mean {close[0]}?" if close else "voicegw models list shows them"
        raise ModelError(f"there is no model {name!r}; {hint}")
    return found


def _texts(fields: Mapping[str, object]) -> dict[str, object]:
    return {**fields, "languages": str(fields["languages"])}
