"""Exotel: its addresses, calls by its REST interface, what it cannot do. What all carriers share:
tests/contracts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from dialog.types import Transfer
from media.errors import Unsupported
from media.leg import HangupCause
from sip.carrierrest import CarrierError, RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.exotel import Exotel, ExotelConfig
from tests.contracts.doors import PUBLIC, Door, Taken, door
from tests.contracts.lookalikes import Exotel as Case


def visit(scenario: Callable[[Door, Case], Awaitable[None]], **config: Any) -> None:
    async def scene() -> None:
        def make(url: str) -> Exotel:
            keys = ("A1", "key", "api-token", Case.token, "+4930")
            return Exotel(ExotelConfig(*keys, api_url=url, rest=RestConfig(tries=1), **config))

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


async def tell(d: Door, url: str, **fields: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with d.client.post(d.local(url), data=urlencode(fields), headers=headers) as answer:
        assert answer.status == 200


def test_it_transfers_nobody_and_closing_the_socket_leaves_the_call_to_its_flow() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        with pytest.raises(Unsupported, match="exotel calls cannot be transferred"):
            await taken.leg.transfer(Transfer("+4940"))
        await taken.leg.hangup(HangupCause.NORMAL)
        while not d.sockets[0].closed:
            await d.sockets[0].receive(timeout=5)
        assert not d.rest.asked
        ((call, kind, data),) = d.reports
        assert (call, kind) == ("call-1", "left") and "exotel's own flow" in data["message"]

    visit(scenario)


def test_of_a_caller_who_hangs_up_nothing_is_left() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        await d.sockets[0].send_str(str(case.stop()))
        assert await d.ended(taken) is HangupCause.NORMAL
        assert not d.reports

    visit(scenario)


def test_a_call_that_is_given_up_while_it_rings_is_not_said_to_be_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (200, {"Call": {"Sid": "call-1"}})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        await tell(d, asked.fields["StatusCallback"], CallSid="call-1", Status="ringing")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert d.reports == [("call-1", "error", {"message": "exotel did not end the call: it may ring on"})]
        assert "carrier did not end the call" in caplog.messages
        with pytest.raises(CarrierError, match="Exotel ends no calls"):
            await d.carrier.end("call-1")  # type: ignore[attr-defined]
        await connect(d, case, asked.fields["StreamUrl"])  # answered after all
        while not d.sockets[0].closed:
            await d.sockets[0].receive(timeout=5)
        assert not d.calls

    visit(scenario)


def test_a_call_is_placed_rings_and_is_answered() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (200, {"Call": {"Sid": "call-1"}})
        progress: list[CallProgress] = []
        task = asyncio.ensure_future(
            d.mount.desk.place(OutboundCall("+4915", call_id="ours"), progress.append)
        )
        (asked,) = await d.rest.until(1)
        assert asked.path == "/v1/Accounts/A1/Calls/connect.json"
        assert (asked.fields["From"], asked.fields["CallerId"]) == ("+4915", "+4930")
        assert asked.fields["StreamType"] == "bidirectional" and asked.fields["Record"] == "true"
        assert asked.fields["TimeOut"] == "50", "the pass of the socket lives a minute"
        status = asked.fields["StatusCallback"]
        assert parse_qs(urlsplit(status).query)["token"] == [case.token]
        await tell(d, status, CallSid="call-1", Status="ringing")
        await connect(d, case, asked.fields["StreamUrl"])
        leg = await task
        assert leg.info.call_id == "ours" and progress == [CallProgress.RINGING]
        await tell(d, status, CallSid="call-1", Status="completed", RecordingUrl="https://e/1")
        assert d.reports == [("call-1", "recording", {"RecordingUrl": "https://e/1"})]

    visit(scenario, record=True)


def test_who_does_not_answer_and_who_is_refused() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (200, {"Call": {"Sid": "call-1"}})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        await tell(d, asked.fields["StatusCallback"], CallSid="call-1", Status="busy")
        with pytest.raises(CallFailed, match="busy") as error:
            await task
        assert error.value.cause is HangupCause.BUSY
        d.rest.answer = lambda _: (401, {"RestException": {"Message": "Unauthorized"}})
        with pytest.raises(CallFailed, match="Unauthorized: api_key and api_token"):
            await d.mount.desk.place(OutboundCall("+4915"))

    visit(scenario)


def test_the_status_of_a_call_without_a_token_is_refused() -> None:
    async def scenario(d: Door, case: Case) -> None:
        async with d.client.post(d.local(f"{PUBLIC}/exotel/status?token=x"), data=b"") as answer:
            assert answer.status == 403

    visit(scenario)


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="token is needed"):
        Exotel(ExotelConfig("A1"))
    with pytest.raises(ValueError, match="rate must be one of"):
        ExotelConfig(rate=11025)
