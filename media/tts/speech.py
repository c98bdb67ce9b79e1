"""How text is read, whatever the engine."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """How text is read aloud."""

    language: str = ""
    """BCP 47, for numbers, dates and the like. Empty: the engine's own, else English."""
    normalize: dict[str, bool] = field(default_factory=dict)
    """By engine: whether money, dates, times, telephone numbers, units, e-mail and web addresses become words
    before it gets them, {azure: true}. By default for espeak, piper, and servers like OpenAI's; the hosted
    ones read them well."""
    lexicon: dict[str, str] = field(default_factory=dict)
    """Words that voices say wrong: {Siobhan: shi-VAWN}."""
    lexicon_file: Path | None = None
    """More of them, in a YAML file: respellings, or {ipa: ..., say: ...}."""
