"""Events in another order than they happened, twice, or late: what becomes of the call."""

import asyncio
from collections.abc import Callable

import pytest

from dialog.types import Transfer
from media.leg import HangupCause
from tests.sip.esl.switch import Connection, FakeChannel, frame
from tests.sip.freeswitch.rig import Rig, rig_test, until
from tests.sip.freeswitch.test_calls import answers, placed

GROUP_S = 0.03  # what comes within this time is given another order
Shuffle = Callable[[list[bytes]], list[bytes]]


def backwards(frames: list[bytes]) -> list[bytes]:
    return frames[::-1]


def twice(frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames for _ in range(2)]


def backwards_and_twice(frames: list[bytes]) -> list[bytes]:
    return frames[::-1] + frames


def disorder(rig: Rig, shuffle: Shuffle) -> None:
    """From now on every connection gets its events so."""
    waiting: dict[Connection, list[bytes]] = {}

    def flush(connection: Connection) -> None:
        for data in shuffle(waiting.pop(connection)):
            connection.write(data)

    def emit(connection: Connection, data: bytes) -> None:
        if connection not in waiting:
            waiting[connection] = []
            asyncio.get_running_loop().call_later(GROUP_S, flush, connection)
        waiting[connection].append(data)

    rig.switch.emit = emit


any_order = pytest.mark.parametrize("shuffle", [backwards, twice, backwards_and_twice])


@any_order
def test_a_call_is_answered_and_ends_once(shuffle: Shuffle) -> None:
    async def test(rig: Rig) -> None:
        disorder(rig, shuffle)
        fake = await rig.call()
        await until(lambda: fake.answered)
        await asyncio.sleep(2 * GROUP_S)
        rig.sip[0].media.close(HangupCause.NORMAL)
        fake.hangup("NORMAL_CLEARING", variable_rtp_audio_in_mos="4.10")
        assert await rig.sessions[0].closed is HangupCause.NORMAL  # a second end would raise in the sink
        await asyncio.sleep(2 * GROUP_S)
        assert len(rig.sessions) == 1 and not rig.edge.calls.legs and not rig.edge.calls.channels

    rig_test(test)


@any_order
def test_a_call_is_placed_once(shuffle: Shuffle) -> None:
    async def test(rig: Rig) -> None:
        disorder(rig, shuffle)
        answers(rig)
        leg = await placed(rig)
        (fake,) = rig.switch.channels.values()
        assert leg.channel.uuid == fake.uuid
        await leg.hangup(HangupCause.NORMAL)
        await until(lambda: not fake.up and not rig.edge.calls.legs)
        assert not rig.edge.calls.placed and not rig.edge.client.router.channels

    rig_test(test)


@any_order
def test_the_caller_is_handed_over_once(shuffle: Shuffle) -> None:
    async def test(rig: Rig) -> None:
        disorder(rig, shuffle)
        fake = await rig.call()
        await asyncio.sleep(2 * GROUP_S)
        await rig.legs[0].transfer(Transfer("4711"))
        (agent,) = [c for c in rig.switch.channels.values() if c is not fake]
        assert fake.bridged == agent.uuid and fake.up and agent.up
        assert await rig.sessions[0].closed is HangupCause.NORMAL
        await asyncio.sleep(2 * GROUP_S)
        assert fake.up and agent.up and len(rig.sessions) == 1

    rig_test(test)


def test_what_is_late_revives_nothing() -> None:
    async def test(rig: Rig) -> None:
        fake: FakeChannel = await rig.call()
        connections = list(rig.switch.inbound)
        late = [fake.event(name) for name in ("CHANNEL_ANSWER", "CHANNEL_BRIDGE", "DTMF")]
        fake.hangup("NORMAL_CLEARING")
        assert await rig.sessions[0].closed is HangupCause.NORMAL
        for event in late:
            for connection in connections:
                connection.write(frame(event))
        await asyncio.sleep(2 * GROUP_S)
        assert len(rig.sessions) == 1 and not rig.edge.calls.legs and not rig.sip[0].media.keys

    rig_test(test)


def test_a_call_that_the_dialplan_has_taken_back_is_left_to_it() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.switch.call(rig.edge.server.port, current_application="playback")
        await until(lambda: "nolinger" in rig.switch.received)
        # Leaving would end the next `socket` application, should the dialplan have come to it by now.
        assert fake.up and not fake.ran and not rig.came and not rig.switch.exits

    rig_test(test)
