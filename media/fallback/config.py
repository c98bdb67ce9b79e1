"""When the next engine takes over."""

from dataclasses import dataclass

from dialog.breaker import BreakerConfig


@dataclass(frozen=True, slots=True)
class VoiceFallback:
    """Several voices."""

    first_ms: int = 1500
    """Wait this long for the first sound of a sentence; then the next voice speaks it."""
    pause_ms: int = 1500
    """The same between two pieces of its audio."""
    breaker: BreakerConfig = BreakerConfig()
    """When a voice is left alone for a while."""


@dataclass(frozen=True, slots=True)
class EarsFallback:
    """Several recognisers."""

    open_ms: int = 2000
    """Wait this long for a recogniser to take a call."""
    final_ms: int = 1200
    """Wait this long for the final after the end of speech; then the next recogniser hears the utterance
    again, from what is kept of it. Below turn.final_timeout_ms, by what the next one needs for a sentence."""
    breaker: BreakerConfig = BreakerConfig()
    """When a recogniser is left alone for a while."""
