"""Programs that tests drive. On a build machine (CI set) one that is missing fails the test; else it is
left out, with a word on how to get it."""

import importlib.util
import os
import shutil

import pytest

PACKAGES = {
    "sipp": "sip-tester",
    "chromedriver": "chromium-driver",
    "turnserver": "coturn",
    "ip": "iproute2",
}  # Debian's, where it is called otherwise


def need(*programs: str) -> None:
    """Leave out, or fail, the test that cannot run without these."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(PACKAGES.get(program, program) for program in missing)
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: apt install {packages}")


def need_module(name: str, how: str) -> None:
    """The same for an optional Python package."""
    if importlib.util.find_spec(name) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {how}")
