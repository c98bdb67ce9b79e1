"""What a crash or a lost event leaves behind is put right."""

import asyncio

import pytest

from media.leg import HangupCause
from sip.freeswitch import guard
from tests.sip.esl.switch import FakeChannel
from tests.sip.freeswitch.rig import Rig, rig_test, until


def parked(rig: Rig, **variables: str) -> FakeChannel:
    fake = rig.switch.channel("orphan", variables)
    fake.application = "park"
    return fake


def test_a_parked_call_is_brought_to_us_again() -> None:
    async def test(rig: Rig) -> None:
        parked(rig, voicegw_call="old")
        await rig.edge.reconciler.look()
        transfers = [line for line in rig.switch.received if "uuid_transfer" in line]
        assert not transfers  # a channel may be on its way: only twice in a row counts
        await rig.edge.reconciler.look()
        transfers = [line for line in rig.switch.received if "uuid_transfer" in line]
        plan = guard.pick_up(f"127.0.0.1:{rig.edge.server.port} async full")
        assert transfers == [f"api uuid_transfer orphan '{plan}' inline"]
        assert rig.edge.calls.counters.picked_up == 1

    rig_test(test)


def test_a_caller_left_with_the_music_of_a_transfer_is_brought_to_us_again() -> None:
    async def test(rig: Rig) -> None:
        rig.switch.channel("orphan", {"voicegw_call": "old"}).application = "playback"
        rig.switch.channel("others").application = "playback"
        await rig.edge.reconciler.look()
        await rig.edge.reconciler.look()
        moved = [line for line in rig.switch.received if "uuid_transfer" in line]
        assert len(moved) == 1 and "orphan" in moved[0]

    rig_test(test)


def test_a_person_called_for_a_caller_who_is_gone_is_let_go() -> None:
    async def test(rig: Rig) -> None:
        fake = parked(rig, voicegw_agent_of="somebody")
        await rig.edge.reconciler.look()
        await rig.edge.reconciler.look()
        assert not fake.up and rig.edge.calls.counters.killed == 1

    rig_test(test)


def test_calls_in_hand_and_calls_of_others_are_left_alone() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        fake.application = "park"
        rig.switch.channel("others")  # bridged, not to us
        for _ in range(3):
            await rig.edge.reconciler.look()
        assert not [line for line in rig.switch.received if "uuid_transfer" in line]
        assert not rig.sessions[0].closed.done()

    rig_test(test)


def test_a_session_without_a_channel_ends() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        del rig.switch.channels[fake.uuid]  # and nobody heard it
        await rig.edge.reconciler.look()
        assert not rig.sessions[0].closed.done()  # the event may be on its way
        await rig.edge.reconciler.look()
        assert await asyncio.wait_for(rig.sessions[0].closed, 2) is HangupCause.NETWORK
        assert rig.edge.calls.counters.ghosts == 1

    rig_test(test)


def test_what_is_kept_for_calls_that_have_ended_is_forgotten_and_never_what_a_channel_may_pick_up() -> None:
    async def test(rig: Rig) -> None:
        parked(rig, voicegw_call="waits")
        left = {"waits": "orphan", "gone": "gone", "unknown": ""}
        rig.edge.calls.left_over = lambda: left
        rig.edge.calls.on_ended = left.pop  # type: ignore[assignment]
        for _ in range(3):
            await rig.edge.reconciler.look()
        assert left == {"waits": "orphan"}
        rig.switch.channels["orphan"].hangup()
        await rig.edge.reconciler.look()
        assert not left

    rig_test(test)


def test_many_that_are_left_are_looked_at_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.freeswitch.reconciler.AT_ONCE", 3)

    async def test(rig: Rig) -> None:
        for number in range(5):
            rig.switch.channel(f"up{number}")
        left = {f"call{number}": f"up{number}" for number in range(5)} | {"last": "gone"}
        rig.edge.calls.left_over = lambda: left
        rig.edge.calls.on_ended = left.pop  # type: ignore[assignment]
        await rig.edge.reconciler.look()
        asked = [line for line in rig.switch.received if "uuid_exists" in line]
        assert len(asked) == 3 and "last" in left
        await rig.edge.reconciler.look()
        assert "last" not in left and len(left) == 5

    rig_test(test)


def test_it_runs_by_itself() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        strange = '{"rows": [{"uuid": "no uuid", "application": "playback"}]}'
        shown: list[str] = []
        rig.switch.apis = {"show": lambda _, __: shown.append(strange) or strange}
        await until(lambda: shown)
        rig.switch.apis = {}
        del rig.switch.channels[fake.uuid]
        await until(rig.sessions[0].closed.done)

    rig_test(test, reconcile_s=0.1)
