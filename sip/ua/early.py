"""A dialog before its answer, on the caller's side: acknowledges provisional responses that must arrive (RFC
3262, 4), and takes what the far end asks meanwhile (UPDATE: RFC 3311)."""

import logging
from typing import TYPE_CHECKING

from sip.errors import RemoteProtocolError
from sip.ua.dialog import Dialog
from sip.ua.flow import Flow
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, Response, reply
from sip.ua.stack import SDP

if TYPE_CHECKING:
    from sip.ua.outgoing import OutgoingInvite

log = logging.getLogger(__name__)


class EarlyDialog:
    """One branch of a call that we place; registers itself as the one that takes its requests."""

    def __init__(self, call: "OutgoingInvite", dialog: Dialog, flow: Flow) -> None:
        self._call, self.dialog, self._source = call, dialog, flow
        self._latest = 0  # RSeq
        call.stack.dialogs[dialog.key] = self

    def is_new(self, response: Response) -> bool:
        """Acknowledge a provisional response if it has to be; False if it came before or out of order."""
        if "100rel" not in response.headers.tokens("require"):
            return True
        text = (response.headers.get("rseq") or "").strip()
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
        # RFC 3262, 4: a gap is left alone, the far end repeats what is missing.
        if not number or (self._latest and number != self._latest + 1):
            return False
        self._latest = number
        rack = f"{number} {response.cseq}"
        self._call.stack.start(self._prack(rack), f"sip prack {self._call.call_id}")
        return True

    async def _prack(self, rack: str) -> None:
        def make() -> Request:
            request = self.dialog.request("PRACK")
            request.headers.add("rack", rack)
            return request

        stack, dialog = self._call.stack, self.dialog
        flow = await stack.resolver.next_flow(dialog.next_hop(), self._source, routed=bool(dialog.routes))
        response = await stack.exchange.ask(make, flow, self._call.credentials)
        if response is None or response.status >= 300:
            status = response.status if response is not None else 0
            log.info("sip prack refused", extra={"call_id": self._call.call_id, "status": status})

    # Dispatch

    @property
    def peer_host(self) -> str:
        return self._source.host

    def receive(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        stack = self._call.stack
        try:
            self.dialog.receive(request)
            match request.method:
                case "UPDATE":
                    self._update(request, transaction, flow)
                case "OPTIONS":
                    stack.exchange.respond(transaction, stack.ok(request, transaction, flow))
                case "BYE":  # RFC 3261, 15: the callee must not; what it means is clear
                    stack.exchange.respond(transaction, reply(request, 200))
                    self._call.refused(480, "the far end hung up before it answered")
                case _:
                    stack.refuse(request, transaction, 481)
        except RemoteProtocolError as e:
            stack.refuse(request, transaction, e.status)

    def acknowledged(self, ack: Request) -> None:
        self._call.stack.exchange.counters.stray += 1

    def shut_down(self) -> None:
        self._call.refused(487, "the user agent closes")

    def close(self) -> None:
        """The branch is over, or has become a call."""
        if self._call.stack.dialogs.get(self.dialog.key) is self:
            self._call.stack.leave(self.dialog.key)

    def _update(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        stack, leg = self._call.stack, self._call.leg
        response = stack.ok(request, transaction, flow)
        response.headers.add("contact", stack.exchange.contact(flow))
        if request.body:
            if request.content_type != SDP:
                raise RemoteProtocolError("no SDP", 415)
            if leg is None or leg.agreement is None:  # RFC 3311, 5.2: our own offer is not answered yet
                raise RemoteProtocolError("offers cross", 491)
            response.headers.add("content-type", SDP)
            response.body = leg.answer(request.body).encode()
        self.dialog.refresh(request)
        self._source = flow
        stack.exchange.respond(transaction, response)
