"""Calls that we place, to a peer that does exactly what each test says."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dialog.types import Transfer
from media.errors import TransferError, Unsupported
from media.leg import HangupCause
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError
from sip.rtpleg import RtpLeg
from sip.ua.agent import UserAgent
from sip.ua.config import Trunk
from sip.ua.message import Request
from tests.sip.ua.wire import HOST, Callee, Ear, Peer, Wire, run, sdp, user_agent

TARGET = OutboundCall(f"sip:peer@{HOST}:5070")
TRUNK = Trunk("carrier", f"{HOST}:5070", "user", "secret", register=False)
CHALLENGE = (("Proxy-Authenticate", 'Digest realm="carrier", nonce="n1", qop="auth", algorithm=SHA-256'),)


def scenario(test: Callable[[UserAgent, Peer], Awaitable[None]], *trunks: Trunk) -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer = user_agent(wire, trunks=trunks), Peer(wire)
        await agent.start(Callee())
        await test(agent, peer)
        await agent.close()

    run(body)


async def placed(agent: UserAgent, peer: Peer, call: OutboundCall = TARGET) -> tuple[RtpLeg, Ear]:
    """An answered call; the peer's requests then belong to it."""
    task = asyncio.ensure_future(agent.place(call))
    invite = await peer.receive("INVITE")
    peer.answer(invite, 200, sdp())
    await peer.receive("ACK")
    peer.follow(invite)
    leg = await task
    return leg, Ear(leg)


def test_a_whole_call() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        progress: list[CallProgress] = []
        task = asyncio.ensure_future(agent.place(TARGET, progress.append))
        invite = await peer.receive("INVITE")
        assert invite.headers.get("max-forwards") == "70"
        assert invite.via.params["rport"] is None and "rport" in invite.via.params
        assert str(invite.contact) == f"<sip:bot@{HOST}:5060>"
        assert b"PCMU/8000" in invite.body
        for status, body in ((100, b""), (180, b""), (183, sdp())):
            peer.answer(invite, status, body)
            await asyncio.sleep(0.1)
        peer.answer(invite, 200)  # the 183 had the answer
        ack = await peer.receive("ACK")
        assert (ack.cseq.number, ack.to.tag, ack.uri) == (invite.cseq.number, "peer", f"sip:peer@{HOST}:5070")
        assert ack.via.branch != invite.via.branch
        leg = await task
        assert [p.name for p in progress] == ["TRYING", "RINGING", "EARLY_MEDIA", "ANSWERED"]
        ear = Ear(leg)
        peer.follow(invite)
        await peer.ask(peer.request("BYE"), 200)
        assert ear.causes == [HangupCause.NORMAL]
        assert agent.counters.calls_out == 1 and agent.calls == 0

    scenario(test)


def test_a_repeated_answer_gets_the_same_ack_again() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        invite = await peer.receive("INVITE")
        peer.answer(invite, 200, sdp())
        first = await peer.receive("ACK")
        for _ in range(2):
            peer.answer(invite, 200, sdp())
            assert (await peer.receive("ACK")).via == first.via
        await task
        assert agent.calls == 1

    scenario(test)


@pytest.mark.parametrize("status", [302, 404, 486, 503, 603])
def test_a_refused_call(status: int) -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        peer.answer(await peer.receive("INVITE"), status)
        await peer.receive("ACK")
        with pytest.raises(CallFailed) as failed:
            await task
        assert failed.value.status == status
        await peer.nothing(60)
        assert agent.calls == 0

    scenario(test)


def test_a_challenge_is_answered_with_the_trunks_credentials() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(OutboundCall(f"sip:+49301234@{HOST}:5070")))
        invite = await peer.receive("INVITE")
        assert "proxy-authorization" not in invite.headers
        assert invite.from_.uri == f"sip:user@{HOST}:5070"
        peer.answer(invite, 407, headers=CHALLENGE)
        await peer.receive("ACK")
        again = await peer.receive("INVITE")
        assert (again.call_id, again.from_.tag) == (invite.call_id, invite.from_.tag)
        assert again.cseq.number == invite.cseq.number + 1
        assert again.via.branch != invite.via.branch
        credentials = again.headers.get("proxy-authorization") or ""
        assert 'username="user"' in credentials and "nc=00000001" in credentials
        assert f'uri="sip:+49301234@{HOST}:5070"' in credentials
        peer.answer(again, 200, sdp())
        await peer.receive("ACK")
        leg = await task
        await leg.hangup(HangupCause.NORMAL)
        bye = await peer.receive("BYE")
        peer.answer(bye, 407, headers=CHALLENGE)
        bye = await peer.receive("BYE")
        assert "nc=00000002" in (bye.headers.get("proxy-authorization") or "")
        peer.answer(bye, 200)

    scenario(test, TRUNK)


