"""A channel that FreeSWITCH brings while we still have it: one session, that of the newest connection."""

import asyncio
import logging
from typing import Any

import pytest

from media.leg import HangupCause
from sip.esl.client import EslClient
from sip.esl.counters import EslCounters
from sip.esl.server import EslSession
from sip.freeswitch import FreeswitchConfig, guard
from sip.freeswitch.calls import FreeswitchCalls
from sip.freeswitch.sessions import ChannelSessions
from tests.sip.esl.switch import FakeChannel
from tests.sip.freeswitch.rig import Rig, rig_test, until


def killed(rig: Rig) -> list[str]:
    return [line for line in rig.switch.received if "uuid_kill" in line]


async def asked_again(rig: Rig, fake: FakeChannel) -> None:
    """The dialplan comes to its `socket` application once more."""
    await rig.switch.socket(fake, rig.edge.server.port)


def test_two_connections_of_a_channel_at_once_make_one_call(caplog: pytest.LogCaptureFixture) -> None:
    """We hung, and wake just as the dialplan asks again."""
    caplog.set_level(logging.WARNING)

    async def test(rig: Rig) -> None:
        fake = rig.switch.channel("c1")
        await asyncio.gather(asked_again(rig, fake), asked_again(rig, fake))
        await until(lambda: rig.edge.calls.counters.superseded and rig.sessions)
        await until(lambda: fake.answered and fake.bridged)
        assert len([s for s in rig.sessions if not s.closed.done()]) == 1
        assert list(rig.edge.calls.legs) == ["c1"] and rig.edge.calls.counters.superseded == 1
        assert fake.up and not killed(rig) and not rig.switch.exits
        fake.hangup()
        assert await rig.sessions[-1].closed is HangupCause.NORMAL
        await until(lambda: not rig.edge.server.sessions)

    rig_test(test)
    assert any("brought its channel once more" in record.message for record in caplog.records)


def test_a_call_that_is_up_and_is_brought_again_goes_on_in_the_new_session() -> None:
    """We hung for longer than FreeSWITCH waits for our audio."""

    async def test(rig: Rig) -> None:
        fake = await rig.call()
        first, over = rig.came[0].info.call_id, list[str]()
        rig.edge.calls.on_superseded = over.append
        rig.edge.calls.on_ended = lambda call_id: over.append(f"ended {call_id}")
        await until(lambda: fake.answered)
        await asked_again(rig, fake)
        assert await asyncio.wait_for(rig.sessions[0].closed, 5) is HangupCause.SUPERSEDED
        assert rig.sip[0].media.closed is not None
        await until(lambda: len(rig.sessions) == 2)
        assert rig.came[1].info.headers["x-voicegw-resumes"] == first and over == [first]
        assert fake.up and not killed(rig) and not rig.switch.exits
        assert rig.edge.calls.legs[fake.uuid] is rig.legs[1]
        await rig.legs[1].hangup(HangupCause.NORMAL)
        assert await rig.sessions[1].closed is HangupCause.NORMAL and not fake.up

    rig_test(test)


def fetching(rig: Rig) -> None:
    """FreeSWITCH carries out a transfer to our socket."""

    def transfer(_: Any, arguments: str) -> str:
        uuid, _, plan = arguments.partition(" ")
        assert plan == f"'{guard.pick_up(rig.edge.calls.socket)}' inline"
        rig.switch.spawn(rig.switch.socket(rig.switch.channels[uuid], rig.edge.server.port))
        return "+OK\n"

    rig.switch.apis = {"uuid_transfer": transfer}


def test_a_caller_whose_audio_freeswitch_has_given_up_is_fetched_when_we_wake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sip.freeswitch.leg.SOUND_S", 0.0)
    monkeypatch.setattr("sip.freeswitch.leg.MEDIA_GONE_S", 0.01)

    async def test(rig: Rig) -> None:
        fetching(rig)
        fake = await rig.call()
        rig.sip[0].media.close(HangupCause.TEMPORARY)
        assert await asyncio.wait_for(rig.sessions[0].closed, 5) is HangupCause.SUPERSEDED
        await until(lambda: len(rig.sessions) == 2)
        assert fake.up and not killed(rig) and not rig.sessions[1].closed.done()
        assert rig.came[1].info.headers["x-voicegw-resumes"] == rig.came[0].info.call_id

    rig_test(test)


@pytest.mark.parametrize(
    "sound_s, cause, brought",
    [
        (0.0, HangupCause.MEDIA_TIMEOUT, True),  # no audio reaches us: it would be the same again
        (15.0, HangupCause.TEMPORARY, True),  # none of ours reaches FreeSWITCH
        (0.0, HangupCause.TEMPORARY, False),  # FreeSWITCH does not do it
    ],
)
def test_a_call_that_fetching_cannot_help_ends(
    sound_s: float, cause: HangupCause, *, brought: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sip.freeswitch.leg.SOUND_S", sound_s)
    monkeypatch.setattr("sip.freeswitch.leg.FETCH_S", 0.01)

    async def test(rig: Rig) -> None:
        if brought:
            fetching(rig)
        fake = await rig.call()
        rig.sip[0].media.close(cause)
        assert await asyncio.wait_for(rig.sessions[0].closed, 5) is cause
        assert not fake.up and len(rig.sessions) == 1

    rig_test(test)


def test_a_call_that_rings_is_answered_by_the_newest_session_only() -> None:
    async def test(rig: Rig) -> None:
        go, inner, rang = asyncio.Event(), rig.bot, list[Any]()

        async def slow(call: Any) -> None:
            rang.append(call)
            await go.wait()
            await inner(call)

        rig.edge._on_call = slow
        fake = await rig.switch.call(rig.edge.server.port)
        await until(lambda: rang)
        await asked_again(rig, fake)
        await until(lambda: rig.edge.calls.counters.superseded)
        go.set()
        await until(lambda: rig.sessions)
        assert len(rig.came) == 2 and len(rig.sip) == 1
        assert fake.variables["voicegw_call"] == rig.legs[0].info.call_id
        assert [error.cause for error in rig.failed] == [HangupCause.SUPERSEDED]
        assert fake.up and not killed(rig) and not rig.switch.exits

    rig_test(test)


def test_a_connection_that_is_older_and_read_later_is_over() -> None:
    class Followed:
        def __init__(self) -> None:
            self.uuid, self.is_up, self.cause = "c1", True, ""

        def lost(self, cause: str) -> None:
            self.is_up, self.cause = False, cause

    def session(number: int) -> EslSession:
        return EslSession(Followed(), Data(), None, number)  # type: ignore[arg-type]

    class Data:
        def get(self, name: str) -> str:
            return ""

    calls = FreeswitchCalls(config := FreeswitchConfig(), EslClient(config.esl, EslCounters()))
    sessions, older, newer = ChannelSessions(calls), session(1), session(2)
    with sessions.newest(newer) as first:
        assert first
        with sessions.newest(older) as second:
            assert not second and older.channel.cause == "SUPERSEDED"
        assert newer.channel.is_up and calls.counters.superseded == 1
    with sessions.newest(session(1)) as third:
        assert third  # nobody has the channel any more
