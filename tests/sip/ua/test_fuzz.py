"""Nothing that arrives on the wire raises, hangs or leaves something behind."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from sip.ua.flow import Flow
from tests.sip.ua.wire import HOST, Callee, Peer, Wire, run, sdp, user_agent

PIECES = [*(bytes([c]) for c in b';,"<>:@*0 \0\xff'), b"\r\n", b"\r\n ", b"99999999999", b"sip:"]
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(PIECES) | st.binary(max_size=8)),
    max_size=4,
)
METHODS = st.lists(
    st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "INFO", "OPTIONS", "UPDATE", "REFER", "NOTIFY"]),
    min_size=1,
    max_size=6,
)


def watched() -> list[dict[str, object]]:
    """What the loop of this test had to report; and names have no address in it."""
    errors: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: errors.append(context))

    async def unknown(*_: object, **__: object) -> list[object]:
        raise OSError("no such name")

    loop.getaddrinfo = unknown  # type: ignore[assignment]
    return errors


def damaged(data: bytes, damage: list[tuple[float, int, bytes]]) -> bytes:
    for where, cut, put in damage:
        at = int(where * len(data))
        data = data[:at] + put + data[at + cut :]
    return data


async def feed(messages: list[bytes]) -> None:
    """Give them to a running user agent; afterwards everything it holds must go by itself."""
    wire = Wire()
    agent = user_agent(wire)
    errors = watched()
    await agent.start(Callee())
    exchange = agent._stack.exchange  # type: ignore[union-attr]
    for data in messages:
        exchange.on_message(data, Flow("UDP", HOST, 5070))
        await asyncio.sleep(0.3)
    await asyncio.sleep(300)
    assert not errors, errors
    assert agent.counters.errors == 0
    assert agent.calls == 0 and agent.counters.transactions == 0
    await agent.close()


@settings(max_examples=150, deadline=None)
@given(METHODS, st.lists(DAMAGE, min_size=6, max_size=6), st.booleans())
def test_damaged_requests(
    methods: list[str], damage: list[list[tuple[float, int, bytes]]], in_dialog: bool
) -> None:
    async def test() -> None:
        peer = Peer(Wire())
        messages = [bytes(peer.request("INVITE", sdp(), number=1))] if in_dialog else []
        for number, (method, harm) in enumerate(zip(methods, damage, strict=False), 2):
            request = peer.request(method, sdp() if method in ("INVITE", "UPDATE") else b"", number=number)
            messages.append(damaged(bytes(request), harm))
        await feed(messages)

    run(test)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([100, 180, 183, 200, 302, 401, 407, 423, 486, 491]), DAMAGE, st.booleans())
def test_damaged_responses_to_a_call_of_ours(
    status: int, damage: list[tuple[float, int, bytes]], body: bool
) -> None:
    async def test() -> None:
        wire = Wire()
        agent, peer = user_agent(wire), Peer(wire)
        errors = watched()
        await agent.start(Callee())
        call = asyncio.ensure_future(agent.place(OutboundCall(f"sip:a@{HOST}:5070", ring_timeout_s=40)))
        invite = await peer.receive("INVITE")
        sent: list[bytes] = []
        wire.send = lambda data, source, target: sent.append(data)  # type: ignore[method-assign]
        challenge = 'Digest realm="r", nonce="n", qop="auth"'
        names = ("WWW-Authenticate", "Proxy-Authenticate")
        headers = (*((name, challenge) for name in names), ("Record-Route", "<sip:x;lr>"))
        peer.answer(invite, status, sdp() if body else b"", headers=headers)
        agent._stack.exchange.on_message(damaged(sent[0], damage), Flow("UDP", HOST, 5070))  # type: ignore[union-attr]
        try:
            leg = await call
            leg.discard()
            next(iter(agent._stack.dialogs.values())).shut_down()  # type: ignore[union-attr]
        except CallFailed:
            pass
        await asyncio.sleep(300)
        assert not errors, errors
        assert agent.counters.errors == 0
        assert agent.calls == 0 and agent.counters.transactions == 0
        await agent.close()

    run(test)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_garbage(messages: list[bytes]) -> None:
    run(lambda: feed(messages))
