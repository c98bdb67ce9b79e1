"""Limits and bans by source address, on a clock of the test's; and what the user agent makes of them."""

import asyncio
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.ua import sources as module
from sip.ua.accounts import Challenge
from sip.ua.counters import SipCounters
from sip.ua.digest import Credentials, challenges
from sip.ua.flow import Flow
from sip.ua.message import Headers, Request, Response
from sip.ua.sources import SourceLimits, Sources
from tests.sip.ua.test_registrar import ANNA, register
from tests.sip.ua.test_transport import agent_on, options, port_of, udp_socket
from tests.sip.ua.wire import HOST, PEER_PORT, UA_PORT, Callee, Peer, Wire, run, sdp, user_agent

STRANGER, OTHER, TRUNK = "192.0.2.7", "192.0.2.8", "192.0.2.99"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def tcp(host: str) -> Flow:
    return Flow("TCP", host, 5060)


def judge(**limits: float) -> tuple[Sources, Clock, SipCounters]:
    clock, counters = Clock(), SipCounters()
    made = Sources((), SourceLimits(**limits), counters, clock, lambda host: host == TRUNK)  # type: ignore[arg-type]
    return made, clock, counters


def test_a_burst_is_taken_then_so_many_a_second() -> None:
    sources, clock, counters = judge(requests_per_s=10, burst=20)
    assert sum(sources.admits(tcp(STRANGER)) for _ in range(50)) == 20
    assert sources.admits(tcp(OTHER))
    clock.now += 1
    assert sum(sources.admits(tcp(STRANGER)) for _ in range(50)) == 10
    clock.now += 3600
    assert sum(sources.admits(tcp(STRANGER)) for _ in range(50)) == 20
    assert counters.throttled == 30 + 40 + 30


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", TRUNK])
def test_this_machine_and_trunks_are_never_limited(host: str) -> None:
    sources, _, counters = judge(requests_per_s=1, burst=1, auth_failures=1, malformed=1)
    assert all(sources.admits(tcp(host)) for _ in range(1000))
    sources.failed_auth(host)
    sources.malformed(tcp(host))
    assert not sources.banned(host) and counters.throttled == counters.bans == 0


def test_wrong_passwords_garbage_and_floods_are_banned_for_a_while() -> None:
    sources, clock, counters = judge(auth_failures=3, malformed=4, requests_per_s=1, burst=2, ban_s=60)
    told: list[str] = []
    sources.on_ban = lambda ban: told.append(f"{ban.host}: {ban.reason}")
    for _ in range(2):
        sources.failed_auth(STRANGER)
    clock.now += 61  # the window is over
    for n in range(3):
        assert not sources.banned(STRANGER), n
        sources.failed_auth(STRANGER)
    for _ in range(4):
        sources.malformed(tcp(OTHER))
    flood = "198.51.100.1"
    while not sources.banned(flood):
        sources.admits(tcp(flood))
    assert told == [
        f"{STRANGER}: wrong passwords",
        f"{OTHER}: messages that are no SIP",
        f"{flood}: too many requests",
    ]
    assert [ban.host for ban in sources.bans] == [STRANGER, OTHER, flood]
    assert sources.banned(STRANGER) and not sources.banned("192.0.2.1")
    assert (counters.bans, counters.banned, counters.auth_failures) == (3, 2, 5)
    clock.now += 60
    assert not sources.banned(STRANGER) and sources.bans == []
    sources.failed_auth(STRANGER)
    assert not sources.banned(STRANGER)  # it begins anew


def test_datagrams_are_limited_but_get_nobody_banned() -> None:
    """Anybody can write another's address on them."""
    sources, _, counters = judge(malformed=4, requests_per_s=1, burst=2)
    forged = Flow("UDP", STRANGER, 5060)
    for _ in range(1000):
        sources.malformed(forged)
    assert [sources.admits(forged) for _ in range(1000)].count(True) == 2
    assert not sources.banned(STRANGER) and counters.throttled == 998


def test_a_ban_can_be_lifted_and_bans_can_be_switched_off() -> None:
    sources, _, _ = judge(auth_failures=1)
    sources.failed_auth(STRANGER)
    assert sources.lift(STRANGER) and not sources.lift(STRANGER) and not sources.banned(STRANGER)
    for limits in ({"ban_s": 0, "auth_failures": 1}, {"auth_failures": 0}):
        sources, _, _ = judge(**limits)
        sources.failed_auth(STRANGER)
        assert not sources.banned(STRANGER)
    sources, _, _ = judge(requests_per_s=0)
    assert all(sources.admits(tcp(STRANGER)) for _ in range(1000))


def test_one_customer_of_ipv6_is_one_source() -> None:
    sources, _, _ = judge(auth_failures=2)
    sources.failed_auth("2001:db8:1:2::1")
    sources.failed_auth("2001:db8:1:2:ffff::9")
    assert sources.banned("2001:db8:1:2::77") and not sources.banned("2001:db8:1:3::1")
    sources.failed_auth("::ffff:192.0.2.7")
    sources.failed_auth(STRANGER)
    assert sources.banned(STRANGER) and sources.banned("::ffff:192.0.2.7")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCES", 100)
    sources, _, _ = judge(auth_failures=2)
    for n in range(1000):
        host = str(ip_address(0x0A000000 + n))
        sources.failed_auth(host)
        sources.failed_auth(host)
        sources.admits(tcp(host))
    assert len(sources._records) <= 100 and len(sources.bans) == 100


