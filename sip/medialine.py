"""What a media socket's leg is made of: its socket, its carrier's powers, its counters."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from dialog.types import Transfer
from media.codecs import Coder, codec
from media.errors import Unsupported
from media.leg import HangupCause
from media.metronome import Metronome
from media.tasks import Start
from sip.errors import RemoteProtocolError
from sip.mediacore import Capabilities, Encoding, MediaStreamCore, Message


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """Media sockets of carriers."""

    inactivity_s: float = 30.0
    """Seconds without any message after which the call is ended: carriers send sound all the time, so the
    connection is dead. 0: never."""
    start_s: float = 10.0
    """Seconds that a connected carrier may take to say which call it brings."""


@dataclass(slots=True)
class StreamStats:
    """What one media socket carried. Names as for RTP, where they mean the same."""

    received_received: int = 0  # messages with sound
    received_lost: int = 0  # by the carrier's own numbers
    received_late: int = 0
    received_discarded: int = 0  # frames that came too fast
    received_garbage: int = 0
    received_foreign: int = 0  # messages that are none of this call's
    received_silent: int = 0  # frames that we filled in, for want of sound
    sent_packets: int = 0  # frames
    sent_dropped: int = 0  # frames that the socket did not take
    sent_clears: int = 0
    sent_marks: int = 0
    marks_returned: int = 0
    failures: int = 0  # complaints of the carrier

    def fields(self) -> dict[str, object]:
        """For the timeline."""
        return asdict(self)


class Channel(Protocol):
    """The sending half of a socket."""

    @property
    def backlog(self) -> int:
        """Bytes that the network has not taken yet."""

    def send(self, message: Message) -> None:
        """Hand over one message; never blocks, nothing after the end."""


class CallControl(Protocol):
    """What can be done with a call besides its media, mostly by a carrier's REST interface."""

    async def hangup(self, cause: HangupCause) -> None:
        """End the call for the caller, or leave it (`Capabilities.hangup`). Idempotent; never raises for a
        call that is gone already."""

    async def transfer(self, order: Transfer) -> None:
        """As `CallLeg.transfer`."""

    async def press(self, digits: str) -> None:
        """Press keys. Raises Unsupported or MediaError."""


@dataclass(frozen=True, slots=True)
class NoControl:
    """A carrier whose calls are their socket, and no more."""

    carrier: str

    async def hangup(self, cause: HangupCause) -> None:
        """Closing the socket does it."""

    async def transfer(self, order: Transfer) -> None:
        """It cannot."""
        raise Unsupported(f"{self.carrier} calls cannot be transferred: the media socket has no way to do it")

    async def press(self, digits: str) -> None:
        """It cannot."""
        raise Unsupported(f"{self.carrier} calls have no keys to press")


@dataclass(frozen=True, slots=True)
class Leaving:
    """Of a call that goes on in its carrier's flow when we leave (`Means.FLOW`): `told` is called then."""

    control: CallControl
    told: Callable[[], None]

    async def hangup(self, cause: HangupCause) -> None:
        """Leave."""
        self.told()
        await self.control.hangup(cause)

    async def transfer(self, order: Transfer) -> None:
        """As the carrier does it."""
        await self.control.transfer(order)

    async def press(self, digits: str) -> None:
        """As the carrier does it."""
        await self.control.press(digits)


@dataclass(frozen=True, slots=True)
class Line:
    """What a leg is made of."""

    core: MediaStreamCore
    channel: Channel
    capabilities: Capabilities
    metronome: Metronome
    start: Start  # starts tasks that live no longer than the socket
    config: StreamConfig = StreamConfig()


def coders(encoding: Encoding) -> tuple[Coder, Coder]:
    """Decoder and encoder. Raises RemoteProtocolError for what we do not speak."""
    if encoding.name == "PCM":
        return (lambda data: data[: len(data) & ~1]), (lambda pcm: pcm)
    try:
        found = codec("L16" if encoding.name == "L16" else encoding.name)
    except KeyError:
        raise RemoteProtocolError(f"no codec for {encoding.name}", 488) from None
    if found.rate != encoding.rate and encoding.name != "L16":
        raise RemoteProtocolError(f"{encoding.name} at {encoding.rate} Hz", 488)
    return found.decoder(), found.encoder()
