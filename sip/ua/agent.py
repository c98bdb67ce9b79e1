"""The user agent: a `SipEndpoint` on our own stack. Composes the parts and sorts what comes in.

request -> a dialog we know (Session, IncomingInvite) | a new call | OPTIONS | a refusal
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack

from media.tasks import task_scope
from sip.endpoint import OnCall, OnProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpMedia
from sip.sdes import SrtpPolicy
from sip.sdp import MediaDirection
from sip.srtp import library
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.exchange import ALLOW, Exchange
from sip.ua.flow import Flow
from sip.ua.incoming import IncomingInvite
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, reply
from sip.ua.outgoing import OutgoingInvite
from sip.ua.registration import Registration, RegistrationState
from sip.ua.reinvite import renegotiate
from sip.ua.resolve import Resolver
from sip.ua.session import KNOWN, Session
from sip.ua.sources import Ban, Sources
from sip.ua.stack import Stack
from sip.ua.tls import TlsContexts
from sip.ua.transaction import Timers
from sip.ua.transport import NetworkTransport, Transport, route_host
from sip.ua.trunks import Trunks

log = logging.getLogger(__name__)

ANYWHERE = "192.0.2.1"  # RFC 5737: the route to it tells which of our addresses faces the world
RETRY_AFTER_S = 10  # of a call refused while draining or full
GOODBYE_S = 2.0  # how long `close` waits for answers to BYE and un-REGISTER


class UserAgent:
    """Implements `sip.endpoint.SipEndpoint`. Belongs to the loop that runs `start`."""

    def __init__(
        self,
        config: SipConfig,
        media: RtpMedia,
        transport: Callable[[SipConfig, Sources, SipCounters], Transport] = NetworkTransport,
        timers: Timers | None = None,
    ) -> None:
        """`transport` and `timers` are for tests. Raises ValueError for a bad network or TLS file,
        RemoteProtocolError for a trunk whose registrar is no host, MissingExtra for one with SRTP."""
        self._config, self._media, self._timers = config, media, timers
        if any(trunk.srtp not in (None, SrtpPolicy.OFF) for trunk in config.trunks):
            library()
        self.counters = SipCounters()
        self._trunks = Trunks(config.trunks)
        self.sources = Sources(
            config.allow,
            config.per_source,
            self.counters,
            lambda: asyncio.get_running_loop().time(),
            lambda host: self._trunks.of_host(host) is not None,
        )
        self.sources.on_ban = _banned
        self._resolver = Resolver(
            config.dns, config.families, config.transports, lambda: asyncio.get_running_loop().time()
        )
        self._transport = transport(config, self.sources, self.counters)
        self._scope = AsyncExitStack()
        self._stack: Stack | None = None
        self._on_call: OnCall | None = None
        self._ringing: dict[ServerTransaction, IncomingInvite] = {}
        self._registrations: list[Registration] = []
        self._closed = False

    @property
    def uri(self) -> str:
        """Where we can be called."""
        host = self._config.public_host or self._transport.local_host(ANYWHERE)
        if host in ("0.0.0.0", "::"):
            host = route_host(ANYWHERE)
        host = f"[{host}]" if ":" in host else host
        return f"sip:{self._config.user}@{host}:{self._transport.port}"

    @property
    def tls(self) -> TlsContexts | None:
        """Of the network; None in tests without one."""
        return self._transport.tls if isinstance(self._transport, NetworkTransport) else None

    @property
    def calls(self) -> int:
        """Calls alive, ringing ones included."""
        return self._stack.calls if self._stack is not None else 0

    @property
    def registrations(self) -> dict[str, RegistrationState]:
        """By the trunk's name."""
        return {r.name: r.state for r in self._registrations}

    @property
    def draining(self) -> bool:
        """While set, new calls and OPTIONS get 503."""
        return self._stack is not None and self._stack.draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._running().draining = value

    async def start(self, on_call: OnCall) -> None:
        """Bind sockets and serve. Raises OSError if a port is taken."""
        if self._stack is not None:
            raise LocalProtocolError("started before")
        self._on_call = on_call
        spawn = await self._scope.enter_async_context(task_scope())
        exchange = Exchange(self._config, self._transport, self.counters, self._timers)
        exchange.on_request = self._request
        exchange.on_malformed = self.sources.malformed
        exchange.on_closed = self._closed_flow
        try:
            await self._transport.open(exchange, spawn)
        except OSError:
            await self._scope.aclose()
            raise
        self._stack = Stack(
            self._config, self._media, exchange, self.sources, self._trunks, self._resolver, spawn
        )
        for state in self._trunks.states:
            registration = Registration(self._stack, state)
            self._registrations.append(registration)
            self._stack.start(registration.run(), f"sip trunk {state.trunk.name}")
        log.info("sip listening", extra={"uri": self.uri, "transports": self._config.transports})

    async def place(self, call: OutboundCall, on_progress: OnProgress | None = None) -> RtpLeg:
        """Call somebody; the leg once they have answered. Raises CallFailed; cancelling sends CANCEL."""
        stack = self._running()
        if stack.calls >= self._config.max_calls:
            raise CallFailed(503, "too many calls")
        self.counters.calls_out += 1
        return await OutgoingInvite(stack, call, call.call_id or _call_id(), on_progress).run()

    async def hold(self, leg: RtpLeg, *, on: bool = True) -> None:
        """Put the far end of a call on hold, or take it back. Raises CallFailed if it refuses."""
        sessions = (d for d in self._running().dialogs.values() if isinstance(d, Session) and d.leg is leg)
        session = next(sessions, None)
        if session is None:
            raise CallFailed(481, "no such call")
        await renegotiate(session, MediaDirection.SENDONLY if on else MediaDirection.SENDRECV)

    async def close(self) -> None:
        """Refuse, hang up, unregister, close. Takes two seconds at most. Idempotent."""
        stack, closed = self._stack, self._closed
        self._closed = True
        if stack is None or closed:
            return
        stack.draining = True
        for dialog in list(stack.dialogs.values()):
            dialog.shut_down()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(*(r.unregister() for r in self._registrations))
                while stack.dialogs:
                    stack.changed.clear()
                    await stack.changed.wait()
        except TimeoutError:
            log.warning("sip calls did not end in time", extra={"calls": len(stack.dialogs)})
        stack.closed = True
        await self._scope.aclose()
        stack.exchange.close()
        self._transport.close()

    def _closed_flow(self, flow: Flow) -> None:
        for registration in self._registrations:
            registration.flow_closed(flow)

    def _running(self) -> Stack:
        if self._stack is None or self._closed:
            raise LocalProtocolError("the user agent is not running")
        return self._stack

    # Requests, as the exchange hands them over

    def _request(self, request: Request, transaction: ServerTransaction | None, flow: Flow) -> None:
        stack = self._stack
        if stack is None:
            return
        key = (request.call_id, request.to.tag, request.from_.tag)
        dialog = stack.dialogs.get(key) if request.to.tag else None
        if transaction is None:  # an ACK
            if dialog is not None:
                dialog.acknowledged(request)
            else:
                self.counters.stray += 1
            return
        required = {} if request.method == "CANCEL" else request.headers.tokens("require")
        if request.method == "CANCEL":
            self._cancel(stack, request, transaction)
        elif required:  # RFC 3261, 8.2.2.3: we know no extension
            response = reply(request, 420, tag="refused")
            response.headers.add("unsupported", ", ".join(sorted(required)))
            stack.exchange.respond(transaction, response)
        elif dialog is not None:
            dialog.receive(request, transaction, flow)
        elif request.to.tag:
            stack.refuse(request, transaction, 481)
        else:
            self._outside_dialog(stack, request, transaction, flow)

    def _outside_dialog(
        self, stack: Stack, request: Request, transaction: ServerTransaction, flow: Flow
    ) -> None:
        match request.method:
            case "INVITE":
                self._invite(stack, request, transaction, flow)
            case "OPTIONS" if stack.draining:
                self._unavailable(stack, request, transaction)
            case "OPTIONS":
                response = stack.ok(request, transaction, flow, secrets.token_hex(8))
                response.headers.add("contact", stack.exchange.contact(flow))
                stack.exchange.respond(transaction, response)
            case "REFER":
                stack.refuse(request, transaction, 603)
            case method if method in ALLOW.split(", "):
                stack.refuse(request, transaction, 481)  # means something only in a dialog
            case method:
                stack.refuse(request, transaction, 405 if method in KNOWN else 501)

    def _cancel(self, stack: Stack, request: Request, transaction: ServerTransaction) -> None:
        invite = stack.exchange.layer.invite_of(request)
        if invite is None:
            stack.refuse(request, transaction, 481)
            return
        stack.exchange.respond(transaction, reply(request, 200, tag="cancel"))
        ringing = self._ringing.get(invite)
        if ringing is not None:
            ringing.cancelled(request)

    def _invite(self, stack: Stack, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        if stack.exchange.layer.merged(transaction):
            stack.refuse(request, transaction, 482)
            return
        if stack.draining or stack.calls >= self._config.max_calls:
            self._unavailable(stack, request, transaction)
            return
        if not stack.room_for(flow.host):
            self.counters.crowded += 1
            stack.refuse(request, transaction, 486)
            return
        try:
            incoming = IncomingInvite(stack, request, transaction, flow, _call_id())
        except RemoteProtocolError as e:
            stack.refuse(request, transaction, e.status)
            return
        self.counters.calls_in += 1
        stack.exchange.respond(transaction, reply(request, 100))
        self._ringing[transaction] = incoming
        stack.start(self._offer(incoming, transaction), f"sip call {incoming.info.call_id}")

    def _unavailable(self, stack: Stack, request: Request, transaction: ServerTransaction) -> None:
        response = reply(request, 503, tag="refused")
        response.headers.add("retry-after", str(RETRY_AFTER_S))
        stack.exchange.respond(transaction, response)

    async def _offer(self, incoming: IncomingInvite, transaction: ServerTransaction) -> None:
        assert self._on_call is not None
        try:
            await self._on_call(incoming)
        except CallFailed as e:  # the caller gave up first: nobody's mistake
            log.info("sip call not answered", extra={"call_id": incoming.info.call_id, "error": str(e)})
        except Exception:
            log.exception("call handler failed", extra={"call_id": incoming.info.call_id})
            await incoming.fail()
        finally:
            del self._ringing[transaction]


def _banned(ban: Ban) -> None:
    log.warning("sip source banned", extra={"host": ban.host, "reason": ban.reason})


def _call_id() -> str:
    return secrets.token_hex(8)
