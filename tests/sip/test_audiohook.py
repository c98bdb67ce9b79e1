"""Genesys AudioHook: signatures, the numbered messages, output variables. What all carriers share:
tests/contracts."""

import asyncio
import json
from typing import Any
from weakref import WeakValueDictionary

import pytest
from aiohttp import WSMsgType
from multidict import CIMultiDict

from dialog.types import Transfer
from media.leg import HangupCause
from sip.audiohook import PROBE, AudioHook, AudioHookConfig, AudioHookCore
from sip.carrier import Refused, WebRequest
from sip.mediacore import Held, Ignored, Reply, Started, Stopped
from tests.contracts.doors import door
from tests.contracts.lookalikes import AudioHook as Case

# The example of Genesys' documentation.
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
URL = "https://audiohook.example.com/api/v1/voicebiometrics/ws"
CREATED = 1641013200
INPUT = (
    'sig1=("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" '
    f'"audiohook-correlation-id" "x-api-key");keyid="{API_KEY}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";'
    f'alg="hmac-sha256";created={CREATED};expires=3282026430'
)
HEADERS = {
    "Audiohook-Organization-Id": "d7934305-0972-4844-938e-9060eef73d05",
    "Audiohook-Session-Id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "Audiohook-Correlation-Id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "X-API-KEY": API_KEY,
    "Signature-Input": INPUT,
    "Signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
}


def request(at: float = CREATED + 5, **change: str) -> WebRequest:
    return WebRequest("GET", URL, CIMultiDict(HEADERS | change), at=at)


def carrier() -> AudioHook:
    return AudioHook(AudioHookConfig(API_KEY, Case.secret))


def test_the_signature_of_the_documentation_is_right_once() -> None:
    made = carrier()
    made.check_socket(request())
    with pytest.raises(Refused, match="used before"):
        made.check_socket(request())


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"X-API-KEY": "other"}, "wrong API key"),
        ({"Signature": ""}, "no signature"),
        ({"Signature": "sig1=:AAAA:"}, "wrong signature"),
        ({"Signature-Input": 'sig1=("x-api-key");created=1;nonce="n"'}, "too little is signed"),
        ({"Signature-Input": INPUT.replace("nonce", "n2nce")}, "no signature"),
        ({"Signature-Input": INPUT.replace('nonce="V', 'nonce="W')}, "wrong signature"),
        ({"Signature-Input": "(" * 5000}, "no signature"),
        ({"Audiohook-Session-Id": "x"}, "wrong signature"),
    ],
)
def test_what_is_not_signed_so_is_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        carrier().check_socket(request(**change))


def test_old_signatures_are_refused() -> None:
    for at in (CREATED - 11, CREATED + 11):
        with pytest.raises(Refused, match="too long ago"):
            carrier().check_socket(request(at))


def test_without_the_secret_the_key_alone_is_checked() -> None:
    AudioHook(AudioHookConfig(API_KEY)).check_socket(request(Signature=""))
    with pytest.raises(ValueError, match="client_secret is not base64"):
        AudioHook(AudioHookConfig(API_KEY, "%"))


# Messages


def opened() -> tuple[AudioHookCore, list[Any]]:
    core = AudioHookCore(WeakValueDictionary())
    return core, list(core.receive(Case().start()[0]))


def body(reply: object) -> Any:
    assert isinstance(reply, Reply)
    return json.loads(reply.message)


def test_a_session_is_opened_with_the_callers_channel_alone() -> None:
    _, (reply, started) = opened()
    said = body(reply)
    assert (said["type"], said["seq"], said["clientseq"]) == ("opened", 1, 7)
    assert [offer["channels"] for offer in said["parameters"]["media"]] == [["external"]]
    assert isinstance(started, Started) and started.parameters == {
        "tenant": "acme",
        "conversation_id": "conv-1",
    }


def test_requests_are_answered_and_counted() -> None:
    case, (core, _) = Case(), opened()
    (pong,) = core.receive(case.message("ping", rtt="PT0.1S"))
    assert (body(pong)["type"], body(pong)["seq"]) == ("pong", 2)
    assert core.receive(case.message("paused")) == [Held(True)]
    assert core.receive(case.message("resumed")) == [Held(False)]
    (updated,) = core.receive(case.message("update", language="de-DE"))
    assert body(updated)["type"] == "updated"
    assert core.receive(case.message("ping", session="other")) == [Ignored("another session")]
    closed, stopped = core.receive(case.message("close", reason="end"))
    assert body(closed)["type"] == "closed" and stopped == Stopped()


def test_a_connection_test_is_answered_and_brings_no_call() -> None:
    core = AudioHookCore(WeakValueDictionary())
    (reply,) = core.receive(Case().message("open", conversationId=PROBE, media=[]))
    assert body(reply)["type"] == "opened"


def test_without_a_channel_that_we_understand_the_session_ends() -> None:
    core = AudioHookCore(WeakValueDictionary())
    offer = {"type": "audio", "format": "PCMU", "rate": 8000, "channels": ["external", "internal"]}
    reply, stopped = core.receive(Case().message("open", conversationId="c", media=[offer]))
    assert body(reply)["type"] == "disconnect" and stopped == Stopped(HangupCause.INCOMPATIBLE)


def test_a_transfer_is_left_to_the_flow_of_architect_and_genesys_says_goodbye_too() -> None:
    async def scene() -> None:
        case = Case()
        async with door(case.carrier) as d:
            url = await case.announce(d)
            ws = await d.client.ws_connect(d.local(url), headers=case.socket_headers(url))
            await ws.send_str(str(case.start()[0]))
            taken = await d.call()
            await taken.leg.transfer(Transfer("+4940"))
            said: list[Any] = []
            while (message := await ws.receive(timeout=5)).type is WSMsgType.TEXT:
                said.append(json.loads(message.data))
                if said[-1]["type"] == "disconnect":
                    await ws.send_str(str(case.stop()))
                if said[-1]["type"] == "closed":
                    await ws.close()
            opened, disconnect, closed = said
            assert disconnect["parameters"]["reason"] == "completed"
            assert disconnect["parameters"]["outputVariables"] == {"transfer_to": "+4940"}
            assert closed["type"] == "closed", "it was waited for"

    asyncio.run(scene())
