"""A carrier's TCP port, for calls that come without HTTP (Asterisk's AudioSocket)."""

import asyncio
import logging

from media.tasks import task_scope
from sip.carrier import Announced, Carrier, Refused
from sip.carrierdesk import CarrierDesk, CarrierHost
from sip.mediacore import Started
from sip.medialine import Line
from sip.mediasocket import TcpChannel, read_stream
from sip.mediastream import MediaStreamLeg

log = logging.getLogger(__name__)


class CarrierPort:
    """Listens where `Carrier.listens` says. Belongs to one loop."""

    def __init__(self, carrier: Carrier, host: CarrierHost, desk: CarrierDesk) -> None:
        self._carrier, self._host, self._desk = carrier, host, desk
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once started."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Open the port. Raises OSError if it is taken."""
        assert self._carrier.listens is not None
        self._server = await asyncio.start_server(self._connected, *self._carrier.listens)

    async def close(self) -> None:
        """Close the port and what came in by it. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._calls:
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._desk.stats.sockets += 1
        self._calls.add(writer)
        host = self._host
        try:
            async with task_scope() as start:
                core, channel = self._carrier.core(), TcpChannel(writer.transport)
                line = Line(core, channel, self._carrier.capabilities, host.metronome, start, host.stream)
                leg = MediaStreamLeg(line)
                start(read_stream(reader, leg), "audio")
                started = await self._desk.started(leg)
                if started is not None and (call := self._announced(started)) is not None:
                    await self._desk.attend(leg, call)
        finally:
            self._calls.discard(writer)
            writer.close()

    def _announced(self, started: Started) -> Announced | None:
        """What is known of the call besides what its connection says; None: it is a stranger's."""
        try:
            return self._desk.admit(started.call_id)
        except Refused as error:
            if not self._carrier.announced:
                return Announced("")
            self._desk.stats.sockets_refused += 1
            log.warning("call refused", extra={"carrier": self._carrier.name, "reason": str(error)})
            return None
