"""A hundred sipp callers at once, all of whom speak; and a server that is told to stop while people call."""

import json
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.e2e.line import SILENCE, spoken
from tests.e2e.server import Server, serving, wait_until
from tests.e2e.sipp import Scenario, sipp
from tests.tools import need

pytestmark = pytest.mark.real

CALLS, TALK_MS, LATE_MS = 100, 20_000, 5_000  # ten calls a second: all are there for half of that


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("sipp", "flite")
    with serving(tmp_path_factory.mktemp("crowd"), VOICEGW_DRAIN__LIMIT_S="30") as running:
        yield running


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody listens for 5 s, speaks, and listens again; as sipp plays it."""
    file = tmp_path_factory.mktemp("sound") / "sentence.ulaw"
    said = spoken("i would like to book an appointment")
    file.write_bytes(SILENCE * 250 + said + SILENCE * 700)
    return file


def media_ports(calls: int) -> str:
    """The first of those that sipp takes for the RTP of its calls, one after the other: free ones, beyond
    those of the server and of what the system hands out by itself."""
    for first in random.sample(range(10_000, 19_000, 100), 50):
        with ExitStack() as held:
            try:
                for port in range(first, first + 2 * calls + 10):
                    sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return str(first)
    pytest.fail(f"no room for {calls} calls among the ports from 10000 to 19000")


def listed(server: Server, caller: str) -> list[dict[str, Any]]:
    """All calls of this caller, by the command line."""
    shown = server.command("calls", "list", "--json", "-n", "1000")
    return [call for call in json.loads(shown.stdout) if call["from"] == caller]


def test_a_hundred_callers_at_once(server: Server, sentence: Path, tmp_path: Path) -> None:
    scenario = Scenario("crowd").call().play(sentence).pause(TALK_MS).bye()
    arguments = ("-m", str(CALLS), "-l", str(CALLS), "-r", "10", "-mp", media_ports(CALLS))
    with sipp(tmp_path, scenario, f"127.0.0.1:{server.sip_port}", *arguments) as callers:
        wait_until(lambda: server.health()["calls"] == CALLS, 30, lambda: server.stderr[-3000:])
        callers.finished(60)
    server.settled()
    calls = listed(server, "crowd")
    assert len(calls) == CALLS
    assert {(call["state"], call["cause"], call["recording_state"]) for call in calls} == {
        ("ended", "normal", "complete")
    }
    for call in calls:
        # How long it was is sipp's affair, which is late itself when it has no core; all of it is recorded.
        assert TALK_MS - 500 < call["duration_ms"] < TALK_MS + LATE_MS
        assert abs(soundfile.info(call["recording"]).duration - call["duration_ms"] / 1000) < 0.3
    assert server.metric("voicegw_call_crashes_total") == 0
    # The recogniser has room for 32 callers a core, and time for a dozen of them who all talk.
    failures = {record["message"] for record in server.logged("error", "critical")}
    assert failures <= {"ears failed", "utterance given up"}


def understood(calls: list[dict[str, Any]]) -> int:
    """How many callers were."""
    answered = 0
    for call in calls:
        lines = Path(call["timeline"]).read_text().splitlines()
        turns = [event for event in map(json.loads, lines) if event["event"] == "turn"]
        answered += any("appointment" in turn["text"] for turn in turns)
    return answered


def refused_now(server: Server) -> str:
    """The final answer to an INVITE."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        here = f"127.0.0.1:{sock.getsockname()[1]}"
        lines = [
            f"INVITE {server.uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{time.monotonic_ns()}",
            f"From: <sip:late@{here}>;tag=1",
            f"To: <{server.uri}>",
            f"Call-ID: {time.monotonic_ns()}@{here}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:late@{here}>",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        sock.sendto("\r\n".join([*lines, "", ""]).encode(), ("127.0.0.1", server.sip_port))
        while True:
            status = sock.recv(65536).decode().split("\r\n", maxsplit=1)[0]
            if " 100 " not in status:
                return status


def test_a_server_that_stops_lets_everybody_finish(server: Server, sentence: Path, tmp_path: Path) -> None:
    """The last test of this module: it stops the server."""
    scenario = Scenario("leaver").call().play(sentence).pause(9_000).bye()
    arguments = ("-m", "20", "-l", "20", "-r", "20", "-mp", media_ports(20))
    with sipp(tmp_path, scenario, f"127.0.0.1:{server.sip_port}", *arguments) as callers:
        wait_until(lambda: server.health()["calls"] == 20, 10)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.health()["status"] == "draining", 15)
        began = time.monotonic()
        assert refused_now(server).startswith("SIP/2.0 503")
        callers.finished(30)  # sipp said every BYE itself
        assert time.monotonic() - began > 1  # people talked on meanwhile
    assert server.process.wait(30) == 0
    calls = listed(server, "leaver")
    assert len(calls) == 20
    assert {(call["state"], call["cause"], call["recording_state"]) for call in calls} == {
        ("ended", "normal", "complete")
    }
    assert understood(calls) >= 5  # of twenty who speak at the same moment
    assert all(8_500 < call["duration_ms"] < 9_000 + LATE_MS for call in calls)
