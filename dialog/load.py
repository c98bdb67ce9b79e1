"""Any dialog file: a flow (`flow: name`) or an agent (`agent: name`)."""

from pathlib import Path

from ruamel.yaml.nodes import MappingNode

from dialog.agent.load import parse_agent
from dialog.agent.spec import AgentSpec
from dialog.errors import FlowError, Problem
from dialog.flow.load import parse_flow
from dialog.flow.model import Flow
from dialog.flow.source import Source


def load_dialog(path: Path) -> Flow | AgentSpec:
    """Read a flow or an agent. Raises FlowError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError([Problem(str(path), 1, f"cannot be read: {error}")]) from None
    return parse_agent(text, str(path)) if _is_agent(text, str(path)) else parse_flow(text, str(path))


def _is_agent(text: str, file: str) -> bool:
    root = Source(file).compose(text)
    return isinstance(root, MappingNode) and any(key.value == "agent" for key, _ in root.value)
