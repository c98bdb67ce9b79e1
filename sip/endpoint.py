"""The `SipEndpoint` port: what a SIP stack offers, whichever one it is.

Two implementations: `sip.ua` (our own, the default) and `sip.pjsua` (pjsua2). Both only signal;
the media of every call is a `sip.rtpleg.RtpLeg` on our own RTP engine.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

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


OnCall = Callable[[IncomingCall], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """A call to place."""

    target: str  # SIP URI
    caller: str = "voicegw"  # user part of the From
    display_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ring_timeout_s: float = 60.0


class SipEndpoint(Protocol):
    """A SIP stack bound to its sockets."""

    draining: bool
    """While set, new calls and OPTIONS get 503: proxies choose another server. Not before `start`."""

    @property
    def uri(self) -> str:
        """Where we can be called: ``sip:bot@host:port``."""

    async def start(self, on_call: OnCall) -> None:
        """Bind sockets and serve. `on_call` runs as a task of its own for each call; when it raises,
        the call is refused with 500. Raises OSError if a port is taken."""

    async def place(
        self, call: OutboundCall, on_progress: Callable[[CallProgress], None] | None = None
    ) -> CallLeg:
        """Call somebody. Returns when it is answered; cancelling sends CANCEL.

        Raises CallFailed with the final status.
        """

    async def close(self) -> None:
        """Unregister, hang up what is left, close the sockets. Idempotent."""
