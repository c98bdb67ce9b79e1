"""Compares FreeSWITCH's channels with our calls, and puts right what does not agree.

    a channel of ours without a session   (a crash, a socket closed at the wrong moment) -> brought again
    audio from an earlier server          (its process has died, FreeSWITCH still sends) -> its caller too
    a session without a channel           (FreeSWITCH restarted, an event was lost)      -> ended
    a dialog kept for a channel that is gone (its caller did not wait for our restart)   -> forgotten

A channel is touched only when it was out of order twice in a row: calls come and go while we look.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from sip.errors import SipError
from sip.esl import commands
from sip.esl.client import EslClient
from sip.esl.errors import CommandRefused
from sip.freeswitch import guard
from sip.freeswitch.calls import CALL_VARIABLE, FreeswitchCalls
from sip.freeswitch.config import FreeswitchConfig

log = logging.getLogger(__name__)

AT_ONCE = 50  # questions about calls of earlier sessions in one look: at most a second of the connection
SOON_S = 1.0  # between the first two looks after a connect: a caller may be waiting since a crash


class Reconciler:
    """Of one edge."""

    def __init__(self, config: FreeswitchConfig, client: EslClient, calls: FreeswitchCalls) -> None:
        self._config, self._client, self._calls = config, client, calls
        self._suspects: set[str] = set()  # channels without a session, at the last look
        self._ghosts: set[str] = set()  # sessions without a channel, at the last look
        self._looked_at = 0  # calls of earlier sessions

    async def run(self) -> None:
        """For ever."""
        while self._config.reconcile_s:
            await self._client.connected.wait()
            try:
                await self.look()
                if self._suspects or self._ghosts:
                    await asyncio.sleep(SOON_S)
                    await self.look()
            except SipError as error:  # also for what FreeSWITCH says and no command can hold
                log.warning("channels could not be compared", extra={"error": str(error)})
            await asyncio.sleep(self._config.reconcile_s)

    async def look(self) -> None:
        """Compare once. Raises EslError."""
        rows = {str(row.get("uuid", "")): row for row in await self._client.channels()}
        suspects = {uuid for uuid, row in rows.items() if await self._is_orphan(uuid, row)}
        for uuid in suspects & self._suspects:
            await self._pick_up(uuid)
        self._suspects = suspects
        # `show channels` lags behind; uuid_exists is exact.
        missing = [uuid for uuid in self._calls.legs if uuid not in rows]
        ghosts = {uuid for uuid in missing if not await self._client.exists(uuid)}
        for uuid in ghosts & self._ghosts:
            self._end(uuid)
        self._ghosts = ghosts
        await self._forget()

    async def _forget(self) -> None:
        """Calls that somebody else had and that have ended: nobody can go on with them. The others keep what
        is known of them, however long they wait."""
        waiting = sorted(self._calls.left_over().items())
        begin = self._looked_at if self._looked_at < len(waiting) else 0
        self._looked_at = begin + AT_ONCE
        for call_id, channel in waiting[begin : self._looked_at]:
            if not channel or not await self._client.exists(channel):
                log.info("call of an earlier session is over", extra={"call_id": call_id, "channel": channel})
                self._calls.on_ended(call_id)

    def _end(self, uuid: str) -> None:
        leg = self._calls.legs.get(uuid)
        if leg is not None and not leg.closed:
            self._calls.counters.ghosts += 1
            log.warning("session without a call", extra={"call_id": leg.info.call_id, "channel": uuid})
            leg.channel.lost("LOST")

    async def _is_orphan(self, uuid: str, row: Mapping[str, Any]) -> bool:
        """Whether this is a caller's channel that nobody has in hand."""
        calls = self._calls
        if uuid in calls.legs or uuid in calls.channels or uuid in calls.placed:
            return False
        application, data = row.get("application"), str(row.get("application_data", ""))
        if application == "socket":
            return data.startswith(f"{self._config.socket_host}:{calls.socket_port}")
        if application == "bridge":  # to our endpoint
            return f"bot@{calls.media_address}" in data
        if application == "playback":  # music of a transfer, or the dialplan's announcement after a crash
            return bool(await self._variable(uuid, CALL_VARIABLE))
        return application == "park"

    async def _pick_up(self, uuid: str) -> None:
        """Bring the channel to us again; its variable says which call it was."""
        known = await self._variable(uuid, CALL_VARIABLE)
        if await self._variable(uuid, "voicegw_agent_of"):
            await self._kill(uuid)  # a person who was called for a caller: nobody will be connected
            return
        plan = guard.pick_up(self._calls.socket)
        try:
            await self._client.demand(f"api uuid_transfer {commands.word(uuid)} '{plan}' inline")
        except CommandRefused:
            return  # it has ended
        self._calls.counters.picked_up += 1
        log.warning("call without a session picked up", extra={"channel": uuid, "call_id": known})

    async def _variable(self, uuid: str, name: str) -> str:
        try:
            text = await self._client.api("uuid_getvar", f"{commands.word(uuid)} {name}")
        except CommandRefused:
            return ""
        return "" if text == "_undef_" else text

    async def _kill(self, uuid: str) -> None:
        try:
            await self._client.api("uuid_kill", commands.word(uuid))
            self._calls.counters.killed += 1
            log.warning("channel without a session ended", extra={"channel": uuid})
        except CommandRefused:
            pass
