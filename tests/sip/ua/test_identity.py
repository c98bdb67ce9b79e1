"""Who calls, as far as it can be believed; and who we say that we are."""

import asyncio
from typing import Any

import pytest

from media.leg import HangupCause
from sip.endpoint import OutboundCall
from sip.errors import (
    CallFailed,
    cause_of_q850,
    cause_of_status,
    status_of_cause,
)
from sip.ua.config import Trunk
from sip.ua.identity import LONGEST, call_info, diverted_from
from sip.ua.message import Headers, Request, Response
from sip.ua.stack import cause_in, reason_of
from sip.ua.trunks import Trunks
from tests.sip.ua.wire import HOST, Callee, Peer, Wire, run, user_agent

TRUNKS = Trunks((Trunk("carrier", HOST, "4930111", trusted=True), Trunk("other", "192.0.2.9")))


def invite(*headers: tuple[str, str], uri: str = "sip:100@host", caller: str = "<sip:+4930@host>") -> Request:
    items = [("from", f"{caller};tag=a"), ("to", "<sip:+4955@host>"), ("call-id", "c"), *headers]
    return Request(Headers(items), b"", "INVITE", uri)


def info(request: Request, *, trusted: bool = False) -> Any:
    return call_info(TRUNKS, TRUNKS.states[0 if trusted else 1], request, "id")


@pytest.mark.parametrize(
    "trusted, headers, caller",
    [
        (True, (("P-Asserted-Identity", '"Ada" <sip:+49170@carrier>'),), "+49170"),
        (True, (("P-Asserted-Identity", "<tel:+49170>"),), "+49170"),
        (True, (("P-Asserted-Identity", "rubbish"),), "+4930"),
        (True, (), "+4930"),
        (False, (("P-Asserted-Identity", "<sip:+49170@carrier>"),), "+4930"),
    ],
)
def test_an_asserted_identity_counts_from_a_trusted_trunk_alone(
    trusted: bool, headers: tuple[tuple[str, str], ...], caller: str
) -> None:
    call = info(invite(*headers), trusted=trusted)
    assert call.caller == caller
    assert ("p-asserted-identity" in call.headers) == (trusted and bool(headers))


@pytest.mark.parametrize(
    "headers, caller, hidden",
    [
        ((), "<sip:+4930@host>", False),
        ((("Privacy", "id"),), "<sip:+4930@host>", True),
        ((("Privacy", "none"),), "<sip:+4930@host>", False),
        ((), '"Anonymous" <sip:anonymous@anonymous.invalid>', True),
        ((("X-Privacy", "yes"),), "<sip:+4930@host>", False),
    ],
)
def test_callers_who_want_to_stay_unknown_are_marked(
    headers: tuple[tuple[str, str], ...], caller: str, hidden: bool
) -> None:
    assert ("x-privacy" in info(invite(*headers, caller=caller)).headers) == hidden


@pytest.mark.parametrize(
    "headers, number",
    [
        ((), ""),
        ((("Diversion", "<sip:200@pbx>;reason=no-answer"),), "200"),
        ((("Diversion", "<sip:300@pbx>;reason=busy, <sip:200@pbx>;reason=no-answer"),), "200"),
        ((("History-Info", "<sip:200@pbx>;index=1"),), ""),
        (
            (
                ("History-Info", "<sip:200@pbx?Reason=SIP>;index=1"),
                ("History-Info", "<sip:300@pbx>;index=1.1"),
            ),
            "200",
        ),
        ((("Diversion", '"unterminated <'),), ""),
    ],
)
def test_who_was_called_first(headers: tuple[tuple[str, str], ...], number: str) -> None:
    assert diverted_from(invite(*headers)) == number
    assert info(invite(*headers)).headers.get("x-diverted-from", "") == number


def test_header_values_are_bounded_and_hold_no_control_characters() -> None:
    many = [(f"X-{n}", "v") for n in range(100)]
    call = info(
        invite(("X-Long", "a" * 5000), ("X-Bell", "a\x07b\x1b[2J"), ("X-Twice", "1"), ("X-Twice", "2"), *many)
    )
    assert len(call.headers["x-long"]) == LONGEST
    assert call.headers["x-bell"] == "a b [2J"
    assert call.headers["x-twice"] == "1, 2"
    assert len(call.headers) <= 65


def test_x_headers_reach_the_flow_under_names_of_their_own() -> None:
    call = info(invite(("X-Customer-Id", "4711"), ("Subject", "hello"), ("X-Account", "root")))
    assert call.passed == {"x_customer_id": "4711"}


def test_a_number_in_the_request_line_is_decoded_and_cut() -> None:
    assert info(invite(uri="sip:%2B49%3030@host")).callee == "+49030"
    assert info(invite(uri="sip:4930111@host")).callee == "+4955", "a trunk calls our account"
    assert len(info(invite(uri=f"sip:{'1' * 3000}@host")).callee) == 128


def sent(call: OutboundCall, **trunk: Any) -> Request:
    """The INVITE that a call makes."""

    async def body() -> Request:
        wire = Wire()
        trunks = (Trunk("carrier", f"{HOST}:5070", "4930111", register=False, **trunk),) if trunk else ()
        agent, peer = user_agent(wire, trunks=trunks), Peer(wire)
        await agent.start(Callee())
        task = asyncio.ensure_future(agent.place(call))
        request = await peer.receive("INVITE")
        peer.answer(request, 603)
        with pytest.raises(CallFailed):
            await task
        await agent.close()
        return request

    return run(body)


