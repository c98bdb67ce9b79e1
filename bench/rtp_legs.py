"""What N RTP legs cost: each echoes the audio of a phone that lives in another process.

    python -m bench.rtp_legs --calls 16,100 --seconds 20 [--codec PCMU] [--loop uvloop|asyncio]
    python -m bench.rtp_legs --calls 100 --ciphers plain,AES_CM_128_HMAC_SHA1_80 --times 9

CPU is that of this process (user + system); gaps are between the packets that a phone receives, after
the first second. `late` counts gaps over 40 ms, `beat` is the metronome's worst lateness. What a cipher costs
is less than what others on the machine cost us: ciphers take turns, and medians are compared.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
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
from sip.sdes import SUITES, Crypto, SrtpKeys, SrtpPolicy
from sip.srtp import Srtp, SrtpStats

HOST = "127.0.0.1"
PLAIN = "plain"
WARM_UP_S = 1.0
LATE_MS = 40
PHASES = 4  # phones spread over the packet time, as calls do


@dataclass
class Phones:
    """The far ends: send every 20 ms on absolute deadlines, note when something comes."""

    sockets: list[socket.socket]
    chosen: Codec
    cipher: str

    def run(self, ports: list[int], seconds: float) -> list[float]:
        """Gaps between received packets in milliseconds."""
        sources = [RtpSource(n + 1, 0, 0) for n in range(len(ports))]
        pcm = os.urandom(2 * self.chosen.rate // 50)
        payload, ticks = self.chosen.encoder()(pcm), self.chosen.clock // 50
        kind = self.chosen.payload_type if self.chosen.payload_type is not None else 96
        protect = [self._secret() for _ in ports]
        poller = select.epoll()
        numbers = {s.fileno(): n for n, s in enumerate(self.sockets)}
        for fd in numbers:
            poller.register(fd, select.EPOLLIN)
        last = [0.0] * len(ports)
        gaps: list[float] = []
        start, step = time.perf_counter(), 0.02 / PHASES
        for beat in range(int(seconds / step)):
            burst = range(beat % PHASES, len(ports), PHASES)
            # Before their time: else a cipher spreads the burst, and the server wakes more often.
            packets = [protect[n](sources[n].packet(kind, payload, ticks)) or b"" for n in burst]
            while (wait := start + beat * step - time.perf_counter()) > 0:
                for fd, _ in poller.poll(wait):
                    self._receive(numbers[fd], last, gaps, start)
            for n, packet in zip(burst, packets, strict=True):
                self.sockets[n].sendto(packet, (HOST, ports[n]))
        return gaps

    def _secret(self) -> Callable[[bytes], bytes | None]:
        if self.cipher == PLAIN:
            return lambda packet: packet
        key = phone_key(self.cipher)
        return Srtp(SrtpKeys(self.cipher, key, key), SrtpStats()).protect

    def _receive(self, number: int, last: list[float], gaps: list[float], start: float) -> None:
        try:
            self.sockets[number].recv(2048)
        except BlockingIOError:
            return
        now = time.perf_counter()
        if last[number] and now - start > WARM_UP_S:
            gaps.append((now - last[number]) * 1000)
        last[number] = now


def phone_key(cipher: str) -> bytes:
    """What every phone encrypts with: nobody listens."""
    return bytes(range(SUITES[cipher]))


def phones(pipe: Connection, calls: int, name: str, cipher: str, seconds: float) -> None:
    """The other process."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(calls)]
    for sock in sockets:
        sock.bind((HOST, 0))
        sock.setblocking(False)
    pipe.send([s.getsockname()[1] for s in sockets])
    pipe.send(sorted(Phones(sockets, codec(name), cipher).run(pipe.recv(), seconds)))


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


def offer(port: int, chosen: Codec, cipher: str) -> str:
    kind = chosen.payload_type if chosen.payload_type is not None else 96
    profile, key = "RTP/AVP", ""
    if cipher != PLAIN:
        profile, key = "RTP/SAVP", f"a={Crypto(1, cipher, phone_key(cipher))}\r\n"
    return (
        f"v=0\r\nc=IN IP4 {HOST}\r\nm=audio {port} {profile} {kind} 101\r\n"
        f"a=rtpmap:{kind} {chosen.encoding}\r\na=rtpmap:101 telephone-event/8000\r\n{key}"
    )


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(calls: int, name: str, cipher: str, seconds: float) -> dict[str, object]:
    chosen = codec(name)
    lateness: list[float] = []
    media = RtpMedia(
        RtpConfig(host=HOST, first_port=0, last_port=0, codecs=(name,)), Metronome(lateness.append)
    )
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=phones, args=(theirs, calls, name, cipher, seconds + WARM_UP_S), daemon=True
    )
    process.start()
    ports = await asyncio.to_thread(ours.recv)
    legs = [RtpLeg(media, CallInfo(str(n), "", "", "sip"), Signalling(), HOST) for n in range(calls)]
    for leg, port in zip(legs, ports, strict=True):
        leg.encrypt(SrtpPolicy.OFF if cipher == PLAIN else SrtpPolicy.REQUIRED)
        leg.answer(offer(port, chosen, cipher))
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
    return {"calls": calls, "codec": name, "cipher": cipher} | row(used / wall, gaps, late, stats)


def row(load: float, gaps: list[float], late: list[float], stats: list[ReceptionStats]) -> dict[str, object]:
    """`load` in cores; gaps in milliseconds and lateness in seconds, both sorted."""
    calls = len(stats)
    return {
        "cpu_ms_per_call_s": round(load / calls * 1000, 3),
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


def compare(results: Sequence[dict[str, object]], ciphers: Sequence[str]) -> str:
    """What each cipher costs more than the first of `ciphers`: medians, and the middle half of the turns."""
    used = {c: [float(str(r["cpu_ms_per_call_s"])) for r in results if r["cipher"] == c] for c in ciphers}
    base, lines = used[ciphers[0]], []
    for cipher, costs in used.items():
        more = [(cost / plain - 1) * 100 for cost, plain in zip(costs, base, strict=True)]
        low, _, high = statistics.quantiles(more, n=4)
        middle = statistics.median(costs)
        over = (middle / statistics.median(base) - 1) * 100
        lines.append(f"{cipher}: {middle:.3f} ms a call-second, {over:+.1f} % ({low:+.1f} to {high:+.1f})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", default="16,100")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--codec", default="PCMU")
    parser.add_argument("--ciphers", default=PLAIN, help="of SRTP, as in rtp.srtp_suites, or plain")
    parser.add_argument("--times", type=int, default=1, help="turns of each cipher")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    options = parser.parse_args()
    run = uvloop.run if options.loop == "uvloop" else asyncio.run
    ciphers = options.ciphers.split(",")
    for calls in (int(c) for c in options.calls.split(",")):
        results: list[dict[str, object]] = []
        for cipher in ciphers * options.times:
            result = run(measure(calls, options.codec, cipher, options.seconds))
            results.append(result)
            if options.json:
                print(json.dumps(result), flush=True)
                continue
            if len(results) == 1:
                print("  ".join(f"{k:>{width(k)}}" for k in result))
            print("  ".join(f"{v!s:>{width(k)}}" for k, v in result.items()), flush=True)
        if options.times > 1 and not options.json:
            print(compare(results, ciphers), flush=True)


def width(column: str) -> int:
    """Of a column, in characters."""
    return 24 if column == "cipher" else max(12, len(column))


if __name__ == "__main__":
    sys.exit(main())
