"""`voicegw drain`: have the running server take no more calls, for deployments one server at a time."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import typer

EPILOG = """Examples:

voicegw drain --wait && systemctl restart voicegw

voicegw drain --resume

The server gives 503 to new calls, to OPTIONS and at /health/ready, so that proxies go elsewhere; calls
in progress go on, and the process stays. With --wait this command ends when the last call has.

Exit codes: 0 drained (or resumed), 1 there is no server, 3 calls were still in progress after --timeout."""

STILL_CALLS = 3
LOOK_S = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drain", epilog=EPILOG)(drain)


def drain(
    wait: bool = typer.Option(False, "--wait", "-w", help="Until no call is in progress."),
    timeout: float = typer.Option(600.0, "--timeout", metavar="S", min=0, help="How long to wait at most."),
    resume: bool = typer.Option(False, "--resume", help="Take calls again."),
    url: str = typer.Option("", "--url", help="The server, if not that of the configuration."),
    config: Path | None = typer.Option(None, "--config", "-c", metavar="FILE", help="As `voicegw run`."),
) -> None:
    """Take no more calls; those in progress go on."""
    from voicegw.config import load_settings
    from voicegw.ownurl import own_url

    http = load_settings(config)[0].http
    base = url.rstrip("/") or own_url(http.host, http.port)
    raise typer.Exit(asyncio.run(_drain(base, http.token, resume=resume, wait_s=timeout if wait else 0)))


async def _drain(base: str, token: str, *, resume: bool, wait_s: float) -> int:
    import aiohttp

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            method = session.delete if resume else session.post
            async with method(f"{base}/api/drain") as response:
                if response.status != 200:
                    print(f"refused: {(await response.text()).strip()}", file=sys.stderr)
                    return 1
                report: dict[str, Any] = await response.json()
            calls = int(report["calls"])
            print("calls are taken again" if resume else f"draining: {calls} calls in progress", flush=True)
            for _ in range(round(wait_s / LOOK_S)):
                if not calls:
                    break
                await asyncio.sleep(LOOK_S)
                async with session.get(f"{base}/health/live") as response:
                    calls = int((await response.json())["calls"])
    except (aiohttp.ClientError, OSError) as error:
        print(f"no server at {base}: {error}", file=sys.stderr)
        return 1
    return STILL_CALLS if wait_s and calls else 0
