"""The flows that the configuration names, loaded and checked, and the routing table checked against them."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from dialog.agent.engine import AgentEngine, AgentParts, agent_domain
from dialog.agent.spec import AgentSpec
from dialog.errors import FlowError
from dialog.flow.engine import FlowEngine
from dialog.flow.model import Flow
from dialog.load import load_dialog
from dialog.types import DialogEngine, Domain
from media.leg import CallInfo
from voicegw import clock
from voicegw.config import Config, Settings
from voicegw.config.source import Path_, dotted
from voicegw.errors import ConfigError, Problem
from voicegw.extension import EXTENSION

Conversation = Flow | AgentSpec
"""What answers a call: a flow, or an agent that a language model plays."""


def load_flows(config: Config, settings: Settings | None = None) -> dict[str, Conversation]:
    """Flows and agents by name, in the order of the configuration, files of a folder by name. Raises
    ConfigError with every mistake in every file; `settings` tells where the configuration says so."""
    settings = settings or Settings()
    problems: list[Problem] = []
    flows: dict[str, Conversation] = {}
    for file in _files(config, settings, problems):
        try:
            flow = load_dialog(file)
        except FlowError as error:
            problems += [Problem(f"{p.file}:{p.line}", "", p.message) for p in error.problems]
            continue
        if flow.name == EXTENSION:
            problems.append(Problem(str(file), "flow", f"{EXTENSION!r} is the name of calls between phones"))
        if flow.name in flows:
            message = f"flow {flow.name!r} is already defined in {flows[flow.name].file}"
            problems.append(Problem(str(file), "flow", message))
        if isinstance(flow, AgentSpec) and config.llm is None:
            message = f"agent {flow.name!r} needs a language model: set llm"
            problems.append(Problem(str(file), "llm", message))
        flows.setdefault(flow.name, flow)
    if not problems:
        problems = list(_unknown_flows(config, settings, flows))
    if problems:
        raise ConfigError(problems)
    return flows


def new_dialog(
    flow: Conversation, config: Config, call: CallInfo | None = None, agents: AgentParts | None = None
) -> DialogEngine:
    """A new conversation. Raises ValueError if the call brings a variable that the flow does not have.
    `agents` is what an agent works with."""
    variables: dict[str, str] = {}
    if call is not None:
        passed = {name: value for name, value in call.passed.items() if name in flow.variables}
        variables = {**passed, "caller": call.caller, "called": call.callee, **call.variables}
    if isinstance(flow, AgentSpec):
        assert agents is not None, "whoever loads agents brings their model"
        return AgentEngine(flow, agents, config.turn, lambda: clock.local(config.timezone), variables)
    return FlowEngine(flow, config.turn, lambda: clock.local(config.timezone), variables)


def domain_of(flow: Conversation, config: Config) -> Domain:
    """What callers of this flow may say."""
    if isinstance(flow, AgentSpec):
        return agent_domain(flow)
    return FlowEngine(flow, config.turn, lambda: clock.local(config.timezone)).domain


def _files(config: Config, settings: Settings, problems: list[Problem]) -> Iterator[Path]:
    for index, path in enumerate(config.flows):
        where, name = settings.where(("flows", index)), dotted(("flows", index))
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
            if not files:
                problems.append(Problem(where, name, f"there is no .yaml file in {path}"))
            yield from files
        elif path.is_file():
            yield path
        else:
            problems.append(Problem(where, name, f"there is no file or folder {path}"))
    if not config.flows:
        problems.append(Problem(settings.where(("flows",)), "flows", "names no flow: nobody would answer"))


def _unknown_flows(
    config: Config, settings: Settings, flows: Mapping[str, Conversation]
) -> Iterator[Problem]:
    """Flows that routing and limits name, but no file has."""
    table = config.routing
    named: list[tuple[Path_, str]] = [(("routing", "default"), table.default)] if table.default else []
    named += [(("routing", "headers", value), flow) for value, flow in table.headers.items()]
    named += [(("routing", "numbers", number), flow) for number, flow in table.numbers.items()]
    named += [(("routing", "early_media", index), flow) for index, flow in enumerate(table.early_media)]
    limited = config.limits.per_flow
    named += [(("limits", "per_flow", flow), flow) for flow in limited if flow != EXTENSION]
    for path, name in named:
        if name not in flows:
            close = get_close_matches(name, flows, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(flows)}"
            yield Problem(settings.where(path), dotted(path), f"there is no flow {name!r}; {hint}")
