"""`voicegw doctor`: is everything there that calls need, and what is to be done?"""

import json
from pathlib import Path

import typer

EPILOG = """Examples:

  voicegw doctor

  voicegw doctor -c /etc/voicegw/voicegw.yaml

Looks at disk, open files, clock, RTP ports, engines, the running server and, where freeswitch.enabled is set,
at FreeSWITCH: event socket, modules, profiles, gateway, codecs, clock. Changes nothing. Exit code 1 if calls
will fail.

Engines are loaded and asked, one after the other: a voice says two words, which the recognisers hear. That
takes the memory of one of them, and a hosted one costs what two words cost; --no-engines leaves them out."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=EPILOG)(doctor)


def doctor(
    config: Path | None = typer.Option(None, "-c", "--config", metavar="FILE", help="As `voicegw run`."),
    engines: bool = typer.Option(True, help="Load the engines and ask each of them."),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> None:
    """Look at a set-up and say what to do."""
    import asyncio

    from voicegw.config import load_config
    from voicegw.doctor.examine import examine
    from voicegw.doctor.finding import Level

    findings = asyncio.run(examine(load_config(config), ask=engines))
    if as_json:
        keys = ("level", "what", "advice")
        print(json.dumps([{key: getattr(finding, key) for key in keys} for finding in findings]))
    else:
        for finding in findings:
            print(f"{finding.level:8} {finding.what}")
            if finding.advice:
                print(f"{'':8} -> {finding.advice}")
    if any(finding.level is Level.BAD for finding in findings):
        raise typer.Exit(1)
