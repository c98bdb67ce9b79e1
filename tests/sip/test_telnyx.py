"""Telnyx: signatures, calls by Call Control, errors. What all carriers share: tests/contracts."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip.carrier import Refused, WebRequest
from sip.carrierrest import RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.mediacore import Encoding, Failure, Started
from sip.telnyx import TelnyxCore
from sip.telnyxcarrier import Telnyx, TelnyxConfig
from tests.contracts.carriers import Telnyx as Case
from tests.contracts.doors import Asked, Door, Taken, door
from tests.contracts.farend import Hook


def visit(scenario: Callable[[Door, Case], Awaitable[None]], *, tries: int = 1, **config: Any) -> None:
    async def scene() -> None:
        case = Case()
        public = b64encode(case.key.public_key().public_bytes_raw()).decode()

        def make(url: str) -> Telnyx:
            return Telnyx(
                TelnyxConfig(
                    "KEY1", public, "conn", "+4930", api_url=url, rest=RestConfig(tries=tries), **config
                )
            )

        async with door(make) as made:
            await scenario(made, case)

    asyncio.run(scene())


async def tell(d: Door, hook: Hook) -> None:
    async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
        assert answer.status == 200


async def talk(d: Door, case: Case) -> Taken:
    url = await case.announce(d)
    ws = await d.client.ws_connect(d.local(url), headers=case.socket_headers(url))
    d.sockets.append(ws)
    for message in case.start():
        await ws.send_str(str(message))
    return await d.call()


# Signatures


def test_a_webhook_that_was_signed_long_ago_is_refused() -> None:
    case = Case()
    hook = case.event("call.hangup")
    telnyx = case.carrier("http://127.0.0.1:9")
    telnyx.check(WebRequest("POST", hook.url, hook.headers, hook.body, at=1_699_999_990 + 299))
    for at in (1_699_999_990 + 301, 1_699_999_990 - 301):
        with pytest.raises(Refused, match="too long ago"):
            telnyx.check(WebRequest("POST", hook.url, hook.headers, hook.body, at=at))


@pytest.mark.parametrize("signature", ["", "%%%", "AAAA", b64encode(bytes(64)).decode()])
def test_a_wrong_signature_is_refused(signature: str) -> None:
    case = Case()
    hook = case.event("call.hangup")
    headers = {**hook.headers, "Telnyx-Signature-Ed25519": signature}
    with pytest.raises(Refused, match="wrong signature"):
        case.carrier("").check(WebRequest("POST", hook.url, headers, hook.body, at=1_700_000_000))


@pytest.mark.parametrize("key", ["", "nonsense", b64encode(bytes(31)).decode()])
def test_a_public_key_must_be_one(key: str) -> None:
    with pytest.raises(ValueError, match="public_key"):
        Telnyx(TelnyxConfig("KEY1", key))


# The socket


def test_the_codec_is_the_one_that_comes_if_the_rate_fits() -> None:
    def start(encoding: str, rate: int) -> str:
        form = {"encoding": encoding, "sample_rate": rate, "channels": 1}
        return json.dumps(
            {"event": "start", "stream_id": "s", "start": {"call_control_id": "c", "media_format": form}}
        )

    (started,) = TelnyxCore(Encoding("PCMU", 8000)).receive(start("PCMA", 8000))
    assert isinstance(started, Started)
    assert (started.received.name, started.sent.name) == ("PCMA", "PCMU")
    (started,) = TelnyxCore(Encoding("G722", 16000)).receive(start("G722", 8000))
    assert isinstance(started, Started) and started.received.rate == 16000, "RTP's clock is not the audio's"
    with pytest.raises(RemoteProtocolError, match="OPUS"):
        TelnyxCore(Encoding("PCMU", 8000)).receive(start("OPUS", 48000))


def test_telnyx_complaints_are_told() -> None:
    core = TelnyxCore(Encoding())
    core.receive(Case().start()[1])
    error = {
        "event": "error",
        "stream_id": "stream-1",
        "payload": {"code": 100003, "title": "malformed_frame"},
    }
    assert core.receive(json.dumps(error)) == [Failure("100003 malformed_frame")]


# Calls


def test_a_call_is_answered_once_however_often_it_is_announced() -> None:
    async def scenario(d: Door, case: Case) -> None:
        hook = case.incoming(d)
        for _ in range(3):
            await tell(d, hook)
        (asked,) = d.rest.asked
        assert asked.path == "/calls/call-1/actions/answer"
        assert asked.headers["Authorization"] == "Bearer KEY1"
        wanted = {
            "stream_codec": "PCMA",
            "stream_bidirectional_codec": "PCMA",
            "stream_track": "inbound_track",
        }
        assert wanted.items() <= asked.fields.items()

    visit(scenario, encoding="PCMA")


def test_hanging_up_keys_and_the_end() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        taken.leg.send_dtmf("12#")
        assert (await d.rest.until(2))[1].path == "/calls/call-1/actions/send_dtmf"
        assert d.rest.asked[1].fields["digits"] == "12#"
        d.rest.answer = lambda _: (422, {"errors": [{"code": "90018", "title": "Call has already ended"}]})
        await taken.leg.hangup(HangupCause.NORMAL)
        assert (await d.rest.until(3))[2].path == "/calls/call-1/actions/hangup"

    visit(scenario)


def test_reports_come_into_the_timeline() -> None:
    async def scenario(d: Door, case: Case) -> None:
        await talk(d, case)
        assert (await d.rest.until(2))[1].path == "/calls/call-1/actions/record_start"
        await tell(d, case.event("call.machine.detection.ended", result="human"))
        await tell(d, case.event("call.recording.saved", recording_urls={"wav": "https://t/1"}))  # type: ignore[arg-type]
        kinds = [(kind, dict(data)) for _, kind, data in d.reports]
        assert kinds == [("amd", {"answered_by": "human"}), ("recording", {"wav": "https://t/1"})]

    visit(scenario, record=True)


WRONG_KEY = (401, {"errors": [{"code": "10009", "title": "Authentication failed"}]})


def test_who_cannot_be_answered_is_hung_up_on_and_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda asked: WRONG_KEY if asked.path.endswith("answer") else (200, {})
        await tell(d, case.incoming(d))
        assert [asked.path for asked in d.rest.asked] == [
            f"/calls/call-1/actions/{action}" for action in ("answer", "hangup")
        ]
        ((call, kind, data),) = d.reports
        assert (call, kind) == ("call-1", "error") and "api_key is not valid" in data["message"]
        (record,) = [r for r in caplog.records if r.message == "inbound call not answered"]
        assert record.levelname == "ERROR" and record.carrier_id == "call-1"  # type: ignore[attr-defined]

    visit(scenario)


def test_an_answer_that_telnyx_had_no_time_for_is_asked_for_again() -> None:
    async def scenario(d: Door, case: Case) -> None:
        left = [(503, {}), (0, {}), (200, {})]
        d.rest.answer = lambda _: left.pop(0)
        await tell(d, case.incoming(d))
        assert [asked.path.rpartition("/")[2] for asked in d.rest.asked] == ["answer"] * 3
        assert len({asked.fields["command_id"] for asked in d.rest.asked}) == 1, "else it may answer twice"
        assert not d.reports

    visit(scenario, tries=3)


@pytest.mark.parametrize(
    "answer, cause", [((0, {}), HangupCause.UNREACHABLE), (WRONG_KEY, HangupCause.REJECTED)]
)
def test_a_call_whose_answer_failed_is_closed_although_its_socket_came(
    answer: tuple[int, Any], cause: HangupCause
) -> None:
    """Telnyx has answered, but its word of that was lost."""

    async def scenario(d: Door, case: Case) -> None:
        again, came = asyncio.Event(), asyncio.get_running_loop().create_future()
        hook = case.incoming(d)

        def fails(asked: Asked) -> tuple[int, Any]:
            if not asked.path.endswith("answer"):
                return 200, {}
            if not came.done():
                came.set_result(asked)
            return answer

        d.rest.answer, d.rest.pause = fails, again.wait
        telling = asyncio.ensure_future(tell(d, hook))
        asked = await came
        headers = {"X-Telnyx-Streaming-Auth-Token": asked.fields["stream_auth_token"]}
        ws = await d.client.ws_connect(d.local(asked.fields["stream_url"]), headers=headers)
        d.sockets.append(ws)
        for message in case.start():
            await ws.send_str(str(message))
        taken = await d.call()
        again.set()
        await telling
        assert await d.ended(taken) is cause

    visit(scenario)


def test_who_cannot_be_refused_is_hung_up_on() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.refusal = "busy"
        d.rest.answer = lambda asked: (422, {}) if asked.path.endswith("reject") else (200, {})
        await tell(d, case.incoming(d))
        assert [asked.path.rpartition("/")[2] for asked in d.rest.asked] == ["reject", "hangup"]

    visit(scenario)


def test_a_hang_up_that_fails_too_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: WRONG_KEY
        await tell(d, case.incoming(d))
        assert "carrier did not end the call" in caplog.messages

    visit(scenario)


def placed(asked: Asked) -> tuple[int, Any]:
    return 200, {"data": {"call_control_id": "call-1"}}


def test_a_call_is_placed_and_its_stream_begins_when_it_is_answered() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = placed
        progress: list[CallProgress] = []
        order = OutboundCall("+4915", "+4930", call_id="ours", ring_timeout_s=25)
        task = asyncio.ensure_future(d.mount.desk.place(order, progress.append))
        (asked,) = await d.rest.until(1)
        assert asked.path == "/calls" and asked.fields["answering_machine_detection"] == "detect"
        assert (asked.fields["to"], asked.fields["from"], asked.fields["timeout_secs"]) == (
            "+4915",
            "+4930",
            25,
        )
        query = "?" + asked.fields["webhook_url"].partition("?")[2]
        await tell(d, case.event("call.initiated", query, direction="outgoing"))
        await tell(d, case.event("call.answered", query))
        streaming = (await d.rest.until(2))[1]
        assert streaming.path == "/calls/call-1/actions/streaming_start"
        headers = {"X-Telnyx-Streaming-Auth-Token": streaming.fields["stream_auth_token"]}
        ws = await d.client.ws_connect(d.local(streaming.fields["stream_url"]), headers=headers)
        d.sockets.append(ws)
        for message in case.start():
            await ws.send_str(str(message))
        leg = await task
        assert leg.info.call_id == "ours"
        assert progress == [CallProgress.RINGING, CallProgress.ANSWERED]

    visit(scenario, amd=True)


def test_a_call_whose_stream_cannot_begin_has_failed_and_is_ended() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda asked: (403, {}) if asked.path.endswith("streaming_start") else placed(asked)
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915", "+4930")))
        (asked,) = await d.rest.until(1)
        await tell(d, case.event("call.answered", "?" + asked.fields["webhook_url"].partition("?")[2]))
        with pytest.raises(CallFailed, match="Telnyx answered 403"):
            await task
        assert (await d.rest.until(3))[2].path == "/calls/call-1/actions/hangup"

    visit(scenario)


@pytest.mark.parametrize(
    "event, status",
    [
        ({"hangup_cause": "user_busy", "sip_hangup_cause": "486"}, 486),
        ({"hangup_cause": "timeout"}, 408),
        ({"hangup_cause": "not_found"}, 404),
        ({"hangup_cause": "unspecified", "sip_hangup_cause": "603"}, 603),
        ({"hangup_cause": "normal_clearing"}, 480),
    ],
)
def test_who_does_not_answer_is_told_apart(event: dict[str, str], status: int) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = placed
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        await tell(d, case.event("call.hangup", "?" + asked.fields["webhook_url"].partition("?")[2], **event))
        with pytest.raises(CallFailed) as error:
            await task
        assert error.value.status == status

    visit(scenario)


@pytest.mark.parametrize("kind, failure", [("call.answered", ""), ("call.hangup", "user_busy")])
def test_a_transfer_keeps_the_caller_until_the_target_answers(kind: str, failure: str) -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        handing = asyncio.ensure_future(taken.leg.transfer(Transfer("+4940", timeout_s=20)))
        asked = (await d.rest.until(2))[1]
        assert asked.path == "/calls/call-1/actions/transfer" and asked.fields["to"] == "+4940"
        state = asked.fields["target_leg_client_state"]
        assert b64decode(state)
        event = case.event(kind, client_state=state, hangup_cause=failure)
        await tell(d, event)
        if failure:
            with pytest.raises(TransferError, match="user_busy"):
                await handing
            assert not taken.sink.causes
        else:
            await handing
            assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)