def test_a_wrong_password_is_tried_once_and_a_stale_nonce_replaced() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        stale = (("Proxy-Authenticate", 'Digest realm="carrier", nonce="n2", qop="auth", stale=true'),)
        for headers in (CHALLENGE, stale, CHALLENGE):
            peer.answer(await peer.receive("INVITE"), 407, headers=headers)
            await peer.receive("ACK")
        with pytest.raises(CallFailed) as failed:
            await task
        assert failed.value.status == 407
        await peer.nothing(10)

    scenario(test, TRUNK)


def test_without_credentials_a_challenge_is_a_refusal() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        peer.answer(await peer.receive("INVITE"), 401, headers=(("WWW-Authenticate", CHALLENGE[0][1]),))
        with pytest.raises(CallFailed) as failed:
            await task
        assert failed.value.cause is HangupCause.REJECTED

    scenario(test)


def test_giving_up_before_any_response_cancels_with_the_first() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        invite = await peer.receive("INVITE")
        task.cancel()
        await asyncio.sleep(0.1)
        assert not peer.wire.lines("CANCEL")
        peer.answer(invite, 180)
        cancel = await peer.receive("CANCEL")
        assert (cancel.via, cancel.cseq.number, cancel.uri) == (invite.via, invite.cseq.number, invite.uri)
        assert cancel.to.tag == ""
        peer.answer(cancel, 200)
        peer.answer(invite, 487)
        await peer.receive("ACK")
        await peer.nothing(60)
        assert agent.calls == 0

    scenario(test)


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        invite = await peer.receive("INVITE")
        peer.answer(invite, 180)
        await asyncio.sleep(0.1)
        task.cancel()
        cancel = await peer.receive("CANCEL")
        peer.answer(invite, 200, sdp())
        peer.answer(cancel, 481)
        await _ack_and_bye(peer)
        assert agent.calls == 0
        with pytest.raises(asyncio.CancelledError):
            await task

    scenario(test)


async def _ack_and_bye(peer: Peer) -> Request:
    """ACK and BYE, in whatever order the wire brings them."""
    found: dict[str, Request] = {}
    async with asyncio.timeout(10):
        while len(found) < 2:
            message = await peer._inbox.get()
            assert isinstance(message, Request)
            found[message.method] = message
    peer.answer(found["BYE"], 200)
    assert set(found) == {"ACK", "BYE"}
    await asyncio.sleep(1)
    return found["BYE"]


def test_the_second_branch_of_a_forked_call_is_acknowledged_and_hung_up() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        invite = await peer.receive("INVITE")
        peer.answer(invite, 200, sdp(), tag="one")
        await peer.receive("ACK")
        leg = await task
        peer.answer(invite, 200, sdp(), tag="two")
        assert (await _ack_and_bye(peer)).to.tag == "two"
        ear = Ear(leg)
        assert agent.calls == 1
        await leg.hangup(HangupCause.NORMAL)
        assert (await peer.receive("BYE")).to.tag == "one"
        assert ear.causes == [HangupCause.NORMAL]

    scenario(test)


@pytest.mark.parametrize("body", [b"", b"junk", sdp("18"), sdp().replace(b"audio 9", b"audio 0")])
def test_an_answer_without_usable_audio_is_hung_up(body: bytes) -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        peer.answer(await peer.receive("INVITE"), 200, body)
        await _ack_and_bye(peer)
        with pytest.raises(CallFailed) as failed:
            await task
        assert failed.value.status == 488
        assert agent.calls == 0

    scenario(test)


@pytest.mark.parametrize(
    "target, status",
    [("not a uri", 416), ("http://x/", 416), ("sips:a@127.0.0.1;transport=udp", 416), ("tel:+49301234", 416),
     ("sip:a@127.0.0.1;transport=ws", 416), ("sip:a@b:0", 400)],
)  # fmt: skip
def test_targets_that_cannot_be_called(target: str, status: int) -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        with pytest.raises(CallFailed) as failed:
            await agent.place(OutboundCall(target))
        assert failed.value.status == status

    scenario(test)


def test_headers_of_the_protocol_are_not_the_applications() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        with pytest.raises(LocalProtocolError):
            await agent.place(OutboundCall(TARGET.target, headers={"Via": "x"}))
        with pytest.raises(LocalProtocolError):
            await agent.place(OutboundCall(TARGET.target, headers={"X-A": "b\r\nVia: x"}))
        assert agent.calls == 0
        await peer.nothing(5)

    scenario(test)


