"""Where a conversation stands. Small, so that a snapshot before every turn costs nothing; plain, so
that it can be kept as JSON and taken up by another process."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from dialog.errors import FlowRunError
from dialog.flow.model import Flow
from dialog.flow.values import Value, from_json, to_json


@dataclass(slots=True)
class State:
    """The whole memory of one conversation but its history."""

    node: str  # the node that listens, or the transfer or hang-up that ended the last turn
    slots: dict[str, Value] = field(default_factory=dict)  # variables too: a flow may set them
    attempts: int = 0  # misunderstandings at this question
    pending: Value = None  # read back and waiting for a yes; None: nothing is
    back: str = ""  # the question to return to
    question: str = ""  # as it was last asked, for "say that again"
    failures: int = 0  # turns in a row in which the flow itself failed
    language: str = ""  # other than the flow's own

    def snapshot(self) -> "State":
        return replace(self, slots=dict(self.slots))

    def dump(self, flow: Flow) -> dict[str, object]:
        """As JSON can hold it."""
        data = asdict(self)
        data["slots"] = {name: to_json(value) for name, value in self.slots.items()}
        data["pending"] = to_json(self.pending)
        return {"flow": flow.name, **data}


def load_state(flow: Flow, data: Mapping[str, object]) -> State:
    """Undo `State.dump`. Raises FlowRunError if it does not fit this flow."""
    known = {f.name for f in fields(State)}
    if set(data) != known | {"flow"} or data["flow"] != flow.name:
        raise FlowRunError(f"no state of the flow {flow.name!r}: {sorted(data)}")
    node, back, slots = data["node"], data["back"], data["slots"]
    if node not in flow.nodes or (back and back not in flow.nodes) or not isinstance(slots, Mapping):
        raise FlowRunError(f"the state stands at {node!r}, which the flow {flow.name!r} does not have")
    counts = [v for name in ("attempts", "failures") if isinstance(v := data[name], int)]
    if len(counts) != 2 or not isinstance(data["question"], str) or not isinstance(data["language"], str):
        raise FlowRunError(f"the state of the flow {flow.name!r} is damaged")
    try:
        values = {str(name): from_json(value) for name, value in slots.items()}
        pending = from_json(data["pending"])
    except ValueError as error:
        raise FlowRunError(f"the state of the flow {flow.name!r} is damaged: {error}") from None
    texts = data["question"], data["language"]
    return State(str(node), values, counts[0], pending, str(back), texts[0], counts[1], texts[1])
