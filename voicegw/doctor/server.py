"""A server that runs with this configuration, asked for its health."""

import json
from collections.abc import AsyncIterator

import aiohttp

from voicegw.config import Config
from voicegw.doctor.finding import Finding, bad, good, warning
from voicegw.ownurl import own_url

TOKEN_CHARACTERS = 16  # 64 bits even in hex: 10 000 guesses a second find it in millions of years


async def server(config: Config) -> AsyncIterator[Finding]:
    """What it says of itself, and whether its secret is one."""
    if 0 < len(config.http.token) < TOKEN_CHARACTERS:
        what = f"server: http.token has {len(config.http.token)} characters, and guesses are not slowed down"
        yield warning(what, "make it long and random: openssl rand -hex 24")
    where = f"{own_url(config.http.host, config.http.port)}/health"
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(where) as response:
            health = json.loads(await response.text())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        yield warning(
            f"server: {where} does not answer ({type(error).__name__})", "voicegw run, or systemctl"
        )
        return
    if not isinstance(health, dict) or "checks" not in health:
        yield bad(f"server: {where} is answered by another program", "end it, or change http.port")
        return
    faults = {name: text for name, text in health["checks"].items() if text != "ok"}
    for name, text in faults.items():
        yield bad(f"server, {name}: {text}", "see its log")
    if not faults:
        yield good(f"server: {health.get('status')}, {health.get('calls')} calls")
