"""REGISTER to one trunk: digest, refresh, back-off, and what came of it (RFC 3261, section 10).

A trunk that wants no registration is only looked up, so that the source filter lets it in.
"""

import asyncio
import logging
import random
import secrets
from dataclasses import dataclass
from enum import Enum

from sip.errors import RegistrationFailed, RemoteProtocolError
from sip.ua.flow import Flow
from sip.ua.grammar import Address, CSeq
from sip.ua.message import Headers, Request, Response
from sip.ua.stack import Stack
from sip.ua.trunks import TrunkState

log = logging.getLogger(__name__)

REFRESH = (0.80, 0.90)  # of the lifetime; spread, so that a fleet does not register at once
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 120.0
DOUBLINGS = 10  # reach the longest retry from either start; without a bound the power outgrows a float
FIRST_LOSS_S = 0.25  # doubled each time the connection ends before the refresh
LOOK_UP_S = 300.0  # how often the address of a trunk without registration is looked up
LONGEST_EXPIRES_S = 86_400


class RegistrationStatus(Enum):
    """How things stand."""

    UNREGISTERED = "unregistered"
    REGISTERED = "registered"
    FAILED = "failed"
    NOT_WANTED = "not wanted"


@dataclass(frozen=True, slots=True)
class RegistrationState:
    """For metrics, the API and the log."""

    status: RegistrationStatus
    error: str = ""  # why it failed
    expires_s: int = 0  # what the registrar granted
    contact: str = ""


