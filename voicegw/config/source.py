"""Where settings come from: one YAML file, `${ENV}` inside it, and `VOICEGW_...` variables over it.

The result is plain Python data, and for every value where it was written, so that an error can say
``voicegw.yaml:12``. Nothing is validated here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from voicegw.errors import ConfigError, Problem

PREFIX = "VOICEGW_"
RESERVED = frozenset({"VOICEGW_CONFIG"})  # names the file itself

Path_ = tuple[str | int, ...]
"""Keys and indices from the root to one value."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")


def dotted(path: Path_) -> str:
    """``("routing", "numbers", 0)`` as a person writes it: ``routing.numbers[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(slots=True)
class Settings:
    """Raw settings, where each was written, and what was wrong with reading them."""

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Path_, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def where(self, path: Path_) -> str:
        """Where the value, or the nearest one around it, was written."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return ""

    def has(self, path: Path_) -> bool:
        """Whether somebody wrote this value."""
        return path in self.places


def read(file: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file (None: no file) and the environment. Raises ConfigError only if there is no
    YAML mapping to speak of; all else becomes a problem in the result."""
    settings = Settings()
    if file is not None:
        _Reader(str(file), environ, settings).read(_parse(file))
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in RESERVED:
            _override(settings, name, environ[name])
    return settings


def _parse(file: Path) -> CommentedMap:
    try:
        tree = YAML().load(StringIO(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(file), "", "is not UTF-8 text")]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}" if mark is not None else str(file)
        reason = (error.problem or error.context or "not YAML").split("\n")[0]
        raise ConfigError([Problem(where, "", f"not YAML: {reason}")]) from error
    except YAMLError as error:
        raise ConfigError([Problem(str(file), "", f"not YAML: {error}")]) from error
    if tree is None:
        return CommentedMap()
    if not isinstance(tree, CommentedMap):
        raise ConfigError([Problem(f"{file}:1", "", "must be a mapping of settings, `key: value`")])
    return tree


class _Reader:
    """Turns ruamel's tree into plain data, keeping line numbers."""

    def __init__(self, file: str, environ: Mapping[str, str], settings: Settings) -> None:
        self._file, self._environ, self._settings = file, environ, settings

    def read(self, tree: CommentedMap) -> None:
        self._settings.data = self._plain(tree, ())

    def _plain(self, node: Any, path: Path_) -> Any:
        if isinstance(node, CommentedMap):
            return {str(key): self._child(node, key, (*path, str(key))) for key in node}
        if isinstance(node, CommentedSeq):
            return [self._child(node, index, (*path, index)) for index in range(len(node))]
        if isinstance(node, str):
            return self._expand(str(node), path)
        return node

    def _child(self, node: Any, key: Any, path: Path_) -> Any:
        line = node.lc.key(key)[0] if isinstance(node, CommentedMap) else node.lc.item(key)[0]
        self._settings.places[path] = f"{self._file}:{line + 1}"
        return self._plain(node[key], path)

    def _expand(self, text: str, path: Path_) -> str:
        def value(match: re.Match[str]) -> str:
            escaped, name, default = match.groups()
            if escaped:
                return "$"
            if name in self._environ:
                return self._environ[name]
            if default is None:
                where = self._settings.where(path)
                message = f"environment variable {name} is not set (a default: ${{{name}:-value}})"
                self._settings.problems.append(Problem(where, dotted(path), message))
                return ""
            return str(default)

        return _VARIABLE.sub(value, text)


def _override(settings: Settings, name: str, text: str) -> None:
    """`VOICEGW_SIP__PORT=5070` sets sip.port; lists and mappings are JSON."""
    path: Path_ = tuple(name.removeprefix(PREFIX).lower().split("__"))
    value: Any = text
    if text.lstrip()[:1] in {"[", "{"}:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            message = f"is not JSON, as a list or mapping must be here: {error}"
            settings.problems.append(Problem(name, dotted(path), message))
            return
    node = settings.data
    for depth, key in enumerate(path[:-1], start=1):
        settings.places.setdefault(path[:depth], name)
        child = node.get(str(key))
        if not isinstance(child, dict):
            # `stt: pocketsphinx` is short for a mapping too (voicegw/config/check.py).
            child = node[str(key)] = {"engine": child} if isinstance(child, str) else {}
        node = child
    node[str(path[-1])] = value
    # What was written inside the replaced value is gone: errors in it are now the variable's.
    for old in [place for place in settings.places if place[: len(path)] == path]:
        del settings.places[old]
    settings.places[path] = name
