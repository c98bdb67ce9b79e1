"""A YAML file with line numbers, read so that all mistakes are found in one go.

`Source` walks the composed nodes, not Python values: every scalar knows its line. A reader that finds
something wrong notes a Problem and returns None or leaves it out, and reading goes on.
"""

from collections.abc import Iterable
from datetime import time

from rapidfuzz import fuzz, process
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dialog.errors import FlowError, Problem

MAX_BYTES = 1_000_000  # the demo has 20 kB
_STR, _INT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"
_BOOL, _NULL, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null", "tag:yaml.org,2002:float"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` or nothing."""
    best = process.extractOne(name, sorted(known), scorer=fuzz.ratio, score_cutoff=60)
    return "" if best is None else f', did you mean "{best[0]}"?'


class Source:
    """One file and the problems found in it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def compose(self, text: str) -> Node | None:
        """Parse the YAML. Raises FlowError if it is none at all."""
        try:
            if len(text) > MAX_BYTES:
                raise FlowError([Problem(self.file, 1, f"longer than {MAX_BYTES} characters")])
            node: Node | None = YAML(typ="safe", pure=True).compose(text)
            return node
        except MarkedYAMLError as error:
            unclosed = error.context is not None and "quoted" in error.context  # noticed at the file's end
            mark = error.context_mark if unclosed else error.problem_mark or error.context_mark
            message = error.problem or error.context or "cannot be read"
            line = 1 if mark is None else mark.line + 1
            raise FlowError([Problem(self.file, line, f"not YAML: {message}")]) from None
        except (YAMLError, ValueError, RecursionError, IndexError, AttributeError, TypeError) as error:
            # What ruamel raises besides its own errors on damaged files (found by fuzzing).
            raise FlowError([Problem(self.file, 1, f"not YAML: {error}")]) from None

    def error(self, at: Node | int, message: str) -> None:
        line = at if isinstance(at, int) else self.line(at)
        problem = Problem(self.file, line, message)
        if problem not in self.problems:
            self.problems.append(problem)

    @staticmethod
    def line(node: Node) -> int:
        return int(node.start_mark.line) + 1

    def mapping(self, node: Node, what: str, allowed: Iterable[str] | None = None) -> dict[str, Node]:
        """The entries of a mapping; `allowed` None takes any key."""
        if not isinstance(node, MappingNode):
            self.error(node, f"{what} must be a mapping of keys to values, not {_kind(node)}")
            return {}
        known = None if allowed is None else set(allowed)
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else None
            if key is None:
                self.error(key_node, f"a key in {what} must be a word")
            elif key in found:
                self.error(key_node, f'key "{key}" stands twice in {what}')
            elif known is not None and key not in known:
                self.error(key_node, f'unknown key "{key}" in {what}{did_you_mean(key, known)}')
            else:
                found[key] = value
                if isinstance(value, ScalarNode) and not value.value:
                    value.start_mark = key_node.start_mark  # nothing stands where the next thing does
        return found

    def key_lines(self, node: Node) -> dict[str, int]:
        """The line of each key, for messages about an entry as a whole."""
        pairs = node.value if isinstance(node, MappingNode) else []
        return {str(k.value): self.line(k) for k, _ in pairs if isinstance(k, ScalarNode)}

    def items(self, node: Node, what: str) -> list[Node]:
        """The items of a list; a single value counts as a list of one."""
        if isinstance(node, SequenceNode):
            if not node.value:
                self.error(node, f"{what} is empty")
            return list(node.value)
        if isinstance(node, MappingNode):
            self.error(node, f"{what} must be a text or a list of texts, not a mapping")
            return []
        return [node]

    def text(self, node: Node, what: str) -> str | None:
        if isinstance(node, ScalarNode) and node.tag == _STR and str(node.value).strip():
            return str(node.value)
        if isinstance(node, ScalarNode) and node.tag not in {_STR, _NULL}:
            self.error(node, f'{what} must be a text: write "{node.value}" in quotes')
        else:
            empty = isinstance(node, ScalarNode)
            self.error(node, f"{what} is empty" if empty else f"{what} must be a text, not {_kind(node)}")
        return None

    def texts(self, node: Node, what: str) -> list[str]:
        """A text or a list of texts."""
        return [t for item in self.items(node, what) if (t := self.text(item, what)) is not None]

    def integer(self, node: Node, what: str, least: int = 0, most: int = 10**9) -> int | None:
        value = self.scalar(node, what)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.error(node, f"{what} must be a whole number from {least} to {most}, not {_shown(node)}")
        return None

    def flag(self, node: Node, what: str) -> bool | None:
        value = self.scalar(node, what)
        if isinstance(value, bool):
            return value
        self.error(node, f"{what} must be true or false, not {_shown(node)}")
        return None

    def clock(self, node: Node, what: str) -> time | None:
        value = node.value if isinstance(node, ScalarNode) else ""
        try:
            return time.fromisoformat(value)
        except ValueError:
            self.error(node, f'{what} must be a time like "09:00", not {_shown(node)}')
            return None

    def scalar(self, node: Node, what: str) -> str | int | float | bool | None:
        """A single value of the type that YAML gives it; anything odd is a text."""
        if not isinstance(node, ScalarNode):
            self.error(node, f"{what} must be a single value, not {_kind(node)}")
            return None
        value = str(node.value)
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return value.lower() == "true"
        try:
            if node.tag == _INT and len(value) < 20:
                return int(value, 10)
            return float(value) if node.tag == _FLOAT else value
        except ValueError:
            return value  # 0x1f, 1_000, .inf: YAML's numbers that no flow needs

    def one_of(self, node: Node, what: str, known: Iterable[str]) -> str | None:
        """A text that must be one of `known`."""
        value, known = self.text(node, what), list(known)
        if value is None or value in known:
            return value
        listed = ", ".join(known) if len(known) <= 8 else ""
        hint = did_you_mean(value, known) or (f"; there is {listed}" if listed else "")
        self.error(node, f'unknown {what} "{value}"{hint}')
        return None

    def finish(self) -> None:
        """Raise FlowError if anything was wrong."""
        if self.problems:
            raise FlowError(self.problems)


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if node.tag == _NULL else "a single value"


def _shown(node: Node) -> str:
    return f'"{node.value}"' if isinstance(node, ScalarNode) and node.tag != _NULL else _kind(node)
