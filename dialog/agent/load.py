"""Agent files: YAML in, a checked AgentSpec out, or one FlowError that lists every mistake as file:line.

agent: reception                      tools:
instructions: You answer for ...        opening_hours:
greeting: Hello, how can I help you?      description: When we are open on a day
transfers: {operator: "100"}              parameters: {day: {type: string, description: weekday}}
                                          url: https://api.example.com/hours/{day}
                                          method: GET
"""

import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dialog.agent.engine import END_CALL, TRANSFER_CALL
from dialog.agent.spec import AgentLimits, AgentSpec, AgentTexts, HttpTool, PythonTool, Tool
from dialog.agent.toolbox import function
from dialog.errors import ExpressionError, FlowError, Problem
from dialog.flow.load import CALL_VARIABLES
from dialog.flow.scope import Scope
from dialog.flow.source import Source
from dialog.flow.template import Template, compile_template
from dialog.flow.values import Value
from dialog.llm.base import ToolSpec

LONGEST = 40_000  # characters of instructions: 10 000 tokens

_TOP = ("agent", "language", "instructions", "greeting", "hints", "tools", "transfers", "on_failed")
_REST = ("end_call", "variables", "texts", "limits", "turn")
_TOOL = ("description", "parameters", "optional", "url", "method", "headers", "python", "timeout_s")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_SEVERAL = {"no_input", "filler"}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def parse_agent(text: str, file: str = "agent.yaml", environ: Mapping[str, str] = os.environ) -> AgentSpec:
    """Read an agent from text; `environ` fills ${NAME} in URLs and headers. Raises FlowError."""
    source = Source(file)
    root = source.compose(text)
    if root is None:
        raise FlowError([Problem(file, 1, "the file is empty")])
    spec = _Loader(source, environ).agent(root)
    source.finish()
    return spec


