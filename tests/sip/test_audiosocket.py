"""Asterisk's AudioSocket: frames in any pieces, the TCP port, and what the dialplan asks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from dialog.types import Transfer
from media.errors import TransferError, Unsupported
from media.leg import HangupCause
from sip.audiosocket import AudioSocket, AudioSocketConfig, AudioSocketCore
from sip.carrier import Refused, WebRequest
from sip.mediacore import Audio, Digit, Failure, Ignored, Started, Stopped
from sip.medialine import StreamConfig
from tests.contracts.doors import Door, Taken, door
from tests.contracts.softswitches import ID
from tests.contracts.softswitches import AudioSocket as Case

CASE = Case()
CALL = "http://voice/audiosocket/call?uniqueid=17.1&caller=%2B4915&callee=30&tenant=acme"


def visit(
    scenario: Callable[[Door], Awaitable[None]], stream: StreamConfig | None = None, **config: Any
) -> None:
    async def scene() -> None:
        def make(_: str) -> AudioSocket:
            return AudioSocket(AudioSocketConfig(True, port=0, **config))

        async with door(make, stream) as made:
            await scenario(made)

    asyncio.run(scene())


@asynccontextmanager
async def asterisk(d: Door, *said: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of Asterisk that has said this."""
    assert d.mount.port is not None
    reader, writer = await asyncio.open_connection(*d.mount.port.address)
    writer.write(b"".join(said))
    yield reader, writer
    writer.close()


async def ask(d: Door, url: str) -> str:
    async with d.client.get(d.local(url)) as answer:
        assert answer.status == 200 and answer.content_type == "text/plain"
        return await answer.text()


async def announced(d: Door) -> bytes:
    return Case.message(1, UUID(await ask(d, CALL)).bytes)


async def talk(d: Door, said: bytes) -> tuple[Taken, asyncio.StreamReader]:
    """A call that lasts as long as the test."""
    assert d.mount.port is not None
    reader, writer = await asyncio.open_connection(*d.mount.port.address)
    d.mount.port._calls.add(writer)  # so that it is not collected
    writer.write(said)
    return await d.call(), reader


# Frames


@pytest.mark.parametrize("step", [1, 2, 3, 7, 400])
def test_frames_come_in_any_pieces(step: int) -> None:
    said = b"".join(m for m in (CASE.start()[0], CASE.media(CASE.frame, 1), CASE.press("#"), CASE.stop()))  # type: ignore[misc]
    core = AudioSocketCore()
    events = [e for at in range(0, len(said), step) for e in core.receive(said[at : at + step])]
    assert events[1:] == [Audio(CASE.frame), Digit("#"), Stopped()]
    assert isinstance(events[0], Started) and events[0].call_id == str(ID)


def test_what_else_asterisk_may_say() -> None:
    core = AudioSocketCore()
    assert core.receive(Case.message(1, b"short")) == [Ignored("kind 0x1")]
    assert core.receive(Case.message(0xFF, b"\x04")) == [Failure("Asterisk reports error 04")]
    assert core.receive(Case.message(0x42, b"x")) == [Ignored("kind 0x42")]
    failure, stopped = core.receive(Case.message(0x12, bytes(640)))
    assert failure == Failure("Asterisk sends 16000 Hz: carriers.audiosocket.rate is 8000")
    assert stopped == Stopped(HangupCause.INCOMPATIBLE)


def test_wideband() -> None:
    core = AudioSocketCore(16000)
    (started,) = core.receive(CASE.start()[0])
    assert isinstance(started, Started) and started.received.rate == 16000
    assert core.audio(bytes(640))[:3] == b"\x12\x02\x80"


# The port


def test_a_call_comes_in_and_is_hung_up_on() -> None:
    async def scenario(d: Door) -> None:
        taken, reader = await talk(d, b"".join([CASE.start()[0], CASE.media(CASE.frame, 1)]))  # type: ignore[list-item]
        assert taken.info.carrier_id == str(ID) and taken.info.caller == ""
        taken.sink.speaks = 2
        assert await reader.readexactly(646) == Case.message(0x10, b"\x00\x10" * 160) * 2
        await taken.leg.hangup(HangupCause.NORMAL)
        assert await reader.read() == b"\x00\x00\x00"

    visit(scenario)


def test_the_caller_hangs_up_or_is_lost() -> None:
    async def scenario(d: Door) -> None:
        async with asterisk(d, CASE.start()[0]) as (_, writer):  # type: ignore[arg-type]
            taken = await d.call()
            writer.write(CASE.stop())  # type: ignore[arg-type]
            assert await d.ended(taken) is HangupCause.NORMAL
        async with asterisk(d, CASE.start()[0]) as (_, writer):  # type: ignore[arg-type]
            taken = await d.call()
            writer.close()
            assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)


