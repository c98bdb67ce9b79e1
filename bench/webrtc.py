"""What N browser calls cost: each echoes the sound of an aiortc peer that lives in another process.

    python -m bench.webrtc --calls 1,10 --seconds 20 [--stack own|aiortc]

CPU is that of this process (user + system): ICE, DTLS-SRTP, jitter buffer, Opus both ways. `ear` is the delay
from a peer's microphone to our ear: the end of a frame with a click, until `on_audio` gets it. `loop` is from
there and back to the peer's loudspeaker, which holds 80 ms in aiortc's jitter buffer. `gap` is between
frames at the peer, `beat` the metronome's lateness. `--stack aiortc` echoes by aiortc itself, for comparison.
"""

import argparse
import asyncio
import fractions
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any

import av
import numpy as np
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from media.frames import AudioFrame
from media.leg import CallInfo, HangupCause
from media.metronome import Metronome
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.leg import WebRtcLeg
from sip.webrtc.media import WebRtcMedia

RATE, FRAME = 48000, 960
WARM_UP_S = 3.0
CLICK_FRAMES = 50  # a loud frame each second
LOUD = 6000

Clicks = dict[int, list[float]]  # peer -> when, by the clock that all processes share


class Microphone(MediaStreamTrack):  # type: ignore[misc]
    """Faint noise, and a click each second."""

    kind = "audio"

    def __init__(self, number: int, clicks: list[float]) -> None:
        super().__init__()
        self._clicks, self._count, self._start = clicks, 0, 0.0
        self._phase = number * 7 % CLICK_FRAMES
        rng = np.random.default_rng(number)
        self._noise = (rng.standard_normal(FRAME) * 100).astype("<i2").tobytes()
        self._click = (20000 * np.sin(np.arange(FRAME) * 0.05)).astype("<i2").tobytes()

    async def recv(self) -> av.AudioFrame:
        self._start = self._start or time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self._count * 0.02 - time.monotonic()))
        click = self._count % CLICK_FRAMES == self._phase
        if click:
            self._clicks.append(time.monotonic())
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(self._click if click else self._noise)
        frame.sample_rate, frame.pts = RATE, self._count * FRAME
        frame.time_base = fractions.Fraction(1, RATE)
        self._count += 1
        return frame


class Peers:
    """The other process."""

    def __init__(self, calls: int) -> None:
        self.spoken: list[list[float]] = [[] for _ in range(calls)]
        self.heard: list[list[float]] = [[] for _ in range(calls)]
        self.gaps: list[float] = []
        self.began = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, pipe: Connection, seconds: float) -> None:
        connections = [self._connection(n) for n in range(len(self.spoken))]
        for connection in connections:
            await connection.setLocalDescription(await connection.createOffer())
        pipe.send([connection.localDescription.sdp for connection in connections])
        answers: list[str] = await asyncio.to_thread(pipe.recv)
        for connection, answer in zip(connections, answers, strict=True):
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        self.began = time.monotonic()
        await asyncio.sleep(WARM_UP_S + seconds)
        pipe.send({"spoken": self.spoken, "heard": self.heard, "gaps": sorted(self.gaps)})
        for connection in connections:
            await connection.close()
        for task in self._tasks:
            task.cancel()

    def _connection(self, number: int) -> RTCPeerConnection:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTrack(Microphone(number, self.spoken[number]))

        @connection.on("track")  # type: ignore[misc,untyped-decorator,unused-ignore]
        def on_track(track: MediaStreamTrack) -> None:
            self._tasks.append(asyncio.get_running_loop().create_task(self._listen(number, track)))

        return connection

    async def _listen(self, number: int, track: MediaStreamTrack) -> None:
        last = 0.0
        try:
            while True:
                frame = await track.recv()
                now = time.monotonic()
                if last and now - self.began > WARM_UP_S:
                    self.gaps.append((now - last) * 1000)
                last = now
                if abs(frame.to_ndarray()).max() > LOUD:
                    self.heard[number].append(now)
        except MediaStreamError:
            pass


def peers(pipe: Connection, calls: int, seconds: float) -> None:
    uvloop.run(Peers(calls).run(pipe, seconds))


class Echo:
    """Sends back what came in, and notes when a click came."""

    def __init__(self, leg: WebRtcLeg, heard: list[float]) -> None:
        self._leg, self._heard = leg, heard
        self._last: AudioFrame | None = None

    def on_audio(self, frame: AudioFrame) -> None:
        self._last = frame
        if abs(np.frombuffer(frame.pcm, "<i2")).max() > LOUD:
            self._heard.append(time.monotonic())

    def on_tick(self) -> None:
        if self._last is not None:
            self._leg.send(self._last)
            self._last = None

    def on_dtmf(self, digit: str) -> None: ...

    def on_played(self, pts: int) -> None: ...

    def on_closed(self, cause: HangupCause) -> None: ...


