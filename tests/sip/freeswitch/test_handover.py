"""Callers handed over: to people, queues, conferences, by REFER; and back when it fails."""

import asyncio

import pytest

from dialog.types import Transfer, TransferMode
from media.errors import TransferError
from media.leg import HangupCause
from sip.errors import LocalProtocolError
from sip.freeswitch.config import TransferBy
from sip.freeswitch.handover import music_of
from tests.sip.esl.switch import FakeChannel
from tests.sip.freeswitch.rig import Rig, rig_test, until


def busy(rig: Rig) -> None:
    async def originate(channel: FakeChannel, where: str) -> str:
        return "-ERR USER_BUSY\n"

    rig.switch.originate = originate


def agent_of(rig: Rig, caller: FakeChannel) -> FakeChannel:
    (agent,) = [c for c in rig.switch.channels.values() if c is not caller]
    return agent


def test_blind_the_caller_is_connected_and_we_leave() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        await rig.legs[0].transfer(Transfer("4711"))
        agent = agent_of(rig, fake)
        assert fake.bridged == agent.uuid and fake.up
        assert await rig.sessions[0].closed is HangupCause.NORMAL
        await until(lambda: rig.switch.exits)
        assert fake.up and agent.up  # they talk on
        assert fake.variables["hangup_after_bridge"] == "true"

    rig_test(test)


def test_busy_the_caller_is_back_and_the_music_off() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        busy(rig)
        with pytest.raises(TransferError, match="busy"):
            await rig.legs[0].transfer(Transfer("4711"))
        assert fake.up and not rig.sessions[0].closed.done()
        sent = [line for line in rig.switch.received if line.startswith("api") and fake.uuid in line]
        assert "local_stream://moh" in sent[-3] and sent[-2] == f"api uuid_break {fake.uuid} all"

    rig_test(test)


def test_attended_the_target_alone_hears_the_summary() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        order = Transfer("4711", TransferMode.ATTENDED, "It is about the bill.")
        await rig.legs[0].transfer(order)
        whisper = rig.sip[1].media
        assert rig.voice.said == ["It is about the bill."]
        assert len(whisper.sent) > 1 and not rig.sip[0].media.sent
        assert fake.bridged == agent_of(rig, fake).uuid and whisper.closed is not None

    rig_test(test)


def test_a_target_who_hangs_up_during_the_summary_sends_the_caller_back() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        inner = rig.bridge

        def bridge(channel: FakeChannel, argument: str) -> None:
            inner(channel, argument)
            asyncio.get_running_loop().call_later(0.05, leaves, channel)

        def leaves(channel: FakeChannel) -> None:
            rig.sip[1].media.close(HangupCause.NORMAL)
            channel.hangup()

        rig.switch.bridge = bridge
        rig.voice.synthesize = slowly  # type: ignore[assignment, method-assign]
        with pytest.raises(TransferError, match="hung up"):
            await rig.legs[0].transfer(Transfer("4711", TransferMode.ATTENDED, "Bill."))
        assert fake.up and not rig.sessions[0].closed.done()

    rig_test(test)


async def slowly(text: str):  # type: ignore[no-untyped-def]
    from media.tts.base import Speech

    await asyncio.sleep(0.1)
    yield Speech(b"\1\0" * 8000)


def test_a_caller_who_hangs_up_while_the_target_rings_ends_the_ringing() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()

        async def rings(channel: FakeChannel, where: str) -> str:
            await asyncio.sleep(60)
            return "+OK"

        rig.switch.originate = rings
        order = asyncio.ensure_future(rig.legs[0].transfer(Transfer("4711")))
        await until(lambda: len(rig.switch.channels) == 2)
        fake.hangup()
        with pytest.raises(TransferError, match="hung up"):
            await order
        await until(lambda: not rig.switch.channels)
        assert await rig.sessions[0].closed is HangupCause.NORMAL

    rig_test(test)


