"""One answer to one question: what to expect, how to read it, how to say it back.

A capture is an immutable dataclass whose fields are its options in a flow file. It takes what a
recogniser writes (lower case words), what people type ("3:30 pm") and keys.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Protocol

from dialog.types import Hints

Scalar = str | int | float | bool | date | time
"""What an answer can be."""
NO_TURN: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True)
class Keys:
    """How an answer is keyed in."""

    most: int  # the turn ends with this many keys, earlier with "#" or after a pause


class Capture(Protocol):
    """One type of answer."""

    @property
    def value_type(self) -> type[Scalar]:
        """The type of every value."""

    @property
    def hints(self) -> Hints:
        """What the recogniser shall expect."""

    @property
    def keys(self) -> Keys | None:
        """How to key the answer; None if it can only be spoken."""

    @property
    def turn(self) -> Mapping[str, object]:
        """TurnPolicy fields that suit this answer, as dictated digits want patience."""

    @property
    def help(self) -> str:
        """One sentence with an example of what to say and which keys to press."""

    def parse(self, text: str, now: datetime) -> Scalar | None:
        """Read what was said or typed; None if it is no such answer."""

    def parse_keys(self, keys: str, now: datetime) -> Scalar | None:
        """Read what was keyed, without the finishing key."""

    def spoken(self, value: Scalar) -> str:
        """The value as one says it."""


def jsgf(name: str, *rules: str) -> str:
    """A grammar text; the first rule is public and is called `name`."""
    return "\n".join([f"#JSGF V1.0; grammar {name};", f"public <{name}> = {rules[0]};", *rules[1:]])


def alternatives(phrases: Iterable[str]) -> str:
    """Phrases as the alternatives of a JSGF rule."""
    return " | ".join(phrases)
