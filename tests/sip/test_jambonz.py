"""jambonz: signatures, verbs, calls by its REST interface. What all carriers share: tests/contracts."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip.audiofork import ForkCore
from sip.carrier import Refused, WebRequest
from sip.carrierrest import RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.jambonz import Jambonz, JambonzConfig, dial
from sip.mediacore import Failure, Started
from tests.contracts.doors import PUBLIC, Door, Taken, door
from tests.contracts.lookalikes import NOW
from tests.contracts.lookalikes import Jambonz as Case


def visit(scenario: Callable[[Door, Case], Awaitable[None]], **config: Any) -> None:
    async def scene() -> None:
        def make(url: str) -> Jambonz:
            keys = ("A1", Case.secret, "key", "app-1", "+4930")
            return Jambonz(JambonzConfig(*keys, api_url=url, rate=16000, rest=RestConfig(tries=1), **config))

        async with door(make) as made:
            await scenario(made, Case())

    asyncio.run(scene())


async def connect(d: Door, case: Case, url: str) -> None:
    ws = await d.client.ws_connect(d.local(url), protocols=case.subprotocols)
    assert ws.protocol == "audio.jambonz.org", "else jambonz leaves at once"
    d.sockets.append(ws)
    for message in case.start():
        await ws.send_str(str(message))


async def talk(d: Door, case: Case) -> Taken:
    await connect(d, case, await case.announce(d))
    return await d.call()


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301])
def test_a_webhook_that_was_signed_long_ago_is_refused(at: int) -> None:
    hook = Case().signed(f"{PUBLIC}/jambonz/call", {}, at)
    with pytest.raises(Refused, match="too long ago"):
        Case().carrier("").check(WebRequest("POST", hook.url, hook.headers, hook.body, at=NOW))


@pytest.mark.parametrize("header", ["", "t=,v1=", "v1=00", f"t={NOW}", f"t={NOW},v1=\udcff", "x" * 1000])
def test_rubbish_is_no_signature(header: str) -> None:
    request = WebRequest("POST", f"{PUBLIC}/jambonz/call", {"Jambonz-Signature": header}, b"{}", at=NOW)
    with pytest.raises(Refused):
        Case().carrier("").check(request)


def test_what_the_metadata_says_is_known_of_the_call() -> None:
    (started,) = ForkCore().receive(str(Case().start()[0]))
    assert isinstance(started, Started) and started.parameters["tenant"] == "acme"
    assert (started.received.rate, started.caller, started.callee) == (16000, "+4915", "+4930")
    for body in ({}, {"callSid": "c", "sampleRate": 11025}, {"callSid": "c", "mixType": "stereo"}):
        with pytest.raises(RemoteProtocolError):
            ForkCore().receive(json.dumps(body))


def test_marks_that_were_cleared_confirm_nothing_and_complaints_are_told() -> None:
    core = ForkCore()
    core.receive(str(Case().start()[0]))
    assert core.receive('{"type":"mark","data":{"name":"0:1","event":"cleared"}}') == []
    assert core.receive('{"type":"error","data":"no"}') == [Failure("no")]


def test_hanging_up() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        d.rest.answer = lambda _: (404, {})
        await taken.leg.hangup(HangupCause.NORMAL)
        (asked,) = await d.rest.until(1)
        assert (asked.method, asked.path) == ("PUT", "/Accounts/A1/Calls/call-1")
        assert asked.fields == {"call_status": "completed"}
        assert asked.headers["Authorization"] == "Bearer key"

    visit(scenario)


def test_a_transfer_sends_the_caller_to_verbs_that_dial() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        await taken.leg.transfer(Transfer("+4940", timeout_s=15))
        (asked,) = d.rest.asked
        verbs = await case.verbs(d, case.signed(asked.fields["call_hook"]["url"], {"call_sid": "call-1"}))
        assert verbs == [dial("+4940", "+4930", 15)]
        assert verbs[0]["target"] == [{"type": "phone", "number": "+4940"}]
        assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)


def test_a_refused_transfer_leaves_the_caller_with_the_bot() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        for status, words in ((401, "do not belong together"), (404, "has hung up")):
            d.rest.answer = lambda _, status=status: (status, {"msg": "no"})  # type: ignore[misc]
            with pytest.raises(TransferError, match=words):
                await taken.leg.transfer(Transfer("+4940"))
        assert not taken.sink.causes

    visit(scenario)


def test_a_call_is_placed_rings_and_is_answered() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"sid": "call-1"})
        progress: list[CallProgress] = []
        order = OutboundCall("+4915", call_id="ours", ring_timeout_s=25)
        task = asyncio.ensure_future(d.mount.desk.place(order, progress.append))
        (asked,) = await d.rest.until(1)
        assert asked.path == "/Accounts/A1/Calls" and asked.fields["application_sid"] == "app-1"
        assert (asked.fields["from"], asked.fields["timeout"]) == ("+4930", 25)
        status, hook = asked.fields["call_status_hook"]["url"], asked.fields["call_hook"]["url"]
        for state in ("trying", "ringing"):
            await case.verbs(d, case.signed(status, {"call_sid": "call-1", "call_status": state}))
        amd = {"call_sid": "call-1", "type": "amd_machine_detected"}
        await case.verbs(d, case.signed(asked.fields["amd"]["actionHook"], amd))
        verbs = await case.verbs(d, case.signed(hook, {"call_sid": "call-1"}))
        await connect(d, case, verbs[1]["url"])
        leg = await task
        assert leg.info.call_id == "ours" and progress == [CallProgress.TRYING, CallProgress.RINGING]
        assert d.reports == [("call-1", "amd", {"answered_by": "machine"})]

    visit(scenario, amd=True)


@pytest.mark.parametrize(
    "said, cause",
    [
        ({"call_status": "busy"}, HangupCause.BUSY),
        ({"call_status": "no-answer"}, HangupCause.NO_ANSWER),
        ({"call_status": "failed", "sip_status": 404, "sip_reason": "Not Found"}, HangupCause.UNALLOCATED),
    ],
)
def test_who_does_not_answer(said: dict[str, Any], cause: HangupCause) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"sid": "call-1"})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("sip:anna@example.com")))
        (asked,) = await d.rest.until(1)
        assert asked.fields["to"] == {"type": "sip", "sipUri": "sip:anna@example.com"}
        url = asked.fields["call_status_hook"]["url"]
        await case.verbs(d, case.signed(url, {"call_sid": "call-1", **said}))
        with pytest.raises(CallFailed, match="jambonz says") as error:
            await task
        assert error.value.cause is cause

    visit(scenario)


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="webhook_secret is needed"):
        Jambonz(JambonzConfig("A1"))
    with pytest.raises(ValueError, match="api_key is needed"):
        Jambonz(JambonzConfig("A1", "secret"))
    with pytest.raises(ValueError, match="rate must be one of"):
        JambonzConfig(rate=44100)
