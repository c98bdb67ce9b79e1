"""One connection to a switch: commands with their replies, everything else to whoever owns the connection.

Events are handed over in the order in which they came, inside `data_received`: whoever takes them returns at
once and never raises. Nothing that FreeSWITCH says can end the reading without `closed` being told.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import cast

from sip.errors import RemoteProtocolError
from sip.esl.counters import EslCounters
from sip.esl.errors import CommandRefused, CommandTimeout, LinkLost, NotConnected
from sip.esl.messages import Event, Notice, Reply
from sip.esl.protocol import LIMITS, EslLimits, EslProtocol, verb

log = logging.getLogger(__name__)

MAX_UNSENT = 4_000_000  # bytes that FreeSWITCH does not read: then it never will
COMMAND_S = 5.0  # commands that do not wait answer within 20 ms; what takes longer is a job

OnMessage = Callable[[Event | Notice], None]


class EslLink(asyncio.Protocol):
    """Belongs to one loop. `closed` is done, with the reason, when the connection is gone."""

    def __init__(
        self,
        on_message: OnMessage,
        counters: EslCounters,
        limits: EslLimits = LIMITS,
        on_made: "Callable[[EslLink], None] | None" = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message, self._on_made, self._counters = on_message, on_made, counters
        self._core = EslProtocol(limits, counters.wire)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, tuple[asyncio.Future[Reply], float]] = {}
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.last_data_at = self._loop.time()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self.last_data_at = self._loop.time()
        self._core.receive_data(data)
        try:
            for message in self._core.messages():
                if isinstance(message, Reply):
                    self._replied(message)
                else:
                    self._on_message(message)
        except RemoteProtocolError as error:
            log.error("event socket out of step, closing it", extra={"error": str(error)})
            self.abort(f"out of step: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"{exc}" if exc is not None else "closed by FreeSWITCH")

    # For the owner

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None and not self.closed.done()

    @property
    def peer(self) -> str:
        """Address of the other side."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "")

    async def send(
        self,
        line: str,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        timeout_s: float = COMMAND_S,
    ) -> Reply:
        """A command and its reply, good or bad. Cancelling leaves later replies in step. Raises LinkLost,
        CommandTimeout, and LocalProtocolError for a line end in a command."""
        transport = self._transport
        if transport is None or self.closed.done():
            raise NotConnected("no connection to FreeSWITCH")
        number, data = self._core.command(line, headers, body)
        if transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort("FreeSWITCH does not read")
            raise LinkLost("FreeSWITCH does not read")
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[number] = (reply, self._loop.time())
        self._counters.commands += 1
        log.debug(">", extra={"command": verb(line)})
        transport.write(data)
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError:
            self._counters.timeouts += 1
            raise CommandTimeout(f"no reply to {verb(line)!r} within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    async def demand(
        self,
        line: str,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        timeout_s: float = COMMAND_S,
    ) -> Reply:
        """As `send`, and raises CommandRefused for an error."""
        reply = await self.send(line, headers, body, timeout_s)
        if not reply.ok:
            self._counters.refused += 1
            raise CommandRefused(reply.text)
        return reply

    def close(self) -> None:
        """Close once everything is sent. Idempotent."""
        if self._transport is not None:
            self._transport.close()
        self._end("closed by us")

    def abort(self, reason: str) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def _replied(self, reply: Reply) -> None:
        future, sent_at = self._waiting.get(reply.number, (None, 0.0))
        if future is None or future.done():
            return  # nobody waits any more
        self._counters.round_trip_s += self._loop.time() - sent_at
        future.set_result(reply)

    def _end(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(LinkLost(reason))
