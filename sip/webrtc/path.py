"""The path of one call's media: ICE below, DTLS-SRTP on it. It may be laid anew while the call goes on.

    offer -> IceAgent (gather, connect) -> Dtls -> Srtp            browser's datagrams -> on_packet (RTP)

A restart (a new network on the browser's side) makes a second agent beside the first; media moves over once
that one is connected. With the same certificate DTLS and SRTP go on as they are; another certificate means
another page, and a handshake of its own.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from media.rtp import is_rtcp
from sip.errors import RemoteProtocolError
from sip.srtp import SrtpStats
from sip.webrtc import sdp
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.dtls import Certificate, Dtls
from sip.webrtc.ice import IceAgent

log = logging.getLogger(__name__)

OUTBOX = 25  # datagrams, half a second: what waits longer is too old
HANDSHAKE_S = 10.0
SESSION = random.SystemRandom()

Start = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


@dataclass(frozen=True, slots=True)
class PathEvents:
    """Who is told what. All return at once."""

    packet: Callable[[bytes], None]  # RTP, decrypted
    report: Callable[[bytes], None]  # RTCP, the same
    connected: Callable[[], None]  # media may flow, for the first time or anew
    failed: Callable[[str], None]  # this try has failed, and why; another may follow
    closed: Callable[[], None]  # the far end has closed DTLS


class _Link:
    """One agent with what runs over it."""

    def __init__(self, agent: IceAgent, offer: sdp.Offer, dtls: Dtls) -> None:
        self.agent, self.offer, self.dtls = agent, offer, dtls
        self.answer = ""
        self.lost = False
        self.task: asyncio.Task[None] | None = None


class MediaPath:
    """Belongs to one call. `close` must follow."""

    def __init__(
        self,
        config: WebRtcConfig,
        certificate: Certificate,
        ssrc: int,
        start: Start,
        events: PathEvents,
        stats: SrtpStats,
    ) -> None:
        """`start` runs a task that ends with the server at the latest; `stats` is the caller's."""
        self._stats = stats
        self._config, self._certificate, self._ssrc = config, certificate, ssrc
        self._start, self._events = start, events
        self._session, self._version = SESSION.getrandbits(62), 0
        self._link: _Link | None = None  # media goes over this one
        self._next: _Link | None = None  # is being connected
        self._outbox: deque[bytes] = deque(maxlen=OUTBOX)
        self._waiting = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        self.dropped = 0  # datagrams that could not be sent

    @property
    def cipher(self) -> str:
        """Of SRTP; "" before there are keys."""
        srtp = None if self._link is None else self._link.dtls.srtp
        return "" if srtp is None else srtp.suite

    @property
    def ready(self) -> bool:
        """Whether packets can be encrypted and sent."""
        return self._link is not None and self._link.dtls.srtp is not None

    async def negotiate(self, text: str) -> str:
        """The browser's offer -> our answer, as SDP; connecting has then begun. Raises RemoteProtocolError;
        the path before, if any, stays."""
        offer = sdp.parse_offer(text)
        latest = self._next or self._link
        if latest is not None and latest.offer.generation == offer.generation:
            return latest.answer  # nothing has changed
        agent = IceAgent(self._config, offer.ufrag, offer.password)
        fit = False
        try:
            await self._prepare(agent, offer)
            fit = True
        finally:
            if not fit:
                await agent.close()
        link = _Link(agent, offer, self._association(offer))
        self._version += 1
        link.answer = sdp.answer(offer, self._ours(agent))
        before, self._next = self._next, link  # at once: `close` may come while the one before is dropped
        link.task = self._start(self._run(link), "webrtc path")
        if before is not None:
            await self._drop(before)
        return link.answer

    async def candidate(self, text: str | None) -> None:
        """One more of the browser's candidates, for its last offer; None: no more. Raises
        RemoteProtocolError."""
        link = self._next or self._link
        if link is not None and not self._closed:
            await link.agent.remote(text)

    def send(self, packet: bytes) -> bool:
        """Encrypt and send RTP. Never blocks; False where there is no path now."""
        srtp = None if self._link is None else self._link.dtls.srtp
        return self._posted(None if srtp is None else srtp.protect(packet))

    def send_report(self, packet: bytes) -> bool:
        """The same for RTCP."""
        srtp = None if self._link is None else self._link.dtls.srtp
        return self._posted(None if srtp is None else srtp.protect_report(packet))

    async def close(self) -> None:
        """Say goodbye and free the sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._link is not None:
            self._link.dtls.goodbye()
            with suppress(ConnectionError):
                await self._flush(self._link)
        if self._writer is not None:
            self._writer.cancel()
        for link in (self._link, self._next):
            if link is not None:
                await self._drop(link)
        self._link = self._next = None

    async def _prepare(self, agent: IceAgent, offer: sdp.Offer) -> None:
        try:
            await agent.gather_candidates()
        except OSError as error:  # a sandbox without AF_NETLINK
            log.error("addresses of this machine cannot be listed", extra={"error": str(error)})
            raise RemoteProtocolError("the server cannot list its addresses", 500) from error
        if not agent.local_candidates:
            raise RemoteProtocolError("the server has no address for media", 500)
        for candidate in offer.candidates:
            await agent.remote(candidate)
        if offer.complete:
            await agent.remote(None)
        if self._closed:
            raise RemoteProtocolError("the call is over", 481)

    def _ours(self, agent: IceAgent) -> sdp.OurSide:
        return sdp.OurSide(
            session=self._session,
            version=self._version,
            ufrag=agent.local_username,
            password=agent.local_password,
            fingerprint=self._certificate.fingerprint,
            candidates=agent.descriptions(),
            ssrc=self._ssrc,
        )

    def _association(self, offer: sdp.Offer) -> Dtls:
        """The one we have, where the browser is the same (RFC 8842, section 4); else a new one."""
        old = self._link
        if old is not None and old.dtls.srtp is not None and old.offer.fingerprint == offer.fingerprint:
            return old.dtls
        return Dtls(self._certificate, offer.fingerprint, self._stats, client=not offer.active)

    # One link's life

    async def _run(self, link: _Link) -> None:
        try:
            async with asyncio.timeout(self._config.connect_s):
                await link.agent.connect()
            async with asyncio.timeout(HANDSHAKE_S):
                await self._handshake(link)
        except (ConnectionError, TimeoutError, RemoteProtocolError) as error:
            await self._give_up(link, error)
            return
        await self._move_to(link)
        try:
            while True:
                self._datagram(link, await link.agent.recv())
        except ConnectionError:
            link.lost = True
            if link is self._link and not self._closed:
                self._events.failed("the browser's network is gone")

    async def _give_up(self, link: _Link, error: Exception) -> None:
        if link is not self._next:
            return
        self._next = None
        await link.agent.close()
        if self._link is not None and not self._link.lost:
            # The browser has tried the new path and stays on the old one, as it may.
            log.info("media stays on its path", extra={"reason": str(error)})
        elif isinstance(error, RemoteProtocolError):
            self._events.failed(str(error))
        else:
            self._events.failed("no connection for audio could be made (ICE)")

    async def _handshake(self, link: _Link) -> None:
        """DTLS; what comes meanwhile as SRTP is lost, as it would be unreadable."""
        dtls = link.dtls
        if dtls.done:
            return
        dtls.start()
        await self._flush(link)
        while dtls.srtp is None:
            try:
                async with asyncio.timeout(dtls.timeout()):
                    data = await link.agent.recv()
            except TimeoutError:
                dtls.timed_out()
                data = b""
            try:
                if data and 20 <= data[0] <= 63:
                    dtls.receive(data)
            finally:
                await self._flush(link)  # also the alert, where it fails

    async def _flush(self, link: _Link) -> None:
        for datagram in link.dtls.datagrams():
            await link.agent.send(datagram)

    async def _move_to(self, link: _Link) -> None:
        old, self._link = self._link, link
        if self._next is link:
            self._next = None
        if self._writer is None:
            self._writer = self._start(self._write(), "webrtc writer")
        self._events.connected()
        if old is not None:
            await self._drop(old)

    async def _drop(self, link: _Link) -> None:
        if link.task is not None and link.task is not asyncio.current_task():
            link.task.cancel()
        await link.agent.close()

    def _datagram(self, link: _Link, data: bytes) -> None:
        """RFC 7983: what it is, its first byte tells."""
        kind = data[0] if data else 0
        srtp = link.dtls.srtp
        if 128 <= kind <= 191 and srtp is not None:
            if is_rtcp(data):
                packet, take = srtp.unprotect_report(data), self._events.report
            else:
                packet, take = srtp.unprotect(data), self._events.packet
            if packet is not None:
                take(packet)
        elif 20 <= kind <= 63:
            try:
                link.dtls.receive(data)
            except RemoteProtocolError as error:
                log.debug("dtls", extra={"error": str(error)})
            for datagram in link.dtls.datagrams():
                self._post(datagram)
            if link.dtls.closed:
                self._events.closed()

    # Sending

    def _posted(self, sealed: bytes | None) -> bool:
        if sealed is not None:
            self._post(sealed)
        return sealed is not None

    def _post(self, datagram: bytes) -> None:
        self.dropped += len(self._outbox) == OUTBOX
        self._outbox.append(datagram)
        self._waiting.set()

    async def _write(self) -> None:
        """aioice sends in a coroutine, the beat is none: one task a call lies between."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._outbox:
                datagram = self._outbox.popleft()
                if self._link is not None:
                    await self._send_now(self._link, datagram)

    async def _send_now(self, link: _Link, datagram: bytes) -> None:
        try:
            await link.agent.send(datagram)
        except ConnectionError:
            self.dropped += 1
