"""What the calls of one user agent share, and the little rules that all of them use."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from media.leg import HangupCause
from sip.errors import RemoteProtocolError
from sip.rtpmedia import RtpMedia
from sip.sdes import SrtpPolicy
from sip.ua.config import SipConfig
from sip.ua.dialog import DialogKey
from sip.ua.exchange import ALLOW, Exchange
from sip.ua.flow import Flow
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, Response, reply
from sip.ua.resolve import Resolver
from sip.ua.sources import Sources
from sip.ua.trunks import Trunks, TrunkState

log = logging.getLogger(__name__)

SDP = "application/sdp"


class Dispatch(Protocol):
    """Whoever takes the requests of one dialog."""

    @property
    def peer_host(self) -> str:
        """Where the call is signalled from."""

    def receive(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        """A request other than ACK and CANCEL; it has to be answered."""

    def acknowledged(self, ack: Request) -> None:
        """An ACK for a 2xx."""

    def shut_down(self) -> None:
        """The user agent closes: end the call. Returns at once."""


@dataclass(slots=True)
class Stack:
    """Belongs to one loop."""

    config: SipConfig
    media: RtpMedia
    exchange: Exchange
    sources: Sources
    trunks: Trunks
    resolver: Resolver
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    dialogs: dict[DialogKey, Dispatch] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # set when a dialog has ended
    calls: int = 0  # ringing ones included
    draining: bool = False
    closed: bool = False

    def start(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task of the user agent; after `close` there are none."""
        if self.closed:
            coro.close()
            return
        self.spawn(self._guard(coro, name), name)

    async def _guard(self, coro: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await coro
        except Exception:
            self.exchange.counters.errors += 1
            log.exception("sip task failed", extra={"task": name})

    def leave(self, key: DialogKey) -> None:
        """A dialog has ended."""
        self.dialogs.pop(key, None)
        self.changed.set()

    def room_for(self, host: str) -> bool:
        """Whether this source may have one more call."""
        limit = self.sources.limits.max_calls
        if not limit or self.sources.exempt(host):
            return True
        return sum(dialog.peer_host == host for dialog in self.dialogs.values()) < limit

    def hold(self, flow: Flow) -> None:
        """Listen to this peer from now on, wherever it is."""
        self.sources.hold(flow.host)

    def release(self, flow: Flow) -> None:
        """The reverse, once what the peer may still repeat has been answered."""
        delay = self.exchange.timers.timeout
        asyncio.get_running_loop().call_later(delay, self.sources.release, flow.host)

    def encryption(self, flow: Flow, trunk: TrunkState | None) -> SrtpPolicy:
        """Of the audio of a call that is signalled on this way. Raises RemoteProtocolError, 488."""
        config = self.media.config
        policy = config.srtp if trunk is None or trunk.trunk.srtp is None else trunk.trunk.srtp
        if flow.transport == "TLS" or not config.srtp_needs_tls:
            return policy
        if policy is SrtpPolicy.REQUIRED:
            raise RemoteProtocolError(
                f"encrypted audio is required, and its keys do not travel by {flow.transport}", 488
            )
        return SrtpPolicy.OFF

    def refuse(self, request: Request, transaction: ServerTransaction, status: int, reason: str = "") -> None:
        """Answer with an error that needs nothing but its number."""
        response = reply(request, status, reason, tag="refused")
        if status == 405:
            response.headers.add("allow", ALLOW)
        elif status == 415:
            response.headers.add("accept", SDP)
        self.exchange.respond(transaction, response)

    def ok(self, request: Request, transaction: ServerTransaction, flow: Flow, tag: str = "") -> Response:
        """A 200 that says what we can; still to be sent."""
        response = reply(request, 200, tag=tag)
        response.headers.add("allow", ALLOW)
        response.headers.add("accept", SDP)
        return response


def reason_of(cause: HangupCause) -> str:
    """The Reason header (RFC 3326) of a hang-up."""
    if cause.value > 127:
        return f"SIP;cause={cause.value}"
    return f'Q.850;cause={cause.value};text="{cause.name.lower().replace("_", " ")}"'


def cause_of(request: Request) -> HangupCause:
    """What a BYE or CANCEL says about its reason; NORMAL if it says nothing we know."""
    for value in request.headers.values("reason"):
        protocol, _, rest = value.partition(";")
        for part in rest.split(";"):
            name, _, number = part.strip().partition("=")
            if protocol.strip().upper() == "Q.850" and name == "cause" and number.strip().isdecimal():
                try:
                    return HangupCause(int(number[:4]))
                except ValueError:
                    return HangupCause.NORMAL
    return HangupCause.NORMAL
