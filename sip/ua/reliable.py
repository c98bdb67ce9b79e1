"""Provisional responses that must arrive: repeated until their PRACK has come (RFC 3262, 3)."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

from sip.errors import RemoteProtocolError
from sip.ua.exchange import Exchange
from sip.ua.grammar import CSeq
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, Response


class Reliable:
    """Of one INVITE. One response at a time is on its way; others wait their turn."""

    def __init__(
        self, exchange: Exchange, transaction: ServerTransaction, on_lost: Callable[[], None]
    ) -> None:
        """`on_lost`: nobody has acknowledged for 64*T1."""
        self._exchange, self._transaction, self._on_lost = exchange, transaction, on_lost
        self._loop = asyncio.get_running_loop()
        self._number = secrets.randbelow(2**30) + 1  # RFC 3262, 3: 1 to 2**31 - 1
        self._waiting: deque[Response] = deque()  # the first is on its way
        self._timer: asyncio.TimerHandle | None = None
        self._interval = self._gives_up_at = 0.0
        self._settled = asyncio.Event()
        self._settled.set()

    def send(self, response: Response) -> None:
        """Send it, once those before have arrived."""
        response.headers.add("require", "100rel")
        response.headers.add("rseq", str(self._number))
        self._number += 1
        self._waiting.append(response)
        self._settled.clear()
        if len(self._waiting) == 1:
            self._begin()

    def acknowledged(self, prack: Request) -> Response:
        """The response that a PRACK is for. Raises RemoteProtocolError (481) if it is for none."""
        response = self._waiting[0] if self._waiting else None
        parts = (prack.headers.get("rack") or "").split()
        if response is None or len(parts) != 3:
            raise RemoteProtocolError("a PRACK for nothing", 481)
        number, cseq = parts[0], CSeq.parse(f"{parts[1]} {parts[2]}")
        if number != response.headers.get("rseq") or cseq != response.cseq:
            raise RemoteProtocolError(f"a PRACK for {' '.join(parts)}", 481)
        self._waiting.popleft()
        self._cancel()
        if self._waiting:
            self._begin()
        else:
            self._settled.set()
        return response

    async def settled(self) -> None:
        """Returns when no response waits for its PRACK."""
        await self._settled.wait()

    def stop(self) -> None:
        """Wait no more."""
        self._waiting.clear()
        self._cancel()
        self._settled.set()

    def _begin(self) -> None:
        timers = self._exchange.timers
        self._interval = timers.t1
        self._gives_up_at = self._loop.time() + timers.timeout
        self._repeat()

    def _repeat(self) -> None:
        now = self._loop.time()
        if now >= self._gives_up_at:
            self.stop()
            self._on_lost()
            return
        self._exchange.respond(self._transaction, self._waiting[0])
        self._timer = self._loop.call_at(min(now + self._interval, self._gives_up_at), self._repeat)
        self._interval *= 2  # RFC 3262, 3: without the bound of T2

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
