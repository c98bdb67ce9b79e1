"""The server as a process: the ready line, health, signals, and what is said when it cannot start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voicegw import __version__

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-c", "from voicegw.cli import main; main()"]
START_S, STOP_S = 90, 45  # a machine that also runs other tests may take its time
READY = re.compile(r"voicegw ready: (sip:bot@127\.0\.0\.1:(\d+)) (http://127\.0\.0\.1:(\d+)/)\n")


def environment(data: Path, **settings: str) -> dict[str, str]:
    """Free ports, own data, an engine that needs no time to start."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("VOICEGW_")}
    env |= {"VOICEGW_SIP__PORT": "0", "VOICEGW_HTTP__PORT": "0", "VOICEGW_DATA_DIR": str(data)}
    env |= {"VOICEGW_STT": '{"engine": "tests.voicegw.deaf"}', "PYTHONPATH": str(ROOT)}
    return env | settings


class Server:
    """A running `voicegw run`."""

    def __init__(self, process: "subprocess.Popen[str]", stderr: Path) -> None:
        self.process, self._stderr = process, stderr
        assert process.stdout is not None
        line = process.stdout.readline()
        match = READY.fullmatch(line)
        assert match is not None, f"{line!r} {self.stderr}"
        self.uri, self.sip_port, self.url = match[1], int(match[2]), match[3]

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and what else it had said on stdout."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=STOP_S)
        return self.process.returncode, out

    def sip(self, method: str, timeout_s: float = 5.0) -> str:
        """The first line of the answer to a request outside of a call."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(timeout_s)
            here = f"127.0.0.1:{sock.getsockname()[1]}"
            lines = [
                f"{method} {self.uri} SIP/2.0",
                f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{time.monotonic_ns()};rport",
                f"From: <sip:test@{here}>;tag=1",
                f"To: <{self.uri}>",
                f"Call-ID: {time.monotonic_ns()}@{here}",
                f"CSeq: 1 {method}",
                f"Contact: <sip:test@{here}>",
                "Max-Forwards: 70",
                "Content-Length: 0",
            ]
            sock.sendto("\r\n".join([*lines, "", ""]).encode(), ("127.0.0.1", self.sip_port))
            return sock.recv(65536).decode().split("\r\n", maxsplit=1)[0]


@contextmanager
def running(tmp_path: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    stderr = tmp_path / "stderr"
    with stderr.open("w") as file:
        process = subprocess.Popen(
            [*COMMAND, "run", *arguments],
            env=environment(tmp_path / "data", **settings),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        yield Server(process, stderr)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def failing(tmp_path: Path, *arguments: str, **settings: str) -> str:
    """What a start that fails says on stderr; nothing on stdout, no traceback, exit code 2."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(tmp_path / "data", **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert done.returncode == 2, done
    assert not done.stdout and "Traceback" not in done.stderr, done
    return done.stderr


def test_the_server_starts_serves_and_stops(tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # systemd
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(5)
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    with manager, running(tmp_path, **told) as server:
        assert {manager.recv(100) for _ in range(4)} == {b"READY=1", b"WATCHDOG=1"}
        status, body = server.get("health")
        report = json.loads(body)
        assert status == 200 and report["status"] == "ok" and report["version"] == __version__
        assert {"storage", "disk", "sip", "stt", "ticker"} <= report["checks"].keys()
        assert b"voicegw_calls_active 0.0" in server.get("metrics")[1]
        assert server.uri.encode() in server.get("calls")[1]
        assert json.loads(server.get("api/calls")[1]) == {"calls": []}
        assert server.sip("OPTIONS") == "SIP/2.0 200 OK"

        code, rest = server.stop()
        assert code == 0
        manager.setblocking(False)
        said = b""
        while b"STOPPING" not in said:
            said = manager.recv(100)
        assert said == b"STOPPING=1\nSTATUS=draining 0 calls"
        assert rest == "", "stdout has the one line only"
        assert "voicegw call sip:bot@" in server.stderr, "a person is told how to call"
        records = [json.loads(line) for line in server.stderr.splitlines() if line.startswith("{")]
        assert {"ready", "draining", "stopping"} <= {record["message"] for record in records}
        assert not [record for record in records if record["level"] in {"warning", "error"}]
    assert (tmp_path / "data" / "voicegw.db").exists()


def test_ctrl_c_is_no_error(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.stop(signal.SIGINT) == (0, "")
        assert "Traceback" not in server.stderr


def test_a_stop_while_it_starts_is_obeyed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "run"],
        env=environment(tmp_path / "data", VOICEGW_STT='{"engine": "tests.voicegw.slow"}'),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "preparing for ever" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=STOP_S)
    assert (process.returncode, out) == (0, "") and "Traceback" not in err


