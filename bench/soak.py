"""Does memory grow with calls? Ten thousand short ones, and what the server holds after each thousand.

Starts `bench.server` (everything real but ears and voice), lets sipp call it with RTP, and reads its resident
memory after each thousand calls. What a thousand calls cost is the median of the steps, after the first two
fifths of the calls, which fill caches and pools: memory that is taken when more calls are alive at once than
ever before (the machine was busy) is one step, and no leak; a leak is there in every step.

    .venv/bin/python -m bench.soak                           10 000 calls, 40 a second: 4.5 minutes
    .venv/bin/python -m bench.soak --calls 1500 --rate 50    a look

Exit code 1 if memory grows by more than 1 MB in 1000 calls, or a call went wrong.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.calls import Server, rss_mb
from tests.e2e.line import SILENCE
from tests.e2e.sipp import Scenario, Sipp, sipp

MOST_MB = 1.0  # in 1000 calls
TALK_MS = 700
WARM_SHARE = 0.4


def free_ports() -> int:
    """A port that is free, and the next one too."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise SystemExit("no free ports")


def ended(http_port: int) -> int:
    """Calls that are over, by the server's own count."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return int(
        sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("voicegw_calls_total{"))
    )


def calls_of(http_port: int) -> list[dict[str, Any]]:
    """The last calls in the database."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/api/calls?limit=1000", timeout=30) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())["calls"]
    return found


def watch(server: Server, port: int, caller: Sipp, calls: int, limit_s: float) -> list[tuple[int, float]]:
    """Ended calls and MB, ten times in a thousand calls, until the caller has placed them all."""
    seen: list[tuple[int, float]] = []
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        placed, count = caller.process.poll() is not None, ended(port + 1)
        if not seen or count - seen[-1][0] >= 100 or count >= calls:
            seen.append((count, rss_mb(server.pid)))
            if count // 1000 > (seen[-2][0] if len(seen) > 1 else 0) // 1000:
                print(f"{count:6} calls  {seen[-1][1]:7.2f} MB", flush=True)
        if count >= calls or placed:
            break
        time.sleep(0.5)
    return seen


def growth(seen: list[tuple[int, float]], calls: int) -> tuple[float, float]:
    """MB in 1000 calls: the median of the steps, and a line through all."""
    steady = [(count, mb) for count, mb in seen if count >= WARM_SHARE * calls]
    marks = [steady[0]]
    for count, mb in steady:
        if count - marks[-1][0] >= min(1000, calls // 10):
            marks.append((count, mb))
    steps = [(b[1] - a[1]) * 1000 / (b[0] - a[0]) for a, b in pairwise(marks)]
    fit = np.polyfit([count for count, _ in steady], [mb for _, mb in steady], 1)
    return float(np.median(steps)), float(fit[0] * 1000)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=40, help="calls a second")
    options = parser.parse_args()
    calls, rate = options.calls, options.rate
    with tempfile.TemporaryDirectory(prefix="voicegw-soak-") as name:
        folder, port = Path(name), free_ports()
        (folder / "silence.ulaw").write_bytes(SILENCE * 50)
        server = Server(port, folder / "data", "", real=False)
        scenario = Scenario("soak").call().play(folder / "silence.ulaw").pause(TALK_MS).bye()
        arguments = ("-m", str(calls), "-r", str(rate), "-l", "500", "-mp", "31000")
        with sipp(folder / "sipp", scenario, f"127.0.0.1:{port}", *arguments, timeout_s=3600) as caller:
            seen = watch(server, port, caller, calls, 60 + 3 * calls / rate)
            code = caller.process.wait(60)
        time.sleep(2)  # the last rows
        bad = [c for c in calls_of(port + 1) if (c["state"], c["cause"]) != ("ended", "normal")]
        server.stop()
    grown, fit = growth(seen, calls)
    print(f"{seen[-1][0]} calls, {rate} a second: {seen[0][1]:.1f} MB at first, {seen[-1][1]:.1f} at last;")
    print(f"{grown:+.3f} MB in 1000 calls ({fit:+.3f} by a line through all);")
    print(f"sipp's exit code {code}, {len(bad)} of the last 1000 calls not normal")
    return int(grown > MOST_MB or code != 0 or bool(bad) or seen[-1][0] < calls)


if __name__ == "__main__":
    sys.exit(main())
