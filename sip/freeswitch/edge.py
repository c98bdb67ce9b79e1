"""Takes FreeSWITCH's calls, places calls through it, and keeps the two halves of each together.

inbound:   socket application -> SocketCall -> CallManager -> answer -> bridge to us -> FreeswitchLeg
outbound:  originate -> answered -> socket application -----------------^
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from media.leg import CallLeg
from media.tasks import Start, task_scope
from media.tts.base import TextToSpeech
from sip.endpoint import IncomingCall, OnCall, OnProgress, OutboundCall
from sip.esl.client import EslClient
from sip.esl.counters import EslCounters
from sip.esl.server import EslServer, EslSession
from sip.freeswitch.calls import FreeswitchCalls
from sip.freeswitch.causes import SUPERSEDED
from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.handover import Handover
from sip.freeswitch.inbound import SocketCall
from sip.freeswitch.outbound import Placing
from sip.freeswitch.reconciler import Reconciler
from sip.freeswitch.references import HEADER
from sip.freeswitch.sessions import ChannelSessions, until_closed

log = logging.getLogger(__name__)


class FreeswitchEdge:
    """Implements `sip.endpoint.WayOut`. Belongs to one loop."""

    def __init__(self, config: FreeswitchConfig, voice: TextToSpeech | None = None) -> None:
        """`voice` speaks to people who get a caller handed over."""
        self._config = config
        self.counters = EslCounters()
        self.client = EslClient(config.esl, self.counters)
        self.server = EslServer(config.socket_host, config.socket_port, self.counters)
        self.calls = FreeswitchCalls(config, self.client)
        self.handover = Handover(config, self.client, self.calls, voice)
        self.calls.hand_over = self.handover.run
        self._sessions = ChannelSessions(self.calls)
        self.reconciler = Reconciler(config, self.client, self.calls)
        self._scope = AsyncExitStack()
        self._on_call: OnCall | None = None
        self._closing = False

    @property
    def draining(self) -> bool:
        """While set, FreeSWITCH goes on in its dialplan instead of bringing us calls."""
        return self._closing

    @draining.setter
    def draining(self, value: bool) -> None:
        self._closing = value

    def fault(self) -> str | None:
        """For /health: why no call can come through FreeSWITCH."""
        return f"no event socket: {self.client.fault}" if self.client.fault else None

    async def start(self, on_call: OnCall, media_address: str) -> None:
        """Listen for calls and connect. `media_address`: host:port of our SIP endpoint. Raises OSError if the
        port is taken; a FreeSWITCH that is not there is waited for."""
        self._on_call = on_call
        start = await self._scope.enter_async_context(task_scope())
        self.server.full = lambda: self._closing
        self.server.adopt = self.calls.adopt
        try:
            await self.server.start(self._guarded(start), self._session)
        except OSError:
            await self._scope.aclose()
            raise
        self.calls.begin(self._guarded(start), self._config.media_address or media_address, self.server.port)
        start(self.client.run(), "esl client")
        start(self.reconciler.run(), "reconciler")
        log.info("waiting for FreeSWITCH", extra={"port": self.server.port, "switch": self._config.esl.host})

    async def close(self) -> None:
        """Let go of what is left. Idempotent."""
        self._closing = True
        await self.server.close()
        await self._scope.aclose()

    async def on_sip_call(self, incoming: IncomingCall) -> None:
        """A SIP call: the audio of a call that we control, or one like any other."""
        assert self._on_call is not None
        if HEADER.lower() not in incoming.info.headers:
            await self._on_call(incoming)
        elif not self.calls.references.arrived(incoming):
            log.warning("sip call with an unknown reference refused")

    async def place(self, call: OutboundCall, on_progress: OnProgress | None = None) -> CallLeg:
        """Call somebody through FreeSWITCH. Raises CallFailed; cancelling gives the call up."""
        return await Placing(self._config, self.client, self.calls, call, on_progress).run()

    async def _session(self, session: EslSession) -> None:
        """FreeSWITCH has brought us a channel."""
        if session.get("variable_current_application") not in ("", "socket"):
            await until_closed(session)  # it has gone on without us while we hung, and will ask once more
            return
        with self._sessions.newest(session) as newest:
            if newest:
                await self._taken(session)
        if session.channel.cause == SUPERSEDED:
            await until_closed(session)

    async def _taken(self, session: EslSession) -> None:
        assert self._on_call is not None
        placed = self.calls.placed.get(session.channel.uuid)
        if placed is not None and not placed.done():
            placed.set_result(session)
            await session.channel.ended
            return
        if session.get("variable_voicegw_placed") and not session.get("variable_voicegw_call"):
            await session.channel.hangup("ORIGINATOR_CANCEL")  # given up while it was answered
            return
        call = SocketCall(self.calls, session)
        await self._on_call(call)
        if call.leg is not None and not call.leg.handed_over:
            await session.channel.ended

    def _guarded(self, start: Start) -> Start:
        def guarded(coro: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
            return start(self._guard(coro), name)

        return guarded

    async def _guard(self, coro: Coroutine[Any, Any, None]) -> None:
        """A bug in one call must not end the edge."""
        try:
            await coro
        except Exception:
            log.exception("freeswitch call failed")
