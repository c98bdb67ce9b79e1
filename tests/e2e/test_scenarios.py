"""The scenarios that come along, played by simulated callers as a user plays them."""

import json
import subprocess

import pytest

from tests.e2e.server import COMMAND, ROOT, environment
from tests.tools import need
from voicegw.simulate.run import find

pytestmark = pytest.mark.real

SCENARIOS = ROOT / "config" / "scenarios"
ELSEWHERE = {"book"}  # test_booking.py plays it, and looks closer


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What was not as expected, by scenario."""
    need("flite")
    folder = tmp_path_factory.mktemp("scenarios")
    files = [str(file) for file in sorted(SCENARIOS.glob("*.yaml")) if file.stem not in ELSEWHERE]
    done = subprocess.run(
        [*COMMAND, "simulate", *files, "--serve", "--parallel", "10", "--json"],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return {result["name"]: result["failures"] for result in json.loads(done.stdout)}


@pytest.mark.parametrize("name", [s.name for s in find([SCENARIOS]) if s.name not in ELSEWHERE])
def test_it_goes_as_the_scenario_expects(results: dict[str, list[str]], name: str) -> None:
    assert results[name] == []