def test_a_connection_that_says_nothing_is_closed() -> None:
    async def scenario(d: Door) -> None:
        async with asterisk(d) as (reader, _):
            assert await reader.read() == b""
        assert not d.calls and d.mount.desk.stats.sockets_without_start == 1

    visit(scenario, StreamConfig(start_s=0.1))


# The dialplan


def test_what_the_dialplan_announces_is_known_of_the_call() -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d, await announced(d))
        assert (taken.info.caller, taken.info.callee) == ("+4915", "30")
        assert taken.info.headers == {"uniqueid": "17.1", "tenant": "acme"}

    visit(scenario, passes=True)


def test_a_pass_is_good_for_one_call() -> None:
    async def scenario(d: Door) -> None:
        known = await announced(d)
        await talk(d, known)
        for said in (known, Case.message(1, uuid4().bytes)):
            async with asterisk(d, said) as (reader, _):
                assert await reader.read() == b""
        assert len(d.calls) == 1 and d.mount.desk.stats.sockets_refused == 2

    visit(scenario, passes=True)


def test_a_full_house_is_said_to_the_dialplan() -> None:
    async def scenario(d: Door) -> None:
        d.refusal = "busy"
        assert await ask(d, CALL) == "busy"

    visit(scenario)


def test_a_transfer_leaves_the_call_to_the_dialplan_which_asks_where_it_goes() -> None:
    async def scenario(d: Door) -> None:
        taken, reader = await talk(d, await announced(d))
        await taken.leg.transfer(Transfer("PJSIP/100"))
        assert await reader.read() == b"\x00\x00\x00", "Asterisk goes on after AudioSocket()"
        assert await ask(d, "http://voice/audiosocket/next?uniqueid=17.1") == "PJSIP/100"
        assert await ask(d, "http://voice/audiosocket/next?uniqueid=17.1") == ""

    visit(scenario)


def test_a_call_that_was_not_announced_cannot_be_transferred() -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d, CASE.start()[0])  # type: ignore[arg-type]
        with pytest.raises(Unsupported, match="not announced this call with its uniqueid"):
            await taken.leg.transfer(Transfer("PJSIP/100"))
        assert not taken.sink.causes

    visit(scenario)


@pytest.mark.parametrize(
    "target",
    [
        "PJSIP/100&PJSIP/0900",
        "PJSIP/100,,U(evil)",
        "PJSIP/100|20",
        "PJSIP/100)",
        "PJSIP/(100",
        "PJSIP/${GLOBAL(x)}",
        "PJSIP/$[1+1]",
        'PJSIP/100" != "',
        "PJSIP/100^20",
        "PJSIP/100\\",
        "PJSIP/1 00",
        "PJSIP/100\nHangup",
        "PJSIP/ä",
        "",
    ],
)
def test_what_would_change_the_dialplan_is_refused_and_the_caller_stays(target: str) -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d, await announced(d))
        with pytest.raises(TransferError, match="cannot be dialled by Asterisk"):
            await taken.leg.transfer(Transfer(target))
        assert not taken.sink.causes
        assert await ask(d, "http://voice/audiosocket/next?uniqueid=17.1") == ""

    visit(scenario)


@pytest.mark.parametrize(
    "target",
    ["PJSIP/100", "PJSIP/+4930@trunk", "Local/100@internal/n", "PJSIP/t/sip:a.b@h:5060;x=tcp", "*98#"],
)
def test_what_asterisk_may_dial(target: str) -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d, await announced(d))
        await taken.leg.transfer(Transfer(target))
        assert await ask(d, "http://voice/audiosocket/next?uniqueid=17.1") == target

    visit(scenario)


def test_from_other_machines_the_dialplan_brings_the_token() -> None:
    carrier = AudioSocket(AudioSocketConfig(True, token="secret"))
    carrier.check(WebRequest("GET", CALL, {}, local=True))
    carrier.check(WebRequest("GET", CALL + "&token=secret", {}))
    for wrong in (CALL, CALL + "&token=", CALL + "&token=other"):
        with pytest.raises(Refused):
            carrier.check(WebRequest("GET", wrong, {}))
        with pytest.raises(Refused):
            AudioSocket(AudioSocketConfig(True)).check(WebRequest("GET", wrong, {}))


def test_a_port_that_others_can_reach_needs_passes() -> None:
    with pytest.raises(ValueError, match="passes: true"):
        AudioSocket(AudioSocketConfig(True, "0.0.0.0"))
    AudioSocket(AudioSocketConfig(True, "0.0.0.0", passes=True))
    with pytest.raises(ValueError, match="rate must be one of"):
        AudioSocketConfig(rate=44100)
