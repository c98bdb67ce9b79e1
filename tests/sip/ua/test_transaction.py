"""The four state machines: tables of what happens when, and two layers that talk over a bad line."""

import random
from collections.abc import Iterator

import pytest

from sip.errors import LocalProtocolError
from sip.ua.flow import Flow, answer_flow
from sip.ua.layer import (
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    TransactionFailed,
    TransactionLayer,
)
from sip.ua.message import Headers, Request, Response, parse, reply
from sip.ua.transaction import State

A, B = Flow("UDP", "192.0.2.1", 5060), Flow("UDP", "192.0.2.2", 5060)
TCP = Flow("TCP", "192.0.2.2", 5060, 1)


def request(method: str, branch: str = "1", number: int = 1, via: str = "192.0.2.1") -> Request:
    headers = Headers([("via", f"SIP/2.0/UDP {via};branch=z9hG4bK{branch}"), ("max-forwards", "70")])
    headers.add("from", "<sip:a@192.0.2.1>;tag=a")
    headers.add("to", "<sip:b@192.0.2.2>")
    headers.add("call-id", "call")
    headers.add("cseq", f"{number} {method}")
    return Request(headers, b"", method, "sip:b@192.0.2.2")


def timeline(layer: TransactionLayer, until: float = 100.0) -> Iterator[tuple[float, str]]:
    """Run the clock; what is sent and what fails, and when."""
    while (now := layer.deadline()) is not None and now <= until:
        events = layer.tick(now)
        for data, _ in layer.take_outgoing():
            yield round(now, 2), data.split(b"\r\n")[0].decode().replace(" SIP/2.0", "")[:12].strip()
        for event in events:
            if isinstance(event, TransactionFailed):
                yield round(now, 2), "failed"


def first_lines(layer: TransactionLayer) -> list[str]:
    return [data.split(b"\r\n")[0].decode() for data, _ in layer.take_outgoing()]


@pytest.mark.parametrize(
    "method, flow, times",
    [
        ("INVITE", B, [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]),  # timers A and B
        ("BYE", B, [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]),  # timers E and F
        ("INVITE", TCP, []),
        ("BYE", TCP, []),
    ],
)
def test_requests_are_repeated_until_given_up(method: str, flow: Flow, times: list[float]) -> None:
    layer = TransactionLayer()
    layer.request(request(method), flow, 0.0)
    assert len(layer.take_outgoing()) == 1
    seen = list(timeline(layer))
    assert [at for at, what in seen if what != "failed"] == times
    assert [at for at, what in seen if what == "failed"] == [32.0]
    assert len(layer) == 0


def test_a_ringing_call_is_not_repeated_and_never_given_up_by_the_transaction() -> None:
    layer = TransactionLayer()
    sent = request("INVITE")
    layer.request(sent, B, 0.0)
    layer.receive(reply(sent, 180, tag="b"), B, 0.2)
    layer.take_outgoing()
    assert list(timeline(layer, until=1000)) == []
    assert len(layer) == 1


def test_an_answer_to_invite_reaches_the_user_each_time_for_32_seconds() -> None:
    layer = TransactionLayer()
    sent = request("INVITE")
    layer.request(sent, B, 0.0)
    for now in (1.0, 1.5, 32.0):
        (event,) = layer.receive(reply(sent, 200, tag="b"), B, now)
        assert isinstance(event, ResponseReceived)
    list(timeline(layer))
    assert layer.receive(reply(sent, 200, tag="b"), B, 40.0) == []


def test_a_refusal_is_acknowledged_by_the_transaction_each_time_and_reported_once() -> None:
    layer = TransactionLayer()
    sent = request("INVITE")
    sent.headers.add("route", "<sip:proxy;lr>")
    layer.request(sent, B, 0.0)
    layer.take_outgoing()
    assert len(layer.receive(reply(sent, 486, tag="b"), B, 1.0)) == 1
    (data, flow), *rest = layer.take_outgoing()
    ack = parse(data)
    assert isinstance(ack, Request) and not rest and flow == B
    assert (ack.method, ack.via, ack.to.tag, str(ack.cseq)) == ("ACK", sent.via, "b", "1 ACK")
    assert ack.headers.get("route") == "<sip:proxy;lr>"
    assert layer.receive(reply(sent, 486, tag="b"), B, 2.0) == []
    assert first_lines(layer) == ["ACK sip:b@192.0.2.2 SIP/2.0"]
    assert list(timeline(layer)) == [] and len(layer) == 0