class _Loader:
    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        self._source, self._environ = source, environ
        self._scope = Scope(source)

    def agent(self, root: Node) -> AgentSpec:
        source = self._source
        found = source.mapping(root, "the agent", (*_TOP, *_REST))
        for name in ("agent", "instructions"):
            if name not in found:
                source.error(root, f"the agent needs {name}")
        variables = self._variables(found.get("variables"))
        self._scope.variables = frozenset(variables)
        transfers, on_failed = self._transfers(found.get("transfers")), ""
        if "on_failed" in found:
            on_failed = source.one_of(found["on_failed"], "on_failed", transfers) or ""
        spec = AgentSpec(
            name=self._text(found, "agent"),
            file=source.file,
            instructions=self._instructions(found.get("instructions")),
            greeting=self._scope.template(found["greeting"], "greeting") if "greeting" in found else None,
            language=self._text(found, "language") or "en",
            hints=tuple(source.texts(found["hints"], "hints")) if "hints" in found else (),
            tools=self._tools(found.get("tools")),
            transfers=transfers,
            on_failed=on_failed,
            variables=variables,
            texts=self._texts(found.get("texts")),
            limits=self._limits(found.get("limits")),
            turn=self._scope.turn(found["turn"]) if "turn" in found else {},
        )
        if "end_call" in found:
            spec = replace(spec, end_call=bool(source.flag(found["end_call"], "end_call")))
        self._scope.check_names()
        return spec

    def _text(self, found: dict[str, Node], name: str) -> str:
        return (self._source.text(found[name], name) if name in found else None) or ""

    def _instructions(self, node: Node | None) -> Template:
        text = None if node is None else self._source.text(node, "instructions")
        try:
            if text is not None and node is not None:
                template = compile_template(text, LONGEST)
                self._scope.reads(node, template.names)
                return template
        except ExpressionError as error:
            self._source.error(node or 1, f"instructions: {error}")
        return compile_template("?")

    def _variables(self, node: Node | None) -> dict[str, Value]:
        values: dict[str, Value] = dict.fromkeys(CALL_VARIABLES, "")
        if node is not None:
            lines = self._source.key_lines(node)
            for name, item in self._source.mapping(node, "variables").items():
                self._scope.define(name, lines[name], "variable")
                values[name] = self._source.scalar(item, name)
            self._scope.slots.clear()
        return values

    def _transfers(self, node: Node | None) -> dict[str, str]:
        if node is None:
            return {}
        found = self._source.mapping(node, "transfers")
        return {name: self._source.text(item, name) or "" for name, item in found.items()}

    def _texts(self, node: Node | None) -> AgentTexts:
        if node is None:
            return AgentTexts()
        own: dict[str, Any] = {}
        names = tuple(f.name for f in fields(AgentTexts))
        for name, item in self._source.mapping(node, "texts", names).items():
            texts = tuple(self._source.texts(item, name))
            if name in _SEVERAL:
                own[name] = texts or ("",)
            elif len(texts) == 1:
                own[name] = texts[0]
            else:
                self._source.error(item, f"{name} is one text")
        return AgentTexts(**own)

    def _limits(self, node: Node | None) -> AgentLimits:
        if node is None:
            return AgentLimits()
        names = tuple(f.name for f in fields(AgentLimits))
        least = {"rounds": 1, "history_tokens": 200}
        found = self._source.mapping(node, "limits", names)
        values = {name: self._source.integer(item, name, least.get(name, 0)) for name, item in found.items()}
        return AgentLimits(**{name: value for name, value in values.items() if value is not None})

    # Tools

    def _tools(self, node: Node | None) -> tuple[Tool, ...]:
        if node is None:
            return ()
        lines = self._source.key_lines(node)
        tools = []
        for name, item in self._source.mapping(node, "tools").items():
            if not _NAME.fullmatch(name) or name in {END_CALL, TRANSFER_CALL}:
                self._source.error(lines[name], f'a tool cannot be called "{name}"')
            tools.append(self._tool(name, lines[name], item))
        return tuple(tool for tool in tools if tool is not None)

    def _tool(self, name: str, line: int, node: Node) -> Tool | None:
        source, what = self._source, f'tool "{name}"'
        found = source.mapping(node, what, _TOOL)
        if "description" not in found:
            source.error(line, f"{what} needs a description: it is how the model knows when to use it")
        if ("url" in found) == ("python" in found):
            source.error(line, f"{what} needs either url or python")
            return None
        spec = ToolSpec(name, self._text(found, "description"), self._parameters(found))
        timeout_s = 5.0
        if "timeout_s" in found:
            given = source.scalar(found["timeout_s"], "timeout_s")
            if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 120:
                timeout_s = float(given)
            else:
                source.error(found["timeout_s"], "timeout_s must be seconds, above 0 and at most 120")
        if "python" in found:
            return self._python(found, spec, timeout_s)
        return self._http(found, spec, timeout_s)

    def _python(self, found: dict[str, Node], spec: ToolSpec, timeout_s: float) -> PythonTool:
        dotted = self._text(found, "python")
        try:
            function(dotted)
        except ValueError as error:
            self._source.error(found["python"], str(error))
        return PythonTool(spec, dotted, timeout_s)

    def _http(self, found: dict[str, Node], spec: ToolSpec, timeout_s: float) -> HttpTool:
        source = self._source
        url = self._filled(found["url"], "url")
        if not re.match(r"https?://[^/]", url):
            source.error(found["url"], "url must begin with http:// or https://")
        method = source.one_of(found["method"], "method", _METHODS) if "method" in found else "POST"
        headers: dict[str, str] = {}
        if "headers" in found:
            for key, item in source.mapping(found["headers"], "headers").items():
                headers[key] = self._filled(item, key)
        return HttpTool(spec, url, method or "POST", headers, timeout_s)

    def _filled(self, node: Node, what: str) -> str:
        """A text with ${NAME} taken from the environment."""

        def value(match: re.Match[str]) -> str:
            if match[1] not in self._environ:
                self._source.error(node, f"{what}: the environment has no {match[1]}")
            return self._environ.get(match[1], "")

        return _VARIABLE.sub(value, self._source.text(node, what) or "")

    def _parameters(self, found: dict[str, Node]) -> dict[str, Any]:
        """JSON schema: `day: weekday` is short for `day: {type: string, description: weekday}`. All are
        required but those in `optional`."""
        source = self._source
        properties: dict[str, Any] = {}
        if "parameters" in found:
            for name, item in source.mapping(found["parameters"], "parameters").items():
                given = self._plain(item)
                short = isinstance(given, str)
                properties[name] = {"type": "string", "description": given} if short else given
                if not isinstance(properties[name], dict):
                    source.error(item, f"{name} must be a description, or a mapping with type and more")
                    properties[name] = {}
        optional = source.texts(found["optional"], "optional") if "optional" in found else []
        for name in optional:
            if name not in properties:
                source.error(found["optional"], f'optional names "{name}", which is no parameter')
        required = [name for name in properties if name not in optional]
        return {"type": "object", "properties": properties, "required": required}

    def _plain(self, node: Node) -> Any:
        if isinstance(node, MappingNode):
            return {key: self._plain(value) for key, value in self._source.mapping(node, "a schema").items()}
        if isinstance(node, SequenceNode):
            return [self._plain(item) for item in node.value]
        return self._source.scalar(node, "a schema") if isinstance(node, ScalarNode) else None
