"""All that is looked at, in order."""

from voicegw.config import Config
from voicegw.doctor.carriers import carriers
from voicegw.doctor.finding import Finding
from voicegw.doctor.machine import machine
from voicegw.doctor.server import server
from voicegw.doctor.switch import switch


async def examine(config: Config) -> list[Finding]:
    """What is found; never raises for what is wrong with the set-up."""
    findings = list(machine(config))
    findings += [finding async for finding in server(config)]
    findings += [finding async for finding in carriers(config)]
    if config.freeswitch.enabled:
        findings += [finding async for finding in switch(config.freeswitch, config.sip.port)]
    return findings
