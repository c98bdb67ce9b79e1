"""The desk behind a carrier's webhooks and sockets: passes, calls that are expected, calls that are there.

webhook -> Desk.stream_url -> pass -> socket -> attend -> on_call (inbound), or the `place` that waits for it
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlencode

from media.errors import MediaError
from media.leg import CallInfo, CallLeg, Direction, HangupCause
from media.metronome import Metronome
from media.tasks import Start, task_scope
from sip.carrier import Announced, Carrier, Refused
from sip.endpoint import CallProgress, OnCall, OnProgress, OutboundCall
from sip.errors import CallFailed
from sip.mediacore import Means, Started
from sip.medialine import CallControl, Leaving, StreamConfig
from sip.mediastream import MediaStreamLeg
from sip.streamtoken import BadToken, StreamTokens

log = logging.getLogger(__name__)

RING_MARGIN_S = 15.0  # the carrier says itself that nobody answered; only if that word is lost we give up
REMEMBERED = 2000  # reports that were told already

Report = Callable[[str, str, Mapping[str, str]], None]
"""Takes (carrier's id of the call, kind, data)."""


@dataclass(frozen=True, slots=True)
class CarrierHost:
    """What the application lends to carriers."""

    on_call: OnCall
    refusal: Callable[[CallInfo], str]  # why a call is turned away: "busy", "not_found", or "": it is not
    metronome: Metronome
    public_url: Callable[[], str]  # http(s)://host[:port], without a slash at the end
    now: Callable[[], float]  # wall clock, seconds
    report: Report
    start: Start  # owns tasks that outlive a call
    stream: StreamConfig = StreamConfig()


@dataclass(slots=True)
class DeskStats:
    """What came to one carrier's door."""

    webhooks: int = 0
    webhooks_refused: int = 0
    sockets: int = 0
    sockets_refused: int = 0
    sockets_without_start: int = 0


@dataclass(slots=True, eq=False)
class _Order:
    """An outbound call that waits for its socket."""

    call: OutboundCall
    leg: "asyncio.Future[CallLeg]"
    on_progress: OnProgress | None = None
    call_id: str = ""  # the carrier's, once known
    over: bool = False  # nobody waits any more


@dataclass(slots=True)
class _StreamCall:
    """An inbound call whose media is already here. Implements `sip.endpoint.IncomingCall`."""

    info: CallInfo
    leg: MediaStreamLeg
    rejected: bool = field(default=False, init=False)

    def ring(self) -> None:
        """The carrier rings, or has long answered."""

    async def answer(self) -> CallLeg:
        """The carrier has answered it."""
        if self.leg.over.is_set():
            raise CallFailed(487, "the caller has hung up")
        return self.leg

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        """Hang up, in `attend`."""
        self.rejected = True


class CarrierDesk:
    """Implements `sip.carrier.Desk` and `sip.endpoint.WayOut` for one carrier. Belongs to one loop."""

    def __init__(self, carrier: Carrier, host: CarrierHost) -> None:
        self._carrier, self._host = carrier, host
        carrier.now = host.now
        self.stats = DeskStats()
        self._tokens = StreamTokens(asyncio.get_running_loop().time)
        self._announced: OrderedDict[str, Announced] = OrderedDict()  # by what its pass names
        self._orders: dict[str, _Order] = {}
        self._legs: dict[str, MediaStreamLeg] = {}  # by the carrier's id
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    # Desk

    def refusal(self, call: Announced) -> str:
        """Why a new inbound call is turned away."""
        return self._host.refusal(self._info(call, secrets.token_hex(8)))

    def stream_url(self, call: Announced) -> str:
        """Address of the media socket for this call."""
        key = self._expect(call)
        base = self._host.public_url().replace("http", "ws", 1)
        return f"{base}/{self._carrier.name}/media/{self._tokens.issue(key)}"

    def ticket(self, call: Announced) -> str:
        """A pass for this call, as a UUID."""
        return self._tokens.issue_uuid(self._expect(call))

    def _expect(self, call: Announced) -> str:
        key = secrets.token_hex(8)
        self._announced[key] = call
        while len(self._announced) > REMEMBERED:
            self._announced.popitem(last=False)
        return key

    def hook_url(self, hook: str, **query: str) -> str:
        """Address of one of the carrier's webhooks."""
        url = f"{self._host.public_url()}/{self._carrier.name}/{hook}"
        return f"{url}?{urlencode(query)}" if query else url

    def progress(self, order: str, progress: CallProgress) -> None:
        """An outbound call gets on."""
        known = self._orders.get(order)
        if known is not None and known.on_progress is not None and not known.leg.done():
            known.on_progress(progress)

    def failed(self, order: str, status: int, reason: str) -> None:
        """An outbound call was not answered."""
        known = self._orders.get(order)
        if known is not None and not known.leg.done():
            known.leg.set_exception(CallFailed(status, reason))

    def ended(self, call_id: str, cause: HangupCause) -> None:
        """The carrier says that a call is over."""
        leg = self._legs.get(call_id)
        if leg is not None:
            leg.ended(cause)

    def report(self, call_id: str, kind: str, data: Mapping[str, str]) -> None:
        """Something worth keeping about a call, once."""
        key = (call_id, kind, str(sorted(data.items())))
        if key in self._told:
            return
        self._told[key] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        self._host.report(call_id, kind, data)

    # Sockets

    def admit(self, token: str) -> Announced:
        """The call that a pass opens the door for. Raises Refused."""
        try:
            return self._announced.pop(self._tokens.redeem(token))
        except (BadToken, KeyError) as error:
            raise Refused(f"no valid pass: {error}") from error

    async def started(self, leg: MediaStreamLeg) -> Started | None:
        """What an open socket says of its call; None: nothing, in time, and it is let go."""
        await asyncio.wait({leg.started}, timeout=self._host.stream.start_s)
        if leg.started.done() and not leg.started.cancelled():
            return leg.started.result()
        self.stats.sockets_without_start += 1
        log.warning("media socket without a call", extra={"carrier": self._carrier.name})
        leg.disconnected()
        return None

    async def attend(self, leg: MediaStreamLeg, announced: Announced | None) -> None:
        """See a call through whose socket is open, to its end."""
        started = await self.started(leg)
        if started is None:
            return
        if announced is not None and announced.call_id and announced.call_id != started.call_id:
            self.stats.sockets_refused += 1
            log.warning("media socket of another call", extra={"carrier": self._carrier.name})
            leg.disconnected()
            return
        if started.call_id in self._legs:
            self.stats.sockets_refused += 1
            log.warning("second media socket of one call", extra={"carrier": self._carrier.name})
            leg.disconnected()
            return
        call = _merged(announced, started)
        control = self._control(call)
        order = self._orders.get(call.order) if call.order else None
        if call.order and order is None:  # given up meanwhile
            await control.hangup(HangupCause.CANCELLED)
            leg.disconnected()
            return
        self._legs[started.call_id] = leg
        try:
            async with task_scope() as start:
                start(self._began(call), "began")
                out = None if order is None else order.call
                leg.adopt(self._info(call, out.call_id if out else secrets.token_hex(8), out), control)
                await (self._inbound(leg) if order is None else self._outbound(leg, order))
        finally:
            self._legs.pop(started.call_id, None)

    def _control(self, call: Announced) -> CallControl:
        control, name = self._carrier.control(call, self), self._carrier.name
        if self._carrier.capabilities.hangup is not Means.FLOW:
            return control
        left = {"message": f"voicegw has left; whether the call ends is decided by {name}'s own flow"}
        return Leaving(control, partial(self.report, call.call_id, "left", left))

    async def _began(self, call: Announced) -> None:
        try:
            await self._carrier.began(call, self)
        except MediaError as error:
            log.warning("carrier refused a wish", extra={"carrier": self._carrier.name, "error": str(error)})
            self.report(call.call_id, "error", {"message": str(error)})

    async def _inbound(self, leg: MediaStreamLeg) -> None:
        incoming = _StreamCall(leg.info, leg)
        try:
            await self._host.on_call(incoming)
        finally:
            await leg.hangup(HangupCause.REJECTED if incoming.rejected else HangupCause.NORMAL)

    async def _outbound(self, leg: MediaStreamLeg, order: _Order) -> None:
        if order.leg.done():
            await leg.hangup(HangupCause.CANCELLED)
            return
        order.leg.set_result(leg)
        await leg.over.wait()

    def _info(self, call: Announced, call_id: str, out: OutboundCall | None = None) -> CallInfo:
        return CallInfo(
            call_id,
            out.caller if out is not None else party(call.caller),
            out.target if out is not None else party(call.callee),
            self._carrier.name,
            call.call_id,
            Direction.INBOUND if out is None else Direction.OUTBOUND,
            call.parameters,
            passed=call.parameters,
        )

    # WayOut

    async def place(self, call: OutboundCall, on_progress: OnProgress | None = None) -> CallLeg:
        """Call somebody."""
        if not self._carrier.capabilities.outbound:
            raise CallFailed(501, f"{self._carrier.name} places no calls")
        name = secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        order = self._orders[name] = _Order(call, loop.create_future(), on_progress)
        # In a task of its own: if the call is given up meanwhile, we must still learn what to end.
        self._host.start(self._ask(name, order), "place")
        answered = False
        try:
            async with asyncio.timeout(call.ring_timeout_s + RING_MARGIN_S):
                leg = await order.leg
            answered = True
            return leg
        except TimeoutError:
            raise CallFailed(408, "the carrier tells nothing about the call") from None
        finally:
            del self._orders[name]
            order.leg.cancel()
            order.over = not answered
            if order.over and not order.leg.cancelled() and order.leg.exception() is None:
                await order.leg.result().hangup(HangupCause.CANCELLED)  # it came in the last moment
            elif order.over and order.call_id:
                await self._give_up(order.call_id)

    async def _ask(self, name: str, order: _Order) -> None:
        failure: CallFailed
        try:
            order.call_id = await self._carrier.place(name, order.call, self)
            if order.over:
                await self._give_up(order.call_id)
            return
        except CallFailed as error:
            failure = error
        except Exception as error:  # a bug in one request must not end the server
            log.exception("call could not be placed", extra={"carrier": self._carrier.name})
            failure = CallFailed(500, f"{type(error).__name__}: {error}")
        if not order.leg.done():
            order.leg.set_exception(failure)

    async def _give_up(self, call_id: str) -> None:
        if not await self._carrier.give_up(call_id):
            message = f"{self._carrier.name} did not end the call: it may ring on"
            self.report(call_id, "error", {"message": message})


def party(address: str) -> str:
    """A number, or the user part of an address, as calls over SIP have it."""
    scheme, _, rest = address.partition(":")
    if scheme.lower() in {"sip", "sips", "client", "tel"} and rest:
        return rest.partition("@")[0].partition(";")[0]
    return address


def _merged(announced: Announced | None, started: Started) -> Announced:
    """What is known of a call from its webhook and its socket."""
    if announced is None:
        return Announced(started.call_id, started.caller, started.callee, started.parameters)
    return Announced(
        started.call_id,
        announced.caller or started.caller,
        announced.callee or started.callee,
        {**started.parameters, **announced.parameters},
        announced.order,
    )
