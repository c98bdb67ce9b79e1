"""Carriers: whether what is set up can work, and whether the address that they are given leads here."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp

from voicegw.carriers import configured
from voicegw.config import Config
from voicegw.doctor.finding import Finding, bad, good, warning
from voicegw.errors import StartError

PROBE_S = 5.0


async def carriers(config: Config) -> AsyncIterator[Finding]:
    """Nothing where no carrier is set up."""
    try:
        found = list(configured(config))
    except StartError as error:
        yield bad(str(error), "see carriers in the configuration, and docs/carriers.md")
        return
    if not found:
        return
    yield good(f"carriers: {', '.join(carrier.name for carrier in found)}")
    if not any(carrier.distant for carrier in found):
        return
    url = config.http.public_url.rstrip("/")
    if not url:
        advice = "set http.public_url to the https address under which carriers reach this server"
        yield bad("carriers: http.public_url is empty", advice)
        return
    if urlsplit(url).scheme != "https":
        advice = "carriers connect by https and wss only: put a proxy with a certificate in front"
        yield warning(f"carriers: {url} is not https", advice)
    yield await _leads_here(url)


async def _leads_here(url: str) -> Finding:
    what = f"carriers: {url}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_S)) as client,
            client.get(f"{url}/health/live", allow_redirects=False) as answer,
        ):
            report = await answer.json() if answer.status in {200, 503} else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        advice = "if the server runs: see the proxy, its certificate and the firewall"
        return warning(f"{what} cannot be reached from here ({type(error).__name__})", advice)
    if not isinstance(report, dict) or "version" not in report:
        return bad(
            f"{what} is answered by something else", "see where the proxy sends it, and http.public_url"
        )
    return good(f"{what} leads here")
