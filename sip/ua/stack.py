"""What the calls of one user agent share, and the little rules that all of them use."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from media.leg import HangupCause
from sip.endpoint import OutboundCall
from sip.errors import RemoteProtocolError, cause_of_q850, cause_of_status
from sip.rtpmedia import RtpMedia
from sip.sdes import SrtpPolicy
from sip.sdp import parse as parse_sdp
from sip.ua.config import SipConfig
from sip.ua.dialog import DialogKey
from sip.ua.exchange import ALLOW, SUPPORTED, Exchange
from sip.ua.flow import Flow
from sip.ua.grammar import parse_params
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, Response, reply
from sip.ua.resolve import Resolver
from sip.ua.sources import Sources
from sip.ua.transport import route_host
from sip.ua.trunks import Trunks, TrunkState

log = logging.getLogger(__name__)

SDP = "application/sdp"

if TYPE_CHECKING:
    from sip.ua.session import Session

    Move = Callable[[OutboundCall, Session], Awaitable[object]]


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
    move: "Move | None" = None  # calls somebody with the leg of a session; set by the user agent
    calls: int = 0  # ringing ones included
    draining: bool = False
    closed: bool = False

    def start(self, coro: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None] | None":
        """Run a task of the user agent; after `close` there are none."""
        if self.closed:
            coro.close()
            return None
        return self.spawn(self._guard(coro, name), name)

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

    def media_host(self, flow: Flow, offer: bytes) -> str:
        """Our address for the media of a call that comes in. A phone with both IP versions may signal by one
        of them and talk by the other."""
        host = self.exchange.host(flow)
        try:
            theirs = next((m.host for m in parse_sdp(offer).media if m.kind == "audio"), "") if offer else ""
        except RemoteProtocolError:  # the leg says so
            theirs = ""
        return route_host(theirs) if theirs and (":" in theirs) != (":" in host) else host

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
        elif status == 422:  # RFC 4028, 6
            response.headers.add("min-se", str(self.config.min_se_s))
        elif status == 500 and request.method in ("INVITE", "UPDATE"):  # RFC 3261, 14.2
            response.headers.add("retry-after", str(secrets.randbelow(11)))
        self.exchange.respond(transaction, response)

    def ok(self, request: Request, transaction: ServerTransaction, flow: Flow, tag: str = "") -> Response:
        """A 200 that says what we can; still to be sent."""
        response = reply(request, 200, tag=tag)
        response.headers.add("allow", ALLOW)
        response.headers.add("accept", SDP)
        response.headers.add("supported", SUPPORTED)
        return response


def describe(message: Request | Response, sdp: str) -> None:
    """Give it a description of media; nothing if that is empty."""
    if sdp:
        message.headers.add("content-type", SDP)
        message.body = sdp.encode()


def reason_of(cause: HangupCause) -> str:
    """The Reason header (RFC 3326) of a hang-up."""
    if cause.value > 127:
        return f"SIP;cause={cause.value}"
    return f'Q.850;cause={cause.value};text="{cause.name.lower().replace("_", " ")}"'


def cause_of(request: Request) -> HangupCause:
    """What a BYE or CANCEL says about its reason; NORMAL if it says nothing we know."""
    return cause_in(request) or HangupCause.NORMAL


def cause_in(message: Request | Response) -> HangupCause | None:
    """What a Reason header (RFC 3326; in responses RFC 6432) says; None if there is none that tells. A Q.850
    cause tells more than a SIP status."""
    found: HangupCause | None = None
    for value in message.headers.values("reason"):
        protocol, _, rest = value.partition(";")
        text = parse_params(rest).get("cause") or ""
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            continue
        if protocol.strip().upper() == "Q.850":
            return cause_of_q850(int(text))
        if protocol.strip().upper() == "SIP" and int(text) >= 300:
            found = found or cause_of_status(int(text))
    return found
