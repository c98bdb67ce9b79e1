"""`voicegw run` as a user starts it, seen from outside: its ready line, pages, files, logs and exit code."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
COMMAND = [str(Path(sys.executable).parent / "voicegw")]
STOP_S = 45  # 30 of drain, 10 of goodbye
READY = re.compile(r"voicegw ready: (sip:bot@[\d.]+:(\d+)) (http://[\d.]+:\d+/)\n")


def environment(data: Path, **settings: str) -> dict[str, str]:
    """Free ports, own data; `settings` are variables such as VOICEGW_TURN__MAX_SPEECH_MS."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("VOICEGW_")}
    env |= {"VOICEGW_SIP__PORT": "0", "VOICEGW_HTTP__PORT": "0", "VOICEGW_DATA_DIR": str(data)}
    # Other tests load this machine too: being refused for its slowness is tested elsewhere.
    env |= {"VOICEGW_LIMITS__LATENESS_MS": "0"}
    return env | settings


class Server:
    """A running server."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self.process, self.folder = process, folder
        self.data = folder / "data"
        assert process.stdout is not None
        line = process.stdout.readline()
        match = READY.fullmatch(line)
        assert match is not None, f"{line!r} {self.stderr}"
        self.uri, self.sip_port, self.url = match[1], int(match[2]), match[3]

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    def logged(self, *levels: str) -> list[dict[str, Any]]:
        """Log records of these levels; all without any."""
        records = [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]
        return [record for record in records if not levels or record["level"] in levels]

    # What it says of itself

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return bytes(answer.read())

    def health(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.get("health/live"))
        return report

    def metric(self, series: str) -> float:
        """One sample of /metrics, such as voicegw_calls_active or name{label="x"}."""
        for line in self.get("metrics").decode().splitlines():
            if line.startswith(series + " "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"there is no {series}")

    def held(self) -> dict[str, int]:
        """What the process holds: threads, and open files by name, sockets counted as one."""
        proc = Path(f"/proc/{self.process.pid}")
        names = []
        for link in (proc / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                names.append(str(link.readlink()).partition(":[")[0])
        return {"threads": len(list((proc / "task").iterdir())), **Counter(names)}

    # Its calls

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`voicegw ...` on the same data."""
        env = environment(self.data)
        return subprocess.run(
            [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def calls(self) -> list[dict[str, Any]]:
        """All calls, oldest first."""
        calls: list[dict[str, Any]] = json.loads(self.get("api/calls?limit=1000"))["calls"]
        return calls[::-1]

    def call_from(self, caller: str) -> dict[str, Any]:
        """The one call of this caller, as `voicegw calls show --json` shows it, with its events."""
        (found,) = (call for call in self.calls() if call["from"] == caller)
        shown = self.command("calls", "show", found["id"], "--json", "--timeline")
        assert shown.returncode == 0, shown
        call: dict[str, Any] = json.loads(shown.stdout)
        return call

    def settled(self, calls: int = 0) -> None:
        """Wait until so many calls are in progress, and of the others all is written."""

        def done() -> bool:
            unwritten = [
                call
                for call in self.calls()
                if call["state"] != "ended" or (call["answered_at"] and not call["recording_state"])
            ]
            return self.health()["calls"] == calls == len(unwritten)

        wait_until(done, 30, lambda: self.stderr[-3000:])

    # Its end

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Returns the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=STOP_S)
        return self.process.returncode


def wait_until(ready: Callable[[], object], limit_s: float, otherwise: Callable[[], object] = str) -> None:
    """Look ten times a second."""
    deadline = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {otherwise()}"
        time.sleep(0.1)


@contextmanager
def serving(folder: Path, *arguments: str, inside: Sequence[str] = (), **settings: str) -> Iterator[Server]:
    """A server in `folder`; `inside`: what its command begins with, to run on another host. Where the test
    has not stopped it, it must stop at SIGTERM with exit code 0."""
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*inside, *COMMAND, "run", *arguments],
            env=environment(folder / "data", **settings),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        server = Server(process, folder)
        yield server
        if process.poll() is None:
            assert server.stop() == 0, server.stderr[-3000:]
    finally:
        if process.poll() is None:
            orphans = children(process.pid)
            process.kill()
            for orphan in orphans:  # one that a test has stopped would not notice
                with suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)
        process.communicate()


def simulated(folder: Path, *arguments: str, inside: Sequence[str] = ()) -> dict[str, list[str]]:
    """`voicegw simulate`: what was not as expected, by scenario."""
    done = subprocess.run(
        [*inside, *COMMAND, "simulate", *arguments, "--json"],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return {result["name"]: result["failures"] for result in json.loads(done.stdout)}


def children(pid: int) -> list[int]:
    """Processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def events(call: dict[str, Any], event: str, /, **fields: object) -> list[dict[str, Any]]:
    """Of a call shown with its timeline: these events with these fields."""
    return [
        e for e in call["events"] if e["event"] == event and all(e.get(k) == v for k, v in fields.items())
    ]


def booked(call: dict[str, Any]) -> dict[str, Any]:
    """What was booked in this call: exactly one appointment."""
    (note,) = events(call, "note", name="booked")
    data: dict[str, Any] = note["data"]
    return data
