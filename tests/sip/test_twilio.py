"""Twilio: signatures and documents by the words of its own library, calls by its REST interface, faked."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree.ElementTree import fromstring

import pytest
from aiohttp import ClientWebSocketResponse
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Conference, Connect, Dial, Reject, Stream, VoiceResponse

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip import twilioweb
from sip.carrier import Refused, WebRequest
from sip.carrierrest import Ask, RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.twiliocarrier import Amd, TransferBy, Twilio, TwilioConfig
from sip.twilioerrors import ERRORS
from tests.contracts.carriers import Twilio as Case
from tests.contracts.doors import PUBLIC, Door, Taken, door

TOKEN = "12345"
VOICE = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}


# Signatures


def test_the_signature_is_that_of_twilios_library() -> None:
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilioweb.signature(TOKEN, url, VOICE.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert (
        twilioweb.signature(TOKEN, "wss://voice.example.com/twilio/media") == "PGLrn08/Ba1sEIuSwPQRBPD54PA="
    )
    several = [("b", "2"), ("a", "ü"), ("b", "1"), ("b", "2")]
    both = {"b": ["2", "1", "2"], "a": ["ü"]}
    mine = twilioweb.signature(TOKEN, url, several)
    assert mine == RequestValidator(TOKEN).compute_signature(url, _Multi(both))


class _Multi(dict[str, list[str]]):
    def getall(self, name: str) -> list[str]:
        return self[name]


def request(url: str, fields: Mapping[str, str], signed_url: str = "") -> WebRequest:
    sign = RequestValidator(TOKEN).compute_signature(signed_url or url, dict(fields))
    return WebRequest("POST", url, {"X-Twilio-Signature": sign}, urlencode(fields).encode())


@pytest.mark.parametrize(
    "signed", ["https://v.example/twilio/voice?a=1", "https://v.example:443/twilio/voice?a=1"]
)
def test_twilio_may_sign_the_port_or_not(signed: str) -> None:
    twilioweb.check(TOKEN, request("https://v.example/twilio/voice?a=1", VOICE, signed))


@pytest.mark.parametrize("port", ["", ":8443"])
def test_a_port_of_ours_is_signed_or_not(port: str) -> None:
    url = f"https://v.example{port}/twilio/voice"
    for signed in (url, "https://v.example:8443/twilio/voice", "https://v.example/twilio/voice"):
        if port or ":8443" not in signed:
            twilioweb.check(TOKEN, request(url, VOICE, signed))


@pytest.mark.parametrize(
    "signed",
    [
        f"{scheme}://v.example{port}/s{slash}"
        for scheme in ("wss", "https")
        for port in ("", ":443")
        for slash in ("", "/")
    ],
)
def test_a_sockets_signature_is_over_its_address_however_it_is_written(signed: str) -> None:
    sign = RequestValidator(TOKEN).compute_signature(signed, {})
    twilioweb.check_socket(TOKEN, WebRequest("GET", "https://v.example/s", {"X-Twilio-Signature": sign}))
    with pytest.raises(Refused):
        twilioweb.check_socket(TOKEN, WebRequest("GET", "https://v.example/t", {"X-Twilio-Signature": sign}))


def test_a_body_of_json_is_checked_by_its_digest() -> None:
    body = b'{"property": "value", "boolean": true}'
    digest = hashlib.sha256(body).hexdigest()
    assert digest == "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    url = f"https://v.example/twilio/status?bodySHA256={digest}"
    sign = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, {})}
    twilioweb.check(TOKEN, WebRequest("POST", url, sign, body))
    with pytest.raises(Refused, match="body"):
        twilioweb.check(TOKEN, WebRequest("POST", url, sign, body + b" "))


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {}},
        {"url": "https://v.example/other"},
        {"body": b"CallSid=CA2"},
        {"headers": {"X-Twilio-Signature": "ü"}},
    ],
)
def test_what_is_altered_is_refused(change: dict[str, Any]) -> None:
    good = request("https://v.example/twilio/voice", VOICE)
    parts = {"method": "POST", "url": good.url, "headers": good.headers, "body": good.body, **change}
    with pytest.raises(Refused):
        twilioweb.check(TOKEN, WebRequest(**parts))


def test_without_a_token_nothing_is_signed() -> None:
    sign = RequestValidator("").compute_signature("https://v.example/s", {})
    with pytest.raises(Refused):
        twilioweb.check_socket("", WebRequest("GET", "https://v.example/s", {"X-Twilio-Signature": sign}))


# Documents


def same(mine: str, theirs: VoiceResponse) -> bool:
    def shape(element: Any) -> Any:
        return element.tag, dict(element.attrib), element.text or "", [shape(child) for child in element]

    return bool(shape(fromstring(mine)) == shape(fromstring(str(theirs))))


def test_documents_are_those_that_twilios_library_writes() -> None:
    response, connect = VoiceResponse(), Connect()
    stream = Stream(url="wss://v/s", status_callback="https://v/c", status_callback_method="POST")
    stream.parameter(name="tenant", value='a "<&')
    connect.append(stream)
    response.append(connect)
    assert same(twilioweb.stream("wss://v/s", {"tenant": 'a "<&'}, "https://v/c"), response)

    response = VoiceResponse()
    response.append(Reject(reason="busy"))
    assert same(twilioweb.reject("busy"), response)

    response, dial = VoiceResponse(), Dial(caller_id="+4930", timeout=20)
    dial.number("+4940")
    response.append(dial)
    assert same(twilioweb.dial("+4940", "+4930", 20), response)

    response, dial = VoiceResponse(), Dial()
    dial.sip("sip:agent@example.com")
    response.append(dial)
    assert same(twilioweb.dial("sip:agent@example.com"), response)

    response, dial = VoiceResponse(), Dial()
    response.say("Anna calls")
    dial.append(Conference("r", beep="false", end_conference_on_exit=True, start_conference_on_enter=True))
    response.append(dial)
    assert same(twilioweb.conference("r", waits=False, say="Anna calls"), response)


# REST: what goes wrong


def rest(answers: list[tuple[int, Any]], scenario: Callable[[Twilio, Door], Awaitable[None]]) -> None:
    async def scene() -> None:
        def make(url: str) -> Twilio:
            return Twilio(TwilioConfig("AC1", "t", api_url=url, rest=RestConfig(0.5, 3)))

        async with door(make) as d:
            waiting = iter(answers)
            d.rest.answer = lambda _: next(waiting)
            assert isinstance(d.carrier, Twilio)
            await scenario(d.carrier, d)

    asyncio.run(scene())


async def order(twilio: Twilio, d: Door) -> str:
    return await twilio.place("order", OutboundCall("+1"), d.mount.desk)


@pytest.mark.parametrize("code", ERRORS)
def test_each_known_error_says_what_to_do(code: str) -> None:
    async def scenario(twilio: Twilio, d: Door) -> None:
        with pytest.raises(CallFailed) as error:
            await order(twilio, d)
        status, hint = ERRORS[code]
        assert error.value.status == status
        assert error.value.reason == f"Twilio error {code}: as they say: {hint}"

    rest([(400, {"code": int(code), "message": "as they say"})], scenario)


@pytest.mark.parametrize("status, code", [(404, 20404), (400, 21220), (404, None)])
def test_hanging_up_on_who_is_gone_is_fine(status: int, code: int | None) -> None:
    async def scenario(twilio: Twilio, d: Door) -> None:
        assert not await twilio.end("CA1")
        (asked,) = d.rest.asked
        assert (asked.method, asked.path) == ("POST", "/2010-04-01/Accounts/AC1/Calls/CA1.json")
        assert asked.pairs == [("Status", "completed")]
        assert asked.headers["Authorization"] == "Basic QUMxOnQ="

    rest([(status, {"code": code, "message": "gone"})], scenario)


def test_a_hang_up_is_repeated_a_new_call_is_not_unless_twilio_did_nothing() -> None:
    async def hang_up(twilio: Twilio, d: Door) -> None:
        assert await twilio.end("CA1")
        assert len(d.rest.asked) == 3 and twilio.client.stats.retries == 2

    async def create(twilio: Twilio, d: Door) -> None:
        with pytest.raises(CallFailed, match="500"):
            await order(twilio, d)
        assert len(d.rest.asked) == 1, "it may have called"

    async def busy(twilio: Twilio, d: Door) -> None:
        assert await order(twilio, d) == "CA2"
        assert len(d.rest.asked) == 2

    rest([(0, {}), (502, {}), (200, {})], hang_up)
    rest([(500, {}), (201, {"sid": "CA2"})], create)
    rest([(429, {"code": 20429}), (201, {"sid": "CA2"})], busy)


def test_an_answer_without_sense_is_said() -> None:
    async def scenario(twilio: Twilio, d: Door) -> None:
        with pytest.raises(CallFailed, match="Twilio answered 201 without sid"):
            await order(twilio, d)

    rest([(201, [1, 2])], scenario)


# Calls


def visit(scenario: Callable[[Door], Awaitable[None]], **config: Any) -> None:
    async def scene() -> None:
        def make(url: str) -> Twilio:
            return Twilio(
                TwilioConfig("AC1", TOKEN, api_url=url, caller="+4930", rest=RestConfig(tries=1), **config)
            )

        async with door(make) as made:
            await scenario(made)

    asyncio.run(scene())


async def hook(d: Door, url: str, **fields: str) -> str:
    """A webhook from Twilio; the document that we answer."""
    given = {"AccountSid": "AC1", **fields}
    sign = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, given)}
    async with d.client.post(d.local(url), data=given, headers=sign) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def socket(d: Door, document: str) -> tuple[ClientWebSocketResponse, dict[str, str]]:
    """Open the media socket that a document asks for, and start the stream; with its parameters."""
    stream = fromstring(document).find("Connect/Stream")
    assert stream is not None
    url = stream.attrib["url"]
    ws = await d.client.ws_connect(d.local(url), headers=Case().socket_headers(url))
    d.sockets.append(ws)
    for message in Case().start():
        await ws.send_str(str(message))
    return ws, {p.attrib["name"]: p.attrib["value"] for p in stream}


async def talk(d: Door, **fields: str) -> tuple[Taken, ClientWebSocketResponse]:
    """An inbound call, up to where both talk."""
    voice = f"{PUBLIC}/twilio/voice"
    document = await hook(d, voice, CallSid="call-1", From="+4915", To="+4930", **fields)
    ws, _ = await socket(d, document)
    return await d.call(), ws


def test_parameters_of_the_webhooks_address_come_with_the_call() -> None:
    async def scenario(d: Door) -> None:
        url = f"{PUBLIC}/twilio/voice?flow=sales&Tenant=acme"
        document = await hook(d, url, CallSid="call-1", From="+4915", To="+4930", ForwardedFrom="+4940")
        _, parameters = await socket(d, document)
        taken = await d.call()
        expected = {"flow": "sales", "tenant": "acme", "forwarded_from": "+4940"}
        assert dict(taken.info.headers) == dict(taken.info.passed) == expected
        assert parameters["flow"] == "sales"

    visit(scenario)


def test_another_accounts_webhook_is_refused() -> None:
    async def scenario(d: Door) -> None:
        url = f"{PUBLIC}/twilio/status"
        given = {"AccountSid": "AC2", "CallSid": "call-1"}
        sign = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, given)}
        async with d.client.post(d.local(url), data=given, headers=sign) as answer:
            assert answer.status == 403

    visit(scenario)


def test_hanging_up_ends_the_call_at_twilio_too() -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d)
        await taken.leg.hangup(HangupCause.NORMAL)
        (asked,) = await d.rest.until(1)
        assert asked.path == "/2010-04-01/Accounts/AC1/Calls/call-1.json" and asked.fields == {
            "Status": "completed"
        }

    visit(scenario)


def test_a_call_that_twilio_says_is_over_is_over_and_not_hung_up_on() -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d)
        for _ in range(2):
            await hook(d, f"{PUBLIC}/twilio/status", CallSid="call-1", CallStatus="completed")
        assert await d.ended(taken) is HangupCause.NORMAL
        await taken.leg.hangup(HangupCause.NORMAL)
        assert not d.rest.asked

    visit(scenario)


def test_reports_are_kept_once_in_whatever_order_they_come() -> None:
    async def scenario(d: Door) -> None:
        recording = {
            "CallSid": "call-1",
            "RecordingSid": "RE1",
            "RecordingUrl": "https://t/RE1",
            "RecordingStatus": "completed",
        }
        for _ in range(3):
            await hook(d, f"{PUBLIC}/twilio/recording", **recording)
            await hook(d, f"{PUBLIC}/twilio/amd", CallSid="call-1", AnsweredBy="machine_end_beep")
        await hook(d, f"{PUBLIC}/twilio/stream", CallSid="call-1", StreamEvent="stream-started")
        await hook(
            d, f"{PUBLIC}/twilio/stream", CallSid="call-1", StreamEvent="stream-error", StreamError="31920"
        )
        kept = [(call, kind) for call, kind, _ in d.reports]
        assert kept == [("call-1", "recording"), ("call-1", "amd"), ("call-1", "error")]
        assert d.reports[0][2]["RecordingSid"] == "RE1"

    visit(scenario)


def test_recording_begins_with_the_media() -> None:
    async def scenario(d: Door) -> None:
        await talk(d)
        (asked,) = await d.rest.until(1)
        assert asked.path.endswith("/Calls/call-1/Recordings.json")
        assert asked.fields["RecordingStatusCallback"] == f"{PUBLIC}/twilio/recording"

    visit(scenario, record=True)


# Calls that we place


def created(d: Door) -> dict[str, str]:
    return dict(d.rest.asked[0].fields)


async def place(d: Door, **call: Any) -> "tuple[asyncio.Task[Any], list[CallProgress]]":
    progress: list[CallProgress] = []
    d.rest.answer = lambda _: (201, {"sid": "call-1"})
    order = OutboundCall("+4915", **{"caller": "+4930", "call_id": "ours", **call})
    task = asyncio.ensure_future(d.mount.desk.place(order, progress.append))
    await d.rest.until(1)
    return task, progress


def test_a_call_is_placed_rings_and_is_answered() -> None:
    async def scenario(d: Door) -> None:
        task, progress = await place(d, ring_timeout_s=25)
        fields = created(d)
        assert (fields["To"], fields["From"], fields["Timeout"]) == ("+4915", "+4930", "25")
        events = [value for name, value in d.rest.asked[0].pairs if name == "StatusCallbackEvent"]
        assert events == ["initiated", "ringing", "answered", "completed"]
        status = fields["StatusCallback"]
        for state in ("initiated", "ringing", "ringing"):
            await hook(d, status, CallSid="call-1", CallStatus=state)
        ws, _ = await socket(d, await hook(d, fields["Url"], CallSid="call-1", From="+4930", To="+4915"))
        leg = await task
        assert progress == [CallProgress.TRYING, CallProgress.RINGING, CallProgress.RINGING]
        assert leg.info.call_id == "ours" and leg.info.carrier_id == "call-1"
        assert not d.calls, "nobody called us"
        await leg.hangup(HangupCause.NORMAL)
        assert (await d.rest.until(2))[1].fields == {"Status": "completed"}
        await hook(d, status, CallSid="call-1", CallStatus="completed")
        while not ws.closed:
            await ws.receive(timeout=5)

    visit(scenario)


def test_word_of_a_call_may_come_before_the_answer_to_our_request() -> None:
    async def scenario(d: Door) -> None:
        release = asyncio.Event()
        twilio = d.carrier
        assert isinstance(twilio, Twilio)
        create = twilio.create

        async def late(ask: Ask, *where: str) -> str:
            sid = await create(ask, *where)
            await release.wait()
            return sid

        twilio.create = late  # type: ignore[method-assign]
        task, progress = await place(d)
        fields = created(d)
        await hook(d, fields["StatusCallback"], CallSid="call-1", CallStatus="ringing")
        await socket(d, await hook(d, fields["Url"], CallSid="call-1"))
        release.set()
        assert (await task).info.call_id == "ours" and progress == [CallProgress.RINGING]

    visit(scenario)


@pytest.mark.parametrize(
    "fields, status, cause",
    [
        ({"CallStatus": "busy"}, 486, HangupCause.BUSY),
        ({"CallStatus": "no-answer"}, 480, HangupCause.NO_ANSWER),
        ({"CallStatus": "failed", "SipResponseCode": "404"}, 404, HangupCause.UNALLOCATED),
        ({"CallStatus": "failed"}, 503, HangupCause.CONGESTION),
        ({"CallStatus": "completed"}, 480, HangupCause.NO_ANSWER),
    ],
)
def test_who_does_not_answer_is_told_apart(fields: dict[str, str], status: int, cause: HangupCause) -> None:
    async def scenario(d: Door) -> None:
        task, _ = await place(d)
        await hook(d, created(d)["StatusCallback"], CallSid="call-1", **fields)
        with pytest.raises(CallFailed) as error:
            await task
        assert (error.value.status, error.value.cause) == (status, cause)

    visit(scenario)


def test_a_call_that_twilio_refuses_says_why() -> None:
    async def scenario(d: Door) -> None:
        d.rest.answer = lambda _: (400, {"code": 21215, "message": "Geo"})
        with pytest.raises(CallFailed, match="Geo Permissions|Geo permissions") as error:
            await d.mount.desk.place(OutboundCall("+4915"))
        assert error.value.status == 403

    visit(scenario)


def test_giving_up_a_call_that_rings_ends_it_and_a_late_answer_meets_nobody() -> None:
    async def scenario(d: Door) -> None:
        task, _ = await place(d)
        fields = created(d)
        document = await hook(d, fields["Url"], CallSid="call-1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await d.rest.until(2))[1].fields == {"Status": "completed"}
        ws, _ = await socket(d, document)
        while not ws.closed:
            await ws.receive(timeout=5)
        assert not d.calls

    visit(scenario)


def test_a_call_that_is_answered_in_the_moment_of_giving_up_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(d: Door) -> None:
        task, _ = await place(d)
        outbound = d.mount.desk._outbound

        async def late(*given: Any) -> None:
            attending = asyncio.ensure_future(outbound(*given))
            asyncio.get_running_loop().call_soon(task.cancel)  # the leg is there, `place` not yet awake
            await attending

        monkeypatch.setattr(d.mount.desk, "_outbound", late)
        ws, _ = await socket(d, await hook(d, created(d)["Url"], CallSid="call-1"))
        with pytest.raises(asyncio.CancelledError):
            await task
        while not ws.closed:
            await ws.receive(timeout=5)
        assert d.rest.asked[-1].fields == {"Status": "completed"}

    visit(scenario)


@pytest.mark.parametrize("amd, asynchronous", [(Amd.ASYNC, "true"), (Amd.SYNC, None)])
def test_answering_machines(amd: Amd, asynchronous: str | None) -> None:
    async def scenario(d: Door) -> None:
        task, _ = await place(d)
        fields = created(d)
        assert fields["MachineDetection"] == "Enable" and fields.get("AsyncAmd") == asynchronous
        answered = {} if asynchronous else {"AnsweredBy": "machine_start"}
        await socket(d, await hook(d, fields["Url"], CallSid="call-1", **answered))
        leg = await task
        assert leg.info.passed.get("answered_by") == (None if asynchronous else "machine_start")
        if asynchronous:
            await hook(d, fields["AsyncAmdStatusCallback"], CallSid="call-1", AnsweredBy="human")
            assert d.reports == [("call-1", "amd", {"answered_by": "human"})]

    visit(scenario, amd=amd)


# Handing over


def test_a_transfer_calls_the_target_first_and_then_moves_the_caller() -> None:
    async def scenario(d: Door) -> None:
        d.rest.answer = lambda asked: (201, {"sid": "CA9"})
        taken, _ = await talk(d)
        handing = asyncio.ensure_future(
            taken.leg.transfer(Transfer("+4940", summary="Anna calls", timeout_s=20))
        )
        (asked,) = await d.rest.until(1)
        assert (asked.fields["To"], asked.fields["From"], asked.fields["Timeout"]) == ("+4940", "+4930", "20")
        room = parse_qs(urlsplit(asked.fields["StatusCallback"]).query)["room"][0]
        assert f">{room}<" in asked.fields["Twiml"] and "<Say>Anna calls</Say>" in asked.fields["Twiml"]
        assert not taken.sink.causes, "the caller is still with the bot"
        await hook(d, asked.fields["StatusCallback"], CallSid="CA9", CallStatus="in-progress")
        await handing
        moved = d.rest.asked[1]
        assert moved.path.endswith("/Calls/call-1.json") and f">{room}<" in moved.fields["Twiml"]
        assert await d.ended(taken) is HangupCause.NORMAL
        await hook(d, asked.fields["StatusCallback"], CallSid="CA9", CallStatus="completed")
        assert len(d.rest.asked) == 2, "nobody is hung up on"

    visit(scenario)


def test_who_does_not_answer_a_transfer_leaves_the_caller_with_the_bot() -> None:
    async def scenario(d: Door) -> None:
        d.rest.answer = lambda asked: (201, {"sid": "CA9"})
        taken, _ = await talk(d)
        handing = asyncio.ensure_future(taken.leg.transfer(Transfer("+4940")))
        (asked,) = await d.rest.until(1)
        await hook(d, asked.fields["StatusCallback"], CallSid="CA9", CallStatus="busy")
        with pytest.raises(TransferError, match="busy"):
            await handing
        assert (await d.rest.until(2))[1].path.endswith("/Calls/CA9.json")
        assert not taken.sink.causes

    visit(scenario)


def test_a_target_that_twilio_refuses_is_said() -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d)
        d.rest.answer = lambda asked: (400, {"code": 21211, "message": "Invalid 'To'"})
        with pytest.raises(TransferError, match="21211.*write it as"):
            await taken.leg.transfer(Transfer("4940"))
        assert not taken.sink.causes

    visit(scenario)


def test_a_transfer_by_dial_lets_the_caller_go_at_once() -> None:
    async def scenario(d: Door) -> None:
        taken, _ = await talk(d)
        await taken.leg.transfer(Transfer("sip:agent@example.com", timeout_s=15))
        (asked,) = d.rest.asked
        assert asked.fields["Twiml"] == twilioweb.dial("sip:agent@example.com", "+4930", 15)
        assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario, transfer=TransferBy.DIAL)


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="auth_token"):
        Twilio(TwilioConfig("AC1"))
    with pytest.raises(ValueError, match="belong together"):
        Twilio(TwilioConfig("AC1", "t", api_key="SK1"))


def test_without_signatures_only_this_machine_is_believed() -> None:
    twilio = Twilio(TwilioConfig("AC1", check_signatures=False))
    twilio.check_socket(WebRequest("GET", "http://127.0.0.1/twilio/media", {}, local=True))
    for check in (twilio.check, twilio.check_socket):
        with pytest.raises(Refused, match="this machine"):
            check(WebRequest("GET", "http://127.0.0.1/twilio/media", {}))
