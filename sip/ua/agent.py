"""The user agent: a `SipEndpoint` on our own stack. Composes the parts."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack

from media.leg import HangupCause
from media.tasks import task_scope
from sip.endpoint import OnCall, OnProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpMedia
from sip.sdes import SrtpPolicy
from sip.sdp import MediaDirection
from sip.srtp import library
from sip.ua.accounts import Challenge
from sip.ua.config import SipConfig
from sip.ua.counters import SipCounters
from sip.ua.exchange import Exchange
from sip.ua.flow import Flow
from sip.ua.grammar import SipUri
from sip.ua.outgoing import OutgoingInvite
from sip.ua.phones import ring
from sip.ua.reception import Reception
from sip.ua.registrar import Registrar
from sip.ua.registration import Registration, RegistrationState
from sip.ua.reinvite import renegotiate
from sip.ua.resolve import Resolver
from sip.ua.session import Session
from sip.ua.sources import Ban, Sources
from sip.ua.stack import Stack
from sip.ua.tls import TlsContexts
from sip.ua.transaction import Timers
from sip.ua.transport import NetworkTransport, Transport, route_host
from sip.ua.trunks import Trunks

log = logging.getLogger(__name__)

ANYWHERE = "192.0.2.1"  # RFC 5737: the route to it tells which of our addresses faces the world
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
        self._registrations: list[Registration] = []
        self.registrar = Registrar(config)
        self.sources.open = config.challenge is not Challenge.NEVER
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
        spawn = await self._scope.enter_async_context(task_scope())
        exchange = Exchange(self._config, self._transport, self.counters, self._timers)
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
        self._stack.move = self._move
        exchange.on_request = Reception(self._stack, on_call, self.registrar).receive
        if self.registrar.wanted:
            self._stack.start(self.registrar.keep(self._stack), "sip registrar")
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
        call_id = call.call_id or _call_id()
        name = self._account_in(call.target)
        if name is not None:
            return await ring(stack, call, call_id, on_progress, self.registrar.phones(name))
        return await OutgoingInvite(stack, call, call_id, on_progress).run()

    async def connect(self, leg: RtpLeg, other: RtpLeg) -> None:
        """Attended transfer: the far end of `leg` takes over our call with the far end of `other`; both leave
        us. Returns once they talk. Raises TransferError or Unsupported: then both calls go on."""
        session, with_target = self._session_of(leg), self._session_of(other)
        dialog = with_target.dialog
        replaces = f"{dialog.call_id};to-tag={dialog.remote.tag};from-tag={dialog.local.tag}"
        await session.transfer(dialog.remote.uri if with_target.placed else dialog.target, replaces)
        await leg.hangup(HangupCause.NORMAL)
        await other.hangup(HangupCause.NORMAL)

    def _account_in(self, target: str) -> str | None:
        """The name of an account that this address of ours is for."""
        try:
            uri = SipUri.parse(target)
        except RemoteProtocolError:
            return None
        ours = SipUri.parse(self.uri)
        here = (uri.host, uri.port or 5060) == (ours.host, ours.port)
        here = here or uri.host == self._config.realm.lower()
        return uri.user if here and self.registrar.account_of(uri.user) is not None else None

    async def _move(self, call: OutboundCall, session: Session) -> RtpLeg:
        name = self._account_in(call.target)
        if name is None:
            return await OutgoingInvite(self._running(), call, session.call_id, moved=session).run()
        phones = self.registrar.phones(name)
        if not phones:
            raise CallFailed(480, "no phone is registered", HangupCause.UNREACHABLE)
        # The leg has one description to offer: the phone most wanted gets it.
        return await OutgoingInvite(
            self._running(), call, session.call_id, moved=session, binding=phones[0]
        ).run()

    def _session_of(self, leg: RtpLeg) -> Session:
        """Raises CallFailed."""
        sessions = (d for d in self._running().dialogs.values() if isinstance(d, Session) and d.leg is leg)
        session = next(sessions, None)
        if session is None:
            raise CallFailed(481, "no such call")
        return session

    async def hold(self, leg: RtpLeg, *, on: bool = True) -> None:
        """Put the far end of a call on hold, or take it back. Raises CallFailed if it refuses."""
        session = self._session_of(leg)
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
        self.registrar.bindings.flow_closed(flow)
        for registration in self._registrations:
            registration.flow_closed(flow)

    def _running(self) -> Stack:
        if self._stack is None or self._closed:
            raise LocalProtocolError("the user agent is not running")
        return self._stack


def _banned(ban: Ban) -> None:
    log.warning("sip source banned", extra={"host": ban.host, "reason": ban.reason})


def _call_id() -> str:
    return secrets.token_hex(8)
