"""FreeSWITCH's event socket: what an event costs, how many calls one core controls, what stays behind.

    python -m bench.esl                 # about a minute
    python -m bench.esl --calls 10000   # memory over 10 000 calls

The switch is the scripted one of the tests, in a process of its own, with events as large as real ones; the
SIP calls that bring the audio are messages over UDP, so that what is measured is control alone.
"""

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from sip.esl.channel import Channel
from sip.esl.channels import EventRouter
from sip.esl.client import EslConfig
from sip.esl.counters import EslCounters
from sip.esl.protocol import EslProtocol
from sip.freeswitch import FreeswitchConfig, FreeswitchEdge
from tests.sip.esl.switch import TEMPLATES, FakeChannel, Switch, frame
from tests.sip.freeswitch.rig import REFERENCE, FakeMedia, FakeSipCall, Session

DECODE_US, CONTROL_MS, RISE_KB = 60.0, 10.0, 1.0  # the promises; RISE_KB a call
CALLS, RATE = 200, 20  # at once, and new ones a second


# An event


def decode_us(count: int = 5000) -> float:
    """Of one JSON event of 6 KB: bytes to the reader of its channel."""
    data = frame(TEMPLATES["CHANNEL_ANSWER"])
    uuid = json.loads(data[data.index(b"\n\n") + 2 :])["Unique-ID"]
    core, counters = EslProtocol(), EslCounters()
    router = EventRouter(counters)
    channel = Channel(uuid, _Nobody(), counters)
    with router.following(uuid, channel):
        began = time.process_time()
        for number in range(count):
            core.receive_data(data)
            for message in core.messages():
                router.dispatch(message)  # type: ignore[arg-type]
            if number % 100 == 0:
                channel.events._events.clear()
        return (time.process_time() - began) / count * 1e6


class _Nobody:
    async def demand(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


# The switch's process


async def switch_process(voicegw_port: int, udp_port: int) -> None:
    """Calls come on request by UDP: "call N", "hangup all", "quit"."""
    switch, loop = Switch(), asyncio.get_running_loop()
    await switch.start()
    answered: dict[str, FakeChannel] = {}

    class Media(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, _: Any) -> None:
            word, _, rest = data.decode().partition(" ")
            if word == "answered":
                channel = answered.pop(rest)
                channel.answer()
                channel.bridge(f"b-{channel.uuid}")
            elif word == "call":
                for _ in range(int(rest)):
                    switch.spawn(switch.call(voicegw_port))
            elif word == "hangup":
                for channel in list(switch.channels.values()):
                    channel.hangup()

    transport, media = await loop.create_datagram_endpoint(Media, remote_addr=("127.0.0.1", udp_port))

    def bridge(channel: FakeChannel, argument: str) -> None:
        match = REFERENCE.search(argument)
        assert match is not None
        answered[match[1]] = channel
        transport.sendto(f"ref {match[1]}".encode())

    switch.bridge = bridge
    transport.sendto(f"port {switch.port}".encode())
    await asyncio.sleep(3600)


# Ours


@dataclass
class Bench:
    """One edge, with calls that only wait."""

    edge: FreeswitchEdge | None = None
    switch_port: "asyncio.Future[int] | None" = None
    legs: list[Any] = field(default_factory=list)
    setups_ms: list[float] = field(default_factory=list)
    ended: int = 0
    peer: Any = None
    transport: Any = None

    async def bot(self, call: Any) -> None:
        began = time.perf_counter()
        leg, session = await call.answer(), Session()
        leg.start(session)
        self.setups_ms.append((time.perf_counter() - began) * 1000)
        self.legs.append(leg)
        await session.closed
        self.legs.remove(leg)
        self.ended += 1

    def order(self, text: str) -> None:
        self.transport.sendto(text.encode(), self.peer)


class _Quiet(FakeMedia):
    def start(self, sink: Any) -> None:
        self.sink = sink  # no clock: control alone


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.bench.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        word, _, rest = data.decode().partition(" ")
        self.bench.peer = address
        if word == "port":
            assert self.bench.switch_port is not None
            self.bench.switch_port.set_result(int(rest))
            return
        call = FakeSipCall({"x-voicegw-ref": rest})
        call.media = _Quiet()
        task = asyncio.ensure_future(self._arrive(call, rest))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _arrive(self, call: FakeSipCall, reference: str) -> None:
        assert self.bench.edge is not None
        await self.bench.edge.on_sip_call(call)
        await call.answered.wait()
        self.bench.order(f"answered {reference}")


async def started(bench: Bench) -> asyncio.subprocess.Process:
    """The switch's process and our edge, connected."""
    loop = asyncio.get_running_loop()
    bench.switch_port = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(bench), local_addr=("127.0.0.1", 0))
    udp_port = transport.get_extra_info("sockname")[1]
    probe = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    command = (sys.executable, "-m", "bench.esl", "--switch", str(port), str(udp_port))
    process = await asyncio.create_subprocess_exec(*command)
    esl = EslConfig(port=await bench.switch_port, password="pw")
    config = FreeswitchConfig(enabled=True, esl=esl, socket_port=port, reconcile_s=2.0)
    bench.edge = FreeswitchEdge(config)
    await bench.edge.start(bench.bot, "127.0.0.1:5060")
    await bench.edge.client.connected.wait()
    return process


