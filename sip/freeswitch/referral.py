"""A blind transfer by the carrier itself: REFER to the caller's side, and what its answers tell.

RFC 3515. FreeSWITCH shows the answers as variables of the channel, so they are looked for.
"""

import asyncio
import logging

from media.errors import TransferError
from sip.esl import commands
from sip.esl.client import EslClient
from sip.esl.errors import CommandRefused, EslError
from sip.freeswitch.leg import FreeswitchLeg

log = logging.getLogger(__name__)

REFER_S = 30.0
REFER_LOOK_S = 0.2
REFERRED, TARGET = "sip_refer_status_code", "sip_refer_target_status_code"  # set by the answers to REFER


class _NoReferral(Exception):
    """The carrier does no transfers."""


async def refer(client: EslClient, leg: FreeswitchLeg, target: str) -> bool:
    """Ask the carrier to connect the caller itself. False: it refers nobody; bridge instead. Raises
    TransferError when it tried and nobody answered."""
    address = target if target.lower().startswith(("sip:", "sips:", "tel:")) else f"sip:{target}"
    caller = leg.channel.uuid
    # Else FreeSWITCH hangs up the caller whatever the answer is.
    values = f"sip_refer_continue_after_reply=true;{REFERRED}=;{TARGET}="
    await client.demand(f"api uuid_setvar_multi {caller} {values}")
    try:
        with leg.handing_over():
            await client.demand(f"api uuid_deflect {caller} {commands.word(address)}")
            await _referred(client, leg)
    except (EslError, _NoReferral) as error:
        log.info("the carrier refers nobody, bridging", extra={"error": str(error)})
        return False
    await leg.channel.hangup("BLIND_TRANSFER")
    return True


async def _referred(client: EslClient, leg: FreeswitchLeg) -> None:
    """Returns when the caller is with the target."""
    deadline = asyncio.get_running_loop().time() + REFER_S
    while leg.channel.is_up:  # a carrier that connects him mostly hangs up our side
        answer, target = await _status(client, leg, REFERRED), await _status(client, leg, TARGET)
        if answer >= 300:
            raise _NoReferral(f"{answer}")
        if target >= 300:
            raise TransferError(f"the target did not answer: {target}")
        if target >= 200:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TransferError(f"no result within {REFER_S:g} s")
        await asyncio.sleep(REFER_LOOK_S)


async def _status(client: EslClient, leg: FreeswitchLeg, variable: str) -> int:
    try:
        text = await client.api("uuid_getvar", f"{leg.channel.uuid} {variable}")
    except CommandRefused:
        return 0  # the channel has just ended, which will be told
    return int(text) if text.isdigit() else 0
