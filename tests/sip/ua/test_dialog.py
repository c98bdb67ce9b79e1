"""The memory of a dialog, and the ways that its requests take."""

import asyncio
import socket

import pytest

from sip.errors import RemoteProtocolError
from sip.ua.config import DnsConfig, SipConfig
from sip.ua.counters import SipCounters
from sip.ua.dialog import AnswerTimer, Dialog
from sip.ua.exchange import Exchange
from sip.ua.flow import Flow
from sip.ua.grammar import CSeq, SipUri
from sip.ua.message import Headers, Request, reply
from sip.ua.resolve import Resolver
from sip.ua.sources import SourceLimits, Sources
from sip.ua.transaction import Timers
from sip.ua.transport import NetworkTransport
from tests.clock import run


def invite(*routes: str) -> Request:
    headers = Headers([("via", "SIP/2.0/UDP a;branch=z9hG4bK1"), ("from", "A <sip:a@a>;tag=ta")])
    headers.add("to", "<sip:b@b>")
    headers.add("call-id", "c")
    headers.add("cseq", "7 INVITE")
    headers.add("contact", "<sip:a@192.0.2.1:5070>;x=1")
    for route in routes:
        headers.add("record-route", route)
    return Request(headers, b"", "INVITE", "sip:b@b")


def test_the_callees_view() -> None:
    dialog = Dialog.of_callee(invite("<sip:p1;lr>, <sip:p2;lr>"), "tb")
    assert dialog.key == ("c", "tb", "ta")
    bye = dialog.request("BYE")
    assert (bye.uri, bye.headers.all("route")) == (
        "sip:a@192.0.2.1:5070",
        ["<sip:p1;lr>", "<sip:p2;lr>"],
    )
    assert (bye.from_.tag, bye.to.tag, bye.to.display, bye.cseq) == ("tb", "ta", "A", CSeq(1, "BYE"))
    assert dialog.next_hop() == "sip:p1;lr"


def test_the_callers_view_has_the_routes_the_other_way_round() -> None:
    request = invite("<sip:p1;lr>", "<sip:p2;lr>")
    response = reply(request, 200, tag="tb")
    response.headers.add("contact", "<sip:b@192.0.2.2>")
    dialog = Dialog.of_caller(request, response)
    assert dialog.key == ("c", "ta", "tb")
    ack = dialog.ack(7)
    assert (ack.uri, ack.cseq) == ("sip:b@192.0.2.2", CSeq(7, "ACK"))
    assert ack.headers.all("route") == ["<sip:p2;lr>", "<sip:p1;lr>"]
    assert dialog.request("BYE").cseq.number == 8
    response.headers.remove("contact")
    assert Dialog.of_caller(request, response).target == "sip:b@b"


def test_a_strict_router_gets_the_request_line() -> None:
    bye = Dialog.of_callee(invite("<sip:old>", "<sip:p2;lr>"), "tb").request("BYE")
    assert (bye.uri, bye.headers.all("route")) == ("sip:old", ["<sip:p2;lr>", "<sip:a@192.0.2.1:5070>"])


def test_an_invite_without_contact_opens_no_dialog() -> None:
    request = invite()
    request.headers.remove("contact")
    with pytest.raises(RemoteProtocolError):
        Dialog.of_callee(request, "tb")


@pytest.mark.parametrize("number, fits", [(6, False), (7, True), (8, True), (900, True)])
def test_numbers_of_requests_do_not_go_back(number: int, fits: bool) -> None:
    dialog = Dialog.of_callee(invite(), "tb")
    request = Request(Headers([("cseq", f"{number} INFO")]), b"", "INFO", "sip:b")
    if fits:
        dialog.receive(request)
        assert dialog.remote_number == number
    else:
        with pytest.raises(RemoteProtocolError) as caught:
            dialog.receive(request)
        assert caught.value.status == 500


def test_an_answer_is_repeated_for_32_seconds() -> None:
    timer, now, sent = AnswerTimer(0.0, Timers()), 0.0, []
    while (outcome := timer.tick(now)) is not False:
        if outcome:
            sent.append(now)
        now = timer.deadline()
    assert (sent, now) == ([0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5], 32.0)


def resolver() -> Resolver:
    return Resolver(DnsConfig(srv=False), (socket.AF_INET,), ("udp", "tcp"), lambda: 0.0)


