"""Calls in and out through a scripted FreeSWITCH."""

import asyncio
from typing import Any

import pytest

from media.leg import Direction, HangupCause
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError
from sip.esl.messages import Event
from sip.freeswitch.causes import cause_of, failure_of, name_of
from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.figures import figures_of
from sip.freeswitch.outbound import dial_string
from tests.sip.esl.switch import TEMPLATES, FakeChannel, Switch
from tests.sip.freeswitch.rig import FakeSipCall, Rig, rig_test, until


def test_a_call_comes_in_is_answered_and_ends() -> None:
    async def test(rig: Rig) -> None:
        values = {"sip_h_X-Tenant": "acme", "flow_customer": "42", "sip_h_X-VoiceGW-Resumes": "evil"}
        fake = await rig.call(**values)
        info = rig.came[0].info
        assert (info.caller, info.callee, info.carrier) == ("+15550100", "7000", "freeswitch")
        assert info.carrier_id == fake.uuid and info.direction is Direction.INBOUND
        assert info.headers["x-tenant"] == "acme" and info.passed == {"customer": "42"}
        assert "x-voicegw-resumes" not in info.headers
        assert [name for name, _ in fake.ran] == ["ring_ready", "bridge"]
        assert fake.variables["voicegw_call"] == info.call_id
        rig.sip[0].media.close(HangupCause.NORMAL)  # the BYE comes before the event
        fake.hangup("NORMAL_CLEARING", variable_rtp_audio_in_mos="4.10")
        assert await rig.sessions[0].closed is HangupCause.NORMAL
        assert rig.legs[0].stats.fields()["caller_mos"] == 4.1 and not rig.edge.calls.legs

    rig_test(test)


def test_a_sip_call_with_an_unknown_or_used_reference_is_refused() -> None:
    async def test(rig: Rig) -> None:
        await rig.call()
        used = rig.sip[0].info.headers["x-voicegw-ref"]
        for reference in (used, "0" * 32, ""):
            stranger = FakeSipCall({"x-voicegw-ref": reference})
            await rig.edge.on_sip_call(stranger)
            assert stranger.rejected == 403
        counters = rig.edge.calls.references.counters
        assert (counters.matched, counters.refused) == (1, 3)

    rig_test(test)


def test_a_sip_call_without_a_reference_is_a_call_like_any_other() -> None:
    async def test(rig: Rig) -> None:
        rig.refuse = 486
        plain = FakeSipCall({})
        await rig.edge.on_sip_call(plain)
        assert rig.came == [plain] and plain.rejected == 486

    rig_test(test)


@pytest.mark.parametrize("status, cause", [(404, "UNALLOCATED_NUMBER"), (486, "USER_BUSY")])
def test_a_refused_call_is_hung_up_with_its_cause(status: int, cause: str) -> None:
    async def test(rig: Rig) -> None:
        rig.refuse = status
        fake = await rig.switch.call(rig.edge.server.port)
        await until(lambda: not fake.up)
        assert f"api uuid_kill {fake.uuid} {cause}" in rig.switch.received

    rig_test(test)


@pytest.mark.parametrize("draining", [False, True])
def test_without_room_the_dialplan_goes_on(draining: bool) -> None:
    async def test(rig: Rig) -> None:
        rig.refuse, rig.edge.draining = 503, draining
        fake = await rig.switch.call(rig.edge.server.port)
        await until(lambda: rig.switch.exits)
        assert rig.switch.exits == [(fake.uuid, True)] and fake.up

    rig_test(test)


def test_audio_that_never_comes_leaves_the_caller_to_the_dialplan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.freeswitch.calls.MEDIA_S", 0.1)

    async def test(rig: Rig) -> None:
        rig.switch.bridge = lambda channel, where: None
        await rig.switch.call(rig.edge.server.port)
        await until(lambda: rig.switch.exits)
        assert rig.edge.calls.counters.failed_media == 1 and not rig.sessions

    rig_test(test)


def test_a_caller_who_gives_up_while_we_answer_is_told() -> None:
    async def test(rig: Rig) -> None:
        rig.switch.bridge = lambda channel, where: channel.hangup("ORIGINATOR_CANCEL")
        failures: list[CallFailed] = []

        async def bot(call: Any) -> None:
            with pytest.raises(CallFailed) as failed:
                await call.answer()
            failures.append(failed.value)

        rig.edge._on_call = bot
        await rig.switch.call(rig.edge.server.port)
        await until(lambda: failures)
        assert failures[0].cause is HangupCause.CANCELLED

    rig_test(test)