TARGET = f"sip:+49170@{HOST}:5070"


def test_an_anonymous_call_tells_only_a_trusted_trunk_who_calls() -> None:
    call = OutboundCall(TARGET, "4930222", anonymous=True)
    for trunk, header in (
        ({"trusted": True}, "p-asserted-identity"),
        ({"trusted": False}, "p-preferred-identity"),
    ):
        request = sent(call, **trunk)
        assert request.from_.uri == "sip:anonymous@anonymous.invalid"
        assert request.headers.get("privacy") == "id"
        assert request.headers.get(header) == f"<sip:4930222@{HOST}:5070>"
    request = sent(call)
    assert "4930222" not in bytes(request).decode(), "nobody else learns it"


def test_an_open_call_is_asserted_to_a_trusted_trunk() -> None:
    request = sent(OutboundCall(TARGET, "4930222", "Ada", headers={"X-Campaign": "7"}), trusted=True)
    assert request.headers.get("p-asserted-identity") == f'"Ada" <sip:4930222@{HOST}:5070>'
    assert "privacy" not in request.headers
    assert request.headers.get("x-campaign") == "7"


# Causes


@pytest.mark.parametrize(
    "status, cause",
    [
        (0, "UNREACHABLE"), (302, "TEMPORARY"), (400, "TEMPORARY"), (401, "REJECTED"),
        (403, "REJECTED"), (404, "UNALLOCATED"), (407, "REJECTED"), (408, "NO_ANSWER"),
        (410, "UNALLOCATED"), (415, "INCOMPATIBLE"), (416, "INVALID_NUMBER"), (480, "NO_ANSWER"),
        (482, "NO_ROUTE"), (483, "NO_ROUTE"), (484, "INVALID_NUMBER"), (485, "INVALID_NUMBER"),
        (486, "BUSY"), (487, "CANCELLED"), (488, "INCOMPATIBLE"), (500, "TEMPORARY"),
        (502, "NETWORK"), (503, "CONGESTION"), (504, "NETWORK"), (600, "BUSY"),
        (603, "REJECTED"), (604, "UNALLOCATED"), (606, "INCOMPATIBLE"), (607, "REJECTED"),
        (699, "REJECTED"),
    ],
)  # fmt: skip
def test_what_a_status_stands_for(status: int, cause: str) -> None:
    assert cause_of_status(status) is HangupCause[cause]


@pytest.mark.parametrize(
    "code, cause",
    [
        (1, "UNALLOCATED"), (2, "NO_ROUTE"), (3, "NO_ROUTE"), (16, "NORMAL"),
        (17, "BUSY"), (18, "NO_ANSWER"), (19, "NO_ANSWER"), (20, "UNREACHABLE"),
        (21, "REJECTED"), (22, "UNALLOCATED"), (27, "UNREACHABLE"), (28, "INVALID_NUMBER"),
        (31, "NORMAL"), (34, "CONGESTION"), (38, "NETWORK"), (41, "TEMPORARY"),
        (42, "CONGESTION"), (47, "CONGESTION"), (55, "REJECTED"), (58, "REJECTED"),
        (65, "INCOMPATIBLE"), (79, "INCOMPATIBLE"), (88, "INCOMPATIBLE"), (102, "MEDIA_TIMEOUT"),
        (111, "TEMPORARY"), (127, "INTERNAL"), (487, "TEMPORARY"),
    ],
)  # fmt: skip
def test_what_a_q850_code_stands_for(code: int, cause: str) -> None:
    assert cause_of_q850(code) is HangupCause[cause]


def test_every_cause_and_code_has_its_counterpart() -> None:
    for cause in HangupCause:
        assert 400 <= status_of_cause(cause) < 700
        if cause.value <= 127:
            assert cause_of_q850(cause.value) is cause
    assert all(isinstance(cause_of_q850(code), HangupCause) for code in range(128))
    assert all(isinstance(cause_of_status(status), HangupCause) for status in range(300, 700))


@pytest.mark.parametrize(
    "value, cause",
    [
        ('Q.850;cause=17;text="User busy"', "BUSY"),
        ("SIP;cause=600, Q.850;cause=21", "REJECTED"),
        ("SIP;cause=486", "BUSY"),
        ('SIP;cause=200;text="Call completed elsewhere"', None),
        ("q.850 ; cause = 1", "UNALLOCATED"),
        ("Q.850;cause=abc", None),
        ("Q.850;cause=99999", None),
        ("rubbish", None),
    ],
)
def test_what_a_reason_header_says(value: str, cause: str | None) -> None:
    response = Response(Headers([("Reason", value)]), b"", 480)
    assert cause_in(response) is (HangupCause[cause] if cause else None)


def test_our_reason_is_read_as_the_same_cause() -> None:
    for cause in HangupCause:
        if cause is not HangupCause.CANCELLED:
            assert cause_in(Request(Headers([("Reason", reason_of(cause))]), b"", "BYE", "sip:a@b")) is cause
