"""`voicegw check-config` and `voicegw config`: is it right, what can be set, and what is in effect?"""

from pathlib import Path

import typer

FILE = typer.Argument(None, metavar="[FILE]", help="Configuration; without it, VOICEGW_CONFIG or defaults.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check-config", epilog="Example: voicegw check-config config/voicegw.yaml")(check_config)
    app.command(
        "config",
        epilog="Example: voicegw config --defaults > voicegw.yaml; voicegw config --show voicegw.yaml",
    )(config)


def check_config(file: Path | None = FILE) -> None:
    """Check a configuration and its flows without starting anything.

    Prints every error with file and line and leaves with code 2, or says ok.
    """
    from voicegw.config import load_settings
    from voicegw.flows import load_flows

    flows = load_flows(*load_settings(file))
    print(f"ok: {len(flows)} flow{'s' if len(flows) != 1 else ''} ({', '.join(sorted(flows))})")


def config(
    file: Path | None = FILE,
    defaults: bool = typer.Option(False, "--defaults", help="Print all settings with comments and defaults."),
    show: bool = typer.Option(False, "--show", help="Print the values in effect, secrets masked."),
) -> None:
    """Print the configuration: the commented defaults, or the values in effect."""
    from voicegw.config import load_config, reference

    if defaults == show:
        raise typer.BadParameter("choose one of --defaults and --show")
    print(reference.defaults() if defaults else reference.effective(load_config(file)), end="")