class Ours:
    """Legs of ours."""

    def __init__(self, calls: int) -> None:
        self.heard: list[list[float]] = [[] for _ in range(calls)]
        self.late: list[float] = []
        self._legs: list[WebRtcLeg] = []
        metronome = Metronome(self.late.append)
        self._media = WebRtcMedia(WebRtcConfig(), metronome, (40, 200), datetime.now(UTC))

    async def answer(self, offers: Sequence[str]) -> list[str]:
        await self._media.__aenter__()
        answers = []
        for number, offer in enumerate(offers):
            leg = WebRtcLeg(self._media, CallInfo(str(number), "", "", "webrtc"), lambda _: None)
            answers.append(await leg.negotiate(offer))
            await leg.candidate(None)
            self._legs.append(leg)
        return answers

    async def begin(self) -> None:
        for leg, heard in zip(self._legs, self.heard, strict=True):
            await leg.connected()
            leg.start(Echo(leg, heard))

    async def end(self) -> int:
        for leg in self._legs:
            await leg.hangup(HangupCause.NORMAL)
        await self._media.__aexit__()
        return sum(leg.stats.received.lost + leg.stats.received.discarded for leg in self._legs)


class Theirs:
    """aiortc's own connections."""

    def __init__(self, calls: int) -> None:
        self.heard: list[list[float]] = [[] for _ in range(calls)]
        self.late: list[float] = [0.0]
        self._connections: list[RTCPeerConnection] = []

    async def answer(self, offers: Sequence[str]) -> list[str]:
        answers = []
        for offer, heard in zip(offers, self.heard, strict=True):
            connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            connection.on("track", lambda t, c=connection, h=heard: c.addTrack(EchoTrack(t, h)))
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
            answers.append(connection.localDescription.sdp)
            self._connections.append(connection)
        return answers

    async def begin(self) -> None: ...

    async def end(self) -> int:
        for connection in self._connections:
            await connection.close()
        return 0


class EchoTrack(MediaStreamTrack):  # type: ignore[misc]
    """What comes in goes out."""

    kind = "audio"

    def __init__(self, source: MediaStreamTrack, heard: list[float]) -> None:
        super().__init__()
        self._source, self._heard = source, heard

    async def recv(self) -> Any:
        frame = await self._source.recv()
        if abs(frame.to_ndarray()).max() > LOUD:
            self._heard.append(time.monotonic())
        return frame


def delays(spoken: list[list[float]], heard: list[list[float]], since: float) -> list[float]:
    """Milliseconds from each click to the first time it was heard."""
    found = []
    for said, came in zip(spoken, heard, strict=True):
        for at in said:
            first = next((t for t in came if 0 <= t - at < 0.9), None)
            if at >= since and first is not None:
                found.append((first - at) * 1000)
    return sorted(found)


def at(values: Sequence[float], share: float) -> float:
    return round(values[min(len(values) - 1, int(len(values) * share))], 1) if values else float("nan")


async def measure(calls: int, stack: str, seconds: float) -> dict[str, object]:
    server = Ours(calls) if stack == "own" else Theirs(calls)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peers, args=(theirs, calls, seconds), daemon=True)
    process.start()
    offers: list[str] = await asyncio.to_thread(ours.recv)
    ours.send(await server.answer(offers))
    await server.begin()
    await asyncio.sleep(WARM_UP_S)
    server.late.clear()
    usage, since = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await asyncio.sleep(seconds - 1)
    wall = time.monotonic() - since
    now = resource.getrusage(resource.RUSAGE_SELF)
    used = now.ru_utime + now.ru_stime - usage.ru_utime - usage.ru_stime
    late = sorted(server.late) or [0.0]
    told: dict[str, Any] = await asyncio.to_thread(ours.recv)
    lost = await server.end()
    process.join(10)
    ear, loop = delays(told["spoken"], server.heard, since), delays(told["spoken"], told["heard"], since)
    return {
        "stack": stack,
        "calls": calls,
        "cpu_ms_per_call_s": round(used / wall / calls * 1000, 1),
        "ear_p50_ms": at(ear, 0.5),
        "ear_p95_ms": at(ear, 0.95),
        "loop_p50_ms": at(loop, 0.5),
        "gap_p50_ms": at(told["gaps"], 0.5),
        "gap_p99_ms": at(told["gaps"], 0.99),
        "gap_max_ms": at(told["gaps"], 1),
        "beat_p99_ms": round(late[int(len(late) * 0.99)] * 1000, 1),
        "lost": lost,
        "clicks": len(ear),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="1,10")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--stack", choices=["own", "aiortc"], default="own")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    options = parser.parse_args()
    for number, calls in enumerate(int(c) for c in options.calls.split(",")):
        result = uvloop.run(measure(calls, options.stack, options.seconds))
        if options.json:
            print(json.dumps(result), flush=True)
            continue
        if number == 0:
            print("  ".join(f"{k:>10}" for k in result))
        print("  ".join(f"{v!s:>{max(10, len(k))}}" for k, v in result.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
