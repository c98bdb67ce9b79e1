"""Calls that come in, from a peer that does exactly what each test says."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from media.leg import HangupCause
from sip.endpoint import IncomingCall
from sip.errors import CallFailed
from sip.ua.agent import UserAgent
from sip.ua.message import Request
from tests.sip.ua.wire import HOST, UA_PORT, Callee, Peer, Wire, run, sdp, user_agent


def scenario(
    test: Callable[[UserAgent, Peer, Callee], Awaitable[None]],
    callee: Callable[[IncomingCall], Awaitable[None]] | None = None,
) -> None:
    """Run `test` with a user agent whose application is `callee`."""

    async def body() -> None:
        wire = Wire()
        agent, peer = user_agent(wire), Peer(wire)
        application = callee or Callee()
        await agent.start(application)
        await test(agent, peer, application)  # type: ignore[arg-type]
        await agent.close()

    run(body)


async def dial(peer: Peer, body: bytes | None = None) -> None:
    """An answered call."""
    await peer.ask(peer.request("INVITE", sdp() if body is None else body), 200)
    await asyncio.sleep(0.1)


def test_a_whole_call() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp()))
        assert not (await peer.response(100)).to.tag
        ringing = await peer.response(180)
        answer = await peer.response(200)
        assert ringing.to.tag == answer.to.tag == peer.tag
        assert str(answer.contact) == f"<sip:bot@{HOST}:{UA_PORT}>"
        assert b"m=audio" in answer.body and answer.content_type == "application/sdp"
        assert "BYE" in (answer.headers.get("allow") or "")
        assert not callee.ears
        peer.send(peer.request("ACK", number=1))
        await callee.answered.wait()
        assert callee.calls[0].info.caller == "+4930123"
        await peer.ask(peer.request("BYE", headers=(("Reason", "SIP;cause=200, Q.850 ; cause=17"),)), 200)
        assert callee.ears[0].causes == [HangupCause.BUSY]
        assert agent.calls == 0

    scenario(test)


def test_a_repeated_invite_is_one_call_before_and_after_the_answer() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        invite = peer.request("INVITE", sdp())
        for _ in range(3):
            peer.send(invite)
            await asyncio.sleep(0.1)
        await peer.response(200)
        peer.send(invite)
        peer.send(peer.request("ACK", number=1))
        peer.send(invite)
        await asyncio.sleep(1)
        assert len(callee.calls) == len(callee.ears) == 1
        assert agent.counters.absorbed == 4

    scenario(test)


def test_the_same_invite_over_two_proxies_is_one_call() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp(), number=1, branch="z9hG4bKone"))
        peer.send(peer.request("INVITE", sdp(), number=1, branch="z9hG4bKtwo"))
        await peer.response(482)
        assert len(callee.calls) == 1

    scenario(test)


def test_without_ack_the_answer_is_repeated_and_then_hung_up() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp()))
        await asyncio.sleep(0.55)
        await asyncio.sleep(31.9)
        assert len(peer.wire.lines("SIP/2.0 200")) == 11  # at once, then T1 doubling up to T2
        assert not peer.wire.lines("BYE")
        await asyncio.sleep(1)
        assert len(peer.wire.lines("BYE")) >= 1
        (failure,) = callee.failures
        assert isinstance(failure, CallFailed) and failure.status == 408
        await asyncio.sleep(40)
        assert agent.calls == 0  # nobody answered the BYE either

    scenario(test)


def test_cancel_while_ringing() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        invite = peer.request("INVITE", sdp())
        peer.send(invite)
        await peer.response(100)
        await peer.response(180)
        peer.tag = ""
        cancel = peer.request("CANCEL", number=1, branch=invite.via.branch)
        peer.send(cancel)
        assert await peer.finals(2) == {"CANCEL": 200, "INVITE": 487}
        await asyncio.sleep(1)
        (failure,) = callee.failures
        assert isinstance(failure, CallFailed) and failure.cause is HangupCause.CANCELLED
        assert agent.calls == 0

    scenario(test)


def test_cancel_after_the_answer_changes_nothing() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        invite = peer.request("INVITE", sdp())
        peer.send(invite)
        await peer.response(200)
        cancel = peer.request("CANCEL", number=1, branch=invite.via.branch)
        await peer.ask(cancel, 200)
        peer.send(peer.request("ACK", number=1))
        await callee.answered.wait()
        assert agent.calls == 1

    scenario(test)


def test_a_bye_before_the_answer_ends_the_call() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp()))
        await peer.response(100)
        await peer.response(180)
        peer.send(peer.request("BYE"))
        assert await peer.finals(2) == {"BYE": 200, "INVITE": 487}
        await asyncio.sleep(1)
        assert isinstance(callee.failures[0], CallFailed)

    scenario(test)


def test_a_bye_instead_of_the_ack_ends_the_call() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp()))
        await peer.response(200)
        await peer.ask(peer.request("BYE"), 200)
        await asyncio.sleep(1)
        assert isinstance(callee.failures[0], CallFailed) and callee.failures[0].status == 487
        await peer.nothing(40)

    scenario(test)


@pytest.mark.parametrize(
    "status, reason, retry",
    [(486, "Busy Here", None), (480, "Gone home", None), (503, "Service Unavailable", 30)],
)
def test_refusals(status: int, reason: str, retry: int | None) -> None:
    async def refuse(call: IncomingCall) -> None:
        call.reject(status, "" if status in (486, 503) else reason, retry)
        call.reject(404)
        with pytest.raises(CallFailed):
            await call.answer()

    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        response = await peer.ask(peer.request("INVITE", sdp()), status)
        assert response.reason == reason
        assert response.headers.get("retry-after") == (str(retry) if retry else None)
        await peer.nothing(10)
        assert agent.calls == 0

    scenario(test, refuse)


def test_a_handler_that_fails_costs_this_call_only() -> None:
    async def fail(call: IncomingCall) -> None:
        raise ZeroDivisionError("a bug")

    async def fail_later(call: IncomingCall) -> None:
        await call.answer()
        raise ZeroDivisionError("a bug")

    async def refused(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await peer.ask(peer.request("INVITE", sdp()), 500)
        peer.call_id = "call-2"
        await peer.ask(peer.request("INVITE", sdp()), 500)

    async def hung_up(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await peer.ask(peer.request("INVITE", sdp()), 200)
        peer.answer(await peer.receive("BYE"), 200)
        await asyncio.sleep(0.1)
        assert agent.calls == 0

    scenario(refused, fail)
    scenario(hung_up, fail_later)


def test_an_undecided_call_is_refused_in_the_end() -> None:
    async def dither(call: IncomingCall) -> None:
        pass

    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp()))
        await peer.response(480, within=200)
        assert asyncio.get_running_loop().time() > 179

    scenario(test, dither)


@pytest.mark.parametrize(
    "body, headers, status",
    [
        (sdp("18"), (), 488),  # G.729 alone
        (b"v=0\r\nrubbish\r\n", (), 400),
        (b"\0\xff", (), 400),
        (sdp(), (("Require", "100rel, dance, path"),), 420),
        (sdp(), (("Max-Forwards", "abc"),), 400),
    ],
)
def test_offers_that_cannot_be_taken(body: bytes, headers: tuple[tuple[str, str], ...], status: int) -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        response = await peer.ask(peer.request("INVITE", body, headers=headers), status)
        if status == 420:
            assert response.headers.get("unsupported") == "dance, path"
        await asyncio.sleep(1)
        assert agent.calls == 0

    scenario(test)


def test_a_body_that_is_no_sdp_is_refused_with_what_we_accept() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        response = await peer.ask(peer.request("INVITE", b"<xml/>", kind="application/xml"), 415)
        assert response.headers.get("accept") == "application/sdp"

    scenario(test)


def test_an_invite_without_offer_gets_ours_and_answers_in_the_ack() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE"))
        answer = await peer.response(200)
        assert b"m=audio" in answer.body
        peer.send(peer.request("ACK", sdp("8"), number=1))
        await callee.answered.wait()
        assert callee.ears[0].leg.agreement.codec.name == "PCMA"  # type: ignore[attr-defined]

    async def unusable(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE"))
        await peer.response(200)
        peer.send(peer.request("ACK", number=1))
        peer.answer(await peer.receive("BYE"), 200)
        await asyncio.sleep(0.1)
        assert isinstance(callee.failures[0], CallFailed)
        assert agent.calls == 0

    scenario(test)
    scenario(unusable)


async def _hold(peer: Peer, offer: bytes, status: int = 200) -> bytes:
    return (await peer.ask(peer.request("INVITE", offer), status)).body


def test_hold_in_all_its_forms_and_back() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        leg = callee.ears[0].leg
        for offer, direction in (
            (sdp(direction="sendonly"), b"a=recvonly"),
            (sdp(direction="inactive"), b"a=inactive"),
            (sdp().replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0"), b"a="),
        ):
            assert direction in await _hold(peer, offer)
            assert leg.agreement.on_hold  # type: ignore[attr-defined]
            assert b"a=sendrecv" in await _hold(peer, sdp())
            assert not leg.agreement.on_hold  # type: ignore[attr-defined]
        assert callee.ears[0].causes == []

    scenario(test)


def test_a_change_that_cannot_be_agreed_on_leaves_the_call_as_it_was() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        before = callee.ears[0].leg.agreement  # type: ignore[attr-defined]
        await _hold(peer, sdp("18"), 488)
        assert callee.ears[0].leg.agreement == before  # type: ignore[attr-defined]
        await _hold(peer, sdp("8"), 200)
        assert callee.ears[0].leg.agreement.codec.name == "PCMA"  # type: ignore[attr-defined]
        await peer.ask(peer.request("BYE"), 200)

    scenario(test)


def test_a_reinvite_without_offer_gets_ours() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        peer.send(peer.request("INVITE", number=5))
        assert b"m=audio" in (await peer.response(200)).body
        await peer.ask(peer.request("INVITE", sdp(), number=6), 491)
        peer.send(peer.request("ACK", sdp(), number=5))
        await asyncio.sleep(1)
        assert callee.ears[0].causes == []

    scenario(test)


def test_an_update_is_answered_with_and_without_an_offer() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        assert not (await peer.ask(peer.request("UPDATE"), 200)).body
        assert b"a=recvonly" in (await peer.ask(peer.request("UPDATE", sdp(direction="sendonly")), 200)).body
        await peer.nothing(10)

    scenario(test)


@pytest.mark.parametrize(
    "kind, body, status, digit",
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", 200, "5"),
        ("application/dtmf-relay", b"Signal= *\nDuration=100", 200, "*"),
        ("application/dtmf-relay", b"signal=11\r\n", 200, "#"),
        ("application/dtmf-relay", b"Duration=160", 400, ""),
        ("application/dtmf", b"9", 200, "9"),
        ("application/dtmf", b"d\r\n", 200, "D"),
        ("application/dtmf", b"99", 400, ""),
        ("application/dtmf", b"\xff", 400, ""),
        ("application/media_control+xml", b"<picture_fast_update/>", 415, ""),
        ("application/dtmf", b"", 200, ""),
    ],
)
def test_info(kind: str, body: bytes, status: int, digit: str) -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(peer.request("INFO", body, kind=kind), status)
        assert callee.ears[0].digits == digit

    scenario(test)


@pytest.mark.parametrize(
    "method, in_call, outside",
    [("OPTIONS", 200, 200), ("REFER", 400, 603), ("NOTIFY", 481, 481), ("INFO", 200, 481), ("BYE", 200, 481),
     ("UPDATE", 200, 481), ("MESSAGE", 405, 405), ("SUBSCRIBE", 405, 405), ("PRACK", 481, 481),
     ("REGISTER", 405, 405), ("DANCE", 501, 501)],
)  # fmt: skip
def test_other_methods(method: str, in_call: int, outside: int) -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        response = await peer.ask(peer.request(method), outside)
        peer.tag = ""
        if response.status == 405 or method == "OPTIONS":
            assert "INVITE" in (response.headers.get("allow") or "")
        await dial(peer)
        await peer.ask(peer.request(method), in_call)
        peer.tag = "unknown"
        await peer.ask(peer.request(method), 481)

    scenario(test)


def test_an_older_request_of_the_dialog_is_refused() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(peer.request("INFO", number=50), 200)
        await peer.ask(peer.request("BYE", number=49), 500)
        assert callee.ears[0].causes == []

    scenario(test)


def test_draining_refuses_new_calls_and_keeps_those_there_are() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        agent.draining = True
        await peer.ask(peer.request("INFO"), 200)
        tag, peer.tag = peer.tag, ""
        peer.call_id = "call-2"
        assert (await peer.ask(peer.request("OPTIONS"), 503)).headers.get("retry-after")
        assert (await peer.ask(peer.request("INVITE", sdp()), 503)).headers.get("retry-after")
        peer.call_id, peer.tag = "call-1", tag
        await peer.ask(peer.request("BYE"), 200)
        assert agent.counters.calls_in == 1

    scenario(test)


def test_too_many_calls_are_refused() -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer = user_agent(wire, max_calls=1), Peer(wire)
        await agent.start(Callee())
        await dial(peer)
        peer.call_id, peer.tag = "call-2", ""
        await peer.ask(peer.request("INVITE", sdp()), 503)
        await agent.close()

    run(body)


def test_an_unanswered_bye_ends_the_call_all_the_same() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer)
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        assert callee.ears[0].causes == [HangupCause.NORMAL]
        bye = await peer.receive("BYE")
        assert bye.headers.get("reason") == 'Q.850;cause=16;text="normal"'
        assert (bye.uri, bye.from_.tag, bye.to.tag) == (f"sip:peer@{HOST}:5070", peer.tag, "peer")
        await asyncio.sleep(33)
        assert agent.calls == 0

    scenario(test)


def test_hanging_up_before_the_ack_waits_for_it() -> None:
    async def hasty(call: IncomingCall) -> None:
        try:
            async with asyncio.timeout(0.5):
                await call.answer()
        except TimeoutError:
            pass

    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        peer.send(peer.request("INVITE", sdp()))
        await peer.response(200)
        await asyncio.sleep(0.9)
        assert not peer.wire.lines("BYE")
        peer.send(peer.request("ACK", number=1))
        await asyncio.sleep(1)
        assert len(peer.wire.lines("BYE")) >= 1

    scenario(test, hasty)


def test_the_route_of_a_dialog_is_followed() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        routes = (("Record-Route", f"<sip:{HOST}:5070;lr>, <sip:far.example;lr>"),)
        await peer.ask(peer.request("INVITE", sdp(), headers=routes), 200)
        await callee.answered.wait()
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        bye: Request = await peer.receive("BYE")
        assert bye.headers.values("route") == [f"<sip:{HOST}:5070;lr>", "<sip:far.example;lr>"]
        assert bye.uri == f"sip:peer@{HOST}:5070"
        peer.answer(bye, 200)

    scenario(test)


def test_names_that_are_no_utf8_become_readable_text() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        invite = bytes(peer.request("INVITE", sdp(), headers=(("Subject", "xx"),)))
        peer.wire.send(
            invite.replace(b"+4930123", b"\xff\xfe").replace(b": xx", b": \xe4x"), peer.port, UA_PORT
        )
        await peer.response(200)
        info = callee.calls[0].info
        assert (info.caller, info.headers["subject"]) == ("\ufffd\ufffd", "\ufffdx")
        str(info).encode()

    scenario(test)
