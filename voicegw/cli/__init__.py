"""The command `voicegw`. Each module of this folder brings commands and offers `register(app)`.

Exit codes: 0 done; 1 it failed; 2 the command line or the configuration is wrong, or the server could
not start; 130 interrupted. Errors go to stderr, results to stdout.

These modules import what is heavy (engines, aiohttp, the database) inside their functions, so that
`voicegw --help` answers at once.
"""

import importlib
import os
import sys

import typer

from media.errors import MediaError
from sip.errors import SipError
from voicegw import __version__
from voicegw.errors import VoicegwError

COMMANDS = (
    "run",
    "config",
    "chat",
    "calls",
    "replay",
    "dial",
    "drain",
    "doctor",
    "phone",
    "simulate",
    "speech",
    "models",
    "bench",
)  # as in --help

EPILOG = """Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.

Every setting can also come from the environment: VOICEGW_SIP__PORT=5070 voicegw run"""

app = typer.Typer(
    name="voicegw",
    help="Telephony-first voice server: phone calls in, a spoken dialog out.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"voicegw {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", callback=_print_version, is_eager=True
    ),
) -> None:
    pass


for _name in COMMANDS:
    importlib.import_module(f"voicegw.cli.{_name}").register(app)


def main() -> None:
    """Entry point of the console script: user errors become one sentence on stderr."""
    try:
        app()
    except VoicegwError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except (MediaError, SipError) as error:  # a voice that is missing, a header that may not be set
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has left: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
