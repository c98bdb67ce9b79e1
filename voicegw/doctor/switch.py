"""FreeSWITCH, asked over its event socket."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from ipaddress import ip_address

from media.tasks import task_scope
from sip.errors import SipError
from sip.esl.client import EslClient
from sip.esl.counters import EslCounters
from sip.esl.errors import EslError, LinkLost
from sip.freeswitch import FreeswitchConfig
from voicegw import clock
from voicegw.doctor.finding import Finding, bad, good, warning

CONNECT_S = 5.0
SKEW_S = 2.0
MODULES = ("mod_sofia", "mod_event_socket", "mod_dptools", "mod_commands", "mod_dialplan_xml")
WANTED = {
    "mod_hash": "limits in the dialplan",
    "mod_local_stream": "music on hold",
    "mod_tone_stream": "tones",
    "mod_sndfile": "sound files",
    "mod_conference": "conferences",
}
ODD = "look into FreeSWITCH's log; is it a FreeSWITCH, 1.10 or newer, that answers there?"
DEFAULT_PASSWORDS = ("ClueCon", "CHANGE-ME", "")


async def switch(config: FreeswitchConfig, sip_port: int) -> AsyncIterator[Finding]:
    """All about it. `sip_port`: of our SIP endpoint."""
    if config.esl.password in DEFAULT_PASSWORDS:
        advice = "openssl rand -hex 24, in vars.xml and freeswitch.esl.password"
        yield warning("event socket: the password is the one that everybody knows", advice)
    if not _is_loopback(config.socket_host):
        advice = "freeswitch.socket_host: 127.0.0.1, or a firewall that lets nobody but FreeSWITCH in"
        yield warning(
            f"our port for calls is open on {config.socket_host}: whoever reaches it brings us calls", advice
        )
    client = EslClient(config.esl, EslCounters())
    async with task_scope() as start:
        start(client.run(), "doctor")
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connected.wait()
        except TimeoutError:
            where = f"{config.esl.host}:{config.esl.port}"
            advice = "is FreeSWITCH running? event_socket.conf.xml: listen-ip, password, apply-inbound-acl"
            yield bad(f"event socket {where}: {client.fault}", advice)
            return
        try:
            async for finding in _asked(config, client):
                yield finding
        except EslError as error:
            yield bad(f"event socket: {error}", "look into FreeSWITCH's log")
    yield await _listening("our SIP endpoint", config.media_address or f"127.0.0.1:{sip_port}")
    yield await _listening("our port for calls", f"{config.socket_host}:{config.socket_port}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _asked(config: FreeswitchConfig, client: EslClient) -> AsyncIterator[Finding]:
    """Question by question: an answer that nobody can read costs its own finding only. Raises LinkLost."""
    profiles = (config.profile, config.external_profile)
    questions: dict[str, Callable[[], Awaitable[Finding | None]]] = {
        "version": partial(_version, client),
        "clock": partial(_clock, client),
        **{f"module {name}": partial(_module, client, name, "") for name in MODULES},
        **{f"module {name}": partial(_module, client, name, use) for name, use in WANTED.items()},
        "codecs": partial(_codecs, client),
        **{f"profile {name}": partial(_profile, client, name) for name in profiles},
    }
    if config.gateway:
        questions[f"gateway {config.gateway}"] = partial(_gateway, client, config.gateway)
    for what, question in questions.items():
        try:
            finding = await question()
        except LinkLost:
            raise
        except (SipError, _UnreadableError) as error:  # also for a name that no command can hold
            finding = bad(f"{what}: {error}", ODD)
        if finding is not None:
            yield finding


class _UnreadableError(Exception):
    """FreeSWITCH's answer is none that we know."""

    def __init__(self, text: str) -> None:
        super().__init__(f"FreeSWITCH answers {text.strip()[:60]!r}")


async def _version(client: EslClient) -> Finding:
    lines = (await client.api("version")).split("\n")
    if not lines[0].startswith("FreeSWITCH"):
        raise _UnreadableError(lines[0])
    return good(f"event socket: connected; {lines[0].strip()}")


async def _clock(client: EslClient) -> Finding:
    text = await client.api("strepoch")
    if re.fullmatch(r"\s*\d{1,12}\s*", text, re.ASCII) is None:
        raise _UnreadableError(text)
    skew = int(text) - clock.utc().timestamp()
    if abs(skew) > SKEW_S:
        return warning(f"clock: FreeSWITCH is {skew:+.0f} s off ours", "run NTP on both machines")
    return good("clock: the same as FreeSWITCH's")


async def _module(client: EslClient, name: str, use: str) -> Finding | None:
    """`use`: what is missed without it; "" where nothing works without."""
    text = (await client.api("module_exists", name)).strip()
    if text == "true":
        return None
    if text != "false":
        raise _UnreadableError(text)
    if use:
        return warning(f"module {name} is not loaded: no {use}", "modules.conf.xml")
    return bad(f"module {name} is not loaded", f"fs_cli -x 'load {name}', modules.conf.xml")


async def _codecs(client: EslClient) -> Finding:
    text = await client.api("show", "codec")
    if "codec," not in text:
        raise _UnreadableError(text)
    missing = [name for name in ("ulaw", "alaw") if name not in text.lower()]
    if missing:
        return bad(f"codecs: no {', '.join(missing)}", "they are part of FreeSWITCH's core: reinstall it")
    return good("codecs: PCMU and PCMA")


async def _profile(client: EslClient, name: str) -> Finding:
    text = await client.api("sofia", f"status profile {name}")
    if "Invalid Profile" in text:
        return bad(f"profile {name} is not up", f"fs_cli -x 'sofia profile {name} start'; is its port taken?")
    found = re.search(r"^URL\s+(\S+)", text, re.MULTILINE)
    if found is None:
        raise _UnreadableError(text)
    return good(f"profile {name}: {found[1]}")


async def _gateway(client: EslClient, name: str) -> Finding:
    text = await client.api("sofia", f"status gateway {name}")
    if "Invalid Gateway" in text:
        return bad(f"gateway {name} does not exist", "sip_profiles/external.xml; freeswitch.gateway names it")
    state = re.search(r"^State\s+(\S+)", text, re.MULTILINE)
    status = re.search(r"^Status\s+(\S+)", text, re.MULTILINE)
    if state is None:
        raise _UnreadableError(text)
    what = f"gateway {name}: {state[1]}" + (f", {status[1]}" if status else "")
    if state[1] not in ("REGED", "NOREG"):
        return bad(what, f"user, password, proxy; fs_cli -x 'sofia status gateway {name}', siptrace")
    if status is not None and status[1] == "DOWN":
        return bad(what, "it answers no OPTIONS: address, firewall; or set ping to 0 where it never does")
    return good(what)


async def _listening(what: str, address: str) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.close()
    except (OSError, TimeoutError, ValueError, OverflowError):
        return bad(f"{what}, {address}: nobody answers", "start voicegw with this configuration")
    return good(f"{what}: {address}")
