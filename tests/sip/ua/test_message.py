"""Message grammar: what the wire may hold, and that nothing on it can break us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.ua.grammar import Address, CSeq, SipUri, Via, quote, split_outside, unquote
from sip.ua.message import MAX_HEADERS, Headers, Request, Response, check, parse, reply
from sip.ua.stream import Ping, Pong, StreamFramer

INVITE = b"""INVITE sip:bot@192.0.2.1:5060;transport=udp SIP/2.0
v: SIP/2.0/UDP 198.51.100.7:5061;branch=z9hG4bKa;rport, SIP/2.0/TCP proxy.example;branch=z9hG4bKb
Via: SIP/2.0/UDP [2001:db8::9]:5080 ; branch=z9hG4bKc
f: "Smith, \\"Jo\\" <x>" <sip:jo@example.org;lr>;tag=88sja8x
t: <sip:bot@192.0.2.1>
i: 9876@198.51.100.7
CSeq: 1  INVITE
m: <sip:jo@198.51.100.7:5061;ob>;expires=60
Subject: I know you're
 there,
\tpick up
Record-Route: <sip:a.example;lr>, <sip:b.example;lr>
Max-Forwards: 70
Content-Type: application/SDP; charset=utf-8
l: 4

v=0
""".replace(b"\n", b"\r\n")[:-1]


def test_reads_what_real_phones_write() -> None:
    request = parse(INVITE)
    assert isinstance(request, Request)
    check(request)
    assert (request.method, request.uri) == ("INVITE", "sip:bot@192.0.2.1:5060;transport=udp")
    assert request.via == Via("UDP", "198.51.100.7", 5061, {"branch": "z9hG4bKa", "rport": None})
    assert [Via.parse(v).host for v in request.headers.values("Via")] == [
        "198.51.100.7",
        "proxy.example",
        "[2001:db8::9]",
    ]
    assert request.from_.display == 'Smith, "Jo" <x>'
    assert (request.from_.uri, request.from_.tag) == ("sip:jo@example.org;lr", "88sja8x")
    assert (request.to.tag, request.call_id, request.cseq) == ("", "9876@198.51.100.7", CSeq(1, "INVITE"))
    assert request.contact == Address("sip:jo@198.51.100.7:5061;ob", "", {"expires": "60"})
    assert request.headers.get("subject") == "I know you're there, pick up"
    assert request.headers.values("record-route") == ["<sip:a.example;lr>", "<sip:b.example;lr>"]
    assert (request.content_type, request.body) == ("application/sdp", b"v=0\r")


def test_what_is_written_reads_the_same() -> None:
    request = parse(INVITE)
    assert parse(bytes(request)).headers.all("from") == request.headers.all("from")
    assert bytes(parse(bytes(request))) == bytes(request)


@pytest.mark.parametrize(
    "text, uri",
    [
        ("sip:alice@Example.COM", SipUri("example.com", "alice")),
        ("sips:alice:secret@a.b:5071", SipUri("a.b", "alice", 5071, {}, "sips")),
        ("sip:[2001:db8::1]:5062;transport=tcp", SipUri("[2001:db8::1]", "", 5062, {"transport": "tcp"})),
        ("sip:+4930;isub=1@gw;user=phone", SipUri("gw", "+4930;isub=1", 0, {"user": "phone"})),
        ("tel:+49-30-1234;ext=1", SipUri("", "+49-30-1234", 0, {"ext": "1"}, "tel")),
    ],
)
def test_uris(text: str, uri: SipUri) -> None:
    assert SipUri.parse(text) == uri


@pytest.mark.parametrize(
    "text, status",
    [("sip:", 400), ("sip:a@b:0", 400), ("sip:a@b:99999", 400), ("sip:a b@c", 400), ("sip:a@b c", 400),
     ("http://x/", 416), ("", 416), ("urn:service:sos", 416)],
)  # fmt: skip
def test_bad_uris(text: str, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        SipUri.parse(text)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "text, address",
    [
        ("sip:a@b;tag=1", Address("sip:a@b", "", {"tag": "1"})),
        ("<sip:a@b;x=1>;tag=1", Address("sip:a@b;x=1", "", {"tag": "1"})),
        ("A B <sip:a@b>", Address("sip:a@b", "A B")),
        ('"<>;,\\\\" <sip:a@b> ; tag=1 ;q', Address("sip:a@b", "<>;,\\", {"tag": "1", "q": None})),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "<sip:a@b", '"open <sip:a@b>', "<sip:a@b> tail", "a b c", "<>"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Address.parse(text)


@given(st.text())
def test_quoting_reverses(text: str) -> None:
    assert unquote(quote(text)) == text
    assert split_outside(f"{quote(text)},x", ",") == [quote(text), "x"]


@pytest.mark.parametrize(
    "change, status",
    [
        ((b"CSeq: 1  INVITE", b"CSeq: 1 BYE"), 400),
        ((b"CSeq: 1  INVITE", b"CSeq: 4294967296 INVITE"), 400),
        ((b"CSeq: 1  INVITE", b"CSeq: x INVITE"), 400),
        ((b"i: 9876@198.51.100.7", b"X: y"), 400),
        ((b"Max-Forwards: 70", b"Max-Forwards: -1"), 400),
        ((b"sip:bot@192.0.2.1:5060;transport=udp", b"mailto:bot@example.org"), 416),
        ((b"SIP/2.0\r\nv:", b"SIP/3.0\r\nv:"), 505),
        ((b"SIP/2.0/UDP 198", b"HTTP/2.0/UDP 198"), 400),
        ((b"t: <sip:bot", b"t: sip bot"), 400),
    ],
)
def test_a_request_that_lacks_something_gets_the_fitting_status(
    change: tuple[bytes, bytes], status: int
) -> None:
    assert change[0] in INVITE
    with pytest.raises(RemoteProtocolError) as caught:
        check(parse(INVITE.replace(*change)))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\0",
        b"INVITE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SIP/2.0 99 Low\r\n\r\n",
        b"SIP/2.0 700 High\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n folded: first\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nno colon\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nl: 5\r\n\r\nabc",
        b"OPTIONS sip:a@b SIP/2.0\r\nl: -5\r\n\r\nabc",
        b"OPTIONS sip:a@b SIP/2.0\r\nSubject: a\rb\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\na: " + b"b" * 40_000 + b"\r\n\r\n",
    ],
)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(data)


def test_a_line_break_cannot_smuggle_a_header() -> None:
    request = Request(Headers([("x-name", "a\r\nRoute: <sip:evil>")]), b"", "OPTIONS", "sip:a@b")
    with pytest.raises(LocalProtocolError):
        bytes(request)


def test_bytes_that_are_no_utf8_survive() -> None:
    data = INVITE.replace(b"I know", b"\xff\xfe know")
    assert b"\xff\xfe know" in bytes(parse(data))


def test_replies_keep_what_belongs_to_the_request() -> None:
    request = parse(INVITE)
    assert isinstance(request, Request)
    response = parse(bytes(reply(request, 200, tag="ours")))
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (200, "OK")
    assert response.headers.values("via") == request.headers.values("via")
    assert response.to.tag == "ours"
    assert "record-route" in response.headers
    assert reply(request, 100, tag="ours").to.tag == ""


def test_setting_the_top_via_keeps_the_others_of_its_line() -> None:
    headers = Headers([("via", "A;x=1, B"), ("via", "C")])
    headers.set_first("Via", "A2")
    assert headers.values("v") == ["A2", "B", "C"]


def use(data: bytes) -> None:
    """Everything that is read from a message before anybody trusts it."""
    message = parse(data)
    check(message)
    assert message.via and message.contact is None or message.contact
    assert parse(bytes(message)) == parse(bytes(message))


MUTATIONS = st.lists(
    st.tuples(st.integers(0, len(INVITE)), st.integers(0, 40), st.binary(max_size=20)), min_size=1, max_size=5
)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_the_documented_error(data: bytes) -> None:
    try:
        use(data)
    except RemoteProtocolError:
        pass


@given(MUTATIONS)
def test_any_damage_gives_a_message_or_the_documented_error(damage: list[tuple[int, int, bytes]]) -> None:
    data = INVITE
    for at, cut, put in damage:
        data = data[:at] + put + data[at + cut :]
    try:
        use(data)
    except RemoteProtocolError:
        pass


STREAM = (
    b"\r\n\r\n"
    + INVITE
    + b"\r\nOPTIONS sip:a@b SIP/2.0\nContent-Length: 0\n\n\r\n\r\n"
    + b"\r\n\r\n\r\n\r\n"
    + INVITE.replace(b"l: 4", b"L:2 ")[:-2]
)


def test_a_stream_is_cut_by_content_length() -> None:
    items = StreamFramer().receive(STREAM)
    assert [i if isinstance(i, Ping) else i[:7] for i in items] == [  # type: ignore[index]
        Ping(), b"INVITE ", b"OPTIONS", Ping(), Ping(), Ping(), b"INVITE ",
    ]  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_gives_the_same_messages(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    framer = StreamFramer()
    parts = [framer.receive(STREAM[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    assert [item for part in parts for item in part] == StreamFramer().receive(STREAM)


def test_byte_by_byte_gives_the_same_messages() -> None:
    framer = StreamFramer()
    assert [i for b in STREAM for i in framer.receive(bytes([b]))] == StreamFramer().receive(STREAM)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_a_stream_of_garbage_gives_items_or_the_documented_error(data: bytes, cuts: list[int]) -> None:
    def outcome(edges: list[int]) -> list[object]:
        framer, items = StreamFramer(), []
        try:
            for a, b in zip(edges, edges[1:], strict=False):
                items += framer.receive(data[a:b])
        except RemoteProtocolError:
            items.append("closed")  # type: ignore[arg-type]
        return items  # type: ignore[return-value]

    assert outcome([0, *sorted(min(c, len(data)) for c in cuts), len(data)]) == outcome([0, len(data)])


def test_our_ping_is_answered_by_one_line_break() -> None:
    framer = StreamFramer()
    framer.pings_sent = 1
    assert framer.receive(b"\r\n") == [Pong()]
    assert framer.receive(b"\r\n\r\n") == [Ping()]


@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nl: 70000\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\na: " + b"b" * 40_000,
    ],
)
def test_a_stream_whose_next_message_cannot_be_found_is_given_up(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        StreamFramer().receive(data)


@pytest.mark.parametrize(
    "q, weight",
    [
        ("", 1.0),
        (";q=0.7", 0.7),
        (";q=0", 0.0),
        (";q=1.000", 1.0),
        (";q=.5", 0.5),
        (";q=0.3333", 0.3333),
        (";q=1.", 1.0),
        (";q=5", 1.0),
        *(
            (f";q{garbage}", 1.0)
            for garbage in ("", "=", "=high", "=-1", "=nan", "=inf", "=1e-3", "=0_5", "=٠")
        ),
    ],
)
def test_a_contact_whose_q_cannot_be_read_has_none(q: str, weight: float) -> None:
    assert Address.parse(f"<sip:a@b>{q}").weight == weight
