"""The protocol core against real sessions, and against anything else."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.esl import commands
from sip.esl.messages import Event, Message, Notice, NoticeKind, Reply
from sip.esl.protocol import EslLimits, EslProtocol, verb
from tests.sip.esl import capture

PIECES = [1, 7, 1448, 1_000_000]


def read(data: bytes, piece: int = 1_000_000, core: EslProtocol | None = None) -> list[Message]:
    core, found = core or EslProtocol(), []
    for start in range(0, len(data), piece):
        core.receive_data(data[start : start + piece])
        found += list(core.messages())
    return found


def replayed(name: str) -> tuple[list[Message], EslProtocol]:
    """A session, with the commands that were sent in it."""
    core, found = EslProtocol(), []
    for record in capture.load(name):
        if record.received:
            core.receive_data(record.data)
            found += list(core.messages())
        else:
            for command in record.data.replace(b"\r", b"").split(b"\n\n"):
                if command.strip() and not command.startswith((b"Hello", b"Gr")):
                    core.command(command.strip().split(b"\n")[0].decode())
    return found, core


@pytest.mark.parametrize("name", capture.names())
def test_real_sessions_are_read_whole(name: str) -> None:
    """Nothing is skipped, and each message is found."""
    core = EslProtocol()
    for _ in range(500):
        core.command("noop")
    data = capture.received(name)
    found = read(data, core=core)
    heads = data.count(b"Content-Type: text/event-") + data.count(b"Content-Type: command/reply")
    assert core.counters.bad == data.count(b"text/event-xml") and not core.counters.oversized
    assert len(found) >= min(heads, 1) and not core._buffer
    assert all(isinstance(m, Reply | Event | Notice) for m in found)
    if core.counters.events:
        assert all(m.get("Core-UUID") for m in found if isinstance(m, Event))


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("name", ["01", "20", "24", "30", "52"])
def test_how_tcp_cuts_it_does_not_matter(name: str, piece: int) -> None:
    whole, cores = capture.received(name), [EslProtocol(), EslProtocol()]
    for core in cores:
        core.command("connect")
        for _ in range(100):
            core.command("noop")
    data = whole[: 40_000 if piece == 1 else None]
    assert read(data, piece, cores[0]) == read(data, len(data), cores[1])


def test_a_whole_outbound_call() -> None:
    found, core = replayed("20")
    replies = [m for m in found if isinstance(m, Reply)]
    assert [r.number for r in replies] == sorted(r.number for r in replies)
    connect = replies[0]
    assert connect.ok and connect.text == "+OK"
    assert connect.headers["Socket-Mode"] == "async" and connect.headers["Control"] == "full"
    assert connect.headers["Caller-Caller-ID-Name"] == "Alice Test"
    assert connect.headers["variable_sip_h_X-Tenant"] == "acme"
    events = [m for m in found if isinstance(m, Event)]
    assert [e.get("DTMF-Digit") for e in events if e.name == "DTMF"] == ["5"]
    played = [e for e in events if e.get("Application-UUID") == "11111111-1111-4111-8111-000000000002"]
    assert [e.name for e in played] == ["CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE"]
    assert [m.kind for m in found if isinstance(m, Notice)] == [NoticeKind.LINGER, NoticeKind.DISCONNECT]
    assert not core.waiting


def test_getvar_and_errors_are_replies() -> None:
    found, _ = replayed("20")
    texts = [m.text for m in found if isinstance(m, Reply)]
    assert "acme" in texts and "-ERR command not found" in texts
    assert not Reply(1, "-ERR command not found").ok and not Reply(1, "-USAGE: x").ok


def test_plain_and_json_give_the_same_event() -> None:
    """Capture 06 has one event in three encodings, with a body and text that is not ASCII."""
    found = [m for m in read(capture.received("06")) if isinstance(m, Event)]
    plain, other = found[0], found[1]
    assert plain.name == other.name and "::" in plain.name
    assert plain.body == other.body and plain.body
    custom = [key for key in plain.headers if key.startswith("X-")]
    assert custom and all(plain.get(key) == other.get(key) for key in custom)


def test_jobs_carry_their_result() -> None:
    found, _ = replayed("30")
    bodies = [m.body.strip() for m in found if isinstance(m, Event) and m.name == "BACKGROUND_JOB"]
    assert bodies[0] == "+OK 99999999-0000-4000-8000-000000000001"
    assert {"-ERR USER_BUSY", "-ERR INVALID_GATEWAY", "-ERR USER_NOT_REGISTERED"} <= set(bodies)


def test_refused_by_the_acl() -> None:
    kinds = [m.kind for m in read(capture.received("52")) if isinstance(m, Notice)]
    assert kinds[0] is NoticeKind.DENIED and NoticeKind.AUTH not in kinds


def test_log_lines_are_notices() -> None:
    assert any(isinstance(m, Notice) and m.kind is NoticeKind.LOG for m in read(capture.received("43")))


# Framing


def frame(kind: str, body: bytes, length: str | None = None) -> bytes:
    return b"Content-Length: %s\nContent-Type: %s\n\n%s" % (
        (length or str(len(body))).encode(), kind.encode(), body)  # fmt: skip


EVENT = frame("text/event-json", b'{"Event-Name": "HEARTBEAT", "Unique-ID": "u"}')


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "١٢", "9" * 40])
def test_a_length_that_is_none_ends_the_connection(length: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read(frame("text/event-json", b"", length))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"Event-Name": NaN']
)
def test_an_event_that_is_none_costs_itself_alone(body: bytes) -> None:
    core = EslProtocol()
    found = read(frame("text/event-json", body) + EVENT, core=core)
    assert [m.name for m in found if isinstance(m, Event)] == ["HEARTBEAT"] and core.counters.bad == 1


def test_unknown_kinds_are_skipped_and_counted() -> None:
    core = EslProtocol()
    assert len(read(frame("text/event-xml", b"<event/>") + EVENT, core=core)) == 1
    assert core.counters.bad == 1


def test_a_body_beyond_the_limit_is_skipped_without_being_held() -> None:
    core = EslProtocol(EslLimits(max_body_bytes=1000))
    data = frame("text/event-json", b"x" * 50_000) + EVENT
    for start in range(0, len(data), 100):
        core.receive_data(data[start : start + 100])
        assert len(core._buffer) <= 1000 or core._head is not None
        found = list(core.messages())
    assert len(found) == 1 and core.counters.oversized == 1


def test_an_endless_header_block_ends_the_connection() -> None:
    core = EslProtocol(EslLimits(max_header_bytes=10_000))
    with pytest.raises(RemoteProtocolError):
        read(b"X: " + b"y" * 20_000, 1000, core)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 50))
def test_anything_gives_messages_or_the_one_error(data: bytes, piece: int) -> None:
    results = []
    for size in (piece, len(data) or 1):
        core = EslProtocol()
        core.command("noop")
        try:
            results.append(read(data, size, core))
        except RemoteProtocolError:
            results.append([])
    if all(results):
        assert results[0] == results[1]


HEADS = st.sampled_from([b"Content-Length: 5\n", b"Content-Type: text/event-plain\n", b"\n",
                         b"Event-Name: X\n",
                         b"Content-Type: api/response\n", b"Reply-Text: +OK\n", b"a: %41%zz%\n", b":\n",
                         b"Content-Type: command/reply\n", b"hello", b"\r\n", b"\0\xff: \x80\n"])  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(HEADS, max_size=30), st.integers(1, 9))
def test_near_misses_too(parts: list[bytes], piece: int) -> None:
    core = EslProtocol()
    core.command("connect")
    try:
        read(b"".join(parts), piece, core)
    except RemoteProtocolError:
        pass


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True),
                       st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=8), st.text(max_size=50))  # fmt: skip # noqa: E501
def test_values_survive_both_encodings(values: dict[str, str], body: str) -> None:
    values = {f"X-{k}": v for k, v in values.items() if v not in ("", "_undef_") and "ARRAY::" not in v}
    body = body.encode("utf-8", "replace").decode()
    fields = {"Event-Name": "CUSTOM", "Event-Subclass": "a::b", **values}
    plain = "".join(f"{k}: {quote(v, safe=',/:')}\n" for k, v in fields.items())
    wire = f"{plain}Content-Length: {len(body.encode())}\n\n{body}".encode()
    data = json.dumps({**fields, "_body": body}).encode()
    for kind, payload in (("text/event-plain", wire), ("text/event-json", data)):
        (event,) = read(frame(kind, payload))
        assert isinstance(event, Event) and event.name == "a::b"
        assert {k: event.get(k) for k in values} == values and event.body == body


# Commands


@pytest.mark.parametrize("where", ["line", "name", "value"])
@pytest.mark.parametrize("mark", ["\n", "\r", "\0"])
def test_no_line_end_gets_into_a_command(where: str, mark: str) -> None:
    core = EslProtocol()
    line = f"sendmsg u{mark}" if where == "line" else "sendmsg u"
    headers = {f"a{mark if where == 'name' else ''}": f"b{mark if where == 'value' else ''}"}
    with pytest.raises(LocalProtocolError):
        core.command(line, headers)
    assert core.waiting == 0


def test_long_arguments_travel_as_a_body() -> None:
    headers, body = commands.execute("playback", "a\nb: c\n\nd", job="j")
    _, wire = EslProtocol().command("sendmsg u", headers, body)
    assert wire.endswith(b"content-length: 9\n\na\nb: c\n\nd") and wire.count(b"event-lock: true") == 1


@pytest.mark.parametrize("value", ["x'y", "a{b", "a}b", "a\nb", "a|b", "a^b", "a[b", "<x>"])
def test_variables_refuse_what_no_quoting_saves(value: str) -> None:
    with pytest.raises(LocalProtocolError):
        commands.variables({"a": value})


def test_variables_are_quoted() -> None:
    text = commands.variables({"a": "1", "name": "Ann Lee", "list": "PCMU,PCMA"})
    assert text == "{a=1,name='Ann Lee',list=PCMU\\,PCMA}" and commands.variables({}) == ""


@pytest.mark.parametrize("text", ["12 34", "x,y", "12|34", "", "a)b", "1'", "5\n6", "7" * 65])
def test_numbers_are_numbers(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        commands.number(text)


def test_what_is_logged_of_a_command_holds_no_secret() -> None:
    assert verb("auth ClueCon") == "auth" and verb("userauth a@b:c") == "userauth"
    assert verb("api originate {password=x}sofia/a/b &park") == "api originate"
