"""Changes of a call (RFC 3261, section 14; RFC 3311): ours by re-INVITE, those of the far end by either."""

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from sip.errors import CallFailed, RemoteProtocolError
from sip.sdp import MediaDirection
from sip.ua import sessiontimer
from sip.ua.exchange import ALLOW, CHALLENGES, SUPPORTED, authorized
from sip.ua.flow import Flow
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, Response
from sip.ua.stack import SDP

if TYPE_CHECKING:
    from sip.ua.session import Session

log = logging.getLogger(__name__)

TRIES = 4  # glare, and challenges


async def renegotiate(session: "Session", direction: MediaDirection) -> None:
    """Agree on a direction. Raises CallFailed if the far end refuses: the call goes on as before, unless the
    far end knows no call any more."""
    response: Response | None = None
    for _ in range(TRIES):
        if session.inviting or session.hung_up or session.leg is None:
            raise CallFailed(491, "another change is under way, or the call is over")
        session.inviting = True
        try:
            response = await _invite(session, direction)
        finally:
            session.inviting = False
        if response is None or response.status != 491:
            break
        # 14.1: whoever made the Call-ID waits longer, so that the two do not meet again.
        await asyncio.sleep(random.uniform(2.1, 4.0) if session.placed else random.uniform(0.0, 2.0))
    status = response.status if response is not None else 0
    if status in (0, 408, 481):
        session.lost()
    if response is None or status >= 300:
        raise CallFailed(status, response.reason if response is not None else "no answer to re-INVITE")
    session.direction = direction


async def _invite(session: "Session", direction: MediaDirection) -> Response | None:
    """One offer and its answer, challenges included."""
    leg, exchange = session.leg, session.stack.exchange
    assert leg is not None
    sdp = leg.offer(direction).encode()
    flow = await session.way()
    refused: tuple[Request, Response] | None = None
    response: Response | None = None
    for _ in range(CHALLENGES):
        request = _form(session, exchange.contact(flow), sdp)
        if refused is not None and session.trunk is not None:
            retry = authorized(request, *refused, session.trunk.credentials)
            if retry is None:
                break
            request = retry
        response = await _final(session, request, flow)
        if response is not None and response.status == 422:
            raised = sessiontimer.raised(response, session.refresher.policy)
            if raised is None:
                break
            session.refresher.policy = raised
            continue
        if response is None or response.status not in (401, 407):
            break
        refused = (request, response)
    if response is not None and response.status < 300:
        session.dialog.refresh(response)
        session.heed(response)
        session.refresher.agree(sessiontimer.read(response))
        try:
            leg.accept(response.body)
            return response
        except RemoteProtocolError as e:
            log.info("sip answer unusable", extra={"call_id": session.call_id, "error": str(e)})
            response = Response(response.headers, b"", 488, str(e))
    leg.abandon_offer()
    return response


def _form(session: "Session", contact: str, sdp: bytes) -> Request:
    request = session.dialog.request("INVITE")
    request.headers.add("contact", contact)
    request.headers.add("allow", ALLOW)
    request.headers.add("supported", SUPPORTED)
    session.refresher.ask(request.headers)
    request.headers.add("content-type", SDP)
    request.body = sdp
    return request


async def _final(session: "Session", request: Request, flow: Flow) -> Response | None:
    """The final response; every 2xx, repeated ones too, gets its ACK."""
    final: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()

    def on_response(response: Response | None, flow: Flow) -> None:
        if response is not None and 200 <= response.status < 300:
            session.stack.start(session.acknowledge(response.cseq.number), f"sip ack {session.call_id}")
        if (response is None or response.status >= 200) and not final.done():
            final.set_result(response)

    session.stack.exchange.send(request, flow, on_response)
    return await final


def receive_change(session: "Session", request: Request, transaction: ServerTransaction, flow: Flow) -> None:
    """A re-INVITE or UPDATE of the far end: a new description, or only a sign of life."""
    stack, leg = session.stack, session.leg
    invite = request.method == "INVITE"
    if session.offering and (invite or request.body):
        stack.refuse(request, transaction, 491)  # RFC 3261, 14.2; RFC 3311, 5.2: offers cross
        return
    if request.body and request.content_type != SDP:
        stack.refuse(request, transaction, 415)
        return
    sdp = ""
    try:
        sessiontimer.check(request, session.refresher.policy)
        if leg is None:
            raise RemoteProtocolError("no media yet", 500)
        if request.body:
            sdp = leg.answer(request.body)
        elif invite:
            sdp = leg.offer(session.direction)
    except RemoteProtocolError as e:
        log.info("sip change refused", extra={"call_id": session.call_id, "error": str(e)})
        stack.refuse(request, transaction, e.status)
        return
    session.dialog.refresh(request)
    response = stack.ok(request, transaction, flow)
    session.answer(transaction, response, sdp, offered=invite and not request.body)
