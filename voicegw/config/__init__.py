"""Configuration: YAML and environment in, one frozen tree or all errors at once out."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from voicegw.config.check import build
from voicegw.config.model import Config
from voicegw.config.source import Settings, read

__all__ = ["Config", "Settings", "load_config", "load_settings"]

EMBEDDED = Path(__file__).parent.parent.parent / "config"  # stands in for the folder of the file


def load_config(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override from the environment, validate. Raises ConfigError with every problem.

    Without a file the defaults are in effect; `VOICEGW_CONFIG` may name one.
    """
    return load_settings(file, environ)[0]


def load_settings(
    file: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Config, Settings]:
    """The same, and where each setting was written, for checks that come later."""
    environ = os.environ if environ is None else environ
    if file is None and environ.get("VOICEGW_CONFIG"):
        file = Path(environ["VOICEGW_CONFIG"])
    settings = read(file, environ)
    config = build(settings)
    # Paths on a command line or in the environment mean the working directory, those in a file its folder.
    written_outside = settings.where(("flows",)).startswith("VOICEGW_")
    base = Path() if written_outside else EMBEDDED if file is None else file.parent
    return replace(config, flows=tuple((base / path).absolute() for path in config.flows)), settings
