"""One call that floods the server by every way there is; another one that must not notice."""

import asyncio
import os
import struct
from pathlib import Path

import pytest

from tests.e2e.line import Line, line
from tests.e2e.server import Server, serving

pytestmark = pytest.mark.real

FLOOD_S = 3.0


async def flood(phone: Line) -> None:
    """2000 packets a second of audio, as many keys, as much garbage; 200 INFO a second."""
    end, n = phone.now() + FLOOD_S, 0
    while phone.now() < end:
        for _ in range(40):
            n += 1
            phone._timestamp = (phone._timestamp + 800) & 0xFFFFFFFF  # another key each time
            phone.send(struct.pack("!BBH", n % 12, 10, 160), 101, marker=0x80)
            phone.send(bytes(160))
            phone.rtp.sendto(os.urandom(60), phone.remote)
        for _ in range(4):
            phone._send("INFO", f"Signal={n % 10}\r\nDuration=160\r\n", "application/dtmf-relay")
        await asyncio.sleep(0.02)


async def both(server: Server) -> None:
    async with line(server.sip_port, "alice") as alice, line(server.sip_port, "mallory") as mallory:
        await alice.answered()
        await mallory.answered()
        await alice.until(lambda: alice.speaking, 10)
        began = alice.now()
        await flood(mallory)
        packets = [packet for packet in alice.log.packets if packet.at > began]
        assert len(packets) >= 0.95 * FLOOD_S / 0.02
        gaps = sorted(b.at - a.at for a, b in zip(packets, packets[1:], strict=False))
        assert gaps[len(gaps) // 2] < 0.025  # this machine may be busy: the median, not the worst
        pressed = alice.now()
        await alice.press("4")
        await alice.until(lambda: alice.heard_since(pressed + 0.5), 10)


def test_a_flood_on_one_call_is_not_heard_on_another(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        asyncio.run(both(server))
        server.settled()
        call = server.call_from("alice")
        assert [e["digit"] for e in call["events"] if e["event"] == "dtmf"] == ["4"]
        assert server.metric("voicegw_call_crashes_total") == 0
        assert {call["state"] for call in server.calls()} == {"ended"}
