"""What is left of calls when the server is killed (SIGKILL) in the middle of them, again and again?

sipp calls all the time; every 20 s the server is killed and started anew on the same data. After each start
every call must be closed in the database, its timeline readable, its recording playable as far as it was
written.

    .venv/bin/python -m bench.crash                            5 minutes
    .venv/bin/python -m bench.crash --minutes 0.3 --every 6    a look

Exit code 1 if anything is left open, unreadable, or lost.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import soundfile

from bench.calls import Server
from bench.soak import calls_of, free_ports
from tests.e2e.line import SILENCE
from tests.e2e.sipp import Scenario, sipp

TALK_MS = 8_000
LOST_MS = 3_000  # the recording's end lags two seconds behind the call
SETTLE_S = 1.0  # of the new server, before the calls of the old one are looked at


def problems(call: dict[str, Any], data: Path) -> list[str]:
    """What is wrong with what remains of a call that a crash ended, or that ended before."""
    found = []
    if call["state"] != "ended" or not call["ended_at"]:
        found.append(f"state {call['state']}")
    if call["cause"] not in ("crashed", "normal"):
        found.append(f"cause {call['cause']}")
    (timeline,) = data.rglob(f"{call['id']}.jsonl")
    events = [json.loads(line) for line in timeline.read_text().splitlines()]
    if (events[-1]["event"], events[-1].get("state")) != ("call", "ended"):
        found.append(f"the timeline ends with {events[-1]}")
    if not call["answered_at"]:
        return found
    if not call["recording_state"]:
        found.append("the state of the recording is not known")
    for recording in data.rglob(f"{call['id']}.wav"):
        info = soundfile.info(recording)  # raises for what is not playable
        short = (call["duration_ms"] or 0) - 1000 * info.duration
        if short > LOST_MS or (info.channels, info.samplerate) != (2, 8000):
            found.append(f"the recording lacks {short:.0f} ms")
    return found


def life(port: int, folder: Path, seconds: float, rate: int, number: int) -> tuple[int, set[str]]:
    """One life of the server under load, which ends by SIGKILL. Returns how many calls it had taken at the
    end, and what was wrong with those of the lives before."""
    server = Server(port, folder / "data", "", real=False)
    wrong = set()
    scenario = Scenario(f"life{number}").call().play(folder / "silence.ulaw").pause(TALK_MS).bye()
    arguments = ("-m", "100000", "-r", str(rate), "-l", "500", "-mp", "31000")
    with sipp(folder / "sipp", scenario, f"127.0.0.1:{port}", *arguments):
        time.sleep(SETTLE_S)
        for call in calls_of(port + 1):
            if call["from"] != f"life{number}":
                wrong |= {f"{call['id']}: {text}" for text in problems(call, folder / "data")}
        time.sleep(seconds - SETTLE_S)
        taken = len([call for call in calls_of(port + 1) if call["from"] == f"life{number}"])
        os.kill(server.pid, signal.SIGKILL)
        server.reap()
    return taken, wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--every", type=float, default=20, help="seconds between kills")
    parser.add_argument("--rate", type=int, default=3, help="calls a second")
    options = parser.parse_args()
    lives = max(1, round(options.minutes * 60 / options.every))
    wrong: set[str] = set()
    taken = 0
    with tempfile.TemporaryDirectory(prefix="voicegw-crash-") as name:
        folder, port = Path(name), free_ports()
        (folder / "silence.ulaw").write_bytes(SILENCE * 50)
        for number in range(lives):
            count, found = life(port, folder, options.every, options.rate, number)
            taken, wrong = taken + count, wrong | found
            print(
                f"kill {number + 1:3}: {count} calls in the database, {len(found)} faults before", flush=True
            )
        server = Server(port, folder / "data", "", real=False)
        time.sleep(SETTLE_S)
        last = calls_of(port + 1)
        for call in last:
            wrong |= {f"{call['id']}: {text}" for text in problems(call, folder / "data")}
        files = {path.stem for path in (folder / "data" / "calls").rglob("*.jsonl")}
        known = {call["id"] for call in last}
        strays = files - known if len(last) < 1000 else set()
        marks = list((folder / "data" / "calls" / "open").iterdir())
        server.stop()
    causes = Counter(call["cause"] for call in last)
    states = Counter(str(call["recording_state"]) for call in last if call["answered_at"])
    print(f"{lives} kills, {taken} calls; of the last {len(last)}: {dict(causes)}, recordings {dict(states)}")
    print(f"{len(wrong)} faults, {len(strays)} files without a call, {len(marks)} files still marked as open")
    for text in sorted(wrong)[:20]:
        print(f"  {text}")
    return int(bool(wrong or strays or marks))


if __name__ == "__main__":
    sys.exit(main())
