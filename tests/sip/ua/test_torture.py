"""RFC 4475: each message gets the answer it deserves; none raises, hangs, or leaves something behind."""

import asyncio

import pytest

from sip.errors import RemoteProtocolError
from sip.ua.flow import Flow
from sip.ua.message import Request, Response, parse
from sip.ua.stream import StreamFramer
from tests.sip.ua.test_fuzz import watched
from tests.sip.ua.torture import CASES
from tests.sip.ua.wire import HOST, Callee, Wire, run, user_agent


@pytest.mark.parametrize("name", CASES)
def test_the_answer(name: str) -> None:
    async def test() -> None:
        wire, sent = Wire(), list[bytes]()
        agent, errors = user_agent(wire), watched()
        await agent.start(Callee(ring_s=0.1))
        wire.send = lambda data, source, target: sent.append(data)  # type: ignore[method-assign]
        agent._stack.exchange.on_message(CASES[name].data, Flow("UDP", HOST, 5070))  # type: ignore[union-attr]
        await asyncio.sleep(1)
        finals = {m.status for m in map(parse, sent) if isinstance(m, Response) and m.status >= 200}
        assert finals == ({CASES[name].status} if CASES[name].status else set()), sent
        await asyncio.sleep(300)
        assert not errors, errors
        assert agent.counters.errors == 0 and agent.calls == 0 and agent.counters.transactions == 0
        await agent.close()

    run(test)


def test_what_was_meant_is_read_from_the_tortuous_one() -> None:
    message = parse(CASES["wsinv"].data)
    assert isinstance(message, Request)
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert message.from_.display == 'J Rosenberg \\"' and message.from_.tag == "98asjd8"
    assert message.via.transport == "UDP" and message.via.branch == "z9hG4bKtortuous"
    assert message.contact is not None and message.contact.params["q"] == "0.33"
    assert message.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.body.startswith(b"v=0")


def test_on_a_stream_they_are_cut_at_their_length_or_the_stream_ends() -> None:
    for name, case in CASES.items():
        for step in (len(case.data), 7):
            framer, found = StreamFramer(), list[object]()
            try:
                for at in range(0, len(case.data), step):
                    found += framer.receive(case.data[at : at + step])
            except RemoteProtocolError:
                assert name in {"ncl", "mcl01"}, name
            else:
                assert len(found) == {"dblreq": 2, "clerr": 0}.get(name, 1), (name, found)
