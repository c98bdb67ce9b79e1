"""Bandwidth: documents, calls by its REST interface. What all carriers share: tests/contracts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip import bandwidth
from sip.carrierrest import RestConfig
from sip.endpoint import OutboundCall
from sip.errors import CallFailed, RemoteProtocolError
from tests.contracts.doors import PUBLIC, Door, Taken, door
from tests.contracts.lookalikes import Bandwidth as Case


def visit(scenario: Callable[[Door, Case], Awaitable[None]], **config: Any) -> None:
    async def scene() -> None:
        def make(url: str) -> bandwidth.Bandwidth:
            keys = ("A1", "api", "api-secret", "voicegw", Case.password, "app-1", "+4930")
            made = bandwidth.BandwidthConfig(*keys, api_url=url, rest=RestConfig(tries=1), **config)
            return bandwidth.Bandwidth(made)

        async with door(make) as made:
            await scenario(made, Case())

    asyncio.run(scene())


async def connect(d: Door, case: Case, url: str) -> None:
    ws = await d.client.ws_connect(d.local(url))
    d.sockets.append(ws)
    for message in case.start():
        await ws.send_str(str(message))


async def talk(d: Door, case: Case) -> Taken:
    await connect(d, case, await case.announce(d))
    return await d.call()


def test_an_encoding_that_we_did_not_ask_for_is_named() -> None:
    message = str(Case().start()[0]).replace("audio/PCMU", "audio/L16")
    with pytest.raises(RemoteProtocolError, match="audio/L16"):
        bandwidth.BandwidthCore().receive(message)


def test_hanging_up() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        d.rest.answer = lambda _: (404, {})
        await taken.leg.hangup(HangupCause.NORMAL)
        (asked,) = await d.rest.until(1)
        assert (asked.path, asked.fields) == ("/accounts/A1/calls/call-1", {"state": "completed"})

    visit(scenario)


def test_a_transfer_sends_the_caller_to_a_document_that_dials() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        d.rest.answer = lambda _: (401, {"description": "no"})
        with pytest.raises(TransferError, match="do not belong together"):
            await taken.leg.transfer(Transfer("+4940"))
        assert not taken.sink.causes
        d.rest.answer = lambda _: (200, {})
        await taken.leg.transfer(Transfer("+4940", timeout_s=15))
        asked = d.rest.asked[-1]
        assert asked.fields["state"] == "active"
        (transfer,) = await case.bxml(d, case.signed(asked.fields["redirectUrl"], {}))
        assert transfer.attrib == {"callTimeout": "15", "transferCallerId": "+4930"}
        assert transfer[0].tag == "PhoneNumber" and transfer[0].text == "+4940"
        assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)


def test_a_call_is_placed_and_answered() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"callId": "call-1"})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915", call_id="ours")))
        (asked,) = await d.rest.until(1)
        assert asked.path == "/accounts/A1/calls" and asked.fields["applicationId"] == "app-1"
        assert (asked.fields["from"], asked.fields["username"]) == ("+4930", "voicegw")
        result = {"machineDetectionResult": {"value": "answering-machine"}}
        await case.bxml(d, case.signed(asked.fields["machineDetection"]["callbackUrl"], result))
        start, _ = await case.bxml(d, case.signed(asked.fields["answerUrl"], {"eventType": "answer"}))
        await connect(d, case, start.attrib["destination"])
        assert (await task).info.call_id == "ours"
        assert d.reports == [("call-1", "amd", {"answered_by": "answering-machine"})]

    visit(scenario, amd=True)


@pytest.mark.parametrize(
    "said, cause",
    [("busy", HangupCause.BUSY), ("timeout", HangupCause.NO_ANSWER), ("x", HangupCause.NO_ANSWER)],
)
def test_who_does_not_answer(said: str, cause: HangupCause) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"callId": "call-1"})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        over = {"eventType": "disconnect", "cause": said}
        await case.bxml(d, case.signed(asked.fields["disconnectUrl"], over))
        with pytest.raises(CallFailed, match=said) as error:
            await task
        assert error.value.cause is cause

    visit(scenario)


def test_a_refused_stream_is_in_the_timeline() -> None:
    async def scenario(d: Door, case: Case) -> None:
        event = {"eventType": "mediaStreamRejected", "errorMessage": "no TLS"}
        await case.bxml(d, case.signed(f"{PUBLIC}/bandwidth/stream", event))
        assert d.reports == [("call-1", "error", {"message": "no TLS"})]

    visit(scenario)


def test_settings_that_cannot_work() -> None:
    for config, words in (
        (bandwidth.BandwidthConfig("A1"), "callback_password is needed"),
        (bandwidth.BandwidthConfig("A1", callback_password="x"), "api_password is needed"),
    ):
        with pytest.raises(ValueError, match=words):
            bandwidth.Bandwidth(config)