async def load(bench: Bench) -> dict[str, float]:
    """200 calls up, 20 new ones a second, and a command for each call every second."""
    bench.order(f"call {CALLS // 2}")
    await until(lambda: len(bench.legs) >= CALLS // 2)
    bench.order(f"call {CALLS - CALLS // 2}")
    await until(lambda: len(bench.legs) >= CALLS)
    bench.setups_ms.clear()
    latency_ms: list[float] = []
    loop, cpu = asyncio.get_running_loop(), time.process_time()
    began = loop.time()
    for _ in range(10 * RATE):
        bench.order("call 1")
        for leg in bench.legs[:: RATE // 2][: CALLS // RATE]:
            sent = time.perf_counter()
            await leg.channel.sender.demand(f"api uuid_exists {leg.channel.uuid}")
            latency_ms.append((time.perf_counter() - sent) * 1000)
        await asyncio.sleep(max(0.0, began + len(latency_ms) / (CALLS // RATE) / RATE - loop.time()))
    seconds = loop.time() - began
    latency_ms.sort()
    setups = sorted(bench.setups_ms)
    return {
        "calls": len(bench.legs),
        "core": (time.process_time() - cpu) / seconds,
        "control_p50_ms": latency_ms[len(latency_ms) // 2],
        "control_p99_ms": latency_ms[int(len(latency_ms) * 0.99)],
        "setups_per_s": len(setups) / seconds,
        "setup_p99_ms": setups[int(len(setups) * 0.99)],
    }


async def memory(bench: Bench, calls: int) -> dict[str, float]:
    """KB that stay behind a call, after the first thousand."""
    first = 0
    warm = min(1000, calls // 3)
    bench.order("hangup all")
    await until(lambda: not bench.legs)
    bench.ended = 0
    while bench.ended < calls:
        bench.order("call 50")
        await until(lambda: len(bench.legs) >= 50)
        bench.order("hangup all")
        await until(lambda: not bench.legs)
        if not first and bench.ended >= warm:
            gc.collect()
            first = rss_kb()
    gc.collect()
    return {
        "calls": bench.ended,
        "kb_a_call": (rss_kb() - first) / (bench.ended - warm),
        "rss_mb": rss_kb() / 1024,
    }


def rss_kb() -> int:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def main(calls: int) -> bool:
    us = decode_us()
    print(f"an event of 6 KB: {us:.0f} us (promise: {DECODE_US:.0f})")
    bench = Bench()
    process = await started(bench)
    assert bench.edge is not None
    try:
        found = await load(bench)
        print("; ".join(f"{name} {value:.2f}" for name, value in found.items()))
        kept = await memory(bench, calls)
        print("; ".join(f"{name} {value:.2f}" for name, value in kept.items()))
    finally:
        process.kill()
        await process.wait()
        await bench.edge.close()
    good = us <= DECODE_US and found["control_p99_ms"] <= CONTROL_MS and kept["kb_a_call"] <= RISE_KB
    print("good" if good else "NOT as promised")
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--switch", nargs=2, type=int)
    options = parser.parse_args()
    if options.switch:
        asyncio.run(switch_process(*options.switch))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sys.exit(0 if runner.run(main(options.calls)) else 1)
