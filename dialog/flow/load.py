"""Flow files: YAML in, a checked Flow out, or one FlowError that lists every mistake as file:line.

flow: clinic                 nodes:
start: welcome                 welcome:
variables: {operator: "100"}     say: Welcome to {clinic}.
globals: {...}                   goto: help
texts: {...}
"""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from dialog.errors import FlowError, Problem
from dialog.flow import model
from dialog.flow.check import check_graph, check_keys_and_phrases
from dialog.flow.load_nodes import PROMPT_NAMES, NodeReader
from dialog.flow.model import BACK, Flow, Global, Texts
from dialog.flow.scope import Scope
from dialog.flow.source import Source
from dialog.flow.template import Template, compile_template
from dialog.flow.values import Value
from dialog.lexicon import Entry, Lexicon, entry_of, make, word_of
from dialog.types import AnsweredBy

CALL_VARIABLES = ("caller", "called")
"""Known in every flow without being declared: the numbers of both sides, "" if withheld."""

_TOP = (
    "flow",
    "language",
    "start",
    "turn",
    "variables",
    "texts",
    "lexicon",
    "on_fail",
    "answered_by",
    "globals",
    "nodes",
)

DEFAULT_TEXTS = {
    "reprompts": ["Sorry, I did not get that. {help}", "I still did not understand. {question} {help}"],
    "no_input": ["Are you still there? {question}", "I cannot hear you. {help}"],
    "again": ["All right, once more."],
    "goodbye": ["I still cannot hear you, so I will hang up now. Goodbye."],
    "give_up": ["I am sorry, I cannot understand you. Please call again later. Goodbye."],
    "expired": ["I am sorry, we have talked for as long as we can. Goodbye."],
    "transfer_failed": ["I am sorry, nobody can take your call right now."],
    "fallback": ["I am sorry, something went wrong on our side."],
}
_SEVERAL = {"reprompts", "no_input"}


