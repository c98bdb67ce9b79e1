"""Hands a caller over to a person, a queue or a conference, and takes him back if that fails.

    caller hears music -> target is called, answers -> (is told the summary) -> both are bridged -> we leave
                        '- busy, no answer, hung up -> the music ends, the caller is with the bot again

The caller stays bridged to us until the moment in which he is bridged to the target: nothing has to be
restored.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dialog.types import Transfer, TransferMode
from media.errors import ProviderError, TransferError
from media.leg import CallLeg, HangupCause
from media.tts.base import TextToSpeech
from sip.errors import CallFailed, LocalProtocolError
from sip.esl import commands
from sip.esl.channel import Channel
from sip.esl.client import EslClient
from sip.esl.errors import CommandRefused, EslError
from sip.freeswitch import guard
from sip.freeswitch.calls import FreeswitchCalls
from sip.freeswitch.causes import cause_of
from sip.freeswitch.config import FreeswitchConfig, TransferBy
from sip.freeswitch.leg import FreeswitchLeg
from sip.freeswitch.outbound import MARGIN_S, dial_string
from sip.freeswitch.queue import CallQueues
from sip.freeswitch.references import HEADER
from sip.freeswitch.referral import refer
from sip.freeswitch.speaker import Whisper, spoken

log = logging.getLogger(__name__)

RINGING = "tone_stream://%(1000,4000,425);loops=-1"
SILENCE = "silence_stream://-1"
BRIDGE_S = 3.0
ALOUD_S = 10.0
SUMMARY_S = 60.0  # music goes on so long after the ringing
PARKED_S = 10.0  # beyond the summary, for who has answered and is not connected yet
CONFERENCE = "conference:"
QUEUE = "queue:"
_FILE = re.compile(r"[A-Za-z0-9_./\-]+|[a-z_]+://[^\s'\"{}\[\]]+")


class Handover:
    """Of one edge."""

    def __init__(
        self,
        config: FreeswitchConfig,
        client: EslClient,
        calls: FreeswitchCalls,
        voice: TextToSpeech | None,
    ) -> None:
        self._config, self._client, self._calls, self._voice = config, client, calls, voice
        self.queues = CallQueues(config, self._announce)

    async def run(self, leg: FreeswitchLeg, order: Transfer) -> None:
        """Carry out one order. Raises TransferError: the caller is back."""
        target = order.target.strip()
        try:
            if target.startswith(CONFERENCE):
                await self._conference(leg, target.removeprefix(CONFERENCE))
            elif target.startswith(QUEUE):
                name = target.removeprefix(QUEUE)
                await self.queues.wait(name, leg, lambda agent: self._connect(leg, order, agent))
            elif not (self._by_refer(order) and await refer(self._client, leg, target)):
                await self._connect(leg, order, target)
        except (EslError, LocalProtocolError) as error:
            raise TransferError(str(error)) from error
        log.info("handed over", extra={"call_id": leg.info.call_id, "pii_target": target})

    def _by_refer(self, order: Transfer) -> bool:
        return self._config.transfer_by is TransferBy.REFER and order.mode is TransferMode.BLIND

    # To a person

    async def _connect(self, leg: FreeswitchLeg, order: Transfer, target: str) -> None:
        ring_s = order.timeout_s or self._config.transfer_timeout_s
        async with self._music(leg, order.music, ring_s + SUMMARY_S):
            agent = await self._called(leg, order, target)
            connected = False
            try:
                if order.mode is TransferMode.ATTENDED and order.summary and not order.aloud:
                    await self._whisper(leg, agent, order.summary)
                await self._bridge(leg, agent)
                connected = True
            finally:
                if not connected:
                    self._calls.start(self._kill(agent.uuid), "freeswitch agent")
        if order.mode is TransferMode.ATTENDED and order.summary and order.aloud:
            self._calls.start(self._aloud(leg, order.summary), "freeswitch summary")
        await self._leave(leg)

    async def _called(self, leg: FreeswitchLeg, order: Transfer, target: str) -> Channel:
        """The target's channel once it has answered. Raises TransferError."""
        timeout_s = order.timeout_s or self._config.transfer_timeout_s
        agent = str(uuid.uuid4())
        caller = commands.safe(leg.info.caller, 64)
        values = {
            "origination_uuid": agent,
            "originate_timeout": str(max(1, round(timeout_s))),
            "ignore_early_media": "true",
            "origination_caller_id_number": caller,
            "origination_caller_id_name": caller,
            "voicegw_agent_of": leg.channel.uuid,
            # Until he is connected; should we die before, he is not left in silence.
            "park_timeout": str(round(SUMMARY_S + PARKED_S)),
        }
        text = f"{commands.variables(values)}{dial_string(self._config, target)} &park"
        channel = Channel(agent, self._client, self._client.counters)
        self._client.router.channels[agent] = channel
        self._calls.channels[agent] = channel
        channel.ended.add_done_callback(lambda _: self._forget(agent))
        originate = self._client.job("originate", text, timeout_s=timeout_s + MARGIN_S)
        job = self._calls.run(originate, "freeswitch originate")
        answered = False
        try:
            ends: set[asyncio.Future[Any]] = {job, leg.channel.hung_up}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                raise TransferError("the caller has hung up")
            job.result()
            answered = True
            return channel
        except CommandRefused as error:
            cause = cause_of(error.reason).name.lower()
            raise TransferError(f"the target did not answer: {cause} ({error.reason})") from error
        finally:
            job.cancel()
            if not answered:
                self._forget(agent)
                self._calls.start(self._kill(agent), "freeswitch agent")

    def _forget(self, agent: str) -> None:
        self._client.router.channels.pop(agent, None)
        self._calls.channels.pop(agent, None)

    async def _bridge(self, leg: FreeswitchLeg, agent: Channel) -> None:
        """Connect the two. From here on the end of our audio is not the end of the call."""
        if not agent.is_up:
            raise TransferError(f"the target has hung up: {agent.cause}")
        caller = leg.channel.uuid
        await self._client.demand(f"api uuid_setvar {caller} {guard.VARIABLE}")
        await self._client.demand(f"api uuid_setvar {caller} hangup_after_bridge true")
        await self._client.demand(f"api uuid_setvar {agent.uuid} hangup_after_bridge true")
        try:
            with leg.handing_over():
                await self._client.demand(f"api uuid_bridge {caller} {agent.uuid}")
                await self._bridged(leg, agent)
        except (EslError, TransferError, TimeoutError) as error:
            await self._stays(leg)
            raise TransferError(f"could not be connected: {error or 'no answer from FreeSWITCH'}") from error

    async def _stays(self, leg: FreeswitchLeg) -> None:
        """He is with the bot again: the end of a bridge, late or ours, is not to end his call."""
        caller = leg.channel
        try:
            if caller.is_up:
                values = f"hangup_after_bridge=false;{guard.VARIABLE}={leg.guard}"
                await self._client.demand(f"api uuid_setvar_multi {caller.uuid} {values}")
        except EslError as error:
            log.warning("caller may be lost with his bridge", extra={"error": str(error)})

    async def _bridged(self, leg: FreeswitchLeg, agent: Channel) -> None:
        async with asyncio.timeout(BRIDGE_S):
            while leg.channel.bridged_to != agent.uuid:
                if not (agent.is_up and leg.channel.is_up):
                    raise TransferError("a party hung up while they were connected")
                await asyncio.sleep(0.02)

    async def _leave(self, leg: FreeswitchLeg) -> None:
        """The two talk: our audio of the call is over, and for the session the call."""
        await leg.media.hangup(HangupCause.NORMAL)

    async def _whisper(self, leg: FreeswitchLeg, agent: Channel, summary: str) -> None:
        """Tell the target alone, on a second SIP call to us. A voice that fails costs the summary only."""
        try:
            media, _ = await self._calls.media(agent)
        except (CallFailed, EslError) as error:
            if not agent.is_up:
                raise TransferError(f"the target has hung up: {agent.cause}") from error
            log.warning("no summary for the target", extra={"error": str(error)})
            return
        try:
            pcm = await self._spoken(summary, media.format.rate)
            whisper = Whisper(media, pcm)
            media.start(whisper)
            await self._until(whisper.done, leg.channel, agent)
        finally:
            await media.hangup(HangupCause.NORMAL)
        if not agent.is_up:
            raise TransferError(f"the target has hung up: {agent.cause}")

    async def _aloud(self, leg: FreeswitchLeg, summary: str) -> None:
        """Tell both, once they are connected: a third SIP call to us, mixed into theirs."""
        values = {"eavesdrop_whisper_aleg": "true", "eavesdrop_whisper_bleg": "true"}
        where = f"sofia/{commands.name(self._config.profile)}/bot@{self._calls.media_address}"
        media: CallLeg | None = None
        try:
            with self._calls.references.issued() as reference:
                values[f"sip_h_{HEADER}"] = reference.number
                text = f"{commands.variables(values)}{where} &eavesdrop({leg.channel.uuid})"
                job = self._client.job("originate", text, timeout_s=ALOUD_S)
                originated = self._calls.run(job, "freeswitch summary")
                async with asyncio.timeout(ALOUD_S):
                    media = await (await reference.arrival).answer()
                    await originated
            whisper = Whisper(media, await self._spoken(summary, media.format.rate))
            media.start(whisper)
            await whisper.done
        except (CallFailed, EslError, TimeoutError) as error:
            log.warning("no summary for the parties", extra={"error": str(error)})
        finally:
            if media is not None:
                await media.hangup(HangupCause.NORMAL)

    async def _until(self, done: "asyncio.Future[None]", caller: Channel, agent: Channel) -> None:
        """Wait, but not when a party has gone."""
        ends = {done, caller.hung_up, agent.hung_up}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not caller.is_up:
            raise TransferError("the caller has hung up")

    async def _spoken(self, text: str, rate: int) -> bytes:
        if self._voice is None:
            return b""
        try:
            return await spoken(self._voice, text, rate)
        except ProviderError as error:
            log.error("the voice failed at a summary", extra={"error": str(error)})
            return b""

    async def _announce(self, leg: FreeswitchLeg, text: str) -> None:
        """Say something to a caller who waits, in place of the music."""
        await leg.say(await self._spoken(text, leg.format.rate))

    # Music

    @asynccontextmanager
    async def _music(self, leg: FreeswitchLeg, order: str, limit_s: float) -> AsyncIterator[None]:
        """The caller hears it inside the block; no longer than `limit_s`, in case this server dies in it."""
        caller = leg.channel.uuid
        stream = music_of(order, self._config.hold_music)
        await self._client.demand(f"api uuid_setvar {caller} playback_timeout_sec {round(limit_s)}")
        await self._client.demand(f"api uuid_broadcast {caller} {stream} aleg")
        try:
            yield
        finally:
            if leg.channel.is_up and not leg.handed_over:
                try:
                    await self._client.demand(f"api uuid_break {caller} all")
                    await self._client.demand(f"api uuid_setvar {caller} playback_timeout_sec")
                except EslError as error:
                    log.warning("music could not be stopped", extra={"error": str(error)})

    # Elsewhere

    async def _conference(self, leg: FreeswitchLeg, name: str) -> None:
        plan = f"'conference:{commands.name(name)}' inline"
        await self._client.demand(f"api uuid_setvar {leg.channel.uuid} {guard.VARIABLE}")
        with leg.handing_over():
            await self._client.demand(f"api uuid_transfer {leg.channel.uuid} {plan}")
        await self._leave(leg)

    async def _kill(self, channel: str) -> None:
        try:
            await self._client.api("uuid_kill", channel)
        except EslError:
            pass  # it has ended already


def music_of(order: str, default: str) -> str:
    """What FreeSWITCH plays. Raises LocalProtocolError for what is no file and no stream."""
    stream = {"": default, "music": default, "ringing": RINGING, "silence": SILENCE}.get(order, order)
    if not _FILE.fullmatch(stream):
        raise LocalProtocolError(f"neither a file nor a stream: {stream!r}")
    return stream
