"""An agent as its file describes it. Immutable; one AgentSpec serves all calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dialog.flow.template import Template
from dialog.flow.values import Value
from dialog.llm.base import ToolSpec


@dataclass(frozen=True, slots=True)
class HttpTool:
    """A tool behind a URL. GET sends the arguments as query, other methods as JSON; `{name}` in the URL takes
    the argument of that name instead."""

    spec: ToolSpec
    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class PythonTool:
    """A tool that is an async function, by dotted name: `acme.tools:opening_hours`. It gets the arguments by
    name and returns what JSON can hold."""

    spec: ToolSpec
    function: str
    timeout_s: float = 5.0


Tool = HttpTool | PythonTool


@dataclass(frozen=True, slots=True)
class AgentTexts:
    """What is said without asking the model."""

    no_input: tuple[str, ...] = (
        "Are you still there?",
        "I cannot hear you.",
    )  # by silence; the last one repeats
    filler: tuple[str, ...] = ("One moment, please.",)  # while something takes long; in turn
    goodbye: str = "Thank you for calling. Goodbye."  # the model hangs up without a word
    silent: str = "I still cannot hear you, so I will hang up now. Goodbye."
    expired: str = "I am sorry, we have talked for as long as we can. Goodbye."
    not_heard: str = "Sorry, I did not get that. Please say it again."
    transfer: str = "One moment, I will connect you."  # the model transfers without a word
    failed: str = "I am sorry, I cannot help you right now."  # no model answers


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What keeps an agent in bounds."""

    rounds: int = 5  # requests to the model in one turn, each but the last ending in tool calls
    history_tokens: int = 6000  # estimated; beyond, the oldest turns are forgotten
    filler_ms: int = 1500  # silence in a reply before something is said to fill it; 0: nothing is


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity, as a Flow is
class AgentSpec:
    """A conversation to be held by a language model."""

    name: str
    file: str
    instructions: Template
    greeting: Template | None = None  # None: the model opens the conversation
    language: str = "en"  # BCP 47
    hints: tuple[str, ...] = ()  # what callers say, for recognisers that want to know
    tools: tuple[Tool, ...] = ()
    transfers: Mapping[str, str] = field(default_factory=dict)  # name for the model -> number or SIP URI
    on_failed: str = ""  # name of a transfer: where callers go when no model answers
    end_call: bool = True  # whether the model may hang up
    variables: Mapping[str, Value] = field(default_factory=dict)
    texts: AgentTexts = AgentTexts()
    limits: AgentLimits = AgentLimits()
    turn: Mapping[str, Any] = field(default_factory=dict)  # TurnPolicy fields