def load_flow(path: Path) -> Flow:
    """Read a flow file. Raises FlowError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError([Problem(str(path), 1, f"cannot be read: {error}")]) from None
    return parse_flow(text, str(path))


def parse_flow(text: str, file: str = "flow.yaml") -> Flow:
    """Read a flow from text; `file` stands in messages. Raises FlowError."""
    source = Source(file)
    root = source.compose(text)
    if root is None:
        raise FlowError([Problem(file, 1, "the file is empty")])
    flow = _Loader(source).flow(root)
    if not source.problems:  # the graph of a broken file would only repeat what is wrong
        check_keys_and_phrases(source, flow)
        check_graph(source, flow)
    source.finish()
    return flow


class _Loader:
    def __init__(self, source: Source) -> None:
        self._source, self._scope = source, Scope(source)
        self._nodes = NodeReader(self._scope)

    def flow(self, root: Node) -> Flow:
        source, scope = self._source, self._scope
        found = source.mapping(root, "the flow", _TOP)
        for name in ("flow", "start", "nodes"):
            if name not in found:
                source.error(root, f"the flow needs {name}")
        language = source.text(found["language"], "language") if "language" in found else None
        scope.language = language or "en"
        scope.node_ids = tuple(source.key_lines(found["nodes"])) if "nodes" in found else ()
        variables = self._variables(found)
        scope.variables = frozenset(variables)
        nodes = self._read_nodes(found)
        flow = Flow(
            name=(source.text(found["flow"], "flow") if "flow" in found else None) or "",
            file=source.file,
            start=scope.target(found["start"], "start", back=False) if "start" in found else "",
            nodes=MappingProxyType(nodes),
            texts=self._texts(found.get("texts")),
            language=scope.language,
            globals=self._globals(found.get("globals")),
            variables=MappingProxyType(variables),
            slots=frozenset(scope.slots),
            turn=scope.turn(found["turn"]) if "turn" in found else {},
            on_fail=scope.target(found["on_fail"], "on_fail", back=False) if "on_fail" in found else None,
            answered_by=MappingProxyType(self._answered_by(found)),
            lexicon=self._lexicon(found),
        )
        scope.check_names()
        return replace(flow, others=tuple(sorted(scope.languages)))

    def _read_nodes(self, found: dict[str, Node]) -> dict[str, model.Node]:
        if "nodes" not in found:
            return {}
        lines = self._source.key_lines(found["nodes"])
        nodes: dict[str, model.Node] = {}
        for id, item in self._source.mapping(found["nodes"], "nodes").items():
            if id == BACK:
                self._source.error(lines[id], f'no node can be called "{BACK}", it is a target of its own')
            node = self._nodes.read(id, lines[id], item)
            if node is not None:
                nodes[id] = node
        return nodes

    def _variables(self, found: dict[str, Node]) -> dict[str, Value]:
        variables: dict[str, Value] = dict.fromkeys(CALL_VARIABLES, "")
        if "variables" not in found:
            return variables
        lines = self._source.key_lines(found["variables"])
        for name, item in self._source.mapping(found["variables"], "variables").items():
            self._scope.define(name, lines[name], "variable")
            if isinstance(item, ScalarNode):
                variables[name] = self._source.scalar(item, name)
            else:
                values = [self._source.scalar(n, name) for n in self._source.items(item, name)]
                variables[name] = tuple(values)
        self._scope.slots.clear()  # a variable becomes a slot only where a node fills it
        return variables

    def _answered_by(self, found: dict[str, Node]) -> dict[AnsweredBy, str]:
        """Where calls begin that no person answers."""
        if "answered_by" not in found:
            return {}
        names = (AnsweredBy.MACHINE, AnsweredBy.SCREENING)
        entries = self._source.mapping(found["answered_by"], "answered_by", names)
        return {AnsweredBy(n): self._scope.target(item, n, back=False) for n, item in entries.items()}

    def _lexicon(self, found: dict[str, Node]) -> Lexicon:
        """How names are said in this flow."""
        if "lexicon" not in found:
            return Lexicon()
        entries: dict[str, Entry] = {}
        for word, item in self._source.mapping(found["lexicon"], "lexicon").items():
            value: object = None
            if isinstance(item, ScalarNode):
                value = self._source.text(item, word)
            else:
                parts = self._source.mapping(item, word, ("say", "ipa"))
                value = {name: self._source.text(part, name) or "" for name, part in parts.items()}
            try:
                entries[word_of(word)] = entry_of(value)
            except ValueError as error:
                self._source.error(item, f"{word}: {error}")
        return make(entries)

    def _texts(self, node: Node | None) -> Texts:
        own: dict[str, tuple[Template, ...]] = {}
        entries = {} if node is None else self._source.mapping(node, "texts", DEFAULT_TEXTS)
        for name, item in entries.items():
            extra = PROMPT_NAMES if name in _SEVERAL else ()
            own[name] = self._scope.templates(item, name, extra)
            if name not in _SEVERAL and len(own[name]) != 1:
                self._source.error(item, f"{name} is one text")
        for name, texts in DEFAULT_TEXTS.items():
            if not own.get(name):
                own[name] = tuple(compile_template(text) for text in texts)
        if any(template.names for template in own["fallback"]):
            self._source.error(
                entries["fallback"], "fallback is said when the flow has failed: it can hold no slot"
            )
        single = {name: texts[0] for name, texts in own.items() if name not in _SEVERAL}
        return Texts(reprompts=own["reprompts"], no_input=own["no_input"], **single)

    def _globals(self, node: Node | None) -> tuple[Global, ...]:
        if node is None:
            return ()
        lines = self._source.key_lines(node)
        return tuple(
            self._global(id, lines[id], item) for id, item in self._source.mapping(node, "globals").items()
        )

    def _global(self, id: str, line: int, node: Node) -> Global:
        source, what = self._source, f'global "{id}"'
        found = source.mapping(node, what, ("phrases", "key", "goto", "repeat", "clear", "language"))
        repeat = source.flag(found["repeat"], "repeat") if "repeat" in found else False
        if ("goto" in found) == bool(repeat):
            source.error(line, f"{what} needs either goto or repeat: true")
        if not {"phrases", "key"} & set(found):
            source.error(line, f"{what} needs phrases or a key")
        return Global(
            id=id,
            line=line,
            goto=self._scope.target(found["goto"], "goto", back=False) if "goto" in found else None,
            phrases=self._nodes.phrases(found, "phrases"),
            key=self._nodes.key(found["key"]) if "key" in found else "",
            language=self._scope.language_of(node) if isinstance(node, MappingNode) else None,
            clear=bool("clear" in found and source.flag(found["clear"], "clear")),
        )
