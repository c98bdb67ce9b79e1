"""What a call costs and how promptly it is answered, measured from outside.

Starts `bench.server` in a process of its own, puts N callers on the line (bench.sipcaller), and reports:

    CPU ms a call-second   user + system of the server, over the time when all are on the line
    late                   packets that came more than 40 ms behind the schedule of their own timestamps
    gap p50/p99/max        ms between packets as they arrive
    answer                 ms from the decision that a turn has ended to the reply's first packet on the wire
    stop                   ms from the decision to silence the bot to its last packet on the wire
    response p50/p95       ms, caller's last sound to the bot's first, seen by the caller (holds 500 ms of
                           waiting for the end of the turn)

    understood             turns that the recogniser accepted, with `--real`

    .venv/bin/python -m bench.calls --calls 1,16,50,100 --seconds 60
    .venv/bin/python -m bench.calls --real --cores , --calls 1,8,16,24
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.sipcaller import Caller, Crowd, sentences

TICKS = os.sysconf("SC_CLK_TCK")
LATE_MS = 40


def family(pid: int) -> list[int]:
    """A process and its descendants: recognisers work in processes of their own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, all threads."""
    total = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mb(pid: int) -> float:
    """Resident memory of all of them; shared pages count for each."""
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in family(pid))
    return pages * resource.getpagesize() / 1e6


def percentile(values: list[float], share: float) -> float:
    """Of sorted or unsorted values; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


@dataclass(slots=True)
class Row:
    """One load and what was seen."""

    calls: int
    good: int
    cpu_ms: float
    rss_mb: float
    late: int
    gaps: list[float]
    answers: list[float]
    stops: list[float]
    responses: list[float]
    turns: int
    understood: int

    def cells(self) -> list[str]:
        gaps, answers, stops, responses = self.gaps, self.answers, self.stops, self.responses
        return [
            f"{self.good}/{self.calls}",
            f"{self.cpu_ms:.2f}",
            f"{self.rss_mb:.0f}",
            f"{self.late}",
            f"{percentile(gaps, 0.5):.1f} / {percentile(gaps, 0.99):.1f} / {max(gaps, default=0):.1f}",
            f"{percentile(answers, 0.5):.1f} / {percentile(answers, 0.99):.1f} ({len(answers)})",
            f"{percentile(stops, 0.5):.1f} / {percentile(stops, 0.99):.1f} ({len(stops)})",
            f"{percentile(responses, 0.5):.0f} / {percentile(responses, 0.95):.0f}",
            f"{self.understood}/{self.turns}",
        ]


HEADERS = ["good", "CPU ms/call-s", "RSS MB", "late", "gap ms 50/99/max", "answer ms 50/99 (n)"]
HEADERS += ["stop ms 50/99 (n)", "response ms 50/95", "understood"]


def free_ports() -> int:
    """A port that is free together with the next one."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        try:
            two.bind(("127.0.0.1", port + 1))
        except (OSError, OverflowError):
            return free_ports()
    return port


class Server:
    """The process under test."""

    def __init__(self, port: int, folder: Path, core: str, *, real: bool, srtp: bool = False) -> None:
        command = [sys.executable, "-m", "bench.server", "--sip-port", str(port)]
        command += ["--http-port", str(port + 1), "--data-dir", str(folder)]
        command += ["--real"] if real else []
        command += ["--srtp"] if srtp else []
        if core:
            command = ["taskset", "-c", core, *command]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("voicegw ready"):
            raise SystemExit(f"the server did not start: {line!r}")
        self.pid = self._process.pid

    def reap(self) -> None:
        """It was killed."""
        self._process.wait(10)

    def stop(self) -> None:
        """Drain and wait."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(60) != 0:
            raise SystemExit("the server did not stop cleanly")


async def load(server: Server, crowd: Crowd, seconds: float) -> tuple[float, float]:
    """Put the crowd on the line; returns the CPU seconds a call-second, and memory in MB."""
    all_talk, calls = asyncio.Event(), len(crowd.callers)

    async def measure() -> tuple[float, float]:
        await all_talk.wait()
        began, before = time.monotonic(), cpu_seconds(server.pid)
        await asyncio.sleep(seconds - 0.5)
        used = cpu_seconds(server.pid) - before
        return used / (time.monotonic() - began) / calls, rss_mb(server.pid)

    async with asyncio.TaskGroup() as group:
        measuring = group.create_task(measure())
        group.create_task(crowd.run(seconds, 50, all_talk.set))
    return measuring.result()


