"""Whoever is on the line is left in silence by no server that dies or hangs."""

import asyncio
from typing import Any

import pytest

from dialog.types import Transfer, TransferMode
from media.errors import TransferError
from sip.esl.messages import Event
from sip.freeswitch import guard
from tests.sip.freeswitch.rig import Rig, rig_test, until
from tests.sip.freeswitch.test_calls import answers, placed
from tests.sip.freeswitch.test_handover import agent_of, busy

GUARD = "execute_on_post_bridge"


def lines(rig: Rig, word: str) -> list[int]:
    """Where FreeSWITCH was told this."""
    return [at for at, line in enumerate(rig.switch.received) if word in line]


def test_a_called_party_is_hung_up_on_where_nobody_takes_the_call_it_has_answered() -> None:
    async def test(rig: Rig) -> None:
        answers(rig)
        leg = await placed(rig)
        (fake,) = rig.switch.channels.values()
        assert fake.variables["execute_on_answer"] == "'sched_hangup +10 NORMAL_TEMPORARY_FAILURE'"
        assert fake.variables[GUARD] == "'sched_hangup +30 NORMAL_TEMPORARY_FAILURE'"
        await until(lambda: lines(rig, f"api sched_del {fake.uuid}"))  # taken back
        assert leg.guard == "sched_hangup +30 NORMAL_TEMPORARY_FAILURE"

    rig_test(test)


def test_the_order_stands_until_the_bot_has_the_audio() -> None:
    """We may hang between the answer and the audio as well."""

    async def test(rig: Rig) -> None:
        arrives, inner = asyncio.Event(), rig.bridge

        def bridge(channel: Any, argument: str) -> None:
            async def later() -> None:
                await arrives.wait()
                inner(channel, argument)

            rig.switch.spawn(later())

        rig.switch.bridge = bridge
        answers(rig)
        call = placed(rig)
        await until(lambda: lines(rig, "sendmsg"))
        assert not lines(rig, "sched_del")
        arrives.set()
        await call
        await until(lambda: lines(rig, "sched_del"))

    rig_test(test)


def test_the_dialplan_goes_on_with_a_caller_whose_audio_has_ended_and_whom_nobody_hangs_up() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        assert fake.variables[GUARD] == "sched_transfer +10 7000 XML public"
        await until(lambda: lines(rig, "sched_del"))
        assert lines(rig, "sendmsg")[-1] < lines(rig, "sched_del")[0]

    rig_test(test)


@pytest.mark.parametrize(
    "number, dialplan, context, order",
    [
        ("+4930123", "XML", "trunk", "sched_transfer +10 +4930123 XML trunk"),
        ("*98#", "XML", "trunk", "sched_transfer +10 *98# XML trunk"),
        ("m:^:socket:127.0.0.1:8084 async full", "inline", "trunk", guard.hang_up(30)),
        ("7000", "inline", "trunk", guard.hang_up(30)),
        ("a b", "XML", "trunk", guard.hang_up(30)),
        ("7000", "XML", "a;b", guard.hang_up(30)),
        ("7000", "XML", "", guard.hang_up(30)),
    ],
)
def test_where_a_call_goes_on(number: str, dialplan: str, context: str, order: str) -> None:
    names = ("Caller-Destination-Number", "Caller-Dialplan", "Caller-Context")
    data = Event(dict(zip(names, (number, dialplan, context), strict=True)))
    assert guard.go_on(data) == order


def test_a_plan_asks_again_and_hangs_up_in_the_end() -> None:
    assert guard.plan("h:1 async full", tries=2) == (
        "m:^:socket:h:1 async full^sched_hangup:+30 NORMAL_TEMPORARY_FAILURE^sleep:3000^socket:h:1 async full"
    )
    assert guard.pick_up("h:1 async full", tries=2) == guard.plan("h:1 async full", tries=2).replace(
        "m:^:", "m:^:sched_hangup:+30 NORMAL_TEMPORARY_FAILURE^"
    )
    assert guard.TRIES * guard.AGAIN_MS / 1000 < guard.AGAIN_S


@pytest.mark.parametrize("target", ["4711", "conference:room1"])
def test_who_is_handed_over_is_not_fetched_back(target: str) -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        await rig.legs[0].transfer(Transfer(target))
        (cleared,) = lines(rig, f"api uuid_setvar {fake.uuid} {GUARD}")
        moved = lines(rig, f"api uuid_bridge {fake.uuid}") + lines(rig, f"api uuid_transfer {fake.uuid}")
        assert cleared < moved[0] and not fake.variables[GUARD]

    rig_test(test)


def test_who_could_not_be_handed_over_is_guarded_again() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        rig.switch.apis = {"uuid_bridge": lambda _, __: "-ERR Failure\n"}
        with pytest.raises(TransferError):
            await rig.legs[0].transfer(Transfer("4711"))
        assert fake.variables[GUARD] == rig.legs[0].guard == "sched_transfer +10 7000 XML public"
        rig.switch.apis = {}
        busy(rig)
        with pytest.raises(TransferError):
            await rig.legs[0].transfer(Transfer("4711"))
        assert fake.variables[GUARD] == rig.legs[0].guard

    rig_test(test)


def test_a_person_who_was_called_for_a_caller_does_not_wait_for_ever() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        await rig.legs[0].transfer(Transfer("4711", TransferMode.ATTENDED, "It is about the bill."))
        assert agent_of(rig, fake).variables["park_timeout"] == "70"

    rig_test(test)
