"""Settings of calls that we place: which way they take, how long they ring, when they are tried again."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from media.amd import Config as AmdConfig
from media.leg import HangupCause

WEEK_S = 604_800
RETRIED = ("busy", "no_answer", "unreachable", "congestion", "temporary")


@dataclass(frozen=True, slots=True)
class OutboundRoute:
    """Which way calls to some numbers take."""

    prefix: str = ""
    """Targets that begin so: "+49", "00", "sip:". The longest match wins. Empty: every target."""
    way: str = "sip"
    """What places the call: sip, or the name of a carrier that is set up."""
    trunk: str = ""
    """Name of the SIP trunk to call through. Without one, only whole addresses (sip:...) can be called."""
    strip: Annotated[int, Field(ge=0)] = 0
    """So many characters are taken off the front of the number."""
    add: str = ""
    """Then this is put before it, such as 0 for an outside line or +49."""
    caller: str = ""
    """Caller id on this way where the call names none. Empty: `outbound.caller`."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that was not answered is tried again. A call may bring its own."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 1
    """Attempts at most, the first one included. 1: none is repeated."""
    wait_s: Annotated[float, Field(ge=0, le=WEEK_S)] = 60.0
    """Seconds from the end of the first attempt to the second."""
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Each further wait is longer by this factor."""
    longest_wait_s: Annotated[float, Field(ge=0, le=WEEK_S)] = 3600.0
    """No wait is longer than this."""
    causes: tuple[str, ...] = RETRIED
    """Final states that are worth another attempt. rejected, unallocated and invalid_number mostly are not:
    the answer would be the same."""

    def __post_init__(self) -> None:
        known = [cause.name.lower() for cause in HangupCause]
        for cause in self.causes:
            if cause not in known:
                raise ValueError(f"there is no cause {cause!r}; known: {', '.join(known)}")

    def wait_after(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (1, 2, ...)."""
        return min(self.wait_s * self.factor ** (attempt - 1), self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class CallbackConfig:
    """Status callbacks: a signed POST for each change of a call that was placed with a callback URL."""

    secret: str = ""
    """Key of the signature (HMAC-SHA256, header X-Voicegw-Signature). Empty: they are not signed."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long the receiver may take for one, 60 at most: it holds up those behind it."""
    tries: Annotated[int, Field(ge=1, le=20)] = 4
    """Attempts at one callback, with 1, 2, 4, ... seconds between them; then it is lost, and counted."""
    max_waiting: Annotated[int, Field(ge=1)] = 1000
    """Callbacks that wait to be delivered; beyond, new ones are lost, and counted."""


@dataclass(frozen=True, slots=True)
class OutboundConfig:
    """Calls that we place: by `voicegw dial`, or POST /api/calls. None can be placed without a route."""

    routes: tuple[OutboundRoute, ...] = ()
    """Which numbers may be called, and over what; see below. Calls cost money: there is no default."""
    caller: str = ""
    """Caller id where neither the call nor its route names one. Empty: the trunk's user name."""
    ring_timeout_s: Annotated[float, Field(ge=1, le=600)] = 45.0
    """How long it may ring. Voicemail mostly answers after 20 to 30 s."""
    max_calls: Annotated[int, Field(ge=0)] = 50
    """Outbound calls at a time; they also count in `limits.max_calls`, so that inbound ones keep a place."""
    max_waiting: Annotated[int, Field(ge=0)] = 1000
    """Calls that wait for their next attempt; beyond, none is taken."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    callback: CallbackConfig = field(default_factory=CallbackConfig)
    amd: AmdConfig = AmdConfig()
