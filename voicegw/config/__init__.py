"""Configuration: YAML and environment in, one frozen tree or all errors at once out."""

import os
from collections.abc import Mapping
from pathlib import Path

from voicegw.config.check import build
from voicegw.config.model import Config
from voicegw.config.source import read

__all__ = ["Config", "load_config"]


def load_config(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override from the environment, validate. Raises ConfigError with every problem.

    Without a file the defaults are in effect; `VOICEGW_CONFIG` may name one.
    """
    environ = os.environ if environ is None else environ
    if file is None and environ.get("VOICEGW_CONFIG"):
        file = Path(environ["VOICEGW_CONFIG"])
    return build(read(file, environ))
