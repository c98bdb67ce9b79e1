"""The fuzz targets run: some inputs each, found by coverage. A real search: `python -m tests.fuzz.sip`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import need_module


@pytest.mark.parametrize("target", ["message", "stream", "layer", "sdp"])
def test_a_short_search_finds_nothing(target: str, tmp_path: Path) -> None:
    need_module("atheris", "pip install 'voicegw[fuzz]'")
    command = [sys.executable, "-m", "tests.fuzz.sip", target, "-runs=1000", "-max_total_time=2", "-seed=1"]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("carrier", ["twilio"])
def test_a_short_search_in_a_carriers_messages_finds_nothing(carrier: str, tmp_path: Path) -> None:
    need_module("atheris", "pip install 'voicegw[fuzz]'")
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.carriers",
        carrier,
        "-runs=2000",
        "-max_total_time=2",
        "-seed=1",
    ]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
