"""Sorts the requests that come in: to a dialog we know, a new call, or a refusal."""

import logging
import secrets

from sip.endpoint import OnCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.ua.accounts import Account
from sip.ua.exchange import ALLOW, SUPPORTED
from sip.ua.flow import Flow
from sip.ua.identity import call_info
from sip.ua.incoming import IncomingInvite
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, reply
from sip.ua.registrar import Registrar
from sip.ua.replaces import replaced, take_over
from sip.ua.session import KNOWN
from sip.ua.stack import Stack

log = logging.getLogger(__name__)

EXTENSIONS = set(SUPPORTED.split(", "))
RETRY_AFTER_S = 10  # of a call refused while draining or full


class Reception:
    """Of one user agent."""

    def __init__(self, stack: Stack, on_call: OnCall, registrar: Registrar) -> None:
        """`on_call` runs as a task of its own for each call; when it raises, the call is refused with 500."""
        self._stack, self._on_call, self._registrar = stack, on_call, registrar
        self._ringing: dict[ServerTransaction, IncomingInvite] = {}

    def receive(self, request: Request, transaction: ServerTransaction | None, flow: Flow) -> None:
        """Any request; without a transaction it is an ACK."""
        stack = self._stack
        key = (request.call_id, request.to.tag, request.from_.tag)
        dialog = stack.dialogs.get(key) if request.to.tag else None
        if transaction is None:  # an ACK
            if dialog is not None:
                dialog.acknowledged(request)
            else:
                self._stack.exchange.counters.stray += 1
            return
        required = set() if request.method == "CANCEL" else request.headers.tokens("require") - EXTENSIONS
        if request.method == "CANCEL":
            self._cancel(request, transaction)
        elif required:  # RFC 3261, 8.2.2.3
            response = reply(request, 420, tag="refused")
            response.headers.add("unsupported", ", ".join(sorted(required)))
            stack.exchange.respond(transaction, response)
        elif dialog is not None:
            dialog.receive(request, transaction, flow)
        elif request.to.tag:
            stack.refuse(request, transaction, 481)
        else:
            self._outside_dialog(request, transaction, flow)

    def _outside_dialog(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        stack = self._stack
        admitted, account = self._registrar.admit(stack, request, transaction, flow)
        if not admitted:
            return
        match request.method:
            case "REGISTER" if account is not None:
                self._registrar.register(stack, request, transaction, account, flow)
            case "INVITE":
                self._invite(request, transaction, flow, account)
            case "OPTIONS" if stack.draining:
                self._unavailable(request, transaction)
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

    def _cancel(self, request: Request, transaction: ServerTransaction) -> None:
        stack = self._stack
        invite = stack.exchange.layer.invite_of(request)
        if invite is None:
            stack.refuse(request, transaction, 481)
            return
        stack.exchange.respond(transaction, reply(request, 200, tag="cancel"))
        ringing = self._ringing.get(invite)
        if ringing is not None:
            ringing.cancelled(request)

    def _invite(
        self, request: Request, transaction: ServerTransaction, flow: Flow, account: Account | None
    ) -> None:
        stack = self._stack
        if stack.exchange.layer.merged(transaction):
            stack.refuse(request, transaction, 482)
            return
        if stack.draining or stack.calls >= stack.config.max_calls:
            self._unavailable(request, transaction)
            return
        if not stack.room_for(flow.host):
            self._stack.exchange.counters.crowded += 1
            stack.refuse(request, transaction, 486)
            return
        try:
            if (old := replaced(stack.dialogs, request)) is not None:
                take_over(stack, old, request, transaction, flow)
                return
            trunk, call_id = stack.trunks.of_host(flow.host), secrets.token_hex(8)
            info = call_info(stack.trunks, trunk, request, call_id, account)
            incoming = IncomingInvite(stack, request, transaction, flow, info)
        except RemoteProtocolError as e:
            stack.refuse(request, transaction, e.status)
            return
        self._stack.exchange.counters.calls_in += 1
        stack.exchange.respond(transaction, reply(request, 100))
        self._ringing[transaction] = incoming
        stack.start(self._offer(incoming, transaction), f"sip call {incoming.info.call_id}")

    def _unavailable(self, request: Request, transaction: ServerTransaction) -> None:
        response = reply(request, 503, tag="refused")
        response.headers.add("retry-after", str(RETRY_AFTER_S))
        self._stack.exchange.respond(transaction, response)

    async def _offer(self, incoming: IncomingInvite, transaction: ServerTransaction) -> None:
        try:
            await self._on_call(incoming)
        except CallFailed as e:  # the caller gave up first: nobody's mistake
            log.info("sip call not answered", extra={"call_id": incoming.info.call_id, "error": str(e)})
        except Exception:
            log.exception("call handler failed", extra={"call_id": incoming.info.call_id})
            await incoming.fail()
        finally:
            del self._ringing[transaction]
