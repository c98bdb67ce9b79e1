"""What N RTP legs cost: each echoes the audio of a phone that lives in another process.

    python -m bench.rtp_legs --calls 16,100 --seconds 20 [--codec PCMU] [--loop uvloop|asyncio]

CPU is that of this process (user + system); gaps are between the packets that a phone receives, after
the first second. `late` counts gaps over 40 ms, `beat` is the metronome's worst lateness.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from media.codecs import Codec, codec
from media.frames import AudioFrame
from media.leg import CallInfo, HangupCause
from media.metronome import Metronome
from media.rtp import ReceptionStats, RtpSource
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpConfig, RtpMedia

HOST = "127.0.0.1"
WARM_UP_S = 1.0
LATE_MS = 40
PHASES = 4  # phones spread over the packet time, as calls do


@dataclass
class Phones:
    """The far ends: send every 20 ms on absolute deadlines, note when something comes."""

    sockets: list[socket.socket]
    chosen: Codec

    def run(self, ports: list[int], seconds: float) -> list[float]:
        """Gaps between received packets in milliseconds."""
        sources = [RtpSource(n + 1, 0, 0) for n in range(len(ports))]
        pcm = os.urandom(2 * self.chosen.rate // 50)
        payload, ticks = self.chosen.encoder()(pcm), self.chosen.clock // 50
        kind = self.chosen.payload_type if self.chosen.payload_type is not None else 96
        poller = select.epoll()
        numbers = {s.fileno(): n for n, s in enumerate(self.sockets)}
        for fd in numbers:
            poller.register(fd, select.EPOLLIN)
        last = [0.0] * len(ports)
        gaps: list[float] = []
        start, step = time.perf_counter(), 0.02 / PHASES
        for beat in range(int(seconds / step)):
            while (wait := start + beat * step - time.perf_counter()) > 0:
                for fd, _ in poller.poll(wait):
                    self._receive(numbers[fd], last, gaps, start)
            for n in range(beat % PHASES, len(ports), PHASES):
                self.sockets[n].sendto(sources[n].packet(kind, payload, ticks), (HOST, ports[n]))
        return gaps

    def _receive(self, number: int, last: list[float], gaps: list[float], start: float) -> None:
        try:
            self.sockets[number].recv(2048)
        except BlockingIOError:
            return
        now = time.perf_counter()
        if last[number] and now - start > WARM_UP_S:
            gaps.append((now - last[number]) * 1000)
        last[number] = now


def phones(pipe: Connection, calls: int, name: str, seconds: float) -> None:
    """The other process."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(calls)]
    for sock in sockets:
        sock.bind((HOST, 0))
        sock.setblocking(False)
    pipe.send([s.getsockname()[1] for s in sockets])
    pipe.send(sorted(Phones(sockets, codec(name)).run(pipe.recv(), seconds)))


class Signalling:
    """Nobody signals here."""

    def hangup(self, cause: HangupCause) -> None: ...

    async def transfer(self, target: str) -> None: ...

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None: ...


class Echo:
    """Sends back what came in, at the next tick."""

    def __init__(self, leg: RtpLeg) -> None:
        self._leg = leg
        self._last: AudioFrame | None = None

    def on_audio(self, frame: AudioFrame) -> None:
        self._last = frame

    def on_tick(self) -> None:
        if self._last is not None:
            self._leg.send(self._last)
            self._last = None

    def on_dtmf(self, digit: str) -> None: ...

    def on_played(self, pts: int) -> None: ...

    def on_closed(self, cause: HangupCause) -> None: ...


def offer(port: int, chosen: Codec) -> str:
    kind = chosen.payload_type if chosen.payload_type is not None else 96
    return (
        f"v=0\r\nc=IN IP4 {HOST}\r\nm=audio {port} RTP/AVP {kind} 101\r\n"
        f"a=rtpmap:{kind} {chosen.encoding}\r\na=rtpmap:101 telephone-event/8000\r\n"
    )


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(calls: int, name: str, seconds: float) -> dict[str, object]:
    chosen = codec(name)
    lateness: list[float] = []
    media = RtpMedia(
        RtpConfig(host=HOST, first_port=0, last_port=0, codecs=(name,)), Metronome(lateness.append)
    )
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=phones, args=(theirs, calls, name, seconds + WARM_UP_S), daemon=True
    )
    process.start()
    ports = await asyncio.to_thread(ours.recv)
    legs = [RtpLeg(media, CallInfo(str(n), "", "", "sip"), Signalling(), HOST) for n in range(calls)]
    for leg, port in zip(legs, ports, strict=True):
        leg.answer(offer(port, chosen))
        leg.start(Echo(leg))
    ours.send([leg.port for leg in legs])
    await asyncio.sleep(WARM_UP_S)
    lateness.clear()
    before, at = cpu(), time.perf_counter()
    await asyncio.sleep(seconds - 0.5)
    used, wall = cpu() - before, time.perf_counter() - at
    late = sorted(lateness)
    gaps: list[float] = await asyncio.to_thread(ours.recv)
    for leg in legs:
        await leg.hangup(HangupCause.NORMAL)
    process.join(5)
    stats = [leg.stats.received for leg in legs]
    return {"calls": calls, "codec": name} | row(used / wall, gaps, late, stats)


def row(load: float, gaps: list[float], late: list[float], stats: list[ReceptionStats]) -> dict[str, object]:
    """`load` in cores; gaps in milliseconds and lateness in seconds, both sorted."""
    calls = len(stats)
    return {
        "cpu_ms_per_call_s": round(load / calls * 1000, 2),
        "core_percent": round(load * 100, 1),
        "gap_p50_ms": round(gaps[len(gaps) // 2], 2),
        "gap_p99_ms": round(gaps[len(gaps) * 99 // 100], 2),
        "gap_max_ms": round(gaps[-1], 2),
        "late": sum(g > LATE_MS for g in gaps),
        "frames": len(gaps),
        "lost": sum(s.lost + s.late + s.discarded for s in stats),
        "beat_p99_ms": round(late[len(late) * 99 // 100] * 1000, 2),
        "beat_max_ms": round(late[-1] * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", default="16,100")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--codec", default="PCMU")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    options = parser.parse_args()
    run = uvloop.run if options.loop == "uvloop" else asyncio.run
    for number, calls in enumerate(int(c) for c in options.calls.split(",")):
        result = run(measure(calls, options.codec, options.seconds))
        if options.json:
            print(json.dumps(result), flush=True)
            continue
        if number == 0:
            print("  ".join(f"{k:>12}" for k in result))
        print("  ".join(f"{v!s:>{max(12, len(k))}}" for k, v in result.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
