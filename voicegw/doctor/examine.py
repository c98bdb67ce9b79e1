"""All that is looked at, in order."""

from voicegw.config import Config
from voicegw.doctor.carriers import carriers
from voicegw.doctor.engines import engines
from voicegw.doctor.finding import Finding
from voicegw.doctor.machine import machine
from voicegw.doctor.server import server
from voicegw.doctor.switch import switch


async def examine(config: Config, *, ask: bool = True) -> list[Finding]:
    """What is found; never raises for what is wrong with the set-up. `ask`: engines too."""
    findings = list(machine(config))
    if ask:
        findings += [finding async for finding in engines(config)]
    findings += [finding async for finding in server(config)]
    findings += [finding async for finding in carriers(config)]
    if config.freeswitch.enabled:
        findings += [finding async for finding in switch(config.freeswitch, config.sip.port)]
    return findings
