"""Transfers that the far end asks us for: REFER in (RFC 3515).

The leg stays, with whoever talks on it; only its signalling and the address of its media change hands, once
the target has answered. Calls that take the place of another are in replaces.py.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from media.leg import HangupCause
from sip.endpoint import OutboundCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.ua.dialog import named
from sip.ua.grammar import Address, SipUri, parse_params
from sip.ua.join import join
from sip.ua.layer import ServerTransaction
from sip.ua.message import REASONS, Request
from sip.ua.redirect import may_reach

if TYPE_CHECKING:
    from sip.ua.session import Session

log = logging.getLogger(__name__)

FRAGMENT = "message/sipfrag;version=2.0"
FAREWELL_S = 5.0  # a referrer that has been told of its success hangs up by then
LONGEST = 512  # characters of Replaces and Referred-By


@dataclass(frozen=True, slots=True)
class Order:
    """What a REFER wants."""

    target: SipUri
    replaces: str
    referred_by: str
    told: bool  # the referrer wants NOTIFYs (RFC 4488)

    @classmethod
    def of(cls, request: Request) -> "Order":
        """Raises RemoteProtocolError with the status to refuse it by."""
        values = request.headers.values("refer-to")
        if len(values) != 1:  # RFC 3515, 2.4.2
            raise RemoteProtocolError(f"{len(values)} Refer-To headers")
        uri, _, rest = Address.parse(values[0]).uri.partition("?")
        target = SipUri.parse(uri)
        if (target.params.get("method") or "INVITE").upper() != "INVITE":
            raise RemoteProtocolError("a REFER for another method", 603)
        headers = {name: unquote(value or "") for name, value in parse_params(rest, "&").items()}
        replaces, by = headers.get("replaces", ""), request.headers.get("referred-by") or ""
        if len(replaces) > LONGEST or len(by) > LONGEST or any(not c.isprintable() for c in replaces):
            raise RemoteProtocolError("Replaces or Referred-By out of bounds")
        told = (request.headers.get("refer-sub") or "").strip().lower() != "false"
        return cls(target, replaces, by, told)


def receive_refer(session: "Session", request: Request, transaction: ServerTransaction) -> None:
    """A REFER in a call: taken if the settings let this far end send us there."""
    stack = session.stack
    try:
        order = Order.of(request)
        hosts = {_host(session.dialog.remote.uri), _host(session.dialog.target)}
        if session.trunk is not None:
            hosts |= {session.trunk.uri.host, *session.trunk.hosts}
        if not may_reach(stack.config.refer, order.target, hosts):
            raise RemoteProtocolError("not wanted", 603)
        if session.leg is None or session.moving is not None or session.offering:
            raise RemoteProtocolError("something else is under way", 491)
    except RemoteProtocolError as e:
        log.info("sip refer refused", extra={"call_id": session.call_id, "error": str(e)})
        stack.refuse(request, transaction, e.status)
        return
    response = stack.ok(request, transaction, session.source)
    response.status, response.reason = 202, REASONS[202]
    response.headers.add("contact", stack.exchange.contact(session.source))
    if not order.told:
        response.headers.add("refer-sub", "false")
    stack.exchange.respond(transaction, response)
    session.moving = Move(session, order, request.cseq.number)
    session.moving.task = stack.start(session.moving.run(), f"sip move {session.call_id}")


class Move:
    """One call on its way to another far end. While it is, the leg outlives the call with the referrer."""

    def __init__(self, session: "Session", order: Order, number: int) -> None:
        self._session, self._order, self._number = session, order, number
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Nobody wants it any more: the leg has been hung up."""
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Call the target, tell the referrer, and hand the leg over or back."""
        session = self._session
        leg, line = session.leg, session.line
        assert leg is not None
        status = 200
        try:
            await self._tell(100, "active;expires=180")
            await self._call()
        except CallFailed as e:
            log.info("sip move failed", extra={"call_id": session.call_id, "error": str(e)})
            status = e.status or 503
        finally:
            session.moving = None
            if line.session is None or line.session.over:  # the referrer has left, and nobody else came
                leg.ended(HangupCause.NORMAL)
        await self._tell(status, "terminated;reason=noresource")
        if status == 200:
            await asyncio.sleep(FAREWELL_S)
            session.hangup(HangupCause.NORMAL)

    async def _call(self) -> None:
        session, order = self._session, self._order
        other = self._own_call(order.replaces) if order.replaces else None
        if other is not None:
            join(session, other)
            return
        headers = {"Replaces": order.replaces} if order.replaces else {}
        if order.referred_by:
            headers["Referred-By"] = order.referred_by
        caller = _user(session.dialog.local.uri) or OutboundCall("").caller
        call = OutboundCall(
            str(order.target),
            caller,
            headers=headers,
            ring_timeout_s=session.stack.config.transfer_timeout_s,
        )
        assert session.stack.move is not None
        await session.stack.move(call, session)

    def _own_call(self, replaces: str) -> "Session | None":
        """The call of ours that the target's call is, where the referrer talks to both over us."""
        session = self._session
        try:
            found = session.stack.dialogs.get(named(replaces))
        except RemoteProtocolError:
            return None
        # Only sessions have a leg; the class cannot be named here, it takes REFER.
        if found is session or not isinstance(found, type(session)) or found.hung_up or found.leg is None:
            return None
        return None if found.moving is not None or found.offering else found

    async def _tell(self, status: int, state: str) -> None:
        """Send a NOTIFY. Its answer changes nothing, so nobody waits for it: a referrer may have none."""
        session = self._session
        if not self._order.told or session.hung_up:
            return
        headers = {
            "event": f"refer;id={self._number}",
            "subscription-state": state,
            "contact": session.stack.exchange.contact(session.source),
            "content-type": FRAGMENT,
        }
        body = f"SIP/2.0 {status} {REASONS.get(status, 'Failed')}\r\n".encode()
        await session.tell("NOTIFY", headers, body)


def _host(uri: str) -> str:
    try:
        return SipUri.parse(uri).host
    except RemoteProtocolError:
        return ""


def _user(uri: str) -> str:
    try:
        return SipUri.parse(uri).user
    except RemoteProtocolError:
        return ""
