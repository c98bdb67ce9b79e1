"""What is said at the end of a run of what could not run."""

from types import SimpleNamespace
from typing import Any

from tests.tools import LACKS, left_out


def skipped(test: str, reason: Any) -> Any:
    return SimpleNamespace(nodeid=test, longrepr=("tests/x.py", 7, f"Skipped: {reason}") if reason else None)


def test_what_a_machine_lacks_is_said_by_file_and_the_rest_is_not() -> None:
    reports = [
        skipped("tests/b.py::test_one", f"{LACKS}IPv6 (::1)"),
        skipped("tests/b.py::test_two[x]", f"{LACKS}IPv6 (::1)"),
        skipped("tests/a.py::test_three", f"{LACKS}the right to mount"),
        skipped("tests/a.py::test_four", "no keys on this socket"),
        skipped("tests/a.py::test_five", None),
    ]
    assert left_out(reports) == [
        "tests/b.py: 2 left out, since this machine lacks IPv6 (::1)",
        "tests/a.py: 1 left out, since this machine lacks the right to mount",
    ]
