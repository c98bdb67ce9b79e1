"""One call of the test phone, from dialling to hang-up, over any `SipEndpoint`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from media.leg import CallLeg
from sip.endpoint import CallProgress, OutboundCall, SipEndpoint
from sip.errors import CallFailed
from sip.ua.grammar import SipUri
from voicegw.phone.noise import Background
from voicegw.phone.report import CallRecord
from voicegw.phone.script import Play, Say, Script
from voicegw.phone.session import Asks, Happening, PhoneSession, Sounds
from voicegw.phone.sound import Samples, Sound, Speak, find_voice, read_sound


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is over."""

    record: CallRecord
    said: Samples
    heard: Samples
    rate: int  # Hz of both
    sip_call_id: str  # "" where the stack does not tell


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told while the call runs. `on_session` gets it at the answer, to read its audio."""

    on_progress: Callable[[CallProgress], None] = lambda progress: None
    on_session: Callable[[PhoneSession], None] = lambda session: None
    on_happening: Callable[[Happening], None] = lambda happening: None
    asks: Asks | None = None  # for scripts with an Answer


@dataclass(frozen=True, slots=True)
class Terms:
    """How a call is placed."""

    limit_s: float  # a longer call is ended
    seed: int = 0  # of the noise


async def prepare(script: Script, made: dict[tuple[str, str], Sound] | None = None) -> Sounds:
    """All sounds of the script, made before the call. `made` keeps those of voice and text for further
    calls. Raises VoicegwError."""
    made = {} if made is None else made
    voices: dict[str, Speak] = {}
    sounds: dict[Say | Play, Sound] = {}
    for step in script.sounding():
        if isinstance(step, Say):
            key = step.voice or script.voice, step.text
            if key not in made:
                speak = voices.setdefault(key[0], find_voice(key[0]))
                made[key] = await speak(step.text)
            sounds[step] = made[key]
        else:
            sounds[step] = read_sound(step.file)
    return sounds


def wanted(target: str, script: Script, caller: str, ring_s: float) -> OutboundCall:
    """The call that the script places: its own caller and callee win over `caller` and the target's."""
    if script.callee:
        uri = SipUri.parse(target)
        target = str(replace(uri, user=script.callee))
    return OutboundCall(target, script.caller or caller, headers=script.headers, ring_timeout_s=ring_s)


async def dial(
    endpoint: SipEndpoint,
    call: OutboundCall,
    script: Script,
    sounds: Sounds,
    terms: Terms,
    listener: Listener = Listener(),
) -> Call:
    """Place the call and live through the script.

    Raises CallFailed when nobody answers, and when the script gives up while it rings (487). Cancelling
    hangs up.
    """
    leg = await _answered(endpoint, call, script, listener)
    noise, rate = script.line.noise, leg.format.rate
    # In a thread: other calls of this loop must not wait for the arithmetic.
    background = None if noise is None else await asyncio.to_thread(Background, noise, rate, terms.seed)
    session = PhoneSession(leg, listener.on_happening, background, listener.asks)
    listener.on_session(session)
    try:
        async with asyncio.timeout(terms.limit_s):
            await session.perform(script, {step: sound.at(rate) for step, sound in sounds.items()})
    except TimeoutError:
        session.record.problems.append(f"the call was not over after {terms.limit_s:g} s")
        await session.hang_up("timeout")
    finally:
        await session.hang_up("caller")
    said, heard = session.stereo()
    return Call(session.record, said, heard, rate, leg.info.carrier_id)


async def _answered(endpoint: SipEndpoint, call: OutboundCall, script: Script, listener: Listener) -> CallLeg:
    patience = script.give_up_after_ms
    try:
        async with asyncio.timeout(None if patience is None else patience / 1000):
            return await endpoint.place(call, listener.on_progress)
    except TimeoutError:
        raise CallFailed(487, f"we gave up after {patience} ms") from None
