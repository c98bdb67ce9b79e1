"""Configuration: YAML and environment in, one frozen tree or all errors at once out."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from voicegw.config.check import build, build_part
from voicegw.config.model import DATA_DIR, Config
from voicegw.config.source import Settings, read
from voicegw.storage.engine import Config as StorageConfig

__all__ = ["Config", "Settings", "load_config", "load_settings", "load_storage"]

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
    file, settings = _read(file, environ)
    config = build(settings)
    # Paths on a command line or in the environment mean the working directory, those in a file its folder.
    written_outside = settings.where(("flows",)).startswith("VOICEGW_")
    base = Path() if written_outside else EMBEDDED if file is None else file.parent
    return replace(config, flows=tuple((base / path).absolute() for path in config.flows)), settings


def load_storage(
    file: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Path, StorageConfig]:
    """Where calls are kept, and their database: all that is needed to read them, no engine among it."""
    part = build_part(_read(file, environ)[1], "data_dir", "storage")
    return Path(part.get("data_dir", DATA_DIR)), part.get("storage", StorageConfig())


def _read(file: Path | None, environ: Mapping[str, str] | None) -> tuple[Path | None, Settings]:
    """The file that counts, and what is in it and in the environment."""
    environ = os.environ if environ is None else environ
    if file is None and environ.get("VOICEGW_CONFIG"):
        file = Path(environ["VOICEGW_CONFIG"])
    return file, read(file, environ)
