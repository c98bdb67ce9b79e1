"""What recording and keeping cost: on the audio plane, per event, in the disk thread, in the database task.

received/played    us a frame, on the audio plane
event              us an event, on the control plane
disk thread        ms CPU a call-second, both channels, flushed once a second
database           longest time (ms) that the writer holds the event loop, and ms CPU a change

.venv/bin/python -m bench.recorder [--calls 100] [--seconds 60]
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from media.leg import CallInfo
from recordings.calllog import CallLog
from recordings.paths import CallFiles
from recordings.recorder import Recorder
from recordings.timeline import Turn
from recordings.writer import DiskWriter
from voicegw.storage.engine import Config
from voicegw.storage.ops import Answered, Ended, Spoken, Started
from voicegw.storage.store import open_store

FRAME = random.Random(1).randbytes(320)
NOW = datetime(2025, 3, 1, tzinfo=UTC)


def audio(root: Path, calls: int, seconds: int) -> dict[str, float]:
    """Frames of `calls` calls with up to 8 ms of jitter, flushed by hand: the thread's work, counted."""
    writer, jitter = DiskWriter(), random.Random(2)
    taps = [Recorder(CallFiles(root, f"c{n}", NOW), 8000, writer) for n in range(calls)]
    plane: list[float] = []
    thread = 0.0
    for second in range(seconds):
        for tap in taps:
            times = [1000 * second + 20 * n + jitter.uniform(0, 8) for n in range(50)]
            began = time.perf_counter()
            for at_ms in times:
                tap.received(FRAME, at_ms)
                tap.played(FRAME, at_ms)
            plane.append((time.perf_counter() - began) / 100 * 1e6)
        began = time.process_time()
        for tap in taps:
            tap.flush()
        thread += time.process_time() - began
    for tap in taps:
        tap.finish()
    return {
        "frame_us_p50": statistics.median(plane),
        "frame_us_p99": sorted(plane)[int(len(plane) * 0.99)],
        "disk_thread_ms_per_call_second": thread * 1000 / calls / seconds,
    }


def events(root: Path) -> dict[str, float]:
    """One event as a turn makes it."""
    log = CallLog(CallFiles(root, "events", NOW), time.perf_counter, DiskWriter())
    spent: list[float] = []
    for n in range(4000):
        began = time.perf_counter()
        log.event("turn", text="I would like an appointment", source="speech", confidence=0.93, at_ms=n)
        spent.append((time.perf_counter() - began) * 1e6)
        if n % 100 == 0:
            log.flush()
    log.finish()
    return {"event_us_p50": statistics.median(spent)}


async def database(root: Path, calls: int) -> dict[str, float]:
    """`calls` calls of ten turns that all end at once: how long does a tick of the loop wait?"""
    turn = Turn("bot", "Which day would suit you?", 1000, "Which day", {"total": 640.0, "stt": 12.0})
    held: list[float] = []
    async with open_store(Config(), root) as store:
        # Statements are compiled once: not in the middle of the measurement.
        store.post(Started(CallInfo("warm", "a", "b", "sip"), "f", NOW))
        store.post(Spoken("warm", 0, [turn]))
        await asyncio.sleep(0.5)
        began, written = time.process_time(), store.counters.written
        for n in range(calls):
            store.post(Started(CallInfo(f"c{n}", "a", "b", "sip"), "f", NOW))
            store.post(Answered(f"c{n}", NOW, "x.wav"))
            for t in range(10):
                store.post(Spoken(f"c{n}", t, [turn]))
            store.post(Ended(f"c{n}", NOW, "normal", None, 1000))
        loop = asyncio.get_running_loop()
        while store.backlog:
            due = loop.time() + 0.002
            await asyncio.sleep(0.002)
            held.append((loop.time() - due) * 1000)
        spent = time.process_time() - began
        changes = store.counters.written - written
    return {
        "loop_held_ms_p99": sorted(held)[int(len(held) * 0.99)],
        "loop_held_ms_max": max(held),
        "change_ms_cpu": spent * 1000 / changes,
    }


def main() -> None:
    """Print all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = audio(root / "calls", options.calls, options.seconds) | events(root / "calls")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found |= runner.run(database(root, options.calls))
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()
