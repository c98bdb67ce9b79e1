"""Programs that tests drive. On a build machine (CI set) one that is missing fails the test; else it is
left out, with a word on how to get it.

What no package brings (rights, an IP version) leaves a test out on a build machine too, but never without a
word: the end of the run says which tests were left out, and why (tests/conftest.py).
"""

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

PACKAGES = {
    "sipp": "sip-tester",
    "chromedriver": "chromium-driver",
    "turnserver": "coturn",
    "ip": "iproute2",
}  # Debian's, where it is called otherwise


LACKS = "this machine lacks "


def lacking(what: str) -> NoReturn:
    """Leave the test out: nobody can install what is missing here."""
    pytest.skip(LACKS + what)


def left_out(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """For the end of a run: what was left out by `lacking`, and how many tests of which file."""
    found = Counter[tuple[str, str]]()
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _, lacks, what = reason.partition(LACKS)
        if lacks:
            found[what, report.nodeid.partition("::")[0]] += 1
    return [f"{file}: {count} left out, since {LACKS}{what}" for (what, file), count in sorted(found.items())]


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
