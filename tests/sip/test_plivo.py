"""Plivo: signatures, documents, calls by its REST interface. What all carriers share: tests/contracts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip import plivo
from sip.carrier import Refused, WebRequest
from sip.carrierrest import RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.mediacore import Started
from tests.contracts.carriers import Plivo as Case
from tests.contracts.doors import PUBLIC, Door, Taken, door
from tests.contracts.farend import Hook

NONCE = "05429567804466091622"
FIELDS = {"CallUUID": "abc", "From": "15551112222", "To": "15553334444"}


def visit(scenario: Callable[[Door, Case], Awaitable[None]], **config: Any) -> None:
    async def scene() -> None:
        def make(url: str) -> plivo.Plivo:
            return plivo.Plivo(
                plivo.PlivoConfig("MA1", Case.token, "+4930", api_url=url, rest=RestConfig(tries=1), **config)
            )

        async with door(make) as made:
            await scenario(made, Case())

    asyncio.run(scene())


async def tell(d: Door, hook: Hook) -> str:
    async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def connect(d: Door, case: Case, url: str) -> None:
    ws = await d.client.ws_connect(d.local(url))
    d.sockets.append(ws)
    for message in case.start():
        await ws.send_str(str(message))


async def talk(d: Door, case: Case) -> Taken:
    await connect(d, case, await case.announce(d))
    return await d.call()


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", "PG8WMV5ibm4DG5pGSsiGfWNjVUqmktDgqlGp0Ehb4WY="),
        ("?a=1&b=2", "eXWQZLs8/+In7zASKJjTN25d2xxazoyQN2zXLQKkeec="),
        ("?b=2&a=1", "eXWQZLs8/+In7zASKJjTN25d2xxazoyQN2zXLQKkeec="),
    ],
)
def test_the_signature_is_version_3(query: str, expected: str) -> None:
    url = f"https://voice.example.com/plivo/answer{query}"
    body = urlencode(FIELDS).encode()
    headers = {"X-Plivo-Signature-V3": f"other, {expected}", "X-Plivo-Signature-V3-Nonce": NONCE}
    request = WebRequest("POST", url, headers, body)
    assert plivo.signature("12345", request, NONCE) == expected
    carrier = Case().carrier("")
    carrier.check(request)
    for change in (
        {"X-Plivo-Signature-V3-Nonce": ""},
        {"X-Plivo-Signature-V3": ""},
        {"X-Plivo-Signature-V3": "ü"},
    ):
        with pytest.raises(Refused):
            carrier.check(WebRequest("POST", url, {**headers, **change}, body))


def test_parameters_of_the_stream_come_with_the_call() -> None:
    (started,) = plivo.PlivoCore().receive(Case().start()[0])
    assert isinstance(started, Started) and started.parameters == {"a": "1", "b": "2"}


def test_hanging_up_and_keys() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        taken.leg.send_dtmf("12#")
        message = await d.sockets[0].receive_json(timeout=5)
        assert message == {"event": "sendDTMF", "dtmf": "12#"}
        d.rest.answer = lambda _: (404, {"error": "not found"})
        await taken.leg.hangup(HangupCause.NORMAL)
        asked = await d.rest.until(2)
        assert [(a.method, a.path) for a in asked] == [
            ("DELETE", "/Account/MA1/Call/call-1/"),
            ("DELETE", "/Account/MA1/Request/call-1/"),
        ]

    visit(scenario)


def test_a_transfer_sends_the_caller_to_a_document_that_dials() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        await taken.leg.transfer(Transfer("+4940", timeout_s=15))
        (asked,) = d.rest.asked
        assert asked.path == "/Account/MA1/Call/call-1/" and asked.fields["legs"] == "aleg"
        assert await d.ended(taken) is HangupCause.NORMAL
        document = await tell(d, case.signed(asked.fields["aleg_url"], CallUUID="call-1"))
        assert document == plivo.dial("4940", "+4930", 15)

    visit(scenario)


def test_a_refused_transfer_leaves_the_caller_with_the_bot() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        d.rest.answer = lambda _: (401, {"error": "no"})
        with pytest.raises(TransferError, match="auth_id and auth_token"):
            await taken.leg.transfer(Transfer("+4940"))
        assert not taken.sink.causes

    visit(scenario)


def test_a_call_is_placed_rings_and_is_answered() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"request_uuid": "call-1", "message": "call fired"})
        progress: list[CallProgress] = []
        order = OutboundCall("+4915", "+4930", call_id="ours", ring_timeout_s=25)
        task = asyncio.ensure_future(d.mount.desk.place(order, progress.append))
        (asked,) = await d.rest.until(1)
        assert (asked.fields["to"], asked.fields["from"], asked.fields["ring_timeout"]) == (
            "4915",
            "4930",
            25,
        )
        await tell(d, case.signed(asked.fields["ring_url"], CallUUID="call-1", CallStatus="ringing"))
        document = await tell(d, case.signed(asked.fields["answer_url"], CallUUID="call-1"))
        await connect(d, case, document.partition(">wss")[2].partition("<")[0].replace("://", "wss://", 1))
        leg = await task
        assert leg.info.call_id == "ours" and progress == [CallProgress.RINGING]

    visit(scenario, amd=True)


def test_who_does_not_answer_and_who_is_refused() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"request_uuid": "call-1"})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        gone = {"CallUUID": "call-1", "HangupCauseCode": "3010", "HangupCauseName": "Busy Line"}
        await tell(d, case.signed(asked.fields["hangup_url"], **gone))
        with pytest.raises(CallFailed, match="Busy Line") as error:
            await task
        assert error.value.cause is HangupCause.BUSY
        d.rest.answer = lambda _: (402, {"error": "payment"})
        with pytest.raises(CallFailed, match="no credits left"):
            await d.mount.desk.place(OutboundCall("+4915"))

    visit(scenario)


def test_reports_are_kept_once() -> None:
    async def scenario(d: Door, case: Case) -> None:
        await talk(d, case)
        (asked,) = await d.rest.until(1)
        assert asked.path == "/Account/MA1/Call/call-1/Record/"
        for _ in range(2):
            url = f"{PUBLIC}/plivo/recording"
            await tell(d, case.signed(url, CallUUID="call-1", RecordUrl="https://p/1", RecordingID="r1"))
            await tell(d, case.signed(f"{PUBLIC}/plivo/machine", CallUUID="call-1", Machine="true"))
        assert [kind for _, kind, _ in d.reports] == ["recording", "amd"]

    visit(scenario, record=True)


def test_the_addresses_of_webhooks_carry_the_order() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"request_uuid": "call-1"})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        orders = {parse_qs(urlsplit(asked.fields[n]).query)["order"][0] for n in ("answer_url", "hangup_url")}
        assert len(orders) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await d.rest.until(2))[1].method == "DELETE"

    visit(scenario)
