"""How a call behaves, and what it hears and speaks with."""

from dataclasses import dataclass

from dialog.turn import TurnPolicy
from media.echo import Config as EchoConfig
from media.stt.base import SttStream
from media.tts.base import TextToSpeech
from media.vad.base import VoiceDetector


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How a call behaves, whatever its dialog."""

    policy: TurnPolicy = TurnPolicy()
    """Turn taking, where a flow node says nothing else."""
    fallback_phrase: str = "I am sorry, something went wrong. Please say that again."
    """Spoken when a reply fails."""
    goodbye_phrase: str = "I am sorry, we have to end this call now. Goodbye."
    """Spoken when the server ends a call that is not finished, such as at a shutdown."""
    failed_transfer: str = ""
    """Number or SIP URI where callers go when replies keep failing. Empty: they hear the goodbye phrase and
    the call ends."""
    hangup_delay_ms: int = 200
    """From the last word to the hang-up: the far end's jitter buffer still holds the word's end."""
    echo: EchoConfig = EchoConfig()
    greeting_wait_ms: int = 800
    """The greeting starts with the far end's first packet, since nobody hears us before; but after this
    long in any case: some phones send nothing while their owner is silent. 0: at once."""
    greeting_delay_ms: int = 200
    """On calls that we place, from the answer to the first word at least: people answer before the phone is
    at their ear, and gateways switch the media through after the signalling."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What a call hears and speaks with. `vad` and `ears` are this call's own."""

    vad: VoiceDetector
    ears: SttStream
    voice: TextToSpeech
