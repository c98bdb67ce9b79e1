"""Before the answer: provisional responses that must arrive (PRACK), early media, UPDATE, both ways."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dialog.types import Transfer
from media.leg import CallLeg, HangupCause
from sip.endpoint import CallProgress, EarlyCall, IncomingCall, OutboundCall
from sip.errors import CallFailed
from sip.ua.agent import UserAgent
from sip.ua.message import Request, Response
from tests.sip.ua.wire import HOST, Callee, Ear, Peer, Wire, run, sdp, user_agent

TARGET = OutboundCall(f"sip:peer@{HOST}:5070")
RELIABLE = (("Supported", "100rel"),)


class Herald:
    """An application that speaks before it answers."""

    def __init__(self, answer_s: float = 1.0) -> None:
        self.answer_s = answer_s
        self.ear: Ear | None = None
        self.failures: list[CallFailed] = []

    async def __call__(self, call: IncomingCall) -> None:
        assert isinstance(call, EarlyCall)
        try:
            leg = await call.early()
            self.ear = Ear(leg)
            await asyncio.sleep(self.answer_s)
            assert await call.answer() is leg
        except CallFailed as e:
            self.failures.append(e)


def scenario(test: Callable[[UserAgent, Peer, Herald], Awaitable[None]], answer_s: float = 1.0) -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer, herald = user_agent(wire), Peer(wire), Herald(answer_s)
        await agent.start(herald)
        await test(agent, peer, herald)
        await agent.close()
        assert agent.calls == 0 and agent.counters.errors == 0

    run(body)


def prack(peer: Peer, response: Response, body: bytes = b"") -> Request:
    rack = f"{response.headers.get('rseq')} {response.cseq}"
    return peer.request("PRACK", body, headers=(("RAck", rack),))


async def early(
    peer: Peer, headers: tuple[tuple[str, str], ...] = RELIABLE, body: bytes | None = None
) -> Response:
    peer.send(peer.request("INVITE", sdp() if body is None else body, headers=headers))
    await peer.response(100)
    response = await peer.response(183)
    peer.tag = response.to.tag
    return response


def test_a_caller_hears_us_before_the_answer() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        response = await early(peer, ())
        assert response.content_type == "application/sdp" and "rseq" not in response.headers
        answer = await peer.response(200)
        assert answer.body == response.body, "an unreliable description is repeated"
        peer.send(peer.request("ACK", number=1))
        await asyncio.sleep(0.1)
        await peer.ask(peer.request("BYE", number=2), 200)
        assert herald.ear is not None and herald.ear.causes == [HangupCause.NORMAL]

    scenario(test)


def test_early_media_is_repeated_until_its_prack_and_the_answer_waits_for_it() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        response = await early(peer)
        assert response.headers.tokens("require") == {"100rel"}
        for _ in range(3):
            assert (await peer.response(183)).headers.get("rseq") == response.headers.get("rseq")
        wrong = peer.request("PRACK", headers=(("RAck", "1 1 INVITE"),))
        await peer.ask(wrong, 481)
        acknowledgement = prack(peer, response)
        await peer.ask(acknowledgement, 200)
        answer = await peer.response(200)
        assert answer.cseq.method == "INVITE" and not answer.body, "the description has arrived"
        peer.send(peer.request("ACK", number=1))
        await peer.nothing(40)

    scenario(test)


def test_a_provisional_response_that_nobody_acknowledges_ends_the_call() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        await early(peer)
        assert (await peer.response(504)).cseq.method == "INVITE"
        assert herald.ear is not None and len(herald.ear.causes) == 1

    scenario(test, answer_s=100)


def test_without_an_offer_the_description_goes_out_reliably_and_the_prack_answers_it() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        response = await early(peer, body=b"")
        assert b"m=audio" in response.body
        await peer.ask(prack(peer, response, sdp()), 200)
        assert not (await peer.response(200)).body
        peer.send(peer.request("ACK", number=1))
        await asyncio.sleep(0.1)
        assert herald.ear is not None and herald.ear.leg.format.rate == 8000

    scenario(test)


def test_without_offer_and_reliability_the_call_is_answered() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        peer.send(peer.request("INVITE"))
        answer = await peer.response(200)
        peer.send(peer.request("ACK", sdp(), number=answer.cseq.number))
        await asyncio.sleep(2)
        assert herald.ear is not None and not herald.failures

    scenario(test)


def test_ringing_is_reliable_where_the_caller_insists() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp(), headers=(("Require", "100rel"),)))
        response = await peer.response(180)
        response = await peer.response(180) if "rseq" not in response.headers else response
        peer.tag = response.to.tag
        await peer.ask(prack(peer, response), 200)
        assert (await peer.response(200)).body
        peer.send(peer.request("ACK", number=1))

    async def body() -> None:
        wire = Wire()
        agent, peer, callee = user_agent(wire), Peer(wire), Callee()
        await agent.start(callee)
        # The first message is the 100.
        peer_response = peer.response

        async def skipping(status: int, *, within: float = 60.0) -> Response:
            while True:
                try:
                    return await peer_response(status, within=within)
                except AssertionError as e:
                    if "100" not in str(e):
                        raise

        peer.response = skipping  # type: ignore[method-assign]
        await test(agent, peer, callee)
        await agent.close()

    run(body)


def test_an_update_changes_the_media_before_the_answer() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        peer.send(peer.request("INVITE", sdp(), headers=RELIABLE))
        await peer.response(100)
        response = await peer.response(183)
        peer.tag = response.to.tag
        await peer.ask(peer.request("UPDATE", sdp("8")), 500)  # the first offer has no certain answer yet
        await peer.ask(prack(peer, response), 200)
        changed = await peer.ask(peer.request("UPDATE", sdp("8", "sendonly")), 200)
        assert b"a=recvonly" in changed.body

    scenario(test, answer_s=20)


@pytest.mark.parametrize(
    "cause, status", [(HangupCause.REJECTED, 603), (HangupCause.BUSY, 486), (HangupCause.NORMAL, 480)]
)
def test_hanging_up_before_the_answer_refuses_the_call(cause: HangupCause, status: int) -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        await early(peer, ())
        assert herald.ear is not None
        await herald.ear.leg.hangup(cause)
        response = await peer.response(status)
        assert f"cause={cause.value}" in (response.headers.get("reason") or "")
        await asyncio.sleep(2)
        assert len(herald.failures) == 1

    scenario(test)


def test_a_transfer_before_the_answer_redirects_the_caller() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        await early(peer, ())
        assert herald.ear is not None
        await herald.ear.leg.transfer(Transfer("100"))
        response = await peer.response(302)
        assert response.contact is not None and response.contact.uri == f"sip:100@{HOST}"

    scenario(test, answer_s=5)


def test_a_caller_who_gives_up_during_early_media_is_gone_once() -> None:
    async def test(agent: UserAgent, peer: Peer, herald: Herald) -> None:
        await early(peer)
        invite = peer.request("INVITE", number=1)
        cancel = peer.request("CANCEL", number=1, branch=invite.via.branch)
        peer.tag = ""
        cancel.headers.set("to", f"<sip:bot@{HOST}>")
        peer.send(cancel)
        assert await peer.finals(2) == {"CANCEL": 200, "INVITE": 487}
        await asyncio.sleep(3)
        assert herald.ear is not None and herald.ear.causes == [HangupCause.CANCELLED]
        assert [f.status for f in herald.failures] == [487]

    scenario(test)


# Calls that we place


def calling(test: Callable[[UserAgent, Peer], Awaitable[None]]) -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer = user_agent(wire), Peer(wire)
        await agent.start(Callee())
        await test(agent, peer)
        await agent.close()
        assert agent.counters.errors == 0

    run(body)


def reliably(number: int) -> tuple[tuple[str, str], ...]:
    return (("Require", "100rel"), ("RSeq", str(number)))


def test_reliable_progress_is_acknowledged_once_and_in_order() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        heard: list[CallLeg] = []
        progress: list[CallProgress] = []
        call = OutboundCall(TARGET.target, on_early=heard.append)
        task = asyncio.ensure_future(agent.place(call, progress.append))
        invite = await peer.receive("INVITE")
        assert {"100rel", "timer", "replaces"} <= invite.headers.tokens("supported")
        peer.answer(invite, 180, headers=reliably(7))
        first = await peer.receive("PRACK")
        assert first.headers.get("rack") == f"7 {invite.cseq.number} INVITE"
        assert (first.to.tag, first.cseq.number) == ("peer", invite.cseq.number + 1)
        peer.answer(first, 200)
        peer.answer(invite, 180, headers=reliably(7))  # repeated: its PRACK is under way
        peer.answer(invite, 183, sdp(), headers=reliably(9))  # out of order: 8 is missing
        await peer.nothing(0.2)
        peer.answer(invite, 183, sdp(), headers=reliably(8))
        second = await peer.receive("PRACK")
        peer.answer(second, 200)
        await asyncio.sleep(0.1)
        ear = Ear(heard[0])
        peer.answer(invite, 200)
        ack = await peer.receive("ACK")
        assert ack.cseq.number == invite.cseq.number
        assert await task is heard[0]
        assert [p.name for p in progress] == ["RINGING", "EARLY_MEDIA", "ANSWERED"]
        await ear.leg.hangup(HangupCause.NORMAL)
        bye = await peer.receive("BYE")
        assert bye.cseq.number == second.cseq.number + 1, "the numbers of the early dialog go on"
        peer.answer(bye, 200)

    calling(test)


def test_the_far_end_may_change_the_media_before_it_answers() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        invite = await peer.receive("INVITE")
        peer.follow(invite)
        peer.answer(invite, 183, sdp())
        await asyncio.sleep(0.1)
        answer = await peer.ask(peer.request("UPDATE", sdp("8")), 200)
        assert b"PCMA" in answer.body
        await peer.ask(peer.request("INFO"), 481)
        peer.answer(invite, 200)
        await peer.receive("ACK")
        await (await task).hangup(HangupCause.NORMAL)
        peer.answer(await peer.receive("BYE"), 200)

    calling(test)


def test_giving_up_during_early_media_leaves_nothing_behind() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        heard: list[CallLeg] = []
        call = OutboundCall(TARGET.target, on_early=heard.append)
        task = asyncio.ensure_future(agent.place(call))
        invite = await peer.receive("INVITE")
        peer.answer(invite, 183, sdp())
        await asyncio.sleep(0.1)
        ear = Ear(heard[0])
        task.cancel()
        cancel = await peer.receive("CANCEL")
        peer.answer(cancel, 200)
        peer.answer(invite, 487)
        await peer.receive("ACK")
        assert ear.causes == [HangupCause.CANCELLED]
        assert agent.calls == 0 and not agent._running().dialogs

    calling(test)
