"""Reading `capture:`: the options of a capture are the fields of its dataclass, by their types."""

import dataclasses
import typing
from collections.abc import Mapping
from datetime import time
from typing import Any, Literal

from ruamel.yaml.nodes import MappingNode, Node

from dialog.capture.base import Capture
from dialog.capture.catalog import CAPTURES
from dialog.capture.simple import YesNo
from dialog.errors import GrammarError
from dialog.flow.scope import Scope


def read_capture(scope: Scope, node: Node) -> Capture:
    """`capture: day`, or a mapping with `type` and the capture's own options."""
    source = scope.source
    if not isinstance(node, MappingNode):
        return _make(scope, node, source.one_of(node, "capture", CAPTURES), {})
    entries = source.mapping(node, "capture")
    if "type" not in entries:
        source.error(node, f"capture needs a type: one of {', '.join(CAPTURES)}")
        return YesNo()
    return _make(scope, node, source.one_of(entries.pop("type"), "capture", CAPTURES), entries, checked=False)


def _make(
    scope: Scope, at: Node, name: str | None, options: dict[str, Node], *, checked: bool = True
) -> Capture:
    if name is None:
        return YesNo()  # any: the problem is noted
    kind = CAPTURES[name]
    types = typing.get_type_hints(kind)
    fields = {f.name for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    if not checked:
        scope.source.mapping(at, f"capture {name}", {*fields, "type"})
    values = {
        k: v for k, n in options.items() if k in fields and (v := _value(scope, n, k, types[k])) is not None
    }
    if len(values) < len(set(options) & fields):
        return YesNo()
    try:
        return kind(**values)
    except (ValueError, GrammarError) as error:
        scope.source.error(at, f"capture {name}: {error}")
    except TypeError:  # a field without default
        needed = [f.name for f in dataclasses.fields(kind) if f.init and f.name not in values]  # type: ignore[arg-type]
        scope.source.error(at, f"capture {name} needs {', '.join(needed)}")
    return YesNo()


def _value(scope: Scope, node: Node, name: str, wanted: Any) -> Any:
    source, origin = scope.source, typing.get_origin(wanted)
    if wanted is int:
        return source.integer(node, name)
    if wanted is bool:
        return source.flag(node, name)
    if wanted is str:
        return source.text(node, name)
    if wanted is time:
        return source.clock(node, name)
    if origin is Literal:
        return source.one_of(node, name, typing.get_args(wanted))
    if origin is tuple:
        return tuple(source.texts(node, name)) or None
    assert origin is Mapping, wanted  # a capture with a field that no reader knows is our bug
    return _choices(scope, node)


def _choices(scope: Scope, node: Node) -> dict[str, tuple[str, ...]] | None:
    """A list of values, or a mapping of values to phrases."""
    if isinstance(node, MappingNode):
        entries = scope.source.mapping(node, "choices")
        return {k: tuple(scope.source.texts(n, f"choice {k}")) for k, n in entries.items()} or None
    return dict.fromkeys(scope.source.texts(node, "choices"), ()) or None
