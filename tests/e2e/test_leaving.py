"""Callers who interrupt, and callers who hang up whenever they like. Afterwards nothing is left of them but
what was recorded."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.e2e.line import Line, line
from tests.e2e.server import Server, events, serving, wait_until
from tests.tools import need

pytestmark = pytest.mark.real

STOP_MS = 500  # 350 of speech are needed to interrupt; the rest is detection and transport


async def confirming(phone: Line) -> None:
    """By keys to the question whether all is right, which is then being asked."""
    for keys, pause_s in (("1", 0.6), ("2", 0.6), ("2", 2.0), ("1000", 0.6), ("1", 0.6), ("427242#", 0.0)):
        await phone.press(keys)
        await asyncio.sleep(pause_s)
    began = phone.now()
    await phone.until(lambda: phone.heard_since(began + 1.0), 15)


async def leave_while_it_rings(phone: Line) -> None:
    """Too late or not is the network's choice; either way it must end well."""
    phone.cancel()
    await phone.until(lambda: phone.over or phone.remote is not None, 15)
    if not phone.over:
        phone.bye()


async def leave_in_mid_prompt(phone: Line) -> None:
    await phone.answered()
    await phone.until(lambda: phone.speaking, 15)
    await asyncio.sleep(1)
    phone.bye()


async def leave_while_speaking(phone: Line) -> None:
    await phone.answered()
    await phone.bots_turn()
    phone.say("i would like to book an appointment with the dentist")
    await asyncio.sleep(1)
    assert phone.talking
    phone.bye()


async def leave_while_confirming(phone: Line) -> None:
    await phone.answered()
    await phone.until(lambda: phone.speaking, 15)
    await confirming(phone)
    phone.bye()


async def leave_during_transfer(phone: Line) -> None:
    await phone.answered()
    await phone.until(lambda: phone.speaking, 15)
    await phone.press("5")
    await phone.until(lambda: "REFER" in phone.log.requests, 30)
    phone.bye()


async def leave_without_a_word(phone: Line) -> None:
    """The line goes dead: no BYE, no RTP. Only what is missing tells."""
    await phone.answered()
    await phone.until(lambda: phone.speaking, 15)
    phone.silent = True
    await phone.ended(20)


LEAVING: dict[str, Callable[[Line], Awaitable[None]]] = {
    "ringing": leave_while_it_rings,
    "prompt": leave_in_mid_prompt,
    "speaking": leave_while_speaking,
    "confirming": leave_while_confirming,
    "transfer": leave_during_transfer,
    "dead": leave_without_a_word,
}


class Interruption:
    """A caller who speaks over the welcome."""

    def __init__(self) -> None:
        self.spoke_at = self.stopped_at = 0.0
        self.answered = False

    async def __call__(self, phone: Line) -> None:
        await phone.answered()
        await phone.until(lambda: phone.speaking, 15)
        await asyncio.sleep(0.6)  # the first sentence takes longer, whatever is said over it
        self.spoke_at = phone.now()
        phone.say("i would like to book an appointment")
        await phone.until(lambda: not phone.talking, 10)
        self.stopped_at = max(packet.at for packet in phone.heard_since(self.spoke_at - 0.1))
        await phone.bots_turn()
        self.answered = True


class Aftermath:
    """All of them at once, and what the server held before and after."""

    def __init__(self, server: Server) -> None:
        self.server, self.interruption = server, Interruption()
        asyncio.run(self._warm())
        server.settled()
        server.calls()  # opens the reader's database
        self.before = server.held()
        asyncio.run(self._all())
        server.settled()

    async def _warm(self) -> None:
        """The first call opens the files that stay open."""
        async with line(self.server.sip_port, "first") as phone:
            await leave_in_mid_prompt(phone)
        await asyncio.sleep(1)

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, leave in {**LEAVING, "barging": self.interruption}.items():
                group.create_task(self._one(name, leave))

    async def _one(self, name: str, leave: Callable[[Line], Awaitable[None]]) -> None:
        async with line(self.server.sip_port, name) as phone:
            await leave(phone)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    need("flite")
    folder = tmp_path_factory.mktemp("leaving")
    with serving(folder, VOICEGW_RTP__INACTIVITY_S="5") as server:
        yield Aftermath(server)


