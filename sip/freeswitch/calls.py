"""The calls of a FreeSWITCH: getting a channel's audio to us, and what is alive."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dialog.types import Transfer
from media.leg import CallInfo, CallLeg
from media.tasks import Start
from sip.endpoint import EarlyCall, IncomingCall
from sip.errors import CallFailed, LocalProtocolError, SipError
from sip.esl import commands
from sip.esl.channel import Channel
from sip.esl.client import EslClient
from sip.esl.errors import ChannelGone, EslError
from sip.esl.messages import Event
from sip.esl.server import EslSession
from sip.freeswitch import guard
from sip.freeswitch.causes import SUPERSEDED, failure_of
from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.figures import sip_status_of
from sip.freeswitch.leg import FreeswitchLeg, MediaLeg
from sip.freeswitch.references import HEADER, Reference, References

log = logging.getLogger(__name__)
T = TypeVar("T")

MEDIA_S = 5.0  # for FreeSWITCH's call to our SIP endpoint; 30 ms as a rule
# Of a caller's channel. A phone that sends nothing while nobody speaks, or is muted, is not gone: FreeSWITCH
# fills in silence.
CALLER_VARIABLES = {"hangup_after_bridge": "false", "bridge_generate_comfort_noise": "true"}
CALL_VARIABLE = "voicegw_call"  # on a channel: the id of our call, by which a restarted server knows it


@dataclass(slots=True)
class CallCounters:
    """What was put right."""

    adopted: int = 0  # calls whose socket was lost, held on over the other connection
    picked_up: int = 0  # channels without a session that got one
    killed: int = 0  # channels that nobody can pick up
    ghosts: int = 0  # sessions whose channel was gone
    superseded: int = 0  # sessions whose channel FreeSWITCH brought once more
    failed_media: int = 0  # calls whose audio never came


class FreeswitchCalls:
    """Of one edge."""

    def __init__(self, config: FreeswitchConfig, client: EslClient) -> None:
        self.config, self._client = config, client
        self.references = References()
        self.counters = CallCounters()
        self.legs: dict[str, FreeswitchLeg] = {}  # by channel
        self.channels: dict[str, Channel] = {}  # that a session or a transfer has in hand
        self.placed: dict[str, asyncio.Future[EslSession]] = {}  # by channel: calls that are being placed
        self.hand_over: Callable[[FreeswitchLeg, Transfer], Awaitable[None]] = _nobody
        self.on_ended: Callable[[str], None] = lambda call_id: None
        """Told the id of each call that is over."""
        self.on_superseded: Callable[[str], None] = lambda call_id: None
        """Told the id of each call that goes on in a newer session, before that begins."""
        self.left_over: Callable[[], Mapping[str, str]] = dict
        """Calls that another server or session had and that may go on: their ids, and their channels."""
        self.media_address = ""
        self.socket_port = 0
        self.start: Start

    def begin(self, start: Start, media_address: str, socket_port: int) -> None:
        """Before the first call."""
        self.start, self.media_address, self.socket_port = start, media_address, socket_port

    @property
    def socket(self) -> str:
        """Argument of the `socket` application that brings a channel to us."""
        return f"{self.config.socket_host}:{self.socket_port} async full"

    async def connect(self, channel: Channel, info: CallInfo, *, early: bool = False) -> FreeswitchLeg:
        """Get a channel's audio to us, which answers it, or with `early` lets it be heard before; the leg.
        Raises CallFailed."""
        self.channels[channel.uuid] = channel
        try:
            media, call = await self.media(channel, early=early)
        except EslError as error:
            self.counters.failed_media += 1
            raise CallFailed(500, str(error)) from error
        finally:
            if self.channels.get(channel.uuid) is channel:
                del self.channels[channel.uuid]
        leg = FreeswitchLeg(info, channel, media, self.hand_over)
        leg.sip_call, leg.plan = call, guard.pick_up(self.socket)
        self.legs[channel.uuid] = leg
        self.start(self._live(leg), "freeswitch call")
        self.start(self._in_hand(channel), "freeswitch guard")
        return leg

    async def _in_hand(self, channel: Channel) -> None:
        """FreeSWITCH need not go on without us."""
        try:
            await channel.sender.demand(f"api sched_del {commands.word(channel.uuid)}")
        except EslError as error:
            extra = {"channel": channel.uuid, "error": str(error)}
            log.warning("FreeSWITCH may take the call back", extra=extra)

    async def _live(self, leg: FreeswitchLeg) -> None:
        try:
            await leg.watch()
        finally:
            if self.legs.get(leg.channel.uuid) is leg:
                del self.legs[leg.channel.uuid]
            if leg.channel.cause != SUPERSEDED:
                self.on_ended(leg.info.call_id)

    def channel_of(self, call_id: str) -> str:
        """The channel of a call that is up; "" for another."""
        return next((uuid for uuid, leg in self.legs.items() if leg.info.call_id == call_id), "")

    def supersede(self, channel: Channel) -> None:
        """FreeSWITCH has brought the channel once more: what had it is over."""
        self.counters.superseded += 1
        leg = self.legs.get(channel.uuid)
        call_id = leg.info.call_id if leg is not None and leg.channel is channel else ""
        extra = {"channel": channel.uuid, "call_id": call_id}
        log.warning("session ended: FreeSWITCH has brought its channel once more", extra=extra)
        if call_id:
            self.on_superseded(call_id)
        channel.lost(SUPERSEDED)

    async def media(self, channel: Channel, *, early: bool = False) -> tuple[MediaLeg, IncomingCall]:
        """Let a channel call our SIP endpoint. Raises CallFailed, EslError."""
        config = self.config
        with self.references.issued() as reference:
            values = {
                f"sip_h_{HEADER}": reference.number,
                "absolute_codec_string": ",".join(config.codecs),
                "leg_timeout": str(round(MEDIA_S)),
                "media_timeout_audio": str(round(config.media_timeout_s * 1000)),
            }
            if early:  # the greeting decides how long it takes, and the call's own limits
                del values["leg_timeout"]
            target = f"sofia/{commands.name(config.profile)}/bot@{self.media_address}"
            text = commands.variables(values) + target
            bridge = self.run(channel.execute("bridge", text, lock=False), "freeswitch bridge")
            leg = await self._taken(channel, bridge, reference, early=early)
            reference.taken = True
            return leg, reference.arrival.result()

    async def _taken(
        self, channel: Channel, bridge: "asyncio.Future[Event]", reference: Reference, *, early: bool
    ) -> MediaLeg:
        try:
            async with asyncio.timeout(MEDIA_S):
                ends: set[asyncio.Future[Any]] = {bridge, reference.arrival}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not reference.arrival.done():
                    raise self._why(channel, bridge)
                call = reference.arrival.result()
                take = call.early() if early and isinstance(call, EarlyCall) else call.answer()
                answering = self.run(take, "freeswitch answer")
                try:
                    ends = {bridge, answering}
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done():
                        raise self._why(channel, bridge)
                finally:
                    answering.cancel()
                return _media_leg(answering.result())
        except TimeoutError:
            self.counters.failed_media += 1
            raise CallFailed(504, "FreeSWITCH did not call our SIP endpoint") from None

    def _why(self, channel: Channel, bridge: "asyncio.Future[Event]") -> CallFailed:
        """Why the bridge to us ended before it was one."""
        error = bridge.exception()
        if isinstance(error, ChannelGone):
            ended = channel.ended.result() if channel.ended.done() else Event({})
            return failure_of(channel.cause, sip_status_of(ended))
        self.counters.failed_media += 1
        if error is not None:
            return CallFailed(500, str(error))
        event = bridge.result()
        reason = event.get("variable_originate_disposition") or "no reason given"
        log.error("FreeSWITCH cannot reach our SIP endpoint", extra={"reason": reason})
        return CallFailed(500, f"FreeSWITCH cannot reach our SIP endpoint: {reason}")

    def run(self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Future[T]":
        """Do something beside: its result or its SipError. Cancelling the future stops it."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        result.add_done_callback(_retrieve)

        async def working() -> None:
            try:
                value = await work
                if not result.done():
                    result.set_result(value)
            except (SipError, TimeoutError) as error:
                if not result.done():
                    result.set_exception(error)
            finally:
                result.cancel()  # nothing, once it is done

        task = self.start(working(), name)
        result.add_done_callback(lambda _: task.cancel() if result.cancelled() else None)
        return result

    async def record(self, channel: Channel, info: CallInfo) -> None:
        """FreeSWITCH's own recording, where it is wanted. What fails is logged: ours goes on."""
        folder = self.config.record_folder
        if not folder:
            return
        values = "RECORD_STEREO=true;RECORD_MIN_SEC=0"
        path = f"{folder.rstrip('/')}/{info.call_id}.wav"
        try:
            await self._client.demand(f"api uuid_setvar_multi {channel.uuid} {values}")
            await self._client.demand(f"api uuid_record {channel.uuid} start {commands.word(path)}")
        except (EslError, LocalProtocolError) as error:
            log.warning("FreeSWITCH does not record", extra={"call_id": info.call_id, "error": str(error)})

    def adopt(self, channel: Channel) -> None:
        """A call's own socket was lost: hold on to it over the other connection."""
        self.counters.adopted += 1
        log.warning("event socket of a call lost", extra={"channel": channel.uuid})
        channel.sender = self._client
        self._client.router.channels[channel.uuid] = channel
        channel.ended.add_done_callback(lambda _: self._let_go(channel))
        if self._client.connected.is_set():
            self.start(self._check(channel), "freeswitch adopted call")

    def _let_go(self, channel: Channel) -> None:
        if self._client.router.channels.get(channel.uuid) is channel:
            del self._client.router.channels[channel.uuid]

    async def _check(self, channel: Channel) -> None:
        try:
            if not await self._client.exists(channel.uuid):
                channel.lost("LOST")
        except EslError:
            pass  # the connection is lost too: after the next one all channels are looked for


async def _nobody(leg: FreeswitchLeg, order: Transfer) -> None:
    raise AssertionError("no handover")


def _media_leg(leg: CallLeg) -> MediaLeg:
    return leg  # type: ignore[return-value]


def _retrieve(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()  # whoever does not wait any more does not want to know
