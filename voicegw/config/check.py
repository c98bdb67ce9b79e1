"""Raw settings become the typed tree, or a list of everything that is wrong with them.

Unknown keys are found here, since the rooms' dataclasses know nothing of files; types are pydantic's.
Numbers obey their names: what ends in `_ms`, `_s` or starts with `max_` is never negative, a port is one.
Anything finer (one value against another) a dataclass checks in `__post_init__` by raising ValueError.
"""

import dataclasses
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from media.providers import UnknownProvider, load
from voicegw.config.model import Config, Engine
from voicegw.config.source import Path_, Settings, dotted
from voicegw.errors import ConfigError, Problem

ENGINES = (Engine, Engine | None)
_SECRET_NAMES = ("token", "password", "secret", "api_key", "private_key", "signing_key", "passphrase")


def is_secret(name: str) -> bool:
    """Whether a setting of this name must not be shown."""
    return name.lower().endswith(_SECRET_NAMES)


def build(settings: Settings) -> Config:
    """The configuration. Raises ConfigError with all problems: of the environment, then by line."""
    return Config(**_Builder(settings).build(tuple(field.name for field in dataclasses.fields(Config))))


def build_part(settings: Settings, *names: str) -> dict[str, Any]:
    """Only these settings, where they are written: for tools that run without engines. The others are not
    looked at. Raises ConfigError."""
    return _Builder(settings).build(names)


