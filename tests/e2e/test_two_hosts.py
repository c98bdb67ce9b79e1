"""A caller on another host, behind a network that loses a fifth of everything, signalling too: he books."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from media.impairment import Impairment
from tests.e2e.network import Host, two_hosts
from tests.e2e.server import COMMAND, ROOT, environment
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
    with two_hosts(BAD) as (gateway, far, network):
        results = play(gateway, far, folder)
    failures = {result["name"]: result["failures"] for result in results}
    assert failures == {"bad-line": [], "bad-line-by-voice": []}
    assert network.carried > 4000 and 0.15 < network.lost / network.carried < 0.25


def play(gateway: Host, far: Host, folder: Path) -> list[dict[str, Any]]:
    """Both scenarios at once, by simulated callers of the other host."""
    settings = {
        "VOICEGW_SIP__HOST": gateway.address,
        "VOICEGW_SIP__PORT": "5060",
        "VOICEGW_SIP__ALLOW": f'["{far.address}/32"]',
        "VOICEGW_HTTP__HOST": gateway.address,
        "VOICEGW_HTTP__PORT": "8080",
        "VOICEGW_HTTP__TOKEN": TOKEN,
    }
    with (folder / "stderr").open("w") as stderr:
        server = subprocess.Popen(
            [*gateway.inside, *COMMAND, "run"],
            env=environment(folder / "data", **settings),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert server.stdout is not None
        ready = server.stdout.readline()
        assert f"sip:bot@{gateway.address}:5060" in ready, (folder / "stderr").read_text()
        files = [str(scenario(name, folder)) for name in ("bad-line", "bad-line-by-voice")]
        where = ["--target", f"sip:bot@{gateway.address}", "--api", f"http://{gateway.address}:8080/"]
        played = subprocess.run(
            [*far.inside, *COMMAND, "simulate", *files, *where, "--parallel", "2", "--json"],
            env=os.environ | {"VOICEGW_API_TOKEN": TOKEN},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert played.returncode in (0, 1), played.stderr
        results: list[dict[str, Any]] = json.loads(played.stdout)
        return results
    finally:
        server.terminate()
        server.communicate(timeout=60)