def test_connecting_that_fails_leaves_the_caller_here_and_ends_the_target() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        rig.switch.apis = {"uuid_bridge": lambda _, __: "-ERR Failure\n"}
        with pytest.raises(TransferError, match="connected"):
            await rig.legs[0].transfer(Transfer("4711"))
        await until(lambda: len(rig.switch.channels) == 1)
        assert fake.up and not rig.legs[0].handed_over
        assert fake.variables["hangup_after_bridge"] == "false"

    rig_test(test)


def test_a_conference_takes_the_caller() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        await rig.legs[0].transfer(Transfer("conference:room1"))
        line = f"api uuid_transfer {fake.uuid} 'conference:room1' inline"
        assert line in rig.switch.received and await rig.sessions[0].closed is HangupCause.NORMAL

    rig_test(test)


@pytest.mark.parametrize(
    "answer, target, hangs_up",
    [("202", "200", False), ("202", "", True), ("603", "", False), ("202", "486", False)],
)
def test_refer_where_the_carrier_does_it_else_a_bridge(answer: str, target: str, hangs_up: bool) -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()

        def deflect(_: object, arguments: str) -> str:
            assert fake.variables["sip_refer_continue_after_reply"] == "true"  # else he is hung up on
            fake.variables |= {"sip_refer_status_code": answer, "sip_refer_target_status_code": target}
            if hangs_up:
                asyncio.get_running_loop().call_later(0.01, fake.hangup, "BLIND_TRANSFER")
            return "+OK\n"

        rig.switch.apis = {"uuid_deflect": deflect}
        order = rig.legs[0].transfer(Transfer("sip:desk@192.0.2.9"))
        if target == "486":
            with pytest.raises(TransferError, match="486"):
                await order
            assert fake.up and not rig.sessions[0].closed.done()
            return
        await order
        assert await rig.sessions[0].closed is HangupCause.NORMAL
        assert fake.up is (answer == "603")  # then by a bridge

    rig_test(test, transfer_by=TransferBy.REFER)


def test_a_queue_calls_its_people_in_turn_and_says_the_position() -> None:
    async def test(rig: Rig) -> None:
        await rig.call()
        second = await rig.switch.call(rig.edge.server.port)
        await until(lambda: len(rig.sessions) == 2)
        called: list[str] = []

        async def originate(channel: FakeChannel, where: str) -> str:
            called.append(where.rsplit("/", maxsplit=1)[-1].split(maxsplit=1)[0])
            if len(called) < 4:
                return "-ERR USER_BUSY\n"
            channel.answer()
            return f"+OK {channel.uuid}\n"

        rig.switch.originate = originate
        orders = [asyncio.ensure_future(leg.transfer(Transfer("queue:desk"))) for leg in rig.legs]
        await asyncio.gather(*orders)
        assert called == ["1", "2", "1", "2", "1"]
        assert rig.voice.said[:2] == ["You are number 1 in the queue.", "You are number 2 in the queue."]
        assert rig.voice.said[-1] == "You are number 1 in the queue." and second.bridged
        assert rig.edge.handover.queues.lengths == {"desk": 0}

    rig_test(test, queues={"desk": ("1", "2")}, queue_round_s=0.1)


def test_nobody_comes_or_there_is_no_such_queue() -> None:
    async def test(rig: Rig) -> None:
        await rig.call()
        busy(rig)
        for target, why in (("queue:desk", "nobody came"), ("queue:none", "there is no queue")):
            with pytest.raises(TransferError, match=why):
                await rig.legs[0].transfer(Transfer(target))
        assert not rig.sessions[0].closed.done()

    rig_test(test, queues={"desk": ("1",)}, queue_wait_s=0.2)


@pytest.mark.parametrize("order", ["a b", "x' all", "{y}"])
def test_music_is_a_file_or_a_stream(order: str) -> None:
    with pytest.raises(LocalProtocolError):
        music_of(order, "local_stream://moh")
    assert music_of("/a/b.wav", "") == "/a/b.wav" and music_of("music", "m") == "m"
