"""`voicegw run`: the server."""

from pathlib import Path

import typer

EPILOG = """Examples:

voicegw run

VOICEGW_SIP__PORT=5070 voicegw run config/voicegw.yaml

Stops at SIGTERM or Ctrl-C once the calls in progress are over (drain.limit_s); at once when asked twice."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=EPILOG)(run)


def run(
    file: Path | None = typer.Argument(None, metavar="[FILE]", help="Configuration: same as --config."),
    config: Path | None = typer.Option(
        None, "--config", "-c", metavar="FILE", help="Configuration; without it, VOICEGW_CONFIG or defaults."
    ),
) -> None:
    """Start the server and answer calls until it is told to stop.

    Prints one line on stdout when it can be called: voicegw ready: sip:bot@HOST:PORT http://HOST:PORT/
    """
    from voicegw.config import load_settings
    from voicegw.flows import load_flows
    from voicegw.serve import serve

    if file is not None and config is not None:
        raise typer.BadParameter("give the configuration once, as FILE or by --config")
    settings, places = load_settings(file or config)
    raise typer.Exit(serve(settings, load_flows(settings, places)))
