"""`voicegw dial`: have the running server call somebody, and follow the call."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import aiohttp

EPILOG = """Examples:

voicegw dial +49301234567 --flow reminder --var name=Ada --var day=Monday

voicegw dial sip:anna@192.0.2.7 --flow demo --caller 4930999 --retries 2 --wait

Where a number leads to is said by outbound.routes. The call is placed by the server that runs with this
configuration; with --wait this command ends when the call has: 0 if it was answered, 3 if not."""

NOT_ANSWERED = 3
POLL_S = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dial", epilog=EPILOG)(dial)


def dial(
    target: str = typer.Argument(metavar="TARGET", help="A number, or a SIP address."),
    flow: str = typer.Option("", "--flow", help="The flow that talks; else by the routing table."),
    var: list[str] = typer.Option([], "--var", metavar="NAME=VALUE", help="Sets a variable of the flow."),
    header: list[str] = typer.Option([], "--header", metavar="X-NAME=VALUE", help="A SIP header."),
    caller: str = typer.Option("", "--caller", help="Caller id."),
    name: str = typer.Option("", "--name", help="Display name."),
    ring: float = typer.Option(0.0, "--ring", metavar="SECONDS", help="How long it may ring."),
    retries: int = typer.Option(0, "--retries", min=0, max=19, help="Further attempts if not answered."),
    callback: str = typer.Option("", "--callback", metavar="URL", help="Gets a POST for each change."),
    wait: bool = typer.Option(False, "--wait", "-w", help="Follow the call until it is over."),
    url: str = typer.Option("", "--url", help="The server, if not that of the configuration."),
    config: Path | None = typer.Option(None, "--config", "-c", metavar="FILE", help="As `voicegw run`."),
) -> None:
    """Call somebody, and let a flow talk."""
    import asyncio

    from voicegw.config import load_settings
    from voicegw.ownurl import own_url

    settings, _ = load_settings(config)
    body: dict[str, Any] = {
        "to": target,
        "flow": flow,
        "variables": _pairs("--var", var),
        "headers": _pairs("--header", header),
        "caller": caller,
        "display_name": name,
        "ring_timeout_s": ring,
        "callback": callback,
    }
    if retries:
        body["retry"] = {"attempts": retries + 1}
    base = url.rstrip("/") or own_url(settings.http.host, settings.http.port)
    raise typer.Exit(asyncio.run(_dial(base, settings.http.token, body, wait=wait)))


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} {text!r}: write NAME=VALUE")
        pairs[name] = value
    return pairs


async def _dial(base: str, token: str, body: dict[str, Any], *, wait: bool) -> int:
    import asyncio

    import aiohttp

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            async with session.post(f"{base}/api/calls", json=body) as response:
                if response.status != 202:
                    print(f"refused: {await _reason(response)}", file=sys.stderr)
                    return 1
                call = await response.json()
            print(call["id"], flush=True)
            if not wait:
                return 0
            state = ""
            while call["state"] != "ended":
                await asyncio.sleep(POLL_S)
                async with session.get(f"{base}/api/calls/{call['id']}") as response:
                    call = (await response.json())["outbound"]
                if call["state"] != state:
                    state = call["state"]
                    print(state, file=sys.stderr, flush=True)
    except (aiohttp.ClientError, OSError) as error:
        print(f"no server at {base}: {error}", file=sys.stderr)
        return 1
    print(call["cause"], file=sys.stderr)
    return 0 if call["answered"] else NOT_ANSWERED


async def _reason(response: "aiohttp.ClientResponse") -> str:
    text = await response.text()
    if response.content_type == "application/json":
        return str((await response.json()).get("error", text))
    return text.strip()
