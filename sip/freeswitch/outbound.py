"""A call that FreeSWITCH places for us.

originate (a job) ... ringing, early media ... answered -> socket application -> bridge to us -> leg
                   '- failed: a final state of its own for busy, no answer, rejected, unreachable, ...
"""

import asyncio
import logging
import re
import uuid

from media.leg import CallInfo, Direction
from media.tasks import task_scope
from sip.endpoint import CallProgress, OnProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError
from sip.esl import commands
from sip.esl.channel import Channel
from sip.esl.client import EslClient
from sip.esl.errors import CommandRefused, EslError, NotConnected
from sip.esl.server import EslSession
from sip.freeswitch import guard
from sip.freeswitch.calls import CALL_VARIABLE, CALLER_VARIABLES, FreeswitchCalls
from sip.freeswitch.causes import failure_of
from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.figures import sip_status_of
from sip.freeswitch.inbound import CARRIER
from sip.freeswitch.leg import FreeswitchLeg

log = logging.getLogger(__name__)

ANSWER_S = 5.0  # from the answer to the channel's socket; 30 ms as a rule
MARGIN_S = 5.0  # FreeSWITCH's own ring timer comes first
_ADDRESS = re.compile(r"(sips?):([A-Za-z0-9+*#._\-]{1,64})@([A-Za-z0-9.\-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?")
_PROGRESS = {
    "CHANNEL_PROGRESS": CallProgress.RINGING,
    "CHANNEL_PROGRESS_MEDIA": CallProgress.EARLY_MEDIA,
}


def dial_string(config: FreeswitchConfig, target: str, gateway: str = "") -> str:
    """Where FreeSWITCH calls a number, or a SIP address where no `gateway` is named. Raises
    LocalProtocolError for what is neither, or a number without a gateway."""
    match = _ADDRESS.fullmatch(target.strip())
    if match is not None and not gateway:
        where = f"{match[2]}@{match[3]}{match[4] or ''}"
        return f"sofia/{commands.name(config.external_profile)}/{where}"
    user = match[2] if match is not None else target.strip().removeprefix("tel:")
    gateway = gateway or config.gateway
    if not gateway:
        raise LocalProtocolError("no gateway: set freeswitch.gateway, or a trunk of the order")
    return f"sofia/gateway/{commands.name(gateway)}/{commands.number(user)}"


class Placing:
    """One attempt. Use `run` once."""

    def __init__(
        self,
        config: FreeswitchConfig,
        client: EslClient,
        calls: FreeswitchCalls,
        call: OutboundCall,
        on_progress: OnProgress | None,
    ) -> None:
        self._config, self._client, self._calls, self._call = config, client, calls, call
        self._on_progress = on_progress or (lambda progress: None)
        self._uuid = str(uuid.uuid4())
        self._over = False  # there is no channel, or none any more

    async def run(self) -> FreeswitchLeg:
        """The leg once the call is answered. Raises CallFailed; cancelling gives the call up."""
        answered: asyncio.Future[EslSession] = asyncio.get_running_loop().create_future()
        self._calls.placed[self._uuid] = answered
        done = False
        try:
            with self._client.channel(self._uuid) as channel:
                session = await self._answered(channel, answered)
            self._on_progress(CallProgress.ANSWERED)
            await self._mark(session)
            leg = await self._calls.connect(session.channel, self._info())
            leg.guard = guard.hang_up(guard.AGAIN_S)
            await self._calls.record(session.channel, leg.info)
            done = True
            return leg
        finally:
            del self._calls.placed[self._uuid]
            answered.cancel()
            if not (done or self._over):
                self._calls.start(self._give_up(), "freeswitch cancel")

    async def _answered(self, channel: Channel, answered: "asyncio.Future[EslSession]") -> EslSession:
        self._on_progress(CallProgress.TRYING)
        async with task_scope() as start:
            start(self._progress(channel), "freeswitch progress")
            outcome = await self._attempt(channel, answered)
        if isinstance(outcome, CallFailed):
            raise outcome
        return outcome

    async def _attempt(
        self, channel: Channel, answered: "asyncio.Future[EslSession]"
    ) -> EslSession | CallFailed:
        try:
            await self._originate()
            async with asyncio.timeout(ANSWER_S):
                return await answered
        except TimeoutError:
            return CallFailed(504, "answered, but FreeSWITCH did not bring us the call")
        except CommandRefused as error:
            self._over = True
            ended = channel.ended.result() if channel.ended.done() else None
            return failure_of(error.reason, sip_status_of(ended) if ended else 0)
        except (NotConnected, LocalProtocolError) as error:
            self._over = True
            return CallFailed(0, str(error))
        except EslError as error:
            return CallFailed(500, str(error))

    async def _originate(self) -> None:
        call = self._call
        where = dial_string(self._config, call.target, call.trunk)
        plan = guard.plan(self._calls.socket)
        text = f"{commands.variables(self._variables())}{where} '{plan}' inline"
        await self._client.job("originate", text, timeout_s=call.ring_timeout_s + MARGIN_S)

    def _variables(self) -> dict[str, str]:
        call = self._call
        caller = commands.safe(call.caller, 64)
        values = {
            "origination_uuid": self._uuid,
            "originate_timeout": str(max(1, round(call.ring_timeout_s))),
            "ignore_early_media": "true",
            "origination_caller_id_number": caller,
            "origination_caller_id_name": commands.safe(call.display_name, 64) or caller,
            **CALLER_VARIABLES,
            "continue_on_fail": "true",  # the plan goes on after a bridge that failed
            "voicegw_placed": "true",
            # We may be dead, or hang, when the called party answers.
            "execute_on_answer": guard.hang_up(guard.ASKED_S),
            guard.VARIABLE: guard.hang_up(guard.AGAIN_S),
        }
        for name, value in call.headers.items():
            values[f"sip_h_{commands.name(name)}"] = commands.safe(value)
        return values

    async def _mark(self, session: EslSession) -> None:
        """From now on the channel is one to go on with after a crash; before, one to hang up on."""
        if self._call.call_id:
            try:
                value = f"{CALL_VARIABLE} {commands.word(self._call.call_id)}"
                await session.link.demand(f"api uuid_setvar {self._uuid} {value}")
            except EslError:
                pass  # it has ended: the next command says why

    def _info(self) -> CallInfo:
        call = self._call
        user = call.target.removeprefix("sip:").partition("@")[0]
        return CallInfo(call.call_id, call.caller, user, CARRIER, self._uuid, Direction.OUTBOUND)

    async def _progress(self, channel: Channel) -> None:
        async for event in channel.events:
            progress = _PROGRESS.get(event.name)
            if progress is not None:
                self._on_progress(progress)

    async def _give_up(self) -> None:
        """End the channel, if there is one: also one that is only about to be made."""
        try:
            await self._client.api("uuid_kill", f"{self._uuid} ORIGINATOR_CANCEL")
        except CommandRefused:
            pass  # it has ended already, or will when its socket application asks us
        except EslError as error:
            log.warning("call could not be given up", extra={"error": str(error)})
