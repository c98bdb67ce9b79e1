"""What the readers of a flow file share: targets, names, texts and turn settings, each checked once.

Names of slots are checked at the end, when every node that fills one has been seen.
"""

import keyword
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node

from dialog.errors import ExpressionError
from dialog.flow.expr import CLOCKS, CONSTANTS, FUNCTIONS, Expression, UnknownFunction, compile_expression
from dialog.flow.model import BACK
from dialog.flow.source import Source, did_you_mean
from dialog.flow.template import Template, UnknownFormat, compile_template
from dialog.flow.values import FORMATS
from dialog.turn import Interrupt, TurnPolicy

NODE_KINDS = ("say", "ask", "menu", "branch", "set", "transfer", "hangup", "note")
RESERVED = frozenset({*CLOCKS, *CONSTANTS, "question", "help"})
_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_POLICY_TYPES = typing.get_type_hints(TurnPolicy)


@dataclass(slots=True)
class Scope:
    """The file, what is defined in it, and what is yet to be checked."""

    source: Source
    node_ids: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()
    slots: set[str] = field(default_factory=set)  # grows while nodes are read
    language: str = "en"  # the flow's own
    languages: set[str] = field(default_factory=set)  # others that it speaks; grows, too
    _reads: list[tuple[int, frozenset[str]]] = field(default_factory=list)

    def target(self, node: Node, what: str, *, back: bool = True) -> str:
        """A node id, or `back`. "" if it is wrong, which is noted."""
        name = self.source.text(node, what)
        if name is None or name in self.node_ids or (name == BACK and back):
            return name or ""
        hint = did_you_mean(name, self.node_ids)
        self.source.error(node, f'{what} leads to "{name}", which is no node{hint}')
        return ""

    def template(self, node: Node, what: str, extra: Iterable[str] = ()) -> Template:
        """A text with slots, or a mapping from languages to such; `extra` are names that only it knows."""
        if isinstance(node, MappingNode):
            return self._translated(node, what, tuple(extra))
        text = self.source.text(node, what)
        try:
            template = compile_template(text or "?")
        except UnknownFormat as error:
            self.source.error(node, f"{what}: {error}{did_you_mean(error.name, FORMATS)}")
        except UnknownFunction as error:
            self.source.error(node, f"{what}: {error}{did_you_mean(error.name, FUNCTIONS)}")
        except ExpressionError as error:
            self.source.error(node, f"{what}: {error}")
        else:
            self.reads(node, template.names - set(extra))
            return template
        return compile_template("?")

    def _translated(self, node: MappingNode, what: str, extra: tuple[str, ...]) -> Template:
        """The flow's own language comes first; the others are put beside it."""
        lines = self.source.key_lines(node)
        texts = {
            code: self.template(n, f"{what}: {code}", extra)
            for code, n in self.source.mapping(node, what).items()
        }
        own = texts.pop(self.language, None)
        if own is None:
            self.source.error(node, f'{what} has no text in "{self.language}", the language of the flow')
            return compile_template("?")
        for code in texts:
            self.speaks(code, lines[code])
        return replace(own, others=tuple(texts.items()))

    def language_of(self, node: MappingNode) -> str | None:
        """What stands under `language`; it is noted as one that the flow speaks."""
        found = next((value for key, value in node.value if key.value == "language"), None)
        code = None if found is None else self.source.text(found, "language")
        if code is not None and found is not None:
            self.speaks(code, self.source.line(found))
        return code

    def speaks(self, code: str, line: int) -> None:
        """The flow has something in this language."""
        if not _CODE.fullmatch(code):
            self.source.error(line, f'"{code}" is no language; write a code such as de or en-GB')
        elif code != self.language:
            self.languages.add(code)

    def templates(self, node: Node, what: str, extra: Iterable[str] = ()) -> tuple[Template, ...]:
        names = tuple(extra)
        items = [node] if isinstance(node, MappingNode) else self.source.items(node, what)
        return tuple(self.template(item, what, names) for item in items)

    def expression(self, node: Node, what: str) -> Expression:
        """An expression; YAML's own numbers and true/false are expressions too."""
        value = self.source.scalar(node, what)
        source = str(node.value) if isinstance(value, str | int | float) else "none"
        try:
            expression = compile_expression(source)
        except UnknownFunction as error:
            self.source.error(node, f"{what}: {error}{did_you_mean(error.name, FUNCTIONS)}")
        except ExpressionError as error:
            self.source.error(node, f"{what}: {error}")
        else:
            self.reads(node, expression.names)
            return expression
        return compile_expression("none")

    def reads(self, node: Node, names: frozenset[str]) -> None:
        """These names are read here; `check_names` looks whether they exist."""
        self._reads.append((self.source.line(node), names))

    def slot(self, node: Node, what: str) -> str:
        """The name of a slot that is filled here."""
        name = self.source.text(node, what) or ""
        self.define(name, self.source.line(node), what)
        return name

    def define(self, name: str, line: int, what: str) -> None:
        if not name:
            return
        if not name.isidentifier() or keyword.iskeyword(name) or name in RESERVED:
            self.source.error(line, f'{what} "{name}" is not usable as a name')
        self.slots.add(name)

    def turn(self, node: Node) -> Mapping[str, object]:
        """TurnPolicy fields, with their types and limits."""
        fields: dict[str, Any] = {}
        for name, item in self.source.mapping(node, "turn", _POLICY_TYPES).items():
            value = self._policy_value(name, item)
            if value is None:
                continue
            try:
                TurnPolicy(**{name: value})  # type: ignore[arg-type]
            except ValueError as error:
                self.source.error(item, f"turn: {error}")
            else:
                fields[name] = value
        return fields

    def _policy_value(self, name: str, item: Node) -> object:
        source, what = self.source, f"turn.{name}"
        match _POLICY_TYPES[name]:
            case wanted if wanted is Interrupt:
                chosen = source.one_of(item, what, [i.value for i in Interrupt])
                return None if chosen is None else Interrupt(chosen)
            case wanted if wanted is int:
                return source.integer(item, what, most=10**8)
            case wanted if wanted is str:
                value = source.scalar(item, what)
                return "" if value is None else str(value)
            case wanted if wanted is bool:
                return source.flag(item, what)
            case wanted if wanted == (tuple[str, ...] | None):
                return tuple(source.texts(item, what))
            case _:
                times = [source.integer(n, what, most=10**8) for n in source.items(item, what)]
                return None if None in times else tuple(times)

    def check_names(self) -> None:
        """Every name that is read must be a slot or a variable."""
        known = self.slots | self.variables
        for line, names in self._reads:
            for name in sorted(names - known):
                self.source.error(line, f'unknown slot "{name}"{did_you_mean(name, known)}')
