"""The scenarios that come along, played by simulated callers as a user plays them."""

import pytest

from tests.e2e.server import ROOT, simulated
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
    return simulated(folder, *files, "--serve", "--parallel", "10")


@pytest.mark.parametrize("name", [s.name for s in find([SCENARIOS]) if s.name not in ELSEWHERE])
def test_it_goes_as_the_scenario_expects(results: dict[str, list[str]], name: str) -> None:
    assert results[name] == []