@given(st.text(max_size=20))
def test_any_host_is_judged(host: str) -> None:
    sources, _, _ = judge(auth_failures=1)
    sources.admits(tcp(host))
    sources.failed_auth(host)
    sources.malformed(tcp(host))
    assert sources.banned(host) or sources.exempt(host)


# The user agent


def test_a_source_with_too_many_calls_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sources, "exempt", lambda self, host: False)

    async def test() -> None:
        wire = Wire()
        agent = user_agent(wire, per_source=SourceLimits(max_calls=2))
        await agent.start(Callee(ring_s=0.1))
        peers = [Peer(wire, PEER_PORT + n) for n in range(3)]
        for n, peer in enumerate(peers):
            peer.call_id = f"call-{n}"
            await peer.ask(peer.request("INVITE", sdp()), 486 if n == 2 else 200)
        assert agent.counters.crowded == 1
        await peers[0].ask(peers[0].request("BYE"), 200)
        await peers[2].ask(peers[2].request("INVITE", sdp()), 200)
        await agent.close()

    run(test)


def test_garbage_gets_its_source_banned_and_a_ban_means_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sources, "exempt", lambda self, host: False)

    async def test() -> None:
        async with asyncio.timeout(10):
            agent = agent_on(per_source=SourceLimits(malformed=3), max_message_bytes=4000)
            await agent.start(Callee())
            transport, peer = await udp_socket(port_of(agent))
            for _ in range(5):
                transport.sendto(b"garbage\r\n\r\n")
            transport.sendto(options("UDP", 2, 5000))
            transport.sendto(options("UDP", 1))
            await peer.received.get()
            assert (agent.counters.unparsable, agent.counters.bans) == (6, 0)
            for _ in range(3):
                reader, writer = await asyncio.open_connection(HOST, port_of(agent))
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert await reader.read() == b""
                writer.close()
            transport.sendto(options("UDP", 3))
            _, second = await asyncio.open_connection(HOST, port_of(agent))
            second.write(options("TCP", 4))
            await asyncio.sleep(0.1)
            assert peer.received.empty()
            assert (agent.counters.unparsable, agent.counters.bans, agent.counters.received) == (9, 1, 1)
            assert agent.counters.banned >= 2
            assert agent.sources.lift(HOST)
            transport.sendto(options("UDP", 5))
            await peer.received.get()
            for one in (second, transport):
                one.close()
            await agent.close()

    asyncio.run(test())


def test_a_flood_on_a_connection_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sources, "exempt", lambda self, host: False)

    async def test() -> None:
        async with asyncio.timeout(10):
            agent = agent_on(per_source=SourceLimits(requests_per_s=1, burst=5))
            await agent.start(Callee())
            reader, writer = await asyncio.open_connection(HOST, port_of(agent))
            writer.write(b"".join(options("TCP", n) for n in range(20)))
            try:
                while await reader.read(65536):
                    pass
            except ConnectionError:
                pass
            assert (agent.counters.received, agent.counters.throttled) == (5, 1)
            writer.close()
            await agent.close()

    asyncio.run(test())


def test_a_flood_of_responses_that_nobody_waits_for_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sources, "exempt", lambda self, host: False)

    async def test() -> None:
        async with asyncio.timeout(10):
            agent = agent_on(per_source=SourceLimits(requests_per_s=1, burst=5))
            await agent.start(Callee())
            transport, _ = await udp_socket(port_of(agent))
            for _ in range(20):
                transport.sendto(b"SIP/2.0 garbage\r\n\r\n")
            await asyncio.sleep(0.2)
            assert (agent.counters.unparsable, agent.counters.bans) == (5, 0)
            agent.sources.hold(HOST)
            transport.sendto(b"SIP/2.0 garbage\r\n\r\n")
            await asyncio.sleep(0.2)
            assert (agent.counters.unparsable, agent.counters.throttled) == (6, 15)
            transport.close()
            await agent.close()

    asyncio.run(test())


PHONE = "192.0.2.7"


def guess(phone: Peer, challenge: str) -> Request:
    request = register(phone)
    response = Response(Headers([("WWW-Authenticate", challenge)]), b"", 401)
    answer = Credentials("anna", "wrong").answer(challenges(response)[0], "REGISTER", request.uri, "c")
    request.headers.add("authorization", answer)
    return request


def test_guesses_in_the_name_of_a_phone_do_not_get_it_banned_its_own_do() -> None:
    async def test() -> None:
        wire = Wire()
        agent = user_agent(
            wire,
            accounts=(ANNA,),
            challenge=Challenge.STRANGERS,
            per_source=SourceLimits(auth_failures=3),
        )
        await agent.start(Callee())
        phone, thief = Peer(wire), Peer(wire, 5090)

        async def challenge_of(peer: Peer, host: str) -> str:
            wire.deliver(bytes(register(peer)), peer.port, UA_PORT, host)
            return (await peer.response(401)).headers.get("www-authenticate") or ""

        stolen = await challenge_of(thief, "192.0.2.66")
        for _ in range(10):
            wire.deliver(bytes(guess(phone, stolen)), phone.port, UA_PORT, PHONE)
            await phone.response(401)
        assert agent.counters.auth_failures == 0 and agent.sources.bans == []
        own = await challenge_of(phone, PHONE)
        for _ in range(3):
            wire.deliver(bytes(guess(phone, own)), phone.port, UA_PORT, PHONE)
            await phone.response(403)
        assert [ban.host for ban in agent.sources.bans] == [PHONE]
        await agent.close()

    run(test)
