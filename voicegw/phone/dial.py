"""One call of the test phone, from dialling to hang-up, over any `SipEndpoint`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sip.endpoint import CallProgress, OutboundCall, SipEndpoint
from voicegw.phone.report import CallRecord
from voicegw.phone.script import Play, Say, Script
from voicegw.phone.session import Happening, PhoneSession
from voicegw.phone.sound import Samples, Sound, find_voice, read_sound


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is over."""

    record: CallRecord
    said: Samples
    heard: Samples
    rate: int  # Hz of both


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told while the call runs. `on_session` gets it at the answer, to read its audio."""

    on_progress: Callable[[CallProgress], None] = lambda progress: None
    on_session: Callable[[PhoneSession], None] = lambda session: None
    on_happening: Callable[[Happening], None] = lambda happening: None


async def prepare(script: Script) -> dict[int, Sound]:
    """The sounds of the steps that speak, by their number, made before the call. Raises VoicegwError."""
    speak = find_voice(script.voice) if any(isinstance(step, Say) for step in script.steps) else None
    sounds: dict[int, Sound] = {}
    for number, step in enumerate(script.steps):
        if isinstance(step, Say) and speak is not None:
            sounds[number] = await speak(step.text)
        elif isinstance(step, Play):
            sounds[number] = read_sound(step.file)
    return sounds


async def dial(
    endpoint: SipEndpoint,
    call: OutboundCall,
    script: Script,
    sounds: Mapping[int, Sound],
    limit_s: float,
    listener: Listener = Listener(),
) -> Call:
    """Place the call and live through the script; a call longer than `limit_s` is ended.

    Raises CallFailed when nobody answers. Cancelling hangs up.
    """
    leg = await endpoint.place(call, listener.on_progress)
    session = PhoneSession(leg, listener.on_happening)
    listener.on_session(session)
    rate = leg.format.rate
    try:
        async with asyncio.timeout(limit_s):
            await session.perform(script, {number: sound.at(rate) for number, sound in sounds.items()})
    except TimeoutError:
        session.record.problems.append(f"the call was not over after {limit_s:g} s")
        await session.hang_up("timeout")
    finally:
        await session.hang_up("caller")
    said, heard = session.stereo()
    return Call(session.record, said, heard, rate)
