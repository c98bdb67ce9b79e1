"""Call set-ups a second over a bad line: sipp calls our user agent, loses messages, and counts.

    python -m bench.setups                          300 a second for 20 s, 5 % of messages lost both ways
    python -m bench.setups --rate 100 --loss 0 --transport t1

A call is INVITE, 180, 200, ACK, 1.8 s, BYE, with an RTP port of its own; no audio is sent. Good: sipp
has seen every call through, the server has heard of each exactly once, and none is left. CPU is the server's.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

from media.metronome import Metronome
from sip.endpoint import IncomingCall
from sip.errors import CallFailed
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig

HOST = "127.0.0.1"
# Of a call. The 200 of an INVITE whose ACK was lost comes again after 0.5 and 1.5 s: sipp would take one that
# comes after its BYE for the answer to that, and leave a call behind whose BYE was lost too.
HOLD_MS = 1800
REPAIR_S = 40  # longest repetition (32 s), and something to spare


async def serve() -> None:
    """The process under test: answers every call, until SIGTERM; says then what it has seen."""
    media = RtpMedia(RtpConfig(host=HOST, first_port=0, last_port=0), Metronome())
    agent = UserAgent(SipConfig(host=HOST, port=0, max_calls=20_000, max_transactions=100_000), media)
    ids: list[str] = []
    failed = 0

    async def answer(call: IncomingCall) -> None:
        nonlocal failed
        ids.append(call.info.carrier_id)
        call.ring()
        try:
            await call.answer()
        except CallFailed:  # its ACK was lost, and BYE came before the next one
            failed += 1

    await agent.start(answer)
    before = cpu()
    print(agent.uri.rpartition(":")[2], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await asyncio.sleep(1)
    counters = agent.counters
    seen = {
        "calls": len(ids),
        "different": len(set(ids)),
        "unanswered": failed,
        "left": agent.calls,
        "repeated": counters.repeated,
        "absorbed": counters.absorbed,
        "errors": counters.errors,
        "cpu_s": cpu() - before,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(seen), flush=True)
    await agent.close()


def cpu() -> float:
    """User and system seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """One run."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.setups", "--serve"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    port, calls = server.stdout.readline().strip(), int(options.rate * options.seconds)
    command = ["sipp", "-sn", "uac", f"{HOST}:{port}", "-i", HOST, "-nostdin", "-t", options.transport]
    command += ["-r", f"{options.rate}", "-m", f"{calls}", "-d", f"{HOLD_MS}", "-l", "9000"]
    command += ["-lost", f"{options.loss}", "-trace_err", "-timeout", f"{options.seconds + REPAIR_S:g}s"]
    command += ["-trace_stat", "-stf", "statistics.csv"]
    caller = subprocess.run(
        [*command, "-timeout_error"], cwd=folder, capture_output=True, check=False, env=os.environ
    )
    server.send_signal(signal.SIGTERM)
    seen: dict[str, object] = json.loads(
        server.communicate(timeout=REPAIR_S + 10)[0].strip().splitlines()[-1]
    )
    header, *_, last = (folder / "statistics.csv").read_text().splitlines()
    statistics = dict(zip(header.split(";"), last.split(";"), strict=False))
    seen |= {"seen_through": int(statistics["SuccessfulCall(C)"])}
    errors = "".join(path.read_text(errors="replace") for path in folder.glob("*_errors.log"))
    return seen | {"wanted": calls, "sipp": caller.returncode, "sipp_errors": errors[:2000]}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=300, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--loss", type=int, default=5, help="percent of messages, both ways")
    parser.add_argument("--transport", default="u1", help="sipp's -t: u1, t1")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        uvloop.run(serve())
        return 0
    if shutil.which("sipp") is None:
        print("sipp is not installed: apt install sip-tester", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="voicegw-setups-") as name:
        seen = measure(options, Path(name))
    wanted, calls = seen["wanted"], seen["calls"]
    once = wanted == calls == seen["different"] == seen["seen_through"]
    good = seen["sipp"] == 0 and once and not seen["errors"] and not seen["left"]
    print(f"{options.rate} calls/s for {options.seconds:g} s, {options.loss} % lost, {options.transport}")
    print(
        f"  {wanted} calls, {calls} heard of, {seen['different']} different, "
        f"{seen['seen_through']} seen through: {'good' if good else 'BAD'}"
    )
    print(f"  hung up before the ACK: {seen['unanswered']}; in progress at the end: {seen['left']}")
    print(f"  repaired: {seen['repeated']} messages repeated, {seen['absorbed']} repetitions absorbed")
    milliseconds = float(str(seen["cpu_s"])) * 1000 / max(1, int(str(calls)))
    print(f"  {milliseconds:.2f} ms CPU a call, {float(str(seen['rss_mb'])):.0f} MB at most")
    if not good:
        print(seen["sipp_errors"], file=sys.stderr)
    return not good


if __name__ == "__main__":
    sys.exit(main())
