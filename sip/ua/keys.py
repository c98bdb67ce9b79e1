"""Keys by INFO: takes those of the far end, and presses ours one after the other where it takes no telephone
events."""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from sip.ua import info
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, reply

if TYPE_CHECKING:
    from sip.ua.session import Session

log = logging.getLogger(__name__)


class KeySender:
    """Of one call."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._keys: deque[tuple[str, int]] = deque()  # digit, milliseconds

    def press(self, digit: str, duration_ms: int) -> None:
        """Returns at once."""
        self._keys.append((digit, duration_ms))
        if len(self._keys) == 1:
            self._session.stack.start(self._send(), f"sip info {self._session.call_id}")

    async def _send(self) -> None:
        session = self._session
        while self._keys and not session.hung_up:
            digit, duration_ms = self._keys[0]
            response = await session.ask(
                "INFO", {"content-type": info.RELAY}, info.body_of(digit, duration_ms)
            )
            if response is None or response.status >= 300:
                status = response.status if response is not None else 0
                log.warning("sip dtmf refused", extra={"call_id": session.call_id, "status": status})
            await asyncio.sleep(duration_ms / 1000)
            self._keys.popleft()
        self._keys.clear()


def receive_info(session: "Session", request: Request, transaction: ServerTransaction) -> None:
    """An INFO of the far end: a key, or nothing, which some send to see whether we live."""
    exchange, kind = session.stack.exchange, request.content_type
    if request.body and kind not in (info.RELAY, info.PLAIN):
        response = reply(request, 415)
        response.headers.add("accept", f"{info.RELAY}, {info.PLAIN}")
        exchange.respond(transaction, response)
        return
    digit = info.digit_of(kind, request.body)
    if request.body and digit is None:
        session.stack.refuse(request, transaction, 400)
        return
    exchange.respond(transaction, reply(request, 200))
    if digit is not None and session.leg is not None:
        session.leg.info_dtmf(digit)
