"""Engines are modules found by name, never registered: stt `pocketsphinx` -> `media.stt.pocketsphinx`.

An engine module offers `Config`, a frozen dataclass whose fields are documented, and `create(config)`.
Importing it has no side effect and needs no optional package. A name with a dot is a module of
somebody else: ``stt: {engine: acme.ears}``.
"""

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from media.errors import MediaError

Kind = Literal["stt", "tts", "vad", "eot", "denoise", "llm"]

ROOMS: dict[Kind, str] = {
    "stt": "media.stt",
    "tts": "media.tts",
    "vad": "media.vad",
    "eot": "media.eot",
    "denoise": "media.denoise",
    "llm": "dialog.llm",
}


class UnknownProvider(MediaError):
    """No such engine, or the module is not one."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One engine module, loaded."""

    kind: Kind
    name: str
    config: type[Any]  # a frozen dataclass
    create: Callable[[Any], Any]


def load(kind: Kind, name: str) -> Provider:
    """Find the engine. Raises UnknownProvider, naming those there are."""
    path = name if "." in name else f"{ROOMS[kind]}.{name}"
    try:
        # Looked up first, so that an import error inside the engine is not taken for its absence.
        found = bool(name) and importlib.util.find_spec(path) is not None
    except (ModuleNotFoundError, ValueError):
        found = False
    if not found:
        raise UnknownProvider(f"there is no {kind} engine {name!r}{_suggest(kind, name)}")
    try:
        module = importlib.import_module(path)
    except (ImportError, SyntaxError) as error:
        raise UnknownProvider(f"{kind} engine {name!r} cannot be imported: {error}") from error
    config, create = getattr(module, "Config", None), getattr(module, "create", None)
    if not (isinstance(config, type) and is_dataclass(config) and callable(create)):
        suggestion = _suggest(kind, name)
        raise UnknownProvider(f"{path} is no {kind} engine: it lacks `Config` or `create`{suggestion}")
    return Provider(kind, name, config, create)


def known(kind: Kind) -> list[str]:
    """Names of the engines that come with us, found by reading their source, not by importing it."""
    package = importlib.import_module(ROOMS[kind])
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if _is_engine(importlib.util.find_spec(f"{ROOMS[kind]}.{module.name}"))
    )


def _is_engine(spec: Any) -> bool:
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).read_text(encoding="utf-8")
    return all(
        re.search(rf"^(?:def |class |from .*import .*\b|    ){name}\b", text, re.MULTILINE)
        for name in ("Config", "create")
    )


def _suggest(kind: Kind, name: str) -> str:
    names = known(kind)
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(names) or 'none'}; or a dotted module name)"
