"""A call that FreeSWITCH's dialplan has brought us, ringing."""

import secrets
from collections.abc import Mapping

from media.leg import CallInfo, Direction
from sip.errors import LocalProtocolError
from sip.esl.errors import ChannelGone, EslError
from sip.esl.messages import Event
from sip.esl.server import EslSession
from sip.freeswitch import guard
from sip.freeswitch.calls import CALL_VARIABLE, CALLER_VARIABLES, FreeswitchCalls
from sip.freeswitch.causes import refusal_of
from sip.freeswitch.leg import FreeswitchLeg

CARRIER = "freeswitch"
FLOW_VARIABLE = "variable_flow_"  # `set flow_customer=42` in the dialplan -> variable `customer` of the flow
SIP_HEADER = "variable_sip_h_"
RESUMES = "x-voicegw-resumes"  # a call whose server crashed: the id under which its dialog was kept
DIALPLAN = frozenset({500, 503})  # refusals after which FreeSWITCH's dialplan shall go on


class SocketCall:
    """Implements `sip.endpoint.IncomingCall`."""

    def __init__(self, calls: FreeswitchCalls, session: EslSession) -> None:
        self._calls, self._session, self._channel = calls, session, session.channel
        self.info = call_info(session.data)
        self.leg: FreeswitchLeg | None = None

    def ring(self) -> None:
        """The caller hears that it rings."""
        if not self._channel.answered:
            self._calls.start(self._ring(), "freeswitch ring")

    async def _ring(self) -> None:
        try:
            await self._channel.start("ring_ready")
        except EslError:
            pass  # the call is over: whoever answers it is told

    async def early(self) -> FreeswitchLeg:
        """Let the caller hear us before the answer. Raises CallFailed."""
        return await self._connected(early=True)

    async def answer(self) -> FreeswitchLeg:
        """Connect the caller's audio with us, which answers the call. Raises CallFailed."""
        leg = self.leg
        if leg is None:
            leg = await self._connected(early=False)
        elif leg.sip_call is not None:
            await leg.sip_call.answer()  # heard before: now for good
        await self._calls.record(self._channel, self.info)
        return leg

    async def _connected(self, *, early: bool) -> FreeswitchLeg:
        channel, link = self._channel, self._session.link
        order = guard.go_on(self._session.data)
        values = {CALL_VARIABLE: self.info.call_id, **CALLER_VARIABLES, guard.VARIABLE: order}
        try:
            if not channel.is_up:
                raise ChannelGone(channel.cause)  # whoever has it now marks it as his
            pairs = ";".join(f"{name}={value}" for name, value in values.items())
            await link.demand(f"api uuid_setvar_multi {channel.uuid} {pairs}")
        except EslError:
            pass  # the call is over: the next command says why
        self.leg = await self._calls.connect(channel, self.info, early=early)
        self.leg.guard = order
        return self.leg

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        """Refuse the call. Where we have no room or have failed, FreeSWITCH's dialplan goes on instead."""
        if self.leg is None and status not in DIALPLAN:
            self._calls.start(self._hangup(refusal_of(status)), "freeswitch reject")

    async def _hangup(self, cause: str) -> None:
        try:
            await self._channel.hangup(cause)
        except (EslError, LocalProtocolError):
            pass  # it has ended by itself


def call_info(data: Event) -> CallInfo:
    """Who calls whom, with the SIP headers and dialplan variables that came along."""
    headers: dict[str, str] = {}
    variables: dict[str, str] = {}
    for name in data.headers:
        if name.startswith(SIP_HEADER) and not name.lower().startswith(f"{SIP_HEADER}x-voicegw-"):
            headers[name.removeprefix(SIP_HEADER).lower()] = data.get(name)
        elif name.startswith(FLOW_VARIABLE):
            variables[name.removeprefix(FLOW_VARIABLE)] = data.get(name)
    headers |= _known(data)
    return CallInfo(
        call_id=secrets.token_hex(8),
        caller=data.get("Caller-Caller-ID-Number") or "anonymous",
        callee=data.get("variable_bot_number") or data.get("Caller-Destination-Number"),
        carrier=CARRIER,
        carrier_id=data.channel,
        direction=Direction.OUTBOUND if data.get("variable_voicegw_placed") else Direction.INBOUND,
        headers=headers,
        passed=variables,
    )


def _known(data: Event) -> Mapping[str, str]:
    found = {
        "x-freeswitch-gateway": data.get("variable_sip_gateway_name"),
        "x-freeswitch-context": data.get("Caller-Context"),
        "x-freeswitch-sip-call-id": data.get("variable_sip_call_id"),
        RESUMES: data.get(f"variable_{CALL_VARIABLE}"),
    }
    return {name: value for name, value in found.items() if value}
