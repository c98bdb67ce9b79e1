"""What one turn comes to, in the order in which a channel needs it.

Notes first: what is decided is recorded even if the caller interrupts the first word. Then, before any
speech, Listen for the state in which the turn ends: the engine's state has moved there already, so
someone who barges in anywhere is heard by the ears that fit. A say node with a policy of its own gets
a Listen of its own, with the same hints.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from dialog.flow.model import Node
from dialog.turn import TurnPolicy
from dialog.types import Act, Hangup, Hints, Listen, Note, Say, Transfer


@dataclass(slots=True)
class Plan:
    """The acts of one turn, while they are being decided."""

    notes: list[Note] = field(default_factory=list)
    speech: list[tuple[str, Node | None]] = field(default_factory=list)  # node: has a policy of its own
    end: Transfer | Hangup | None = None
    language: str = "en"

    def note(self, name: str, /, **data: object) -> None:
        self.notes.append(Note(name, data))

    def say(self, text: str, node: Node | None = None) -> None:
        if text:
            self.speech.append((text, node if node is not None and node.turn else None))

    def acts(self, hints: Hints, policy: TurnPolicy, policy_of: Callable[[Node], TurnPolicy]) -> list[Act]:
        """Everything, with the ears for where the turn ends."""
        acts: list[Act] = [*self.notes]
        current: TurnPolicy | None = None
        for text, node in self.speech:
            wanted = policy if node is None else policy_of(node)
            if wanted != current:
                acts.append(Listen(hints, wanted, self.language))
                current = wanted
            acts.append(Say(text))
        if current != policy:
            acts.append(Listen(hints, policy, self.language))
        if self.end is not None:
            acts.append(self.end)
        return acts
