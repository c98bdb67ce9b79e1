"""Sends the 200 to an INVITE, again and again until its ACK has come (RFC 3261, 13.3.1.4)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sip.ua.dialog import AnswerTimer
from sip.ua.exchange import Exchange
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, Response


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """A 200 that waits for its ACK."""

    timer: AnswerTimer
    transaction: ServerTransaction
    response: Response
    offered: bool  # the SDP in it was our offer: the answer comes in the ACK


class Answering:
    """Of one dialog; one answer at a time."""

    def __init__(self, exchange: Exchange, on_lost: Callable[[], None]) -> None:
        """`on_lost`: nobody has acknowledged for 64*T1."""
        self._exchange, self._on_lost = exchange, on_lost
        self._loop = asyncio.get_running_loop()
        self._waiting: Unacknowledged | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def offering(self) -> bool:
        """Whether an offer of ours waits for its answer."""
        return self._waiting is not None and self._waiting.offered

    def send(self, transaction: ServerTransaction, response: Response, *, offered: bool) -> None:
        """Send a 2xx to an INVITE; it takes the place of one before."""
        self._exchange.respond(transaction, response)
        self.settle()
        timer = AnswerTimer(self._loop.time(), self._exchange.timers)
        self._waiting = Unacknowledged(timer, transaction, response, offered)
        self._settled.clear()
        self._timer = self._loop.call_at(timer.deadline(), self._repeat)

    def acknowledged(self, ack: Request) -> Unacknowledged | None:
        """What the ACK is for; None if it is a repeated one."""
        waiting = self._waiting
        if waiting is None or ack.cseq.number != waiting.response.cseq.number:
            return None
        self.settle()
        return waiting

    def settle(self) -> None:
        """Wait no more."""
        self._waiting = None
        self._settled.set()
        if self._timer is not None:
            self._timer.cancel()

    async def settled(self) -> None:
        """Returns when no answer waits for its ACK."""
        await self._settled.wait()

    def _repeat(self) -> None:
        waiting = self._waiting
        assert waiting is not None
        match waiting.timer.tick(self._loop.time() + 0.001):
            case True:
                self._exchange.respond(waiting.transaction, waiting.response)
            case False:
                self.settle()
                self._on_lost()
                return
        self._timer = self._loop.call_at(waiting.timer.deadline(), self._repeat)
