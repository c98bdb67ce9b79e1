"""`voicegw call` at people who do not take the call: sipp is who is called."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.server import COMMAND, environment
from tests.e2e.sipp import Scenario, sipp
from tests.tools import need

pytestmark = pytest.mark.real


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def call(port: int, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "call", f"sip:someone@127.0.0.1:{port}", *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("stack", ["own", "pjsua2"])
@pytest.mark.parametrize(
    "status, reason",
    [(486, "Busy Here"), (480, "Temporarily Unavailable"), (404, "Not Found"), (603, "Decline")],
)
def test_a_call_that_is_not_taken(stack: str, status: int, reason: str, tmp_path: Path) -> None:
    need("sipp")
    port = free_port()
    callee = Scenario().refuse(status, reason, ring_ms=300)
    with sipp(tmp_path / "sipp", callee, "-p", str(port), "-m", "1") as called:
        time.sleep(0.5)
        done = call(port, tmp_path, "--stack", stack, "--json")
        called.finished(10)
    assert done.returncode == 3, done
    assert str(status) in done.stderr and "Traceback" not in done.stderr
    assert "ringing" in done.stderr
    failed = json.loads(done.stdout)["failed"]
    assert failed["status"] == status
    if stack == "own":
        assert failed["reason"] == reason


@pytest.mark.parametrize("stack", ["own", "pjsua2"])
def test_a_call_that_is_not_answered_in_time(stack: str, tmp_path: Path) -> None:
    """It rings; after --timeout the phone gives up, and says so to the other side."""
    need("sipp")
    port = free_port()
    with sipp(tmp_path / "sipp", Scenario().cancelled(), "-p", str(port), "-m", "1") as called:
        time.sleep(0.5)
        done = call(port, tmp_path, "--stack", stack, "--timeout", "2")
        called.finished(10)
    assert done.returncode == 3 and "ringing" in done.stdout, done
    assert "the call failed" in done.stderr and "Traceback" not in done.stderr