PUBLIC = Flow("UDP", "203.0.113.5", 30000)


@pytest.mark.parametrize(
    "hop, routed, source, expected",
    [
        ("sip:a@198.51.100.1:5070", False, PUBLIC, Flow("UDP", "198.51.100.1", 5070)),
        ("sip:a@8.8.8.8", False, Flow("UDP", "9.9.9.9", 30000), Flow("UDP", "8.8.8.8", 5060)),
        # A phone behind NAT wrote its private address.
        ("sip:a@192.168.1.2:5060", False, Flow("UDP", "9.9.9.9", 30000), Flow("UDP", "9.9.9.9", 30000)),
        ("sip:a@192.168.1.2", True, Flow("UDP", "9.9.9.9", 3000), Flow("UDP", "192.168.1.2", 5060)),
        ("sip:a@192.168.1.2", False, Flow("UDP", "10.0.0.1", 3000), Flow("UDP", "192.168.1.2", 5060)),
        # A connection is kept, with the Contact as the place to go should it break.
        ("sip:a@8.8.8.8:5080", False, Flow("TCP", "8.8.8.8", 41000, 7), Flow("TCP", "8.8.8.8", 5080, 7)),
        (
            "sip:a@8.8.8.8;transport=udp",
            False,
            Flow("TCP", "8.8.8.8", 41000, 7),
            Flow("UDP", "8.8.8.8", 5060),
        ),
        ("tel:+49301234", False, PUBLIC, PUBLIC),
        ("mailto:a", False, PUBLIC, PUBLIC),
        ("sip:a@no-such-host.invalid", False, PUBLIC, PUBLIC),
    ],
)
def test_the_way_of_the_next_request(hop: str, routed: bool, source: Flow, expected: Flow) -> None:
    async def test() -> Flow:
        async def unknown(*_: object, **__: object) -> list[object]:
            raise socket.gaierror("no such name")

        asyncio.get_running_loop().getaddrinfo = unknown  # type: ignore[assignment]
        return await resolver().next_flow(hop, source, routed=routed)

    assert run(test()) == expected


def test_names_are_looked_up() -> None:
    async def test() -> None:
        async def found(host: str, port: int, **_: object) -> list[object]:
            return [
                (socket.AF_INET, 0, 0, "", (address, port))
                for address in ("192.0.2.7", "192.0.2.8", "192.0.2.7")
            ]

        asyncio.get_running_loop().getaddrinfo = found  # type: ignore[assignment]
        uri = SipUri.parse("sip:a@sip.example:5070;transport=tcp")
        expected = [Flow("TCP", "192.0.2.7", 5070), Flow("TCP", "192.0.2.8", 5070)]
        assert await resolver().ways(uri) == expected
        assert await resolver().ways(SipUri.parse("sip:[::1]")) == [Flow("UDP", "::1", 5060)]

    run(test())


@pytest.mark.parametrize(
    "config, peer, sdp, contact",
    [
        (SipConfig(host="192.0.2.9"), "8.8.8.8", "192.0.2.9", "<sip:bot@192.0.2.9:5060>"),
        (
            SipConfig(host="192.0.2.9", public_host="203.0.113.1"),
            "8.8.8.8",
            "203.0.113.1",
            "<sip:bot@203.0.113.1:5060>",
        ),
        (
            SipConfig(host="127.0.0.1", public_host="203.0.113.1"),
            "127.0.0.1",
            "127.0.0.1",
            "<sip:bot@127.0.0.1:5060>",
        ),
        (SipConfig(), "127.0.0.1", "127.0.0.1", "<sip:bot@127.0.0.1:5060>"),
        (SipConfig(host="2001:db8::1"), "2001:db8::2", "2001:db8::1", "<sip:bot@[2001:db8::1]:5060>"),
    ],
)
def test_what_we_call_ourselves(config: SipConfig, peer: str, sdp: str, contact: str) -> None:
    async def test() -> None:
        counters = SipCounters()
        exchange = Exchange(
            config,
            NetworkTransport(config, Sources((), SourceLimits(), counters, lambda: 0.0), counters),
            counters,
        )
        flow = Flow("UDP", peer, 5060)
        assert (exchange.host(flow), exchange.contact(flow)) == (sdp, contact)

    run(test())