def test_a_caller_can_hear_us_before_the_answer() -> None:
    async def test(rig: Rig) -> None:
        answered = asyncio.Event()

        async def bot(call: Any) -> None:
            leg = await call.early()
            assert not rig.sip[0].answered.is_set() and rig.sip[0].heard.is_set()
            await asyncio.sleep(0.05)
            assert rig.sip[0].rejected == 0
            assert await call.answer() is leg
            answered.set()
            await rig.talk(leg)

        rig.edge._on_call = bot
        fake = await rig.switch.call(rig.edge.server.port)
        await asyncio.wait_for(answered.wait(), 5)
        await until(lambda: fake.answered)

    rig_test(test)


def test_we_hang_up() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        await rig.legs[0].hangup(HangupCause.NORMAL)
        assert await rig.sessions[0].closed is HangupCause.NORMAL
        assert not fake.up and rig.sip[0].media.closed is not None

    rig_test(test)


def test_audio_that_ends_alone_ends_the_call() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        rig.sip[0].media.close(HangupCause.MEDIA_TIMEOUT)
        assert await rig.sessions[0].closed is HangupCause.MEDIA_TIMEOUT
        assert not fake.up

    rig_test(test)


def test_keys_that_only_freeswitch_has_seen_are_merged_with_those_of_the_audio() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        fake.fire("DTMF", **{"DTMF-Digit": "5"})
        fake.fire("DTMF", **{"DTMF-Digit": "F"})  # no key
        await until(lambda: rig.sip[0].media.keys)
        assert rig.sip[0].media.keys == "5"  # the media leg knows which it has had

    rig_test(test)


def test_a_call_outlives_its_socket() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        assert fake.socket is not None
        fake.socket.transport.abort()
        await until(lambda: rig.edge.calls.counters.adopted)
        await rig.legs[0].hangup(HangupCause.NORMAL)  # over the other connection
        assert await rig.sessions[0].closed is HangupCause.NORMAL and not fake.up

    rig_test(test)


def test_a_call_outlives_all_connections_for_a_while() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.call()
        await rig.switch.stop()  # connections only: the channel lives
        await until(lambda: not rig.edge.client.connected.is_set())
        await rig.switch.start()
        await asyncio.wait_for(rig.edge.client.connected.wait(), 5)
        assert not rig.sessions[0].closed.done()
        fake.hangup("NORMAL_CLEARING")
        assert await rig.sessions[0].closed is HangupCause.NORMAL

    rig_test(test)


def test_a_switch_that_crashed_ends_its_calls() -> None:
    async def test(rig: Rig) -> None:
        await rig.call()
        await rig.switch.stop()
        rig.switch.channels.clear()
        await rig.switch.start()
        assert await asyncio.wait_for(rig.sessions[0].closed, 5) is HangupCause.NETWORK

    rig_test(test)


# Outbound


def placed(rig: Rig, **more: Any) -> "asyncio.Future[Any]":
    call = OutboundCall("4930999", "+4912", "Clinic, Berlin", {"X-Order": "7"}, 5.0, "call-1", **more)
    rig.progress = []  # type: ignore[attr-defined]
    return asyncio.ensure_future(rig.edge.place(call, rig.progress.append))  # type: ignore[attr-defined]


def answers(rig: Rig) -> None:
    async def originate(channel: FakeChannel, where: str) -> str:
        channel.fire("CHANNEL_PROGRESS")
        await asyncio.sleep(0.02)
        channel.answer()
        await rig.switch.socket(channel, rig.edge.server.port)
        return f"+OK {channel.uuid}\n"

    rig.switch.originate = originate


def test_a_call_is_placed() -> None:
    async def test(rig: Rig) -> None:
        answers(rig)
        leg = await placed(rig)
        assert leg.info.call_id == "call-1" and leg.info.direction is Direction.OUTBOUND
        (fake,) = rig.switch.channels.values()
        assert leg.channel.uuid == fake.uuid == fake.variables["origination_uuid"]
        assert fake.variables["voicegw_call"] == "call-1"
        assert fake.variables["sip_h_X-Order"] == "7" and fake.variables["originate_timeout"] == "5"
        assert fake.variables["origination_caller_id_name"] == "'Clinic Berlin'"  # the comma would split it
        states = rig.progress  # type: ignore[attr-defined]
        assert states == [CallProgress.TRYING, CallProgress.RINGING, CallProgress.ANSWERED]
        await leg.hangup(HangupCause.NORMAL)
        await until(lambda: not fake.up)

    rig_test(test)


