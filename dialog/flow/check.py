"""The flow as a graph: who leads where, what can never be reached, what runs in a circle.

An edge knows how a caller takes it: by speech, by a key, or without doing anything (`auto`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dialog.flow.model import (
    BACK,
    Ask,
    Branch,
    Flow,
    HangupNode,
    ListeningNode,
    Menu,
    Node,
    NoteNode,
    Say,
    SetNode,
    TransferNode,
)
from dialog.flow.source import Source
from dialog.nlu.base import normalise

Means = Literal["speech", "keys"]


@dataclass(frozen=True, slots=True)
class Edge:
    """One way from a node to the next."""

    goto: str
    speech: bool
    keys: bool
    failure: bool = False  # taken when something goes wrong, not when the caller answers

    def by(self, means: Means) -> bool:
        return self.speech if means == "speech" else self.keys


def edges(flow: Flow, node: Node) -> Iterator[Edge]:
    """Every way out of a node but `back`, which leads to where the caller was before."""
    for edge in _edges(flow, node):
        if edge.goto != BACK:
            yield edge


def _edges(flow: Flow, node: Node) -> Iterator[Edge]:
    match node:
        case Say() | SetNode() | NoteNode():
            yield _auto(node.goto)
        case Branch():
            for _, goto in node.cases:
                yield _auto(goto)
            yield _auto(node.otherwise)
        case TransferNode():
            if node.on_failed is not None:
                yield Edge(node.on_failed, speech=True, keys=True, failure=True)
        case Ask():
            yield Edge(node.goto, speech=True, keys=node.capture.keys is not None)
        case Menu():
            for option in node.options:
                spoken = bool(option.phrases or option.examples)
                yield Edge(option.goto, speech=spoken, keys=bool(option.key))
        case HangupNode():
            return
    if isinstance(node, ListeningNode):
        yield from _common_edges(flow, node)


def _common_edges(flow: Flow, node: ListeningNode) -> Iterator[Edge]:
    """Where every question leads: the global options, and away after too many misunderstandings."""
    for choice in flow.globals:
        if choice.goto is not None:
            yield Edge(choice.goto, speech=bool(choice.phrases), keys=bool(choice.key))
    failed = node.on_fail or flow.on_fail
    if failed is not None:
        yield Edge(failed, speech=True, keys=True, failure=True)


def _auto(goto: str) -> Edge:
    return Edge(goto, speech=True, keys=True)


def reachable(flow: Flow, means: Means | None = None) -> set[str]:
    """Nodes that can be reached from the start; with `means`, by that means alone and without failing."""
    found, todo = {flow.start, *flow.answered_by.values()}, [flow.start, *flow.answered_by.values()]
    while todo:
        for edge in edges(flow, flow.nodes[todo.pop()]):
            usable = means is None or edge.failure or edge.by(means)
            if usable and edge.goto not in found:
                found.add(edge.goto)
                todo.append(edge.goto)
    return found


def check_graph(source: Source, flow: Flow) -> None:
    """Note nodes that nothing leads to, and circles in which nobody listens."""
    for id in sorted(set(flow.nodes) - reachable(flow), key=lambda id: flow.nodes[id].line):
        source.error(flow.nodes[id].line, f'nothing leads to node "{id}"')
    for circle in _silent_circles(flow):
        path = " -> ".join([*circle, circle[0]])
        source.error(flow.nodes[circle[0]].line, f"endless loop without listening: {path}")


def _silent_circles(flow: Flow) -> list[list[str]]:
    """One circle for each group of nodes that lead to each other without listening."""
    silent = {
        id: [e.goto for e in edges(flow, node) if not isinstance(flow.nodes[e.goto], ListeningNode)]
        for id, node in flow.nodes.items()
        if not isinstance(node, ListeningNode)
    }
    done = set[str]()
    found = (_circle_from(silent, id, done) for id in silent if id not in done)
    return [circle for circle in found if circle]


def _circle_from(graph: Mapping[str, list[str]], start: str, done: set[str]) -> list[str]:
    """A circle that can be entered from `start`, by depth-first search without recursion."""
    path, todo = [start], [iter(graph[start])]
    while todo:
        following = next(todo[-1], None)
        if following is None:
            done.add(path.pop())
            todo.pop()
        elif following in path:
            circle = path[path.index(following) :]
            done.update(path)
            return circle
        elif following not in done:
            path.append(following)
            todo.append(iter(graph[following]))
    return []


def check_keys_and_phrases(source: Source, flow: Flow) -> None:
    """The same key or phrase must not mean two things in one place."""
    general = _Taken(source)
    for choice in flow.globals:
        general.add(choice.line, f'global "{choice.id}"', choice.key, choice.phrases)
    for node in flow.nodes.values():
        if isinstance(node, Menu):
            own = _Taken(source, general)
            for option in node.options:
                own.add(option.line, f'option "{option.id}"', option.key, (*option.phrases, *option.examples))


class _Taken:
    """Keys and phrases in use, with their owners."""

    def __init__(self, source: Source, general: "_Taken | None" = None) -> None:
        self._source = source
        self._owners: dict[str, str] = dict(general._owners) if general else {}

    def add(self, line: int, owner: str, key: str, phrases: tuple[str, ...]) -> None:
        for word in [*([f'key "{key}"'] if key else []), *(f'phrase "{normalise(p)}"' for p in phrases)]:
            other = self._owners.setdefault(word, owner)
            if other != owner:
                self._source.error(line, f"{word} of {owner} already belongs to {other}")