class _Builder:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._problems = list(settings.problems)

    def build(self, wanted: tuple[str, ...]) -> dict[str, Any]:
        """Values of the settings in `wanted` that are written somewhere."""
        data = self._settings.data
        fields = {field.name: field for field in dataclasses.fields(Config)}
        hints = get_type_hints(Config, include_extras=True)
        self._unknown_keys(data, tuple(fields), ())
        values: dict[str, Any] = {}
        for name, field in fields.items():
            raw = data.get(name)
            if (
                name not in data
                or name not in wanted
                or (raw is None and dataclasses.is_dataclass(hints[name]))
            ):
                continue  # absent, or a section with nothing in it
            if hints[name] in ENGINES:
                values[name] = self._engines(field, raw)
            elif "by" in field.metadata:
                values[name] = self._engines_by(field, raw)
            else:
                self._check_keys(hints[name], raw, (name,), field.metadata.get("omit", ()))
                values[name] = self._convert(hints[name], raw, (name,))
        if self._problems:
            raise ConfigError(self._sorted())
        return values

    def _sorted(self) -> list[Problem]:
        def key(problem: Problem) -> tuple[bool, str, int]:
            file, _, line = problem.where.rpartition(":")
            in_file = line.isdigit()
            return (in_file, file, int(line)) if in_file else (in_file, problem.where, 0)

        return sorted(dict.fromkeys(self._problems), key=key)

    def _problem(self, path: Path_, message: str) -> None:
        self._problems.append(Problem(self._settings.where(path), dotted(path), message))

    # Engines

    def _engines(self, field: "dataclasses.Field[Any]", raw: Any) -> Engine | None:
        """One engine, or a list: the first, and those that take over when it fails."""
        path: Path_ = (field.name,)
        if raw is None and field.default is None:
            return None
        if not isinstance(raw, list):
            return self._engine(field, raw, path)
        found = [self._engine(field, item, (*path, index)) for index, item in enumerate(raw)]
        if not found:
            self._problem(path, "names no engine")
        if field.metadata["kind"] in {"vad", "eot", "denoise"} and len(found) > 1:
            self._problem(path, "takes one engine: it cannot fail")
        engines = [engine for engine in found if engine is not None]
        return dataclasses.replace(engines[0], others=tuple(engines[1:])) if engines else None

    def _engines_by(self, field: "dataclasses.Field[Any]", raw: Any) -> dict[str, Engine]:
        """A mapping to engines."""
        if not isinstance(raw, Mapping):
            self._problem((field.name,), f"must be a mapping from {field.metadata['by']} to engine")
            return {}
        made = {str(key): self._engine(field, item, (field.name, str(key))) for key, item in raw.items()}
        return {key: engine for key, engine in made.items() if engine is not None}

    def _engine(self, field: "dataclasses.Field[Any]", raw: Any, path: Path_) -> Engine | None:
        if isinstance(raw, str):
            raw = {"engine": raw}  # `stt: pocketsphinx` says it all
        if not isinstance(raw, Mapping):
            what = "an engine's name, a mapping with `engine` and its options, or a list of such"
            self._problem(path, f"must be {what}")
            return None
        options = dict(raw)
        name = options.pop("engine", field.metadata["engine"])
        try:
            provider = load(field.metadata["kind"], str(name))
        except UnknownProvider as error:
            self._problem((*path, "engine"), str(error))
            return None
        self._check_keys(provider.config, options, path, ())
        return Engine(provider.name, self._convert(provider.config, options, path))

    # Keys

    def _unknown_keys(self, raw: Mapping[str, Any], names: tuple[str, ...], path: Path_) -> None:
        for key in raw:
            if key not in names:
                close = get_close_matches(key, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names)}"
                self._problem((*path, key), f"unknown setting; {hint}")

    def _check_keys(self, hint: Any, raw: Any, path: Path_, omit: tuple[str, ...]) -> None:
        """Walk the dataclasses inside `hint`, looking for keys that no field takes."""
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(raw, Mapping):
                return  # pydantic says so
            hints = get_type_hints(hint)
            names = tuple(f.name for f in dataclasses.fields(hint) if f.init and f.name not in omit)
            self._unknown_keys(raw, names, path)
            for key in raw:
                if key in names:
                    self._check_keys(hints[key], raw[key], (*path, key), ())
                    self._check_number(hints[key], key, raw[key], (*path, key))
            return
        for part, value, where in _inside(hint, raw, path):
            self._check_keys(part, value, where, ())

    def _check_number(self, hint: Any, name: str, raw: Any, path: Path_) -> None:
        if isinstance(raw, list):
            for index, item in enumerate(raw):
                self._check_number(hint, name, item, (*path, index))
            return
        try:
            number = float(raw)
        except (TypeError, ValueError):
            return
        if name.endswith(("_ms", "_s", "_hz")) or name.startswith("max_"):
            if not number >= 0:
                self._problem(path, f"must not be negative, but is {raw}")
        elif (name == "port" or name.endswith("_port")) and not 0 <= number <= 65535:
            self._problem(path, f"must be a port, 0 to 65535, but is {raw}")

    # Types

    def _is_blamed(self, path: Path_) -> bool:
        return any(problem.path.startswith(f"{dotted(path)}.") for problem in self._problems)

    def _convert(self, hint: Any, raw: Any, path: Path_) -> Any:
        try:
            return TypeAdapter(hint).validate_python(raw)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                loc: Path_ = (*path, *detail["loc"])
                known = loc
                while len(known) > len(path) and not self._settings.has(known):
                    known = known[:-1]  # pydantic adds the branches of a union
                if detail["type"] == "value_error" and self._is_blamed(loc):
                    continue  # a dataclass's own check says in general what was said of one field
                place = loc if detail["type"] in {"missing", "value_error"} else known
                self._problem(place, _say(detail, str(place[-1])))
            return None


def _inside(hint: Any, raw: Any, path: Path_) -> Iterator[tuple[Any, Any, Path_]]:
    """Parts of a generic type, with the values and paths that belong to them."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        for part in args:
            if part is not type(None):
                yield part, raw, path
    elif origin in {tuple, list} and isinstance(raw, list) and args:
        for index, item in enumerate(raw):
            yield args[0], item, (*path, index)
    elif origin in {dict, Mapping} and isinstance(raw, Mapping) and len(args) == 2:
        for key, item in raw.items():
            yield args[1], item, (*path, key)


def _say(detail: Mapping[str, Any], name: str) -> str:
    """pydantic's message in our words: what it must be, and what it is."""
    if detail["type"] == "missing":
        return "is required"
    if detail["type"] == "value_error":
        return str(detail["msg"]).removeprefix("Value error, ")
    message = str(detail["msg"]).replace("Input should be", "must be").replace("Input", "it")
    message = message.split(", unable to parse")[0]
    given = detail["input"]
    if given is None:
        return f"{message}, but nothing is given"
    if is_secret(name):
        return message
    if isinstance(given, str | int | float | bool):
        quote = "; put it in quotes" if detail["type"] == "string_type" else ""
        return f"{message}, not {given!r}{quote}"
    return message
