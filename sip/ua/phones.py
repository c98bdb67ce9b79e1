"""Calls an account: all its registered phones ring, the first to answer gets the call."""

import asyncio
from collections.abc import Sequence

from media.leg import HangupCause
from media.tasks import task_scope
from sip.endpoint import OnProgress, OutboundCall
from sip.errors import CallFailed
from sip.rtpleg import RtpLeg
from sip.ua.bindings import Binding
from sip.ua.outgoing import OutgoingInvite
from sip.ua.stack import Stack


async def ring(
    stack: Stack, call: OutboundCall, call_id: str, on_progress: OnProgress | None, phones: Sequence[Binding]
) -> RtpLeg:
    """The leg of whoever answers first; the others stop ringing. Raises CallFailed when nobody does."""
    if not phones:
        raise CallFailed(480, "no phone is registered", HangupCause.UNREACHABLE)
    if len(phones) == 1:
        return await OutgoingInvite(stack, call, call_id, on_progress, binding=phones[0]).run()
    results: asyncio.Queue[RtpLeg | CallFailed] = asyncio.Queue()

    async def one(binding: Binding) -> None:
        try:
            results.put_nowait(await OutgoingInvite(stack, call, call_id, on_progress, binding=binding).run())
        except CallFailed as e:
            results.put_nowait(e)

    result: RtpLeg | CallFailed | None = None
    try:
        async with task_scope() as start:
            for number, binding in enumerate(phones):
                start(one(binding), f"sip phone {number} of {call_id}")
            result = await _first(results, len(phones))
    except asyncio.CancelledError:  # while the others stopped ringing: nobody wants the call any more
        if isinstance(result, RtpLeg):
            await result.hangup(HangupCause.CANCELLED)
        raise
    finally:
        while not results.empty():  # picked up in the same moment
            late = results.get_nowait()
            if isinstance(late, RtpLeg):
                await late.hangup(HangupCause.NORMAL)
    if isinstance(result, CallFailed):  # not in the scope above, which would wrap it
        raise result
    return result


async def _first(results: "asyncio.Queue[RtpLeg | CallFailed]", count: int) -> RtpLeg | CallFailed:
    """Who answers first. Of failures the one that says most: somebody who has rejected the call for good,
    then anything but silence."""
    failures: list[CallFailed] = []
    for _ in range(count):
        result = await results.get()
        if isinstance(result, RtpLeg):
            return result
        failures.append(result)
        if result.status >= 600:
            break
    return max(failures, key=lambda e: (e.status >= 600, e.status not in (0, 408, 480), e.status))