@pytest.mark.parametrize(
    "name, status, cause",
    [
        ("USER_BUSY", "486", HangupCause.BUSY),
        ("NO_ANSWER", "487", HangupCause.NO_ANSWER),
        ("CALL_REJECTED", "603", HangupCause.REJECTED),
        ("USER_NOT_REGISTERED", "", HangupCause.UNREACHABLE),
        ("UNALLOCATED_NUMBER", "404", HangupCause.UNALLOCATED),
        ("INVALID_GATEWAY", "", HangupCause.NO_ROUTE),
        ("NORMAL_CIRCUIT_CONGESTION", "503", HangupCause.CONGESTION),
        ("SOMETHING_NEW", "", HangupCause.TEMPORARY),
    ],
)
def test_each_failure_has_a_final_state_of_its_own(name: str, status: str, cause: HangupCause) -> None:
    async def test(rig: Rig) -> None:
        async def fails(channel: FakeChannel, where: str) -> str:
            channel.hangup(name, variable_sip_term_status=status)
            return f"-ERR {name}\n"

        rig.switch.originate = fails
        with pytest.raises(CallFailed) as failed:
            await placed(rig)
        assert failed.value.cause is cause
        if status not in ("", "487"):
            assert failed.value.status == int(status)
        assert not rig.edge.calls.placed and not rig.edge.client.router.channels
        await rig.edge.client.exists("nothing")
        assert not [line for line in rig.switch.received if "uuid_kill" in line]  # there is nothing left

    rig_test(test)


def test_a_call_given_up_leaves_nothing_ringing() -> None:
    async def test(rig: Rig) -> None:
        async def rings(channel: FakeChannel, where: str) -> str:
            await asyncio.sleep(60)
            return "+OK"

        rig.switch.originate = rings
        call = placed(rig)
        await until(lambda: rig.switch.channels)
        call.cancel()
        await until(lambda: not rig.switch.channels)
        assert any("ORIGINATOR_CANCEL" in line for line in rig.switch.received)

    rig_test(test)


def test_a_call_given_up_just_after_its_answer_is_hung_up() -> None:
    async def test(rig: Rig) -> None:
        answers(rig)
        call = placed(rig)

        def record(switch: Switch, arguments: str) -> str:
            call.cancel()
            return "+OK\n"

        rig.switch.apis = {"uuid_record": record}
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: not rig.switch.channels)

    rig_test(test, record_folder="/var/recordings")


def test_a_call_that_was_given_up_as_it_was_answered_is_hung_up() -> None:
    async def test(rig: Rig) -> None:
        fake = await rig.switch.call(rig.edge.server.port, voicegw_placed="true")
        await until(lambda: not fake.up)
        assert not rig.came
        left = await rig.switch.call(rig.edge.server.port, voicegw_placed="true", voicegw_call="old")
        await until(lambda: rig.came)  # by a server that crashed: to go on with
        assert left.up and rig.came[0].info.direction is Direction.OUTBOUND

    rig_test(test)


def test_without_a_connection_no_call_is_placed(caplog: pytest.LogCaptureFixture) -> None:
    async def test(rig: Rig) -> None:
        await rig.switch.stop()
        await until(lambda: not rig.edge.client.connected.is_set())
        with pytest.raises(CallFailed) as failed:
            await placed(rig)
        assert failed.value.status == 0 and rig.edge.fault()
        assert not [r for r in caplog.records if "given up" in r.message]  # nothing was ordered
        await rig.switch.start()

    rig_test(test)


@pytest.mark.parametrize(
    "target, gateway, where",
    [
        ("4930999", "", "sofia/gateway/trunk/4930999"),
        ("tel:+4930", "other", "sofia/gateway/other/+4930"),
        ("sip:anna@192.0.2.7:5070", "", "sofia/external/anna@192.0.2.7:5070"),
        ("sip:anna@192.0.2.7", "other", "sofia/gateway/other/anna"),
    ],
)
def test_where_calls_go(target: str, gateway: str, where: str) -> None:
    assert dial_string(FreeswitchConfig(gateway="trunk"), target, gateway) == where


@pytest.mark.parametrize("target", ["1 &hangup", "1'x", "sip:a@b|c", "", "x}y", "1\n2", "loopback/9/default"])
def test_what_is_no_number_is_not_dialled(target: str) -> None:
    with pytest.raises(LocalProtocolError):
        dial_string(FreeswitchConfig(gateway="trunk"), target)


def test_a_number_without_a_gateway_is_an_error() -> None:
    with pytest.raises(LocalProtocolError, match="gateway"):
        dial_string(FreeswitchConfig(), "123")


def test_causes_lead_there_and_back() -> None:
    for cause in HangupCause:
        assert cause_of(name_of(cause)) in (cause, HangupCause.TEMPORARY, HangupCause.NORMAL)
    assert failure_of("NORMAL_CLEARING").cause is HangupCause.CANCELLED


def test_figures_of_a_real_call() -> None:
    found = figures_of(Event(TEMPLATES["CHANNEL_HANGUP_COMPLETE"]))
    assert found["caller_mos"] == 4.5 and found["caller_loss_percent"] == 0.0
    assert found["switch_cause"] == "NORMAL_CLEARING" and found["switch_codec"]