def test_after_cancel_a_call_without_a_final_answer_is_over_in_32_seconds() -> None:
    layer = TransactionLayer()
    sent = request("INVITE")
    transaction = layer.request(sent, B, 0.0)
    assert layer.cancel(transaction, 0.1) is None  # RFC 3261, 9.1: not before a provisional response
    layer.receive(reply(sent, 180), B, 1.0)
    cancel = layer.cancel(transaction, 2.0)
    assert cancel is not None and cancel.machine.request.via == sent.via
    assert (34.0, "failed") in list(timeline(layer))


def server(layer: TransactionLayer, message: Request, flow: Flow = A, now: float = 0.0) -> ServerTransaction:
    (event,) = layer.receive(message, flow, now)
    assert isinstance(event, RequestReceived) and event.transaction is not None
    return event.transaction


def test_a_repeated_invite_gets_the_latest_response_and_is_no_second_call() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("INVITE"))
    assert layer.receive(request("INVITE"), A, 0.1) == []
    assert first_lines(layer) == []
    layer.respond(transaction, reply(request("INVITE"), 180, tag="b"), 0.2)
    assert layer.receive(request("INVITE"), A, 0.5) == []
    assert first_lines(layer) == ["SIP/2.0 180 Ringing"] * 2
    layer.respond(transaction, reply(request("INVITE"), 200, tag="b"), 0.6)
    assert layer.receive(request("INVITE"), A, 1.0) == []
    assert first_lines(layer) == ["SIP/2.0 200 OK"]


def test_a_refusal_is_repeated_until_the_ack() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("INVITE"))
    layer.respond(transaction, reply(request("INVITE"), 486, tag="b"), 0.0)
    layer.take_outgoing()
    assert [at for at, _ in timeline(layer, until=10)] == [0.5, 1.5, 3.5, 7.5]
    assert layer.receive(request("ACK"), A, 10.0) == []
    assert layer.receive(request("ACK"), A, 11.0) == []
    assert list(timeline(layer)) == []
    assert len(layer) == 0


def test_a_refusal_that_nobody_acknowledges_ends_after_32_seconds() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("INVITE"))
    layer.respond(transaction, reply(request("INVITE"), 486, tag="b"), 0.0)
    assert list(timeline(layer))[-1] == (32.0, "failed")


def test_a_repeated_bye_gets_the_same_answer_for_32_seconds() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("BYE"))
    layer.respond(transaction, reply(request("BYE"), 200), 0.0)
    assert layer.receive(request("BYE"), A, 31.0) == []
    assert first_lines(layer) == ["SIP/2.0 200 OK"] * 2
    list(timeline(layer))
    assert len(layer) == 0
    server(layer, request("BYE"), now=40.0)


def test_tcp_transactions_end_with_their_answer() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("BYE"), TCP)
    layer.respond(transaction, reply(request("BYE"), 200), 0.0)
    assert len(layer) == 0


def test_a_second_final_response_is_our_bug() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("BYE"))
    layer.respond(transaction, reply(request("BYE"), 200), 0.0)
    with pytest.raises(LocalProtocolError):
        layer.respond(transaction, reply(request("BYE"), 200), 0.0)


def test_transactions_are_told_apart_by_branch_sender_and_method() -> None:
    layer = TransactionLayer()
    invite = server(layer, request("INVITE"))
    server(layer, request("INVITE", via="192.0.2.9"))
    server(layer, request("INVITE", branch="2", number=2))
    cancel = server(layer, request("CANCEL"))
    assert layer.invite_of(cancel.machine.request) is invite
    assert layer.invite_of(request("CANCEL", branch="3")) is None


def test_the_same_invite_by_another_way_is_recognised() -> None:
    layer = TransactionLayer()
    first = server(layer, request("INVITE"))
    second = server(layer, request("INVITE", branch="other"))
    assert (layer.merged(first), layer.merged(second)) == (False, True)


