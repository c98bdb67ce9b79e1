"""A server that runs with this configuration, asked for its health."""

import json
from collections.abc import AsyncIterator

import aiohttp

from voicegw.config import Config
from voicegw.doctor.finding import Finding, bad, good, warning
from voicegw.ownurl import own_url


async def server(config: Config) -> AsyncIterator[Finding]:
    """What it says of itself."""
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
    checks = health.get("checks", {})
    faults = {name: text for name, text in checks.items() if text not in (None, "", "ok")}
    for name, text in faults.items():
        yield bad(f"server, {name}: {text}", "see its log")
    if not faults:
        yield good(f"server: {health.get('status')}, {health.get('calls')} calls")
