"""The ports of signalling: `WayOut`, which places calls, and `SipEndpoint`, a whole SIP stack.

Two implementations: `sip.ua` (our own, the default) and `sip.pjsua` (pjsua2). Both only signal;
the media of every call is a `sip.rtpleg.RtpLeg` on our own RTP engine.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from media.leg import CallInfo, CallLeg


class CallProgress(Enum):
    """How far an outbound call has come."""

    TRYING = "trying"
    RINGING = "ringing"
    EARLY_MEDIA = "early-media"
    ANSWERED = "answered"


class IncomingCall(Protocol):
    """A call that rings here and is not yet answered."""

    @property
    def info(self) -> CallInfo:
        """Who calls whom."""

    def ring(self) -> None:
        """Send 180 Ringing. Any number of times."""

    async def answer(self) -> CallLeg:
        """Send 200 OK with our SDP. Returns when the caller has acknowledged it.

        Raises CallFailed when the caller has given up (487), offered no codec of ours (488), or
        never acknowledges (408).
        """

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        """Refuse the call. Idempotent; nothing after an answer."""


@runtime_checkable
class EarlyCall(Protocol):
    """A call that can hear us before it is answered."""

    async def early(self) -> CallLeg:
        """Let the caller hear us before the answer (183); `answer` gives the same leg later. What hangs up
        the leg refuses the call. Where the caller leaves no way to do so, the call is answered.

        Raises CallFailed like `answer`.
        """


OnCall = Callable[[IncomingCall], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """A call to place."""

    target: str  # SIP URI; other ways out take what their carrier calls, mostly a number
    caller: str = "voicegw"  # user part of the From
    display_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ring_timeout_s: float = 60.0
    call_id: str = ""  # ours, for `CallInfo`; empty: a new one is made
    carrier_id: str = (
        ""  # SIP's Call-ID; empty: a new one is made. A carrier that numbers its calls ignores it
    )
    anonymous: bool = False  # the called party shall not learn who calls (RFC 3323)
    on_early: Callable[[CallLeg], None] | None = None  # gets the leg once there is sound before the answer
    trunk: str = ""  # name of the trunk to call through; empty: the one whose registrar is in the target


OnProgress = Callable[[CallProgress], None]


class WayOut(Protocol):
    """Whatever can call somebody: a SIP stack, a carrier's REST interface, a softswitch."""

    async def place(self, call: OutboundCall, on_progress: OnProgress | None = None) -> CallLeg:
        """Call somebody. Returns the leg once it is answered; cancelling gives the call up, whatever its
        state, and leaves nothing behind. `on_progress` may be called any number of times before.

        Raises CallFailed with the final SIP status, or with the status that fits best (486 busy, 480 or
        408 no answer, 603 rejected, 404 unknown number, 0 the carrier cannot be reached).
        """


class SipEndpoint(WayOut, Protocol):
    """A SIP stack bound to its sockets."""

    draining: bool
    """While set, new calls and OPTIONS get 503: proxies choose another server. Not before `start`."""

    @property
    def uri(self) -> str:
        """Where we can be called: ``sip:bot@host:port``."""

    async def start(self, on_call: OnCall) -> None:
        """Bind sockets and serve. `on_call` runs as a task of its own for each call; when it raises,
        the call is refused with 500. Raises OSError if a port is taken."""

    async def close(self) -> None:
        """Unregister, hang up what is left, close the sockets. Idempotent."""
