"""A caller on another host, behind a network that loses a fifth of everything, signalling too: he books."""

from pathlib import Path

import pytest
import yaml

from media.impairment import Impairment
from tests.e2e.network import two_hosts
from tests.e2e.server import ROOT, serving, simulated
from tests.tools import need

pytestmark = pytest.mark.real

BAD = Impairment(loss=20, jitter_ms=80, delay_ms=40, reorder=5)
TOKEN = "two-hosts-0123456789"


def scenario(name: str, folder: Path) -> Path:
    """One that comes along, over a good line: the network is bad by itself."""
    plain = yaml.safe_load((ROOT / "config" / "scenarios" / f"{name}.yaml").read_text())
    del plain["line"]
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(plain))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    need("flite", "ip")
    return tmp_path


def test_callers_book_over_a_network_that_loses_a_fifth_of_everything(folder: Path) -> None:
    files = [str(scenario(name, folder)) for name in ("bad-line", "bad-line-by-voice")]
    with two_hosts(BAD) as (gateway, far, network):
        settings = {
            "VOICEGW_SIP__HOST": gateway.address,
            "VOICEGW_SIP__ALLOW": f'["{far.address}/32"]',
            "VOICEGW_HTTP__HOST": gateway.address,
            "VOICEGW_HTTP__TOKEN": TOKEN,
        }
        with serving(folder, inside=gateway.inside, **settings) as server:
            where = ("--target", server.uri, "--api", server.url, "--token", TOKEN)
            failures = simulated(folder, *files, *where, "--parallel", "2", inside=far.inside)
    assert failures == {"bad-line": [], "bad-line-by-voice": []}
    assert network.carried > 4000 and 0.15 < network.lost / network.carried < 0.25
