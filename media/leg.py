"""The seam between a carrier and a call: what every call leg offers and reports.

The leg is the clock of its call. A phone line carries a packet every packet time whether somebody
speaks or not, so the leg asks (`LegSink.on_tick`), the sink answers with `CallLeg.send` or with
nothing, and the leg fills what is missing with silence. Received audio is reported a quarter of a
packet time earlier (media/metronome.py), so that a decision taken on a frame is heard 5 ms later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from dialog.types import Transfer
from media.frames import AudioFormat, AudioFrame


class HangupCause(Enum):
    """Why a call ended: the name, and its Q.850 cause code (ITU-T Q.850, table 1)."""

    UNALLOCATED = 1
    NO_ROUTE = 3
    # "Call awarded and being delivered in an established channel": it goes on in another session of ours.
    SUPERSEDED = 7
    NORMAL = 16
    BUSY = 17
    NO_ANSWER = 19
    UNREACHABLE = 20
    REJECTED = 21
    INVALID_NUMBER = 28
    NETWORK = 38
    TEMPORARY = 41
    CONGESTION = 42
    INCOMPATIBLE = 88
    MEDIA_TIMEOUT = 102
    INTERNAL = 127
    # A caller who hangs up before the answer: Q.850 has no code of its own, SIP says 487.
    CANCELLED = 487


class Direction(Enum):
    """Who called whom, seen from this server."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Who calls whom, over what. `call_id` is ours; `carrier_id` is the carrier's (SIP: Call-ID)."""

    call_id: str
    caller: str  # number, or the user part of a SIP URI
    callee: str
    carrier: str  # "sip", "twilio", ...
    carrier_id: str = ""
    direction: Direction = Direction.INBOUND
    headers: Mapping[str, str] = field(default_factory=dict)  # what the carrier passed on, names lower case
    variables: Mapping[str, str] = field(default_factory=dict)  # for the dialog, by whoever placed the call
    passed: Mapping[str, str] = field(default_factory=dict)
    """What a carrier's configuration passes on, names lower case: variables as far as the flow has them."""
    attempt: int = 1  # of an outbound call
    retry_of: str = ""  # `call_id` of the first attempt


class LegSink(Protocol):
    """Receives what a leg reports. Every method returns at once and never raises."""

    def on_audio(self, frame: AudioFrame) -> None:
        """One packet time from the far end. Lost packets are concealed or skipped in `pts`."""

    def on_tick(self) -> None:
        """Now is the time to `send` one frame, or to send nothing. Rests while the far end has put us
        on hold or keys are being pressed: what was sent then would not be heard."""

    def on_dtmf(self, digit: str) -> None:
        """A key was pressed: one of 0-9 * # A-D. Reported once, whatever carried it."""

    def on_played(self, pts: int) -> None:
        """The far end confirms that it has played everything before `pts`."""

    def on_closed(self, cause: HangupCause) -> None:
        """The call is over. Exactly once, and last."""


@runtime_checkable
class HandsOver(Protocol):
    """A leg whose carrier carries out a whole transfer order: it calls the target itself, tells it the
    summary, plays the music, and brings the caller back."""

    hands_over: bool


class CallLeg(Protocol):
    """One party's connection to a call, whatever carries it."""

    @property
    def info(self) -> CallInfo:
        """Who calls whom."""

    @property
    def format(self) -> AudioFormat:
        """Rate and packet time of frames in both directions."""

    @property
    def lead_ms(self) -> int:
        """Audio that the far end buffers ahead of its loudspeaker; 0 on RTP."""

    @property
    def flows(self) -> bool:
        """Whether audio of the far end has come. Before, what is sent may be lost."""

    def start(self, sink: LegSink) -> None:
        """Report to `sink` from now on. Once a leg."""

    def send(self, frame: AudioFrame) -> None:
        """Send one frame. Never blocks; what cannot be sent is dropped and counted."""

    def clear(self) -> None:
        """Make the far end forget what it has buffered. Nothing to do where `lead_ms` is 0."""

    def send_dtmf(self, digits: str) -> None:
        """Press keys, one after the other. Audio pauses meanwhile. Raises Unsupported where nothing carries
        them."""

    async def hangup(self, cause: HangupCause) -> None:
        """End the call. Idempotent; `on_closed` follows."""

    async def transfer(self, order: Transfer) -> None:
        """Connect the caller to `order.target` and leave the call. How much of the rest of the order it
        can do (a summary, music) is the carrier's business.

        Returns once the far end has accepted; `on_closed` follows. Raises TransferError when it
        was refused (the call goes on) and Unsupported where the carrier has no way to do it.
        """