class Registration:
    """Keeps one trunk registered for as long as `run` runs."""

    def __init__(self, stack: Stack, trunk: TrunkState) -> None:
        self._stack, self._trunk = stack, trunk
        wanted = trunk.trunk.register
        self.state = RegistrationState(
            RegistrationStatus.UNREGISTERED if wanted else RegistrationStatus.NOT_WANTED
        )
        self._call_id = secrets.token_hex(12)
        self._tag = secrets.token_hex(8)
        self._number = 0
        self._expires_s = trunk.trunk.expires_s
        self._flow: Flow | None = None
        self._lost = asyncio.Event()  # the connection to the registrar has ended

    @property
    def name(self) -> str:
        """The trunk's."""
        return self._trunk.trunk.name

    async def run(self) -> None:
        """Until cancelled."""
        failures = losses = 0
        while True:
            try:
                flow = await self._look_up()
                if not self._trunk.trunk.register:
                    wait = LOOK_UP_S
                else:
                    granted = await self._register(flow, self._expires_s)
                    self._succeeded(flow, granted)
                    wait = granted * random.uniform(*REFRESH)
                failures = 0
            except (OSError, RegistrationFailed, RemoteProtocolError) as e:
                failures += 1
                wait = _backed_off(FIRST_RETRY_S, failures - 1)
                self._failed(str(e), wait)
            if await self._wait(wait):
                losses += 1  # a registrar that closes after each request must not be asked for ever
                await asyncio.sleep(_backed_off(FIRST_LOSS_S, losses))
            else:
                losses = 0

    def flow_closed(self, flow: Flow) -> None:
        """A connection has ended. On the one that we have registered by, calls come: register anew
        (RFC 5626, 4.2.1)."""
        ours = self._flow
        if ours is None or self.state.status is not RegistrationStatus.REGISTERED:
            return
        if (flow.transport, flow.host, flow.port) == (ours.transport, ours.host, ours.port):
            self._lost.set()

    async def unregister(self) -> None:
        """Tell the registrar that we are gone, if it knows us."""
        if self.state.status is RegistrationStatus.REGISTERED and self._flow is not None:
            self.state = RegistrationState(RegistrationStatus.UNREGISTERED)
            try:
                await self._register(self._flow, 0)
            except (RegistrationFailed, RemoteProtocolError) as e:
                log.info("sip unregister failed", extra={"trunk": self.name, "error": str(e)})

    async def _look_up(self) -> Flow:
        trunk, resolver = self._trunk, self._stack.resolver
        ways = await resolver.ways(trunk.hop, trunk.transport)
        flow = ways[0]
        # Calls may come from any server of the name, and from the registrar though a proxy is set.
        if trunk.hop is not trunk.uri:
            ways += await resolver.ways(trunk.uri, trunk.transport)
        hosts = {way.host for way in ways}
        for host in hosts - trunk.hosts:
            self._stack.sources.hold(host)
        for host in trunk.hosts - hosts:
            self._stack.sources.release(host)
        trunk.hosts = hosts
        self._flow = flow
        return flow

    async def _register(self, flow: Flow, expires_s: int) -> int:
        """The lifetime granted. Raises RegistrationFailed."""
        for _ in range(3):  # once more with the registrar's minimum, once more with the learned address
            response = await self._ask(flow, expires_s)
            if response.status == 423:
                expires_s = self._expires_s = _seconds(response.headers.get("min-expires"), expires_s)
                continue
            if response.status >= 300:
                raise RegistrationFailed(f"{response.status} {response.reason}")
            if expires_s and self._learned(flow, response):
                continue
            break
        else:
            raise RegistrationFailed(f"{response.status} {response.reason} again and again")
        return max(1, self._granted(flow, response, expires_s))

    async def _ask(self, flow: Flow, expires_s: int) -> Response:
        response = await self._stack.exchange.ask(
            lambda: self._request(flow, expires_s), flow, self._trunk.credentials
        )
        if response is None or response.status == 503:  # RFC 3263, 4.3: the next time another server
            self._stack.resolver.failed(flow)
        if response is None:
            raise RegistrationFailed(self._stack.exchange.trouble(flow))
        return response

    def _request(self, flow: Flow, expires_s: int) -> Request:
        trunk, uri = self._trunk.trunk, self._trunk.uri
        self._number += 1
        name = Address(f"sip:{trunk.username}@{trunk.registrar}" if trunk.username else str(uri))
        headers = Headers([("from", str(name.with_tag(self._tag))), ("to", str(name))])
        headers.add("call-id", self._call_id)
        headers.add("cseq", str(CSeq(self._number, "REGISTER")))
        headers.add("contact", self._stack.exchange.contact(flow, trunk.username))
        headers.add("expires", str(expires_s))
        return Request(headers, b"", "REGISTER", str(uri))

    def _learned(self, flow: Flow, response: Response) -> bool:
        """Whether the registrar sees us under another address than we said (NAT): register that one."""
        via = response.via
        host, port = via.params.get("received") or "", via.params.get("rport") or ""
        if self._stack.config.public_host or not (host and port.isdecimal() and len(port) < 6):
            return False
        seen = (f"[{host}]" if ":" in host and not host.startswith("[") else host, int(port))
        if flow.reliable or seen == self._stack.exchange.address(flow):
            return False
        log.info("sip address learned", extra={"trunk": self.name, "host": seen[0], "port": seen[1]})
        self._stack.exchange.learn(flow, *seen)
        return True

    def _granted(self, flow: Flow, response: Response, wanted_s: int) -> int:
        ours = Address.parse(self._stack.exchange.contact(flow, self._trunk.trunk.username)).sip_uri()
        for value in response.headers.values("contact"):
            try:
                contact = Address.parse(value)
                uri = contact.sip_uri()
            except RemoteProtocolError:
                continue
            if (uri.user, uri.host, uri.port) == (
                ours.user,
                ours.host,
                ours.port,
            ) and "expires" in contact.params:
                return _seconds(contact.params["expires"], wanted_s)
        return _seconds(response.headers.get("expires"), wanted_s)

    async def _wait(self, seconds: float) -> bool:
        """Until the next refresh, with keep-alives on the way. True: the connection was lost before."""
        interval = self._stack.config.keepalive_s
        self._lost.clear()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, interval) if interval > 0 else left):
                    await self._lost.wait()
                log.info("sip connection to the registrar lost", extra={"trunk": self.name})
                return True
            except TimeoutError:
                pass
            if self.state.status is RegistrationStatus.REGISTERED and self._flow is not None and interval > 0:
                # RFC 5626, 3.5.1: a double CRLF keeps bindings of routers, and finds dead connections.
                self._stack.exchange.send_raw(b"\r\n\r\n", self._flow)
        return False

    def _succeeded(self, flow: Flow, granted: int) -> None:
        contact = self._stack.exchange.contact(flow, self._trunk.trunk.username)
        if self.state.status is not RegistrationStatus.REGISTERED:
            log.info("sip registered", extra={"trunk": self.name, "expires_s": granted})
        self.state = RegistrationState(RegistrationStatus.REGISTERED, "", granted, contact)

    def _failed(self, error: str, wait: float) -> None:
        if self._trunk.trunk.register:
            self.state = RegistrationState(RegistrationStatus.FAILED, error)
        log.warning(
            "sip registration failed",
            extra={"trunk": self.name, "error": error, "retry_ms": round(wait * 1000)},
        )


def _backed_off(first_s: float, times: int) -> float:
    """`first_s`, doubled so many times but no longer than the longest, spread so that nobody keeps step."""
    return min(first_s * (1 << min(times, DOUBLINGS)), LONGEST_RETRY_S) * random.uniform(0.5, 1.5)


def _seconds(text: str | None, default: int) -> int:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        return default
    return min(int(text), LONGEST_EXPIRES_S)