def test_a_taken_sip_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        said = failing(tmp_path, "run", VOICEGW_SIP__PORT=str(port))
    assert f"sip: port {port} on 127.0.0.1 is taken by another program; choose another by sip.port" in said
    assert f"VOICEGW_SIP__PORT={port + 10}" in said


def test_a_taken_http_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        said = failing(tmp_path, "run", VOICEGW_HTTP__PORT=str(port))
    assert f"http: port {port} on 127.0.0.1 is taken by another program; choose another by http.port" in said


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = failing(tmp_path, "run", VOICEGW_DATA_DIR=str(tmp_path / "file" / "data"))
    assert "cannot be made: Not a directory; choose another by data_dir" in said


def test_a_missing_voice_is_named(tmp_path: Path) -> None:
    assert "tts engine 'espeak'" in failing(tmp_path, "run", VOICEGW_TTS__VOICE="klingon")


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_wrong_configuration_is_said_in_full(tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text("sip: {prot: 1}\nlimits: {max_calls: x}\n")
    said = failing(tmp_path, command, "bad.yaml")
    assert "bad.yaml:1: sip.prot: unknown setting; did you mean 'port'?" in said
    assert "bad.yaml:2: limits.max_calls: must be a valid integer, not 'x'" in said


def test_a_wrong_flow_is_said_in_full(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("flow: f\nstart: a\nnodes:\n  a: {sey: Hello.}\n")
    (tmp_path / "voicegw.yaml").write_text("flows: [flow.yaml, gone.yaml]\n")
    said = failing(tmp_path, "check-config", "voicegw.yaml")
    assert "flow.yaml:4:" in said and "sey" in said
    assert "voicegw.yaml:1: flows[1]: there is no file or folder" in said


def test_routes_and_limits_must_name_flows(tmp_path: Path) -> None:
    (tmp_path / "voicegw.yaml").write_text(
        f"flows: ['{ROOT}/config/flows']\nrouting:\n  numbers: {{'1': clinc}}\n"
        "limits:\n  per_flow: {extension: 2, clinnic: 5}\n"
    )
    said = failing(tmp_path, "check-config", "voicegw.yaml")
    assert "voicegw.yaml:3: routing.numbers.1: there is no flow 'clinc'; did you mean 'clinic'?" in said
    assert "voicegw.yaml:5: limits.per_flow.clinnic: there is no flow 'clinnic'; did you mean" in said
    assert "extension" not in said, "calls between phones"


def test_the_shipped_configuration_is_right(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "check-config", str(ROOT / "config" / "voicegw.yaml")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=START_S,
    )
    assert done.stdout.startswith("ok: 1 flow (clinic)")


def test_help_is_there_at_once() -> None:
    """Nothing heavy is imported for it: that is what makes it quick, on any machine."""
    heavy = {"aiohttp", "sqlalchemy", "numpy", "sklearn", "pocketsphinx", "pjsua2", "pydantic", "uvloop"}
    code = f"import sys, voicegw.cli; print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for command in ("run", "check-config", "config", "chat", "call", "calls", "say", "transcribe"):
        assert re.search(rf"^  {command} ", shown, re.MULTILINE), command


def test_chat_holds_a_conversation(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "chat"],
        input="i would like to book an appointment\n",
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        check=True,
        timeout=START_S,
        cwd=tmp_path,
    )
    assert "Riverside Clinic" in done.stdout and "doctor" in done.stdout


# Calls


def calling(server: Server, data: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A caller of its own process, which presses a key now and then."""
    return subprocess.Popen(
        [*COMMAND, "call", server.uri, *arguments],
        env=environment(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def in_progress(server: Server, calls: int) -> None:
    """Wait until so many calls are in progress."""
    for _ in range(100):
        if json.loads(server.get("health")[1])["calls"] == calls:
            return
        time.sleep(0.1)
    raise AssertionError(server.stderr)


def test_sigterm_lets_a_call_end_and_takes_no_new_one(tmp_path: Path) -> None:
    with running(tmp_path, VOICEGW_DRAIN__LIMIT_S="20") as server:
        with calling(server, tmp_path, "--dtmf", "1") as caller:
            in_progress(server, 1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.get("health/ready")[0] == 503
            assert server.sip("OPTIONS") == "SIP/2.0 503 Service Unavailable"
            said, _ = caller.communicate(timeout=40)
            assert caller.returncode == 0 and "we hung up" in said, said
        assert server.process.wait(STOP_S) == 0
    assert ended_calls(tmp_path) == ["normal"]


def test_at_the_drains_limit_callers_are_told_goodbye(tmp_path: Path) -> None:
    with running(tmp_path, VOICEGW_DRAIN__LIMIT_S="1") as server:
        with calling(server, tmp_path, "--dtmf", "1", "--dtmf", "1", "--dtmf", "1") as caller:
            in_progress(server, 1)
            code, _ = server.stop()
            said, _ = caller.communicate(timeout=STOP_S)
        assert code == 0
    assert "bot hung up" in said, said
    assert ended_calls(tmp_path) == ["normal"]
    (timeline,) = (tmp_path / "data").rglob("*.jsonl")
    events = [json.loads(line) for line in timeline.read_text().splitlines()]
    goodbye = [event for event in events if event["event"] == "heard"][-1]
    assert "we have to end this call now" in goodbye["text"] and goodbye["complete"]


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with (
        running(tmp_path, VOICEGW_DRAIN__LIMIT_S="60") as server,
        calling(server, tmp_path, "--dtmf", "1", "--dtmf", "1") as caller,
    ):
        in_progress(server, 1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        began = time.monotonic()
        code, _ = server.stop()
        assert code == 0 and time.monotonic() - began < 5
        said, _ = caller.communicate(timeout=STOP_S)
    assert "bot hung up" in said, said
    assert ended_calls(tmp_path) == ["normal"]


def test_the_other_sip_stack_takes_calls_too(tmp_path: Path) -> None:
    with running(tmp_path, VOICEGW_SIP_STACK="pjsua2") as server:
        with calling(server, tmp_path, "--dtmf", "1") as caller:
            said, _ = caller.communicate(timeout=40)
        assert caller.returncode == 0 and "bot  spoke" in said, said
        assert server.stop()[0] == 0
    assert ended_calls(tmp_path) == ["normal"]


def test_a_full_house_refuses_the_next_call(tmp_path: Path) -> None:
    with running(tmp_path, VOICEGW_LIMITS__MAX_CALLS="1") as server:
        with calling(server, tmp_path, "--dtmf", "1") as caller:
            in_progress(server, 1)
            with calling(server, tmp_path) as other:
                said, _ = other.communicate(timeout=STOP_S)
            assert other.returncode == 3 and "503" in said, said
            assert caller.wait(40) == 0
        assert b'voicegw_calls_rejected_total{reason="busy"} 1.0' in server.get("metrics")[1]
        assert server.stop()[0] == 0


def ended_calls(tmp_path: Path) -> list[str]:
    """Causes of all calls in the database; each has ended."""
    done = subprocess.run(
        [*COMMAND, "calls", "list", "--json"],
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        check=True,
        timeout=START_S,
    )
    calls = json.loads(done.stdout)
    calls = calls["calls"] if isinstance(calls, dict) else calls
    assert all(call["state"] == "ended" for call in calls)
    return [call["cause"] for call in calls]