def test_speech_over_a_prompt_silences_it(aftermath: Aftermath) -> None:
    interruption = aftermath.interruption
    stop_ms = 1000 * (interruption.stopped_at - interruption.spoke_at)
    assert interruption.answered and 100 <= stop_ms <= STOP_MS


def test_only_what_was_heard_is_remembered(aftermath: Aftermath) -> None:
    call = aftermath.server.call_from("barging")
    assert len(events(call, "barge_in")) == 1
    welcome = call["turns"][0]
    assert 0 < len(welcome["heard"]) < len(welcome["text"])
    assert welcome["text"].startswith(welcome["heard"])
    (turn,) = events(call, "turn")
    assert turn["interrupted"] and turn["text"] == "i would like to book an appointment"


@pytest.mark.parametrize("name", [name for name in LEAVING if name != "ringing"])
def test_a_call_is_over_whenever_the_caller_leaves(aftermath: Aftermath, name: str) -> None:
    call = aftermath.server.call_from(name)
    assert call["state"] == "ended" and call["ended_at"] and call["answered_at"]
    assert call["cause"] == ("media_timeout" if name == "dead" else "normal")
    assert not events(call, "error")
    whole_and_playable(call)


def whole_and_playable(call: dict[str, Any]) -> None:
    assert call["recording_state"] == "complete"
    info = soundfile.info(call["recording"])
    assert (info.channels, info.samplerate, info.subtype) == (2, 8000, "PCM_16")
    (ended,) = events(call, "call", state="ended")
    assert abs(1000 * info.duration - ended["t"]) <= 60


def test_a_caller_who_gives_up_while_it_rings(aftermath: Aftermath) -> None:
    call = aftermath.server.call_from("ringing")
    assert call["state"] == "ended" and call["cause"] in {"cancelled", "normal"}
    assert (call["answered_at"] is None) == (call["cause"] == "cancelled")


def test_they_had_come_as_far_as_meant(aftermath: Aftermath) -> None:
    confirming = aftermath.server.call_from("confirming")
    assert events(confirming, "note", name="node", data={"id": "confirm_booking"})
    assert not events(confirming, "note", name="booked")
    assert confirming["turns"][-1]["role"] == "bot" and not events(confirming, "heard")[-1]["complete"]
    assert events(aftermath.server.call_from("transfer"), "act", kind="transfer")


def test_nothing_is_left_of_them(aftermath: Aftermath) -> None:
    server = aftermath.server
    report = server.health()
    assert report["status"] == "ok" and report["calls"] == 0
    assert server.metric("voicegw_calls_active") == 0 and server.metric("voicegw_call_crashes_total") == 0

    # The event loop's own pool of threads fills up to this size as it is used, and stays.
    pool = Counter(threads=min(32, (os.cpu_count() or 1) + 4))

    def no_more() -> bool:
        return not Counter(server.held()) - (Counter(aftermath.before) + pool)

    wait_until(no_more, 20, lambda: (aftermath.before, server.held()))
    assert not list((server.data / "calls" / "open").iterdir())
    assert not server.logged("error", "critical")


def test_sockets_are_given_back(aftermath: Aftermath) -> None:
    """One UDP socket for SIP is all that is left."""
    inodes = {
        link.readlink().name
        for link in Path(f"/proc/{aftermath.server.process.pid}/fd").iterdir()
        if link.is_symlink()
    }
    table = Path("/proc/net/udp").read_text().splitlines()[1:]
    assert sum(f"socket:[{row.split()[9]}]" in inodes for row in table) == 1
