"""The configuration as text: the commented defaults, and the values in effect.

Comments are the docstrings that stand under the fields, read from the source, so the reference and
the code cannot differ.
"""

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from media.providers import ROOMS
from voicegw.config.check import is_secret
from voicegw.config.model import Config, Engine

WIDTH = 110
MASK = "********"
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]+@")  # in a URL

HEADER = """\
The settings of voicegw, with their defaults: printed by `voicegw config --defaults`.

Every line may be left out. A value may be taken from the environment: ${NAME}, or ${NAME:-default} ($$ is
a dollar sign). Any setting can also be overridden from outside: VOICEGW_SIP__PORT=5070 sets sip.port; lists
and mappings are then JSON. Check a changed file with `voicegw check-config FILE`."""


def field_docs(cls: type[Any]) -> Mapping[str, str]:
    """Docstring of each field, inherited ones included."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        definition = tree.body[0]
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, definition.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                docs[statement.target.id] = inspect.cleandoc(following.value.value)
    return docs


def _class_doc(cls: type[Any]) -> str:
    """First paragraph of a class's docstring; "" if it is the one that dataclasses makes up."""
    doc = inspect.getdoc(cls) or ""
    return "" if doc.startswith(f"{cls.__name__}(") else doc.split("\n\n")[0]


def defaults() -> str:
    """The complete commented YAML with every default."""
    lines = [*_comment(HEADER, ""), "", *_comment(_class_doc(Config), "")]
    lines += _fields(Config(), "", (), commented=True)
    return "\n".join(lines) + "\n"


def effective(config: Config) -> str:
    """The values in effect, secrets masked."""
    return "\n".join(_fields(config, "", (), commented=False)).lstrip("\n") + "\n"


def _fields(value: Any, indent: str, omit: tuple[str, ...], *, commented: bool) -> Iterator[str]:
    docs = field_docs(type(value))
    for field in dataclasses.fields(value):
        if field.name in omit or not field.init:
            continue
        item = getattr(value, field.name)
        nested = dataclasses.is_dataclass(item)
        if not indent and (nested or commented):
            yield ""
        if commented:
            doc = docs.get(field.name, "")
            if not doc and nested and not isinstance(item, Engine):
                doc = _class_doc(type(item))
            yield from _comment(doc, indent)
        if isinstance(item, Engine):
            yield from _engine(field, item, commented=commented)
        elif nested:
            yield f"{indent}{field.name}:"
            yield from _fields(item, indent + "  ", field.metadata.get("omit", ()), commented=commented)
        else:
            shown = MASK if item and is_secret(field.name) else _scalar(plain(item))
            yield f"{indent}{field.name}: {shown}"
            if commented and (element := _element(type(value), field.name)) is not None:
                yield from _example(element, indent)


def _element(owner: type[Any], name: str) -> type[Any] | None:
    """The dataclass that a list setting holds, if it does."""
    args = get_args(get_type_hints(owner)[name])
    if args and isinstance(args[0], type) and dataclasses.is_dataclass(args[0]):
        return args[0]
    return None


def _example(element: type[Any], indent: str) -> Iterator[str]:
    """One entry of a list, as comments, since the list is empty by default."""
    docs, lead = field_docs(element), "- "
    yield f"{indent}# An entry of the list: {_class_doc(element)}"
    for field in dataclasses.fields(element):
        value = "..." if field.default is dataclasses.MISSING else _scalar(plain(field.default))
        for line in _comment(docs.get(field.name, ""), ""):
            yield f"{indent}#     {line}"
        yield f"{indent}#   {lead}{field.name}: {value}"
        lead = "  "


def _engine(field: "dataclasses.Field[Any]", engine: Engine, *, commented: bool) -> Iterator[str]:
    yield f"{field.name}:"
    if engine.others:
        for one in (engine, *engine.others):
            yield f"  - engine: {one.engine}"
            yield from _fields(one.options, "    ", (), commented=commented)
        return
    if commented:
        room = f"{ROOMS[field.metadata['kind']]}." if "." not in engine.engine else ""
        text = f"Name of the engine ({room}{engine.engine}); what follows are its options."
        yield from _comment(text, "  ")
    yield f"  engine: {engine.engine}"
    yield from _fields(engine.options, "  ", (), commented=commented)


def _comment(text: str, indent: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n") if text else ()):
        if number:
            yield f"{indent}#"
        for line in textwrap.wrap(" ".join(paragraph.split()), WIDTH - len(indent) - 2):
            yield f"{indent}# {line}"


def plain(value: Any) -> Any:
    """A setting as plain data, as it would be written in JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return _PASSWORD.sub(rf"\1{MASK}@", value)
    if isinstance(value, Mapping):
        return {
            str(plain(key)): MASK if item and is_secret(str(key)) else plain(item)
            for key, item in value.items()
        }
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value


def _scalar(value: Any) -> str:
    """One line of YAML; JSON is YAML, so only what reads better bare is written so."""
    if isinstance(value, str) and value and _reads_back(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _reads_back(text: str) -> bool:
    """Whether `text` without quotes is the same string in YAML 1.2."""
    words = text.replace(".", "").replace("/", "").replace("_", "").replace("-", "").replace(" ", "")
    reserved = {"null", "true", "false", "yes", "no", "on", "off", "nan", "inf"}
    if not words.isalnum() or not text.isascii() or text.lower() in reserved:
        return False
    return text[0].isalpha() and text == text.strip()