def lateness_ms(caller: Caller) -> list[float]:
    """How far each packet came behind the schedule that its timestamp sets."""
    arrivals = caller.heard.arrivals
    offsets = [at - (timestamp - arrivals[0][1]) / 8000 for at, timestamp in arrivals]
    return [(offset - min(offsets)) * 1000 for offset in offsets]


def timelines(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Events of every call, by the caller's Call-ID."""
    calls = {}
    for path in folder.rglob("*.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        calls[next(e["carrier_id"] for e in events if e["event"] == "call")] = events
    return calls


def stop_ms(caller: Caller, events: list[dict[str, object]]) -> list[float]:
    """From each decision to silence the bot to the last audible packet that the caller received."""
    silencing = [e for e in events if e["event"] in {"pause", "barge_in"}]
    decided = [datetime.fromisoformat(str(e["at"])).timestamp() for e in silencing]
    stops = []
    for _, last in caller.heard.stops:
        before = [at for at in decided if abs(last - at) < 1]
        stops += [(last - min(before, key=lambda at: abs(last - at))) * 1000] if before else []
    return stops


def report(crowd: Crowd, cpu: float, memory: float, folder: Path) -> Row:
    """What was seen at one load."""
    remains = timelines(folder)
    good = [
        c for c in crowd.callers if c.heard.answered and not c.heard.ended_by_bot and c.call_id in remains
    ]
    answers = [
        float(e["total_ms"]) - float(e["eot_ms"])  # type: ignore[arg-type]
        for c in good
        for e in remains[c.call_id]
        if e["event"] == "latency"
    ]
    turns = [e for c in good for e in remains[c.call_id] if e["event"] == "turn"]
    gaps = [
        (b[0] - a[0]) * 1000
        for c in good
        for a, b in zip(c.heard.arrivals, c.heard.arrivals[1:], strict=False)
    ]
    return Row(
        len(crowd.callers),
        len(good),
        cpu * 1000,
        memory,
        sum(late > LATE_MS for c in good for late in lateness_ms(c)),
        gaps,
        answers,
        [stop for c in good for stop in stop_ms(c, remains[c.call_id])],
        [r * 1000 for c in good for r in c.heard.responses],
        len(turns),
        sum(not turn["rejected"] for turn in turns),
    )


def run(
    loads: list[int], seconds: float, plan: str, cores: tuple[str, str], *, real: bool, srtp: bool
) -> list[Row]:
    """Measure each load against a fresh server."""
    said = sentences("hours*.ulaw" if real else "u*.ulaw")
    if cores[1]:
        os.sched_setaffinity(0, {int(cores[1])})
    rows = []
    for calls in loads:
        with tempfile.TemporaryDirectory(prefix="voicegw-bench-") as name:
            port = free_ports()
            server = Server(port, Path(name), cores[0], real=real, srtp=srtp)
            crowd = Crowd(("127.0.0.1", port), calls, plan, said, srtp=srtp)
            try:
                cpu, memory = uvloop.run(load(server, crowd, seconds))
            finally:
                server.stop()
            rows.append(report(crowd, cpu, memory, Path(name)))
    return rows


def show(rows: list[Row], title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    for header in ["calls", *HEADERS]:
        table.add_column(header, justify="right")
    for row in rows:
        table.add_row(str(row.calls), *row.cells())
    Console(width=150).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="1,16,50,100")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--plan", default="AB", help="what callers do with answers: A listen, B interrupt")
    parser.add_argument("--cores", default="0,1", help="server's and callers' core; empty: any")
    parser.add_argument("--real", action="store_true", help="engines and flow of the defaults, not fakes")
    parser.add_argument("--srtp", action="store_true", help="encrypted audio")
    options = parser.parse_args()
    cores = (options.cores.split(",") + ["", ""])[:2]
    loads = [int(n) for n in options.calls.split(",")]
    pair = (cores[0], cores[1])
    rows = run(loads, options.seconds, options.plan, pair, real=options.real, srtp=options.srtp)
    kind = "everything real" if options.real else "engines faked"
    kind += ", SRTP" if options.srtp else ""
    show(rows, f"voicegw, {kind}, {options.seconds:.0f} s a row; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
