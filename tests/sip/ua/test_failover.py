"""A call finds the server that answers: silence, 503, closed ports, and answers that come too late."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from media.leg import HangupCause
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.ua.agent import UserAgent
from sip.ua.config import DnsConfig
from sip.ua.flow import Flow, TransportName
from sip.ua.grammar import SipUri
from tests.sip.ua.nameserver import name_server
from tests.sip.ua.test_transport import agent_on, port_of
from tests.sip.ua.wire import HOST, Callee, Ear, Peer, Wire, run, sdp, user_agent

FIRST, SECOND = 5070, 5071
CALL = OutboundCall("sip:a@sip.example")


def scenario(test: Callable[[UserAgent, Peer, Peer], Awaitable[None]]) -> None:
    async def whole() -> None:
        wire = Wire()
        agent, first, second = user_agent(wire), Peer(wire, FIRST), Peer(wire, SECOND)

        known = agent._resolver.ways

        async def ways(uri: SipUri, default: TransportName | None = None) -> list[Flow]:
            if uri.host != "sip.example":
                return await known(uri, default)
            found = [Flow("UDP", HOST, FIRST), Flow("UDP", HOST, SECOND)]
            return sorted(found, key=agent._resolver._is_dead)

        agent._resolver.ways = ways  # type: ignore[method-assign]
        await agent.start(Callee())
        await test(agent, first, second)
        await asyncio.sleep(40)
        assert agent.calls == 0 and agent.counters.errors == 0
        await agent.close()

    run(whole)


async def answered(peer: Peer, placing: "asyncio.Future[object]") -> None:
    """The peer takes the call, and hangs up."""
    invite = await peer.receive("INVITE")
    peer.answer(invite, 200, sdp())
    ear = Ear(await placing)  # type: ignore[arg-type]
    await peer.receive("ACK")
    peer.follow(invite)
    await peer.ask(peer.request("BYE", branch=f"z9hG4bK{invite.call_id}"), 200)
    await ear.closed.wait()


def test_silence_is_not_waited_for_and_next_time_the_other_comes_first() -> None:
    async def test(agent: UserAgent, first: Peer, second: Peer) -> None:
        before = asyncio.get_running_loop().time()
        await answered(second, asyncio.ensure_future(agent.place(CALL)))
        assert 3.9 < asyncio.get_running_loop().time() - before < 5
        await first.receive("INVITE")
        assert agent.counters.failovers == 1
        before = asyncio.get_running_loop().time()
        await answered(second, asyncio.ensure_future(agent.place(CALL)))
        assert asyncio.get_running_loop().time() - before < 1

    scenario(test)


def test_who_rings_is_given_time() -> None:
    async def test(agent: UserAgent, first: Peer, second: Peer) -> None:
        placing = asyncio.ensure_future(agent.place(CALL))
        invite = await first.receive("INVITE")
        first.answer(invite, 180)
        await asyncio.sleep(20)
        first.answer(invite, 200, sdp())
        ear = Ear(await placing)
        await first.receive("ACK")
        await ear.leg.hangup(HangupCause.NORMAL)
        first.answer(await first.receive("BYE"), 200)
        await second.nothing(1)

    scenario(test)


def test_an_overloaded_server_is_left_at_once_and_a_refusal_is_not() -> None:
    async def test(agent: UserAgent, first: Peer, second: Peer) -> None:
        placing = asyncio.ensure_future(agent.place(CALL))
        first.answer(await first.receive("INVITE"), 503)
        await answered(second, placing)
        placing = asyncio.ensure_future(agent.place(CALL))
        second.answer(await second.receive("INVITE"), 486)
        with pytest.raises(CallFailed, match="486"):
            await placing

    scenario(test)


def test_if_none_answers_the_last_one_says_why() -> None:
    async def test(agent: UserAgent, first: Peer, second: Peer) -> None:
        placing = asyncio.ensure_future(agent.place(CALL))
        first.answer(await first.receive("INVITE"), 503)
        second.answer(await second.receive("INVITE"), 503)
        with pytest.raises(CallFailed) as failed:
            await placing
        assert failed.value.status == 503

    scenario(test)


@pytest.mark.parametrize("late", [180, 200])
def test_answers_of_a_server_that_was_given_up_are_cancelled_or_hung_up_on(late: int) -> None:
    async def test(agent: UserAgent, first: Peer, second: Peer) -> None:
        seen: list[CallProgress] = []
        placing = asyncio.ensure_future(agent.place(CALL, seen.append))
        invite = await first.receive("INVITE")
        other = await second.receive("INVITE")
        second.answer(other, 180, tag="second")
        await asyncio.sleep(0.5)
        while not first._inbox.empty():  # repetitions
            first._inbox.get_nowait()
        first.answer(invite, late, sdp() if late == 200 else b"", tag="first")
        if late == 180:
            cancel = await first.receive("CANCEL")
            first.answer(cancel, 200, tag="first")
            first.answer(invite, 487, tag="first")
            await first.receive("ACK")
        else:
            assert (await first.receive("ACK")).to.tag == "first"
            first.answer(await first.receive("BYE"), 200, tag="first")
        second.answer(other, 200, sdp(), tag="second")
        ear = Ear(await placing)
        assert (await second.receive("ACK")).to.tag == "second"
        await ear.leg.hangup(HangupCause.NORMAL)
        second.answer(await second.receive("BYE"), 200, tag="second")
        assert seen.count(CallProgress.RINGING) == seen.count(CallProgress.ANSWERED) == 1

    scenario(test)


def test_a_closed_port_and_a_name_server_of_ours() -> None:
    """Nothing faked: records lead to a TCP port that nobody listens on, and to one of a user agent."""

    async def test() -> None:
        async with asyncio.timeout(10):
            bob, callee = agent_on(), Callee(ring_s=0.02)
            await bob.start(callee)
            gone = await asyncio.start_server(lambda *_: None, HOST, 0)
            closed_port = gone.sockets[0].getsockname()[1]
            gone.close()
            records = {
                ("_sip._tcp.provider.example", "SRV"): [
                    f"1 1 {closed_port} one.provider.example.",
                    f"2 1 {port_of(bob)} one.provider.example.",
                ],
                ("one.provider.example", "A"): [HOST],
            }
            async with name_server(records) as (_, address):
                alice = agent_on(dns=DnsConfig(servers=(address,)))
                await alice.start(Callee())
                for failovers in (1, 1):
                    caller = Ear(await alice.place(OutboundCall("sip:b@provider.example;transport=tcp")))
                    await callee.answered.wait()
                    await caller.leg.hangup(HangupCause.NORMAL)
                    await asyncio.sleep(0.05)
                    assert alice.counters.failovers == failovers
                await alice.close()
            await bob.close()

    asyncio.run(test())
