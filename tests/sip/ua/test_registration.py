"""Registration at a registrar that does exactly what each test says."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sip.errors import RemoteProtocolError
from sip.ua.agent import UserAgent
from sip.ua.config import Trunk
from sip.ua.message import Request, reply
from sip.ua.registration import RegistrationStatus
from tests.sip.ua.wire import HOST, Callee, Peer, Wire, run, user_agent

TRUNK = Trunk("carrier", f"{HOST}:5070", "user", "secret", expires_s=600)
CHALLENGE = (("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'),)


def scenario(
    test: Callable[[UserAgent, Peer], Awaitable[None]], trunk: Trunk = TRUNK, hours: float = 2
) -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer = user_agent(wire, trunks=(trunk,), keepalive_s=0.0), Peer(wire)
        await agent.start(Callee())
        await test(agent, peer)
        await agent.close()

    run(body, hours)


def now() -> float:
    return asyncio.get_running_loop().time()


def status(agent: UserAgent) -> RegistrationStatus:
    return agent.registrations["carrier"].status


def grant(peer: Peer, request: Request, expires_s: int) -> None:
    contact = f"<sip:other@192.0.2.9>;expires=7, {request.headers.get('contact')};expires={expires_s}"
    response_headers = (("Contact", contact),)
    # `answer` adds the peer's own Contact too, as a registrar that lists other bindings would.
    peer.answer(request, 200, headers=response_headers)


def test_registers_with_digest_refreshes_in_time_and_unregisters() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        first = await peer.receive("REGISTER")
        assert (first.uri, first.to.uri, first.from_.uri) == (
            f"sip:{HOST}:5070",
            f"sip:user@{HOST}:5070",
            f"sip:user@{HOST}:5070",
        )
        assert first.headers.get("expires") == "600"
        assert str(first.contact) == f"<sip:user@{HOST}:5060>"
        assert status(agent) is RegistrationStatus.UNREGISTERED
        peer.answer(first, 401, headers=CHALLENGE)
        second = await peer.receive("REGISTER")
        assert 'username="user"' in (second.headers.get("authorization") or "")
        assert second.call_id == first.call_id and second.cseq.number == first.cseq.number + 1
        grant(peer, second, 100)
        await asyncio.sleep(0.1)
        assert status(agent) is RegistrationStatus.REGISTERED
        assert agent.registrations["carrier"].expires_s == 100
        began = now()
        third = await peer.receive("REGISTER", within=200)
        assert 79 < now() - began < 91
        grant(peer, third, 100)
        await asyncio.sleep(1)
        closing = asyncio.ensure_future(agent.close())
        last = await peer.receive("REGISTER")
        assert last.headers.get("expires") == "0"
        peer.answer(last, 200)
        await closing

    scenario(test)


def test_a_registrars_minimum_is_honoured_for_good() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        peer.answer(await peer.receive("REGISTER"), 423, headers=(("Min-Expires", "1800"),))
        for _ in range(2):
            request = await peer.receive("REGISTER", within=3000)
            assert request.headers.get("expires") == "1800"
            grant(peer, request, 1800)

    scenario(test)


def test_failures_are_tried_again_later_and_later() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        times = []
        for _ in range(12):
            peer.answer(await peer.receive("REGISTER", within=1000), 503)
            times.append(now())
            await asyncio.sleep(0.1)
            assert status(agent) is RegistrationStatus.FAILED
            assert "503" in agent.registrations["carrier"].error
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        for n, gap in enumerate(gaps):
            nominal = min(2.0 * 2**n, 120)
            assert 0.5 * nominal <= gap <= 1.5 * nominal + 0.1
        grant(peer, await peer.receive("REGISTER", within=1000), 600)
        await asyncio.sleep(0.1)
        assert status(agent) is RegistrationStatus.REGISTERED

    scenario(test)


def test_a_registrar_that_was_away_for_days_is_found_again() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        for _ in range(1200):
            peer.answer(await peer.receive("REGISTER", within=200), 503)
        grant(peer, await peer.receive("REGISTER", within=200), 600)
        await asyncio.sleep(0.1)
        assert status(agent) is RegistrationStatus.REGISTERED

    scenario(test, hours=60)


def test_a_wrong_password_is_a_failure_that_says_so() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        for _ in range(2):
            peer.answer(await peer.receive("REGISTER"), 401, headers=CHALLENGE)
        await asyncio.sleep(0.1)
        assert "401" in agent.registrations["carrier"].error

    scenario(test)


def test_a_registrar_that_does_not_answer() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        await asyncio.sleep(33)
        assert "no answer" in agent.registrations["carrier"].error

    scenario(test, Trunk("carrier", "127.0.0.1:5999"))


def test_the_address_that_the_registrar_sees_is_registered() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        for expected in (f"<sip:user@{HOST}:5060>", "<sip:user@203.0.113.7:40000>"):
            request = await peer.receive("REGISTER")
            assert str(request.contact) == expected
            seen = str(request.via).replace(";rport", ";rport=40000;received=203.0.113.7")
            request.headers.set("via", seen)
            peer.wire.send(bytes(reply(request, 200, tag="registrar")), 5070, 5060)
        await peer.nothing(60)
        assert agent.registrations["carrier"].contact == "<sip:user@203.0.113.7:40000>"

    scenario(test)


def test_a_trunk_without_registration_is_left_alone() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        await peer.nothing(400)
        assert status(agent) is RegistrationStatus.NOT_WANTED

    scenario(test, Trunk("carrier", f"{HOST}:5070", register=False))


def test_bindings_of_routers_are_kept_open() -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer = user_agent(wire, trunks=(TRUNK,), keepalive_s=25.0), Peer(wire)
        await agent.start(Callee())
        grant(peer, await peer.receive("REGISTER"), 600)
        await asyncio.sleep(101)
        assert len([line for *_, line in wire.log if line == ""]) == 4
        await agent.close()

    run(body)


@pytest.mark.parametrize("registrar", ["", "two words", "http://x", "host:0"])
def test_a_registrar_that_is_no_host_is_found_at_the_start(registrar: str) -> None:
    with pytest.raises(RemoteProtocolError):
        user_agent(Wire(), trunks=(Trunk("carrier", registrar),))


def test_calls_of_a_registered_trunk_name_the_number_that_was_called() -> None:
    async def body() -> None:
        wire = Wire()
        callee = Callee()
        agent, peer = user_agent(wire, trunks=(TRUNK,), keepalive_s=0.0), Peer(wire)
        await agent.start(callee)
        grant(peer, await peer.receive("REGISTER"), 600)
        invite = peer.request("INVITE", b"")
        invite.uri = f"sip:user@{HOST}:5060"
        invite.headers.set("to", f"<sip:+493099@{HOST}>")
        await peer.ask(invite, 200)
        assert callee.calls[0].info.callee == "+493099"
        await agent.close()

    run(body)
