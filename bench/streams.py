"""What a call over a media socket costs and how it sounds, measured from outside by Twilio's protocol.

Starts `bench.server --port` on one core and puts N callers on the line from another (bench.streamcaller), or
measures any other server (`--url ws://... --pid PID`). The job: a recogniser and a dialog that cost nothing,
an answer of 4.0 s, 200 ms of speech to interrupt, 200 ms of silence to answer.

    answer       ms, caller's last sound to the bot's first; 200 of it is the silence that is waited for
    clear        ms, caller's first sound over the bot to the `clear`; 180 is the least
    stale        ms of the bot's voice after the clear
    gaps         times that an answer tore
    heard        ms of an answer of 4000 that came out of the loudspeaker, the least
    CPU          ms a call-second: user + system of the server, set-up of the calls included
    RSS          MB more than before the calls, a call
    position     ms between what the server believes the caller heard of a cut answer, and what he heard
    stall        ms, longest that the server's 20 ms beat was late (its own metric)
    late         ms, how late our own frames left (99 %): above 20 the run was disturbed

    .venv/bin/python -m bench.streams --calls 1,6,16,40
    .venv/bin/python -m bench.streams --calls 6 --delay 150 --jitter 30
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from bench.calls import cpu_seconds, percentile, rss_mb
from bench.streamcaller import Caller, Delay, sentences

HEADERS = ["calls", "answered", "answer 50/95", "clear 50/95", "stale", "gaps", "heard", "CPU", "RSS"]
HEADERS += ["position 50/max", "stall", "late"]


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test."""

    url: str
    pid: int
    folder: Path | None = None  # of its timelines, where it is ours


@contextmanager
def our_server(core: str) -> Iterator[Target]:
    """Ours, on a core of its own."""
    with tempfile.TemporaryDirectory(prefix="voicegw-bench-") as folder:
        command = [sys.executable, "-m", "bench.server", "--port", "0", "--data-dir", folder]
        if core:
            command = ["taskset", "-c", core, *command]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise SystemExit(f"the server did not start: {line!r}")
        try:
            yield Target(line.split()[1], process.pid, Path(folder))
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                raise SystemExit("the server did not stop cleanly")


async def crowd(target: Target, callers: list[Caller], stagger_s: float) -> None:
    """All calls, one after the other put on the line."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller.run(session, target.url))
            await asyncio.sleep(stagger_s)


def positions(target: Target, callers: list[Caller]) -> list[float]:
    """How far the server's belief about cut answers is from the truth, in ms."""
    if target.folder is None:
        return []
    believed: dict[str, list[float]] = {}
    for path in target.folder.rglob("*.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        call = next(e["carrier_id"] for e in events if e["event"] == "call")
        believed[call] = [e["ms"] for e in events if e["event"] == "heard" and not e["complete"]]
    errors = []
    for caller in callers:
        pairs = zip(believed.get(caller.call_sid, []), caller.seen.cut, strict=False)
        errors += [abs(mine - true) for mine, true in pairs]
    return errors


def stall_ms(target: Target) -> float:
    """The longest lateness of the server's beat, by the buckets of its metric; NaN where it is not ours."""
    if target.folder is None:
        return float("nan")
    url = re.sub(r"^ws(://[^/]+).*", r"http\1/metrics", target.url)
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    buckets = re.findall(r'voicegw_ticker_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    total = max((float(count) for _, count in buckets), default=0.0)
    return min((float(le) * 1000 for le, count in buckets if float(count) == total), default=float("nan"))


@dataclass(frozen=True, slots=True)
class Load:
    """What callers do."""

    calls: int
    plan: str = "AB"
    delay: Delay = Delay()
    stagger_s: float = 0.3


def measure(target: Target, load: Load) -> list[str]:
    """One row."""
    said = sentences()
    callers = [Caller(n, load.plan, said, load.delay) for n in range(load.calls)]
    cpu, memory = cpu_seconds(target.pid), rss_mb(target.pid)
    uvloop.run(crowd(target, callers, load.stagger_s))
    cpu = cpu_seconds(target.pid) - cpu
    grown = rss_mb(target.pid) - memory
    seen = [caller.seen for caller in callers]
    for error in {s.error for s in seen if s.error}:
        print(f"a call failed: {error}", file=sys.stderr)
    answers = [a for s in seen for a in s.answers]
    clears = [c for s in seen for c in s.clears]
    off = positions(target, callers)
    seconds = sum(s.frames for s in seen) * 0.02
    turns = len(answers) + sum(s.unanswered for s in seen)
    return [
        str(load.calls),
        f"{len(answers)}/{turns}",
        f"{percentile(answers, 0.5):.0f} / {percentile(answers, 0.95):.0f}",
        f"{percentile(clears, 0.5):.0f} / {percentile(clears, 0.95):.0f}",
        f"{max((x for s in seen for x in s.stale), default=0):.0f}",
        f"{sum(len(s.gaps) for s in seen)}",
        f"{min((x for s in seen for x in s.heard), default=0):.0f}",
        f"{1000 * cpu / seconds:.1f}",
        f"{grown / load.calls:.2f}",
        f"{percentile(off, 0.5):.0f} / {max(off, default=float('nan')):.0f}",
        f"<= {stall_ms(target):.0f}",
        f"{percentile([x for s in seen for x in s.late], 0.99):.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="1,6,16,40")
    parser.add_argument("--plan", default="AB", help="what callers do with answers: A listen, B interrupt")
    parser.add_argument("--delay", type=float, default=0, help="ms one way")
    parser.add_argument("--jitter", type=float, default=0, help="ms more or less")
    parser.add_argument("--stagger", type=float, default=0.3, help="s between the beginnings of calls")
    parser.add_argument("--cores", default="0,1", help="server's and callers' core; empty: any")
    parser.add_argument("--url", default="", help="another server, already running")
    parser.add_argument("--pid", type=int, default=os.getpid(), help="its process")
    parser.add_argument("--tag", default="voicegw")
    options = parser.parse_args()
    cores = (options.cores.split(",") + ["", ""])[:2]
    if cores[1]:
        os.sched_setaffinity(0, {int(cores[1])})
    delay = Delay(options.delay / 1000, options.jitter / 1000)
    rows = []
    for calls in map(int, options.calls.split(",")):
        load = Load(calls, options.plan, delay, options.stagger)
        if options.url:
            rows.append(measure(Target(options.url, options.pid), load))
        else:
            with our_server(cores[0]) as target:
                rows.append(measure(target, load))
    title = f"{options.tag}; plan {options.plan}; load average {os.getloadavg()[0]:.1f}"
    table = Table(title=title)
    for header in HEADERS:
        table.add_column(header, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
