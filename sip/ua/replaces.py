"""A call that takes the place of another: INVITE with Replaces (RFC 3891), the end of an attended transfer.

The leg of the old call stays, with whoever talks on it; its signalling and the address of its media become
those of the new one, and the old one gets BYE. Whoever knows Call-ID and both tags took part in the call.
"""

import logging
import secrets
from collections.abc import Mapping

from media.leg import HangupCause
from sip.errors import RemoteProtocolError
from sip.ua import sessiontimer
from sip.ua.dialog import Dialog, DialogKey, named
from sip.ua.flow import Flow
from sip.ua.grammar import parse_params
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request
from sip.ua.session import Session
from sip.ua.sessiontimer import TimerPolicy
from sip.ua.stack import SDP, Stack

log = logging.getLogger(__name__)


def replaced(dialogs: Mapping[DialogKey, object], request: Request) -> Session | None:
    """The call that an INVITE shall take the place of (RFC 3891, 3); None if it has no Replaces. Raises
    RemoteProtocolError with the status to refuse it by."""
    values = request.headers.values("replaces")
    if not values:
        return None
    if len(values) > 1:
        raise RemoteProtocolError("more than one Replaces")
    found = dialogs.get(named(values[0]))
    if not isinstance(found, Session):  # an early one of the caller's cannot be replaced (3)
        raise RemoteProtocolError("there is no such call", 481)
    if found.hung_up or found.leg is None:
        raise RemoteProtocolError("the call is over", 603)
    if "early-only" in parse_params(values[0]):
        raise RemoteProtocolError("the call is answered", 486)
    return found


def take_over(
    stack: Stack, old: Session, request: Request, transaction: ServerTransaction, flow: Flow
) -> None:
    """Answer the INVITE with the leg of `old`, and hang `old` up. Raises RemoteProtocolError."""
    leg = old.leg
    assert leg is not None
    if old.moving is not None or old.offering:
        raise RemoteProtocolError("something else is under way", 491)
    if request.body and request.content_type != SDP:
        raise RemoteProtocolError(f"body of type {request.content_type!r}", 415)
    sessiontimer.check(request, TimerPolicy(stack.config.session_expires_s, stack.config.min_se_s))
    dialog = Dialog.of_callee(request, secrets.token_hex(8))
    trunk = stack.trunks.of_host(flow.host)
    leg.encrypt(stack.encryption(flow, trunk))
    sdp = leg.answer(request.body) if request.body else leg.offer()
    session = Session(stack, dialog, flow, trunk)
    session.call_id = old.call_id
    old.leg = None
    session.take(leg, old.line)
    response = stack.ok(request, transaction, flow, dialog.local.tag)
    session.answer(transaction, response, sdp, offered=not request.body)
    log.info("sip call taken over", extra={"call_id": old.call_id})
    old.hangup(HangupCause.NORMAL)
