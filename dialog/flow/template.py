"""Texts with slots: "See you on {day|weekday} at {time}". A brace itself is written twice: {{ }}.

Between the braces stands an expression, behind the bar a format (values.FORMATS).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dialog.errors import ExpressionError
from dialog.flow.expr import Expression, compile_expression
from dialog.flow.values import FORMATS, Value, plain
from dialog.markup import parse

MAX_CHARS = 2_000  # two minutes of speech

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[^{}]+|.", re.DOTALL)


class UnknownFormat(ExpressionError):
    """The loader adds a did-you-mean."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown format {name!r}")
        self.name = name


@dataclass(frozen=True, slots=True)
class _Slot:
    expression: Expression
    format: str | None


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text. Make it with `compile_template`."""

    source: str
    parts: tuple[str | _Slot, ...]
    others: tuple[tuple[str, "Template"], ...] = ()  # the same in other languages

    @property
    def names(self) -> frozenset[str]:
        """Slots and variables that the text reads."""
        own = (p.expression.names for p in self.parts if isinstance(p, _Slot))
        return frozenset().union(*own, *(template.names for _, template in self.others))

    def render(self, values: Mapping[str, Value], now: datetime, language: str = "") -> str:
        """The text to speak; in the flow's own language where there is no other for `language`. Raises
        ExpressionError if a value does not fit its format."""
        for code, template in self.others:
            if code == language:
                return template.render(values, now)
        return "".join(p if isinstance(p, str) else _render(p, values, now) for p in self.parts).strip()


def _render(slot: _Slot, values: Mapping[str, Value], now: datetime) -> str:
    value = slot.expression.evaluate(values, now)
    if slot.format is None or value is None:
        return plain(value)
    try:
        return FORMATS[slot.format](value)
    except ExpressionError as error:
        raise ExpressionError(f"{{{slot.expression.source}|{slot.format}}}: {error}") from None


def compile_template(source: str, longest: int = MAX_CHARS) -> Template:
    """Check and compile. Raises ExpressionError; whether the names exist is the caller's to check."""
    if len(source) > longest:
        raise ExpressionError(f"the text has {len(source)} characters, {longest} is the most")
    for fault in parse(source).faults:
        raise ExpressionError(f"character {fault.at + 1} of {source!r}: {fault.message}")
    parts: list[str | _Slot] = []
    for match in _PART.finditer(source):
        found = match[0]
        if match[1] is not None:
            parts.append(_slot(match[1]))
        elif found in {"{", "}"}:
            raise ExpressionError(f"a single {found!r} in {source!r}; write it twice if it is meant as such")
        else:
            parts.append(found[0] if found in {"{{", "}}"} else found)
    return Template(source, tuple(parts))


def _slot(inside: str) -> _Slot:
    expression, bar, name = inside.rpartition("|")
    if not bar:
        return _Slot(compile_expression(inside), None)
    if name.strip() not in FORMATS:
        raise UnknownFormat(name.strip())
    return _Slot(compile_expression(expression), name.strip())
