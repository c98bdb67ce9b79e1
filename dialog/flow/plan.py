"""What one turn comes to, in the order in which a channel needs it.

Notes first: what is decided is recorded even if the caller interrupts the first word. Then, before any
speech, Listen for the state in which the turn ends: the engine's state has moved there already, so
someone who barges in anywhere is heard by the ears that fit. A say node with a policy of its own gets
a Listen of its own, with the same hints.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dialog.flow.model import Node
from dialog.turn import TurnPolicy
from dialog.types import Act, Hangup, Listen, Note, Say, Transfer


@dataclass(slots=True)
class Plan:
    """The acts of one turn, while they are being decided."""

    notes: list[Note] = field(default_factory=list)
    speech: list[tuple[str, Node | None, str]] = field(default_factory=list)  # node: has a policy of its own
    end: Transfer | Hangup | None = None
    language: str = ""  # in which is spoken now; "": the flow's own

    def note(self, name: str, /, **data: object) -> None:
        self.notes.append(Note(name, data))

    def say(self, text: str, node: Node | None = None) -> None:
        if text:
            self.speech.append((text, node if node is not None and node.turn else None, self.language))

    def acts(self, ears: Listen, policy_of: Callable[[Node], TurnPolicy]) -> list[Act]:
        """Everything; `ears` are those for where the turn ends."""
        acts: list[Act] = [*self.notes]
        current: TurnPolicy | None = None
        for text, node, language in self.speech:
            wanted = ears.policy if node is None else policy_of(node)
            if wanted != current:
                acts.append(replace(ears, policy=wanted))
                current = wanted
            acts.append(Say(text, language))
        if current != ears.policy:
            acts.append(ears)
        if self.end is not None:
            acts.append(self.end)
        return acts
