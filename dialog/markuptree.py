"""What markup in texts can mean (dialog/markup.py reads it): words, breaks, and stretches with a style."""

from dataclasses import dataclass

SAY_AS = ("characters", "spell-out", "digits", "cardinal", "number", "ordinal", "date", "time", "telephone")


@dataclass(frozen=True, slots=True)
class Break:
    """Silence."""

    ms: int


@dataclass(frozen=True, slots=True)
class SayAs:
    """How to read something: one of `SAY_AS`."""

    what: str


@dataclass(frozen=True, slots=True)
class Prosody:
    """Factors to the voice's own; volume in dB."""

    rate: float = 1.0
    pitch: float = 1.0
    volume_db: float = 0.0


@dataclass(frozen=True, slots=True)
class Phoneme:
    """Sounds, in IPA."""

    ipa: str


@dataclass(frozen=True, slots=True)
class Sub:
    """Other words are spoken; the written ones are what was said."""

    alias: str


@dataclass(frozen=True, slots=True)
class Emphasis:
    """strong, moderate, none, reduced."""

    level: str


@dataclass(frozen=True, slots=True)
class Lang:
    """In another language, BCP 47."""

    code: str


@dataclass(frozen=True, slots=True)
class Voice:
    """By another voice of the engine."""

    name: str


Style = SayAs | Prosody | Phoneme | Sub | Emphasis | Lang | Voice


@dataclass(frozen=True, slots=True)
class Span:
    """What has a style."""

    style: Style
    children: "tuple[Node, ...]"


Node = str | Break | Span