def test_peers_of_rfc_2543_are_matched_without_a_branch() -> None:
    def old(method: str) -> Request:
        message = request(method)
        message.headers.set("via", "SIP/2.0/UDP 192.0.2.1")
        return message

    layer = TransactionLayer()
    transaction = server(layer, old("INVITE"))
    assert layer.receive(old("INVITE"), A, 0.1) == []
    layer.respond(transaction, reply(old("INVITE"), 486, tag="b"), 0.2)
    assert layer.receive(old("ACK"), A, 0.3) == []
    assert transaction.machine.state is State.CONFIRMED


def test_memory_is_bounded_and_what_is_too_much_is_told_so() -> None:
    layer = TransactionLayer(limit=3)
    for branch in "abcdef":
        layer.receive(request("INVITE", branch), A, 0.0)
    assert len(layer) == 3
    assert first_lines(layer) == ["SIP/2.0 503 Service Unavailable"] * 3


def test_retransmissions_do_not_grow_the_timers() -> None:
    layer = TransactionLayer()
    transaction = server(layer, request("BYE"))
    layer.respond(transaction, reply(request("BYE"), 200), 0.0)
    for _ in range(1000):
        layer.receive(request("BYE"), A, 1.0)
    assert len(layer._heap) == 1


def test_a_dead_connection_fails_what_waits_on_it() -> None:
    layer = TransactionLayer()
    layer.request(request("BYE"), TCP, 0.0)
    layer.request(request("OPTIONS"), B, 0.0)
    assert isinstance(layer.flow_failed(TCP)[0], TransactionFailed)
    assert len(layer) == 1


@pytest.mark.parametrize(
    "via, port, expected",
    [
        ("192.0.2.1:5070", 5070, "SIP/2.0/UDP 192.0.2.1:5070"),
        ("192.0.2.1:5070;rport", 999, "SIP/2.0/UDP 192.0.2.1:5070;rport=999;received=192.0.2.1"),
        ("10.0.0.1:5070", 5070, "SIP/2.0/UDP 10.0.0.1:5070;received=192.0.2.1"),
        ("phone.local", 5060, "SIP/2.0/UDP phone.local;received=192.0.2.1"),
    ],
)
def test_answers_go_where_rfc_3581_says(via: str, port: int, expected: str) -> None:
    message = request("OPTIONS")
    message.headers.set("via", f"SIP/2.0/UDP {via}")
    assert answer_flow(message, Flow("UDP", "192.0.2.1", 999)) == Flow("UDP", "192.0.2.1", port)
    assert message.headers.get("via") == expected


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("method, answer", [("INVITE", 486), ("OPTIONS", 200)])
def test_two_layers_agree_over_a_line_that_loses_a_third(seed: int, method: str, answer: int) -> None:
    """Every request is seen once and every answer arrives once, unless 64*T1 of bad luck."""
    line = random.Random(seed)
    caller, callee = TransactionLayer(), TransactionLayer()
    seen: list[Request] = []
    answers: list[Response] = []
    flying: list[tuple[float, bool, bytes]] = []  # when, to the callee?, what
    caller.request(request(method), B, 0.0)
    now = 0.0
    while len(caller) or len(callee) or flying:
        for layer, to_callee in ((caller, True), (callee, False)):
            for data, _ in layer.take_outgoing():
                if line.random() > 0.33:
                    flying.append((now + line.uniform(0.001, 0.2), to_callee, data))
        due = [d for d in (caller.deadline(), callee.deadline(), *(f[0] for f in flying)) if d is not None]
        if not due:
            break
        now = max(now, min(due))
        arrived = [f for f in flying if f[0] <= now]
        flying = [f for f in flying if f[0] > now]
        for _, to_callee, data in arrived:
            layer, source = (callee, A) if to_callee else (caller, B)
            for event in layer.receive(parse(data), source, now):
                if isinstance(event, RequestReceived) and event.transaction is not None:
                    seen.append(event.request)
                    callee.respond(event.transaction, reply(event.request, answer, tag="b"), now)
                elif isinstance(event, ResponseReceived):
                    answers.append(event.response)
        caller.tick(now)
        callee.tick(now)
    assert len(seen) == 1
    assert [a.status for a in answers] == [answer]
