"""What every carrier's webhooks and sockets must do: let its calls in, keep strangers out."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from media.leg import HangupCause
from sip.carrier import Refused, WebRequest
from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from sip.mediacore import Means
from sip.medialine import StreamConfig
from tests.contracts.carriers import CASES
from tests.contracts.doors import Door, door
from tests.contracts.farend import CarrierCase

every_carrier = pytest.mark.parametrize(
    "case", [case() for case in CASES if case.web], ids=lambda case: case.name
)
every_announced = pytest.mark.parametrize(
    "case", [case() for case in CASES if case.web and case.announced], ids=lambda case: case.name
)

every_outbound = pytest.mark.parametrize(
    "case",
    [case() for case in CASES if case.web and case().carrier("").capabilities.outbound],
    ids=lambda case: case.name,
)


def visit(
    case: CarrierCase, scenario: Callable[[Door], Awaitable[None]], config: StreamConfig | None = None
) -> None:
    async def scene() -> None:
        async with door(case.carrier, config) as made:
            await scenario(made)

    asyncio.run(scene())


async def connect(case: CarrierCase, d: Door, url: str, **headers: str) -> ClientWebSocketResponse:
    """Open the socket as the carrier would. Raises WSServerHandshakeError."""
    headers = {**case.socket_headers(url), **headers}
    ws = await d.client.ws_connect(d.local(url), headers=headers, protocols=case.subprotocols)
    return ws  # noqa: RET504 - the line above is an await


async def send(ws: ClientWebSocketResponse, *messages: str | bytes) -> None:
    for message in messages:
        await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))


async def refused(case: CarrierCase, d: Door, url: str, **headers: str) -> int:
    with pytest.raises(WSServerHandshakeError) as error:
        await connect(case, d, url, **headers)
    return error.value.status


@every_carrier
def test_a_call_comes_in_and_both_sides_hear(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        ws = await connect(case, d, await case.announce(d))
        await send(ws, *case.start(), case.media(case.frame, 1))
        taken = await d.call()
        assert taken.info.carrier == case.name and taken.info.carrier_id == case.call_id
        assert taken.info.caller == case.caller and taken.info.callee == case.callee
        taken.sink.speaks = 5
        heard = b""
        frames = 0
        while frames < 5:
            message = await ws.receive(timeout=5)
            said = case.understand(message.data)
            heard += said.audio or b""
            frames = len(heard) // len(case.frame)
        assert taken.sink.frames
        await taken.leg.hangup(HangupCause.NORMAL)
        while not ws.closed:  # what was still on its way, and then the close
            await ws.receive(timeout=5)
        assert len(d.calls) == 1

    visit(case, scenario)


@every_carrier
def test_the_caller_hangs_up(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        ws = await connect(case, d, await case.announce(d))
        await send(ws, *case.start())
        taken = await d.call()
        message = case.stop()
        if message is not None:
            await send(ws, message)
        await ws.close()
        assert await d.ended(taken) is HangupCause.NORMAL

    visit(case, scenario)


@every_carrier
def test_a_lost_connection_ends_the_call(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        ws = await connect(case, d, await case.announce(d))
        await send(ws, *case.start())
        taken = await d.call()
        transport = ws.get_extra_info("socket")
        assert transport is not None
        ws._response.connection.transport.abort()  # type: ignore[union-attr]
        assert await d.ended(taken) is HangupCause.NETWORK

    visit(case, scenario)


@every_announced
def test_a_webhook_that_is_altered_or_unsigned_is_refused(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        for hook in case.forged(case.incoming(d)):
            url = d.local(hook.url)
            async with d.client.post(url, data=hook.body, headers=hook.headers) as answer:
                assert answer.status in {400, 401, 403}
        assert d.mount.desk.stats.webhooks_refused == 3

    visit(case, scenario)


@every_announced
@pytest.mark.parametrize(
    "rubbish", ["\udcff", "9" * 5000, f"t={'9' * 5000},v1=x", "Bearer a.b.\udcff", "=", ""]
)
def test_rubbish_in_the_place_of_a_signature_is_refused(case: CarrierCase, rubbish: str) -> None:
    """Headers bring bytes that are no UTF-8 as surrogates."""

    async def scenario(d: Door) -> None:
        hook = case.incoming(d)
        for name in hook.headers.keys() - {"Content-Type"}:
            headers = {**hook.headers, name: rubbish}
            with pytest.raises(Refused):
                d.carrier.check(WebRequest("POST", hook.url, headers, hook.body, at=1_700_000_000))

    visit(case, scenario)


@every_announced
def test_a_pass_opens_the_door_once(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        url = await case.announce(d)
        ws = await connect(case, d, url)
        assert await refused(case, d, url) == 403, "replayed"
        await send(ws, *case.start())
        await d.call()
        assert await refused(case, d, url) == 403, "replayed while the call goes on"

    visit(case, scenario)


@every_announced
def test_a_forged_or_missing_pass_opens_nothing(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        url = await case.announce(d)
        base, token = url.rsplit("/", 1)
        swapped = token[::-1] if token[::-1] != token else "x"
        for wrong in (f"{base}/{swapped}", f"{base}/{token}x", f"{base}/x.y", base):
            assert await refused(case, d, wrong) == 403
        await (await connect(case, d, url)).close()

    visit(case, scenario)


@every_carrier
def test_a_socket_that_the_carrier_has_not_signed_is_refused(case: CarrierCase) -> None:
    if not case.signs_sockets:
        pytest.skip("this carrier signs no sockets")

    async def scenario(d: Door) -> None:
        url = await case.announce(d)
        wrong = {name: value.swapcase() + "x" for name, value in case.socket_headers(url).items()}
        assert await refused(case, d, url, **wrong) in {401, 403}
        await (await connect(case, d, url)).close()  # the pass is not used up by strangers

    visit(case, scenario)


@every_announced
def test_a_pass_is_for_its_own_call(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        ws = await connect(case, d, await case.announce(d))
        other = [m.replace(case.call_id, "call-2") if isinstance(m, str) else m for m in case.start()]
        await send(ws, *other)
        while not ws.closed:
            await ws.receive(timeout=5)
        assert not d.calls

    visit(case, scenario)


@every_announced
def test_a_call_that_is_there_is_not_taken_again(case: CarrierCase) -> None:
    """A webhook that is replayed gets a pass, but no second call."""

    async def scenario(d: Door) -> None:
        first = await connect(case, d, await case.announce(d))
        await send(first, *case.start())
        await d.call()
        second = await connect(case, d, await case.announce(d))
        await send(second, *case.start())
        while not second.closed:
            await second.receive(timeout=5)
        assert len(d.calls) == 1 and not first.closed

    visit(case, scenario)


@every_carrier
def test_a_socket_that_brings_no_call_is_closed(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        ws = await connect(case, d, await case.announce(d))
        while not ws.closed:
            await ws.receive(timeout=5)
        assert not d.calls and d.mount.desk.stats.sockets_without_start == 1

    visit(case, scenario, StreamConfig(start_s=0.1))


@every_announced
def test_a_full_house_is_said_before_the_call_is_answered(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        d.refusal = "busy"
        assert await case.turned_away(d)
        d.refusal = ""
        await case.announce(d)

    visit(case, scenario)


@every_carrier
def test_a_socket_in_the_wrong_manner_is_an_error_of_http(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        url = await case.announce(d)
        async with d.client.get(d.local(url), headers=case.socket_headers(url)) as answer:
            assert 400 <= answer.status < 500

    visit(case, scenario)


@every_outbound
@pytest.mark.parametrize("status, said", [(404, 500), (405, 500), (400, 500), (403, 403)])
def test_a_call_whose_request_is_refused_says_nothing_of_the_number(
    case: CarrierCase, status: int, said: int
) -> None:
    """404 is an address of the interface that is not there, not a number that nobody has."""

    async def scenario(d: Door) -> None:
        d.rest.answer = lambda _: (status, {})
        with pytest.raises(CallFailed, match=f"answered {status}") as error:
            await d.mount.desk.place(OutboundCall("+4915"))
        assert error.value.status == said and len(d.rest.asked) == 1

    visit(case, scenario)


@every_outbound
def test_giving_up_a_call_that_is_over_is_no_complaint_but_where_it_cannot_be_known(
    case: CarrierCase, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(d: Door) -> None:
        d.rest.answer = lambda _: (404, {})
        can = d.carrier.capabilities.hangup is Means.REST
        assert await d.carrier.give_up("call-1") is can
        assert bool(caplog.records) is not can

    visit(case, scenario)


@every_carrier
def test_who_ends_calls_by_no_request_tells_that_he_has_left_them(case: CarrierCase) -> None:
    async def scenario(d: Door) -> None:
        ws = await connect(case, d, await case.announce(d))
        await send(ws, *case.start())
        leg = (await d.call()).leg
        left = d.carrier.capabilities.hangup is Means.FLOW
        await leg.hangup(HangupCause.NORMAL)
        await leg.hangup(HangupCause.NORMAL)
        assert [kind for _, kind, _ in d.reports if kind == "left"] == ["left"] * left

    visit(case, scenario)
