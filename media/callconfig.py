"""How a call behaves, and what it hears and speaks with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dialog.turn import TurnPolicy
from media.denoise.base import Denoiser
from media.echo import Config as EchoConfig
from media.eot.base import EndOfTurn
from media.stt.base import SttStream
from media.tts.base import TextToSpeech
from media.vad.base import VoiceDetector

if TYPE_CHECKING:
    from media.switchboard import Dialler


class TransferHow(StrEnum):
    """By which way a caller is handed over."""

    AUTO = "auto"  # by REFER; where that is refused, by a bridge
    REFER = "refer"  # the carrier connects, and we are out
    BRIDGE = "bridge"  # we call the target and connect: the call stays here


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """How callers are handed over to people."""

    how: TransferHow = TransferHow.AUTO
    """auto: ask the caller's side to connect (SIP REFER), and where it refuses, call the target and connect
    the two here (needs `outbound.routes`); refer or bridge: only so. A bridged call goes on being recorded,
    and takes two lines. Attended transfers are always bridged."""
    music: str = "music"
    """What a caller hears who waits, or whom an agent puts on hold: music, ringing, silence, or a WAV
    file."""
    timeout_s: float = 40.0
    """How long a target may ring before the caller is back with the bot."""


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
    transfer: TransferConfig = TransferConfig()
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
    dialler: "Dialler | None" = None  # what calls others; None: nobody can be called
    eot: EndOfTurn | None = None  # estimates the end of a turn; None: silence alone decides
    denoiser: Denoiser | None = None  # this call's own
    voices: Mapping[str, TextToSpeech] = field(default_factory=dict)  # for languages other than its own
