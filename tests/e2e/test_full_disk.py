"""A disk that gets full in the middle of a call, for real: the call goes on, it is said once, and all is well
again when there is room."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.e2e.line import line
from tests.e2e.server import Server, events, serving, wait_until
from tests.tools import lacking

pytestmark = pytest.mark.real

SIZE_MB = 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        lacking("the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(folder: Path) -> Path:
    """Up to the last byte."""
    file = folder / "something-else"
    with file.open("wb", buffering=0) as out:
        try:
            while out.write(bytes(65536)) == 65536:
                pass
            while out.write(b"\0"):
                pass
        except OSError:
            pass
    return file


async def calls(server: Server, folder: Path) -> None:
    async with line(server.sip_port, "alice") as phone:
        await phone.answered()
        await phone.until(lambda: phone.speaking, 10)
        filler = fill(folder)
        await asyncio.to_thread(wait_until, lambda: "disk" in faults(server), 10)
        assert server.health()["status"] == "degraded"
        await phone.press("4")  # the opening hours
        began = phone.now()
        await phone.until(lambda: phone.heard_since(began + 1), 10)  # the call goes on
        async with line(server.sip_port, "bob") as other:  # and others are taken
            await other.answered()
            await other.until(lambda: other.speaking, 10)
        filler.unlink()
        await asyncio.to_thread(wait_until, lambda: server.health()["status"] == "ok", 15, server.health)
        await asyncio.sleep(0.5)
        phone.bye()
    async with line(server.sip_port, "carol") as phone:
        await phone.answered()
        await phone.until(lambda: phone.speaking, 10)
        await asyncio.sleep(1)


def faults(server: Server) -> set[str]:
    return {name for name, fault in server.health()["checks"].items() if fault != "ok"}


def test_a_full_disk_costs_no_call_and_is_over_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    with serving(tmp_path, VOICEGW_RECORDING__LOW_DISK_MB="0") as server:
        asyncio.run(calls(server, small_disk))
        server.settled()
        alice, carol = server.call_from("alice"), server.call_from("carol")
        assert server.metric('voicegw_recordings_total{kind="refusals"}') > 0
        assert server.metric("voicegw_call_crashes_total") == 0
        alarms = [record["message"] for record in server.logged("error", "critical")]
        assert alarms.count("the disk refuses: calls go on unrecorded") == 1
        assert alarms.count("database cannot be written") <= 1
        assert (alice["state"], alice["cause"], alice["recording_state"]) == ("ended", "normal", "partial")
        (ended,) = events(alice, "call", state="ended")
        assert abs(1000 * soundfile.info(alice["recording"]).duration - ended["t"]) <= 100
        assert events(alice, "note", name="node", data={"id": "hours"})  # of the timeline nothing is lost
        assert (carol["cause"], carol["recording_state"]) == ("normal", "complete")
