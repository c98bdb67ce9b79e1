"""`voicegw chat`: talk to a flow in text, without phone, microphone or server."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from voicegw.config import Config
    from voicegw.flows import Conversation

EPILOG = """Type what a caller would say; digits, * and # are keys, an empty line is silence.

Examples:

voicegw chat

printf 'book an appointment\\nthe dentist\\n' | voicegw chat --flow clinic"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("chat", epilog=EPILOG)(chat)


def chat(
    flow: str = typer.Option("", "--flow", metavar="NAME", help="Which flow; without it, the first."),
    config: Path | None = typer.Option(
        None, "--config", "-c", metavar="FILE", help="Configuration; without it, VOICEGW_CONFIG or defaults."
    ),
) -> None:
    """Hold a conversation with a flow in text."""
    from voicegw.config import load_settings
    from voicegw.flows import load_flows

    settings, places = load_settings(config)
    flows = load_flows(settings, places)
    name = flow or next(iter(flows))
    if name not in flows:
        raise typer.BadParameter(f"there is no flow {name!r}; known: {', '.join(flows)}", param_hint="--flow")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    asyncio.run(_converse(flows[name], settings))


async def _converse(flow: "Conversation", settings: "Config") -> None:
    from dialog.flow import chat as text
    from voicegw.engines import agent_parts
    from voicegw.flows import new_dialog

    parts = agent_parts(settings)
    try:
        engine = new_dialog(flow, settings, agents=parts)
        async with aclosing(text.chat(engine, _lines())) as said:
            async for line in said:
                print(line if line.startswith("(") else f"bot: {line}", flush=True)
    finally:
        if parts is not None:
            await parts.model.close()
            await parts.tools.close()


def _lines() -> Iterator[str]:
    """What is typed; a prompt only where somebody sees it."""
    prompt = sys.stdin.isatty()
    while True:
        if prompt:
            print("you: ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line
