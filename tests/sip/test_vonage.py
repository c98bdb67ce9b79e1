"""Vonage: tokens, documents, calls by its REST interface. What all carriers share: tests/contracts."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip.carrier import Refused, WebRequest
from sip.carrierrest import RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.jwt import BadJwt, claims, decode, encode, signer
from sip.vonage import Vonage, VonageConfig
from tests.contracts.doors import PUBLIC, Door, Taken, door
from tests.contracts.farend import Hook
from tests.contracts.lookalikes import NOW, jwt, private_key
from tests.contracts.lookalikes import Vonage as Case


def visit(scenario: Callable[[Door, Case], Awaitable[None]], **config: Any) -> None:
    async def scene() -> None:
        def make(url: str) -> Vonage:
            rest = RestConfig(tries=1)
            keys = ("app-1", private_key(), Case.secret, "4930")
            return Vonage(VonageConfig(*keys, rate=16000, api_url=url, rest=rest, **config))

        async with door(make) as made:
            await scenario(made, Case())

    asyncio.run(scene())


async def tell(d: Door, hook: Hook) -> str:
    async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
        assert answer.status in {200, 204}
        return await answer.text()


async def connect(d: Door, case: Case, url: str) -> None:
    ws = await d.client.ws_connect(d.local(url))
    d.sockets.append(ws)
    for message in case.start():
        await ws.send_str(str(message))


async def talk(d: Door, case: Case) -> Taken:
    await connect(d, case, (await case.ncco(d, case.incoming(d)))[-1]["endpoint"][0]["uri"])
    return await d.call()


# Tokens


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "ä.b.c", "..", "a.b.c.d"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadJwt):
        claims(token, "secret")


def test_a_token_is_believed_only_if_it_is_signed_with_our_secret_by_our_algorithm() -> None:
    assert claims(jwt({"a": 1}, "secret"), "secret") == {"a": 1}
    for token, secret in ((jwt({}, "other"), "secret"), (jwt({}, ""), "")):
        with pytest.raises(BadJwt):
            claims(token, secret)
    unsigned = f"{encode(b'{}')}.{encode(b'{}')}."
    with pytest.raises(BadJwt, match="wrong signature"):
        claims(unsigned, "secret")


def test_requests_are_signed_with_the_private_key() -> None:
    token = signer(private_key(), "vonage")({"jti": "1"})
    text, _, sign = token.rpartition(".")
    key: Any = load_pem_private_key(private_key().encode(), None)
    key.public_key().verify(decode(sign), text.encode(), PKCS1v15(), SHA256())
    assert json.loads(decode(text.split(".")[0])) == {"alg": "RS256", "typ": "JWT"}
    assert signer(private_key().replace("\n", "\\n"), "vonage")({}), "as environment variables have it"
    for wrong in ("", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"):
        with pytest.raises(ValueError, match="private_key must be an RSA key"):
            signer(wrong, "vonage")


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"iat": NOW - 301}, "too long ago"),
        ({"iat": "x"}, "too long ago"),
        ({"application_id": "app-2"}, "another application"),
        ({"payload_hash": "0"}, "not the one that was signed"),
    ],
)
def test_a_webhook_of_another_time_application_or_body_is_refused(
    change: Mapping[str, Any], reason: str
) -> None:
    case = Case()
    hook = case.signed(f"{PUBLIC}/vonage/event", {"uuid": "call-1"})
    said = {**claims(hook.headers["Authorization"].split()[1], case.secret), **change}
    headers = {"Authorization": f"Bearer {jwt(said, case.secret)}"}
    with pytest.raises(Refused, match=reason):
        case.carrier("").check(WebRequest("POST", hook.url, headers, hook.body, at=NOW))


# Calls


def test_hanging_up_and_keys_are_signed_requests() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        taken.leg.send_dtmf("12#")
        await d.rest.until(1)
        d.rest.answer = lambda _: (404, {"title": "Not Found"})
        await taken.leg.hangup(HangupCause.NORMAL)
        keys, hangup = await d.rest.until(2)
        assert (keys.method, keys.path, keys.fields) == ("PUT", "/v1/calls/call-1/dtmf", {"digits": "12#"})
        assert (hangup.path, hangup.fields) == ("/v1/calls/call-1", {"action": "hangup"})
        token = hangup.headers["Authorization"].removeprefix("Bearer ")
        said = json.loads(decode(token.split(".")[1]))
        assert said["application_id"] == "app-1" and said["exp"] - said["iat"] == 300 and said["iat"] == NOW

    visit(scenario)


@pytest.mark.parametrize(
    "target, endpoint",
    [
        ("+4940", {"type": "phone", "number": "4940"}),
        ("sip:anna@example.com", {"type": "sip", "uri": "sip:anna@example.com"}),
    ],
)
def test_a_transfer_gives_the_call_another_document(target: str, endpoint: Mapping[str, str]) -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        await taken.leg.transfer(Transfer(target, timeout_s=15))
        (asked,) = d.rest.asked
        (dial,) = asked.fields["destination"]["ncco"]
        assert dial == {"action": "connect", "endpoint": [endpoint], "timeout": "15", "from": "4930"}
        assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)


def test_a_refused_transfer_leaves_the_caller_with_the_bot() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        for status, words in ((401, "do not belong together"), (404, "has hung up")):
            d.rest.answer = lambda _, status=status: (status, {"title": "no"})  # type: ignore[misc]
            with pytest.raises(TransferError, match=words):
                await taken.leg.transfer(Transfer("+4940"))
        assert not taken.sink.causes

    visit(scenario)


def test_a_call_is_placed_rings_and_is_answered() -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"uuid": "call-1", "status": "started"})
        progress: list[CallProgress] = []
        order = OutboundCall("+4915", call_id="ours", ring_timeout_s=25)
        task = asyncio.ensure_future(d.mount.desk.place(order, progress.append))
        (asked,) = await d.rest.until(1)
        assert asked.fields["to"] == [{"type": "phone", "number": "4915"}]
        assert asked.fields["from"]["number"] == "4930" and asked.fields["ringing_timer"] == 25
        (events,), (answers,) = asked.fields["event_url"], asked.fields["answer_url"]
        await tell(d, case.signed(events, {"uuid": "call-1", "status": "ringing"}))
        await tell(d, case.signed(events, {"uuid": "call-1", "status": "machine", "sub_state": "beep_start"}))
        ncco = json.loads(await tell(d, case.signed(answers, {"uuid": "call-1", "to": "4915"})))
        assert ncco[0]["action"] == "record" and ncco[0]["channels"] == 2
        await connect(d, case, ncco[1]["endpoint"][0]["uri"])
        leg = await task
        assert leg.info.call_id == "ours" and progress == [CallProgress.RINGING]
        url = ncco[0]["eventUrl"][0]
        await tell(d, case.signed(url, {"recording_url": "https://v/1", "conversation_uuid": "CON-1"}))
        assert d.reports == [
            ("call-1", "amd", {"answered_by": "beep_start"}),
            ("call-1", "recording", {"recording_url": "https://v/1"}),
        ]

    visit(scenario, amd=True, record=True)


@pytest.mark.parametrize(
    "status, cause",
    [
        ("busy", HangupCause.BUSY),
        ("unanswered", HangupCause.NO_ANSWER),
        ("rejected", HangupCause.REJECTED),
        ("failed", HangupCause.CONGESTION),
    ],
)
def test_who_does_not_answer(status: str, cause: HangupCause) -> None:
    async def scenario(d: Door, case: Case) -> None:
        d.rest.answer = lambda _: (201, {"uuid": "call-1"})
        task = asyncio.ensure_future(d.mount.desk.place(OutboundCall("+4915")))
        (asked,) = await d.rest.until(1)
        await tell(d, case.signed(asked.fields["event_url"][0], {"uuid": "call-1", "status": status}))
        with pytest.raises(CallFailed, match=status) as error:
            await task
        assert error.value.cause is cause

    visit(scenario)


def test_an_event_ends_the_call_too() -> None:
    async def scenario(d: Door, case: Case) -> None:
        taken = await talk(d, case)
        await tell(d, case.signed(f"{PUBLIC}/vonage/event", {"uuid": "call-1", "status": "completed"}))
        assert await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="signature_secret is needed"):
        Vonage(VonageConfig("app", private_key()))
    with pytest.raises(ValueError, match="rate must be one of"):
        VonageConfig(rate=44100)