def test_hold_is_refused_and_the_call_goes_on() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        leg, ear = await placed(agent, peer)
        task = asyncio.ensure_future(agent.hold(leg))
        reinvite = await peer.receive("INVITE")
        assert b"a=sendonly" in reinvite.body and reinvite.to.tag == "peer"
        peer.answer(reinvite, 488)
        await peer.receive("ACK")
        with pytest.raises(CallFailed):
            await task
        assert not leg.agreement.on_hold and ear.causes == []  # type: ignore[union-attr]
        peer.follow(reinvite)
        asked = peer.request("INVITE")  # what do we offer now?
        asked.headers.set("from", f"<sip:peer@{HOST}:5070>;tag=peer")
        peer.send(asked)
        assert b"a=sendrecv" in (await peer.response(200)).body
        peer.send(peer.request("ACK", sdp(), number=asked.cseq.number))
        await asyncio.sleep(1)

    scenario(test)


def test_a_far_end_that_forgot_the_call_ends_it() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        leg, ear = await placed(agent, peer)
        task = asyncio.ensure_future(agent.hold(leg))
        peer.answer(await peer.receive("INVITE"), 481)
        with pytest.raises(CallFailed):
            await task
        assert ear.causes == [HangupCause.NETWORK]
        await asyncio.sleep(40)
        assert agent.calls == 0

    scenario(test)


async def refer(agent: UserAgent, peer: Peer, status: int) -> tuple[asyncio.Task[None], Ear]:
    leg, ear = await placed(agent, peer)
    task = asyncio.ensure_future(leg.transfer(Transfer("+49301234")))
    request = await peer.receive("REFER")
    assert request.headers.get("refer-to") == f"<sip:+49301234@{HOST}>"
    peer.answer(request, status)
    return task, ear


def notify(peer: Peer, fragment: bytes, state: str = "active") -> Request:
    headers = (("Event", "refer"), ("Subscription-State", state))
    return peer.request("NOTIFY", fragment, headers=headers, kind="message/sipfrag;version=2.0")


def test_a_transfer_that_succeeds_ends_the_call() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task, ear = await refer(agent, peer, 202)
        await peer.ask(notify(peer, b"SIP/2.0 100 Trying\r\n"), 200)
        await peer.ask(notify(peer, b"SIP/2.0 180 Ringing"), 200)
        assert not task.done()
        await peer.ask(notify(peer, b"SIP/2.0 200 OK\r\n", "terminated;reason=noresource"), 200)
        peer.answer(await peer.receive("BYE"), 200)
        await task
        assert ear.causes == [HangupCause.NORMAL]

    scenario(test)


@pytest.mark.parametrize("fragment, state", [(b"SIP/2.0 486 Busy Here", "active"), (b"", "terminated")])
def test_a_transfer_that_fails_leaves_the_call(fragment: bytes, state: str) -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task, ear = await refer(agent, peer, 202)
        await peer.ask(notify(peer, fragment, state), 200)
        with pytest.raises(TransferError):
            await task
        assert ear.causes == []
        await peer.ask(notify(peer, b"SIP/2.0 200 OK"), 481)

    scenario(test)


@pytest.mark.parametrize("status, error", [(405, Unsupported), (501, Unsupported), (403, TransferError)])
def test_a_transfer_that_is_refused(status: int, error: type[Exception]) -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task, ear = await refer(agent, peer, status)
        with pytest.raises(error):
            await task
        assert ear.causes == []

    scenario(test)


def test_a_transfer_without_a_result_times_out() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task, ear = await refer(agent, peer, 202)
        with pytest.raises(TransferError, match="60 s"):
            await task
        assert ear.causes == []

    scenario(test)


def test_a_far_end_that_hangs_up_after_the_refer_was_transferred() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        task, ear = await refer(agent, peer, 202)
        await peer.ask(peer.request("BYE"), 200)
        await task
        assert ear.causes == [HangupCause.NORMAL]

    scenario(test)


@pytest.mark.parametrize("target", ["", "two words", "http://x", "sip:"])
def test_a_transfer_to_nowhere(target: str) -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        leg, ear = await placed(agent, peer)
        with pytest.raises(TransferError):
            await leg.transfer(Transfer(target))
        assert ear.causes == []

    scenario(test)


def test_a_refused_key_is_given_up_and_the_next_one_sent() -> None:
    async def test(agent: UserAgent, peer: Peer) -> None:
        leg, _ = await placed(agent, peer)  # the peer's SDP has no telephone events
        leg.send_dtmf("1#")
        first = await peer.receive("INFO")
        assert first.body == b"Signal=1\r\nDuration=100\r\n"
        peer.answer(first, 415)
        peer.answer(await peer.receive("INFO"), 200)
        await peer.nothing(5)

    scenario(test)
