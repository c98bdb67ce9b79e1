"""Of the servers of a name the first that answers (RFC 3263, 4.3); and those that answer too late."""

import logging
from collections.abc import Awaitable, Callable

from media.leg import HangupCause
from sip.errors import CallFailed
from sip.ua.dialog import Dialog
from sip.ua.flow import Flow
from sip.ua.layer import ClientTransaction
from sip.ua.message import Response
from sip.ua.session import Session
from sip.ua.stack import Stack
from sip.ua.trunks import TrunkState

log = logging.getLogger(__name__)

Ask = Callable[[Flow, float | None], Awaitable[Response]]


async def first_to_answer(stack: Stack, ways: list[Flow], ask: Ask) -> Response:
    """The final response of the first server that is neither silent, unreachable nor overloaded (503); of the
    last one whatever comes. `ask(flow, patience_s)` raises CallFailed(0) if no sign of life came in time."""
    for number, flow in enumerate(ways, 1):
        last = number == len(ways)
        stack.hold(flow)
        try:
            response = await ask(flow, None if last else stack.config.dns.failover_s)
            if response.status != 503:
                stack.resolver.worked(flow)
                return response
            stack.resolver.failed(flow)
            if last:
                return response
            reason = "503"
        except CallFailed as e:
            if e.status:
                raise
            stack.resolver.failed(flow)
            if last:
                raise
            reason = e.reason
        finally:
            stack.release(flow)
        stack.exchange.counters.failovers += 1
        log.info("sip server left for the next one", extra={"peer": str(flow), "reason": reason})
    raise CallFailed(0, "no server to ask")


class GivenUp:
    """Servers that were left for another one, and answer all the same: they are cancelled or hung up on."""

    def __init__(self, stack: Stack, call_id: str) -> None:
        self._stack, self._call_id = stack, call_id
        self._sessions: dict[str, Session] = {}  # by the tag of those who took the call

    def receive(
        self,
        transaction: ClientTransaction,
        response: Response | None,
        flow: Flow,
        trunk: TrunkState | None,
    ) -> None:
        """A response to the INVITE that was given up."""
        if response is None or response.status >= 300:
            return
        if response.status < 200:
            self._stack.exchange.cancel(transaction)
            return
        log.info("sip answer of a server that was given up", extra={"call_id": self._call_id})
        tag, number = response.to.tag, response.cseq.number
        session = self._sessions.get(tag)
        if session is None:
            dialog = Dialog.of_caller(transaction.machine.request, response)
            session = self._sessions[tag] = Session(self._stack, dialog, flow, trunk)
            session.call_id = self._call_id
        self._stack.start(_decline(session, number), f"sip decline {self._call_id}")


async def _decline(session: Session, number: int) -> None:
    await session.acknowledge(number)
    session.hangup(HangupCause.CANCELLED)
