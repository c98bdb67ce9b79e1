"""Session timers: what both ends agree on, and what becomes of calls that nobody refreshes (RFC 4028)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from media.leg import HangupCause
from sip.endpoint import OutboundCall
from sip.errors import RemoteProtocolError
from sip.ua import sessiontimer
from sip.ua.agent import UserAgent
from sip.ua.message import Headers, Request, Response
from sip.ua.sessiontimer import Interval, TimerPolicy
from tests.sip.ua.wire import HOST, Callee, Ear, Peer, Wire, run, sdp, user_agent

TARGET = OutboundCall(f"sip:peer@{HOST}:5070")
TIMER = ("Supported", "timer")
POLICY = TimerPolicy(1800, 90)


def request(*headers: tuple[str, str]) -> Request:
    return Request(Headers(headers), b"", "INVITE", "sip:a@b")


@pytest.mark.parametrize(
    "headers, policy, interval",
    [
        ((), POLICY, None),  # the peer knows no timers and nobody asks
        ((TIMER,), POLICY, Interval(1800, ours=False)),
        ((TIMER,), TimerPolicy(0), None),
        ((TIMER, ("Session-Expires", "600")), POLICY, Interval(600, ours=False)),
        ((TIMER, ("Session-Expires", "600")), TimerPolicy(0), Interval(600, ours=False)),
        ((TIMER, ("Session-Expires", "600;refresher=uas")), POLICY, Interval(600, ours=True)),
        ((TIMER, ("x", "600;refresher=uac")), POLICY, Interval(600, ours=False)),
        ((TIMER, ("Session-Expires", "7200")), POLICY, Interval(1800, ours=False)),
        ((TIMER, ("Session-Expires", "7200"), ("Min-SE", "3600")), POLICY, Interval(3600, ours=False)),
        ((("Session-Expires", "600"),), POLICY, Interval(600, ours=True)),  # a proxy asks
        ((("Session-Expires", "30"),), POLICY, Interval(90, ours=True)),
        ((TIMER, ("Session-Expires", "rubbish")), TimerPolicy(0), None),
    ],
)
def test_what_is_granted(
    headers: tuple[tuple[str, str], ...], policy: TimerPolicy, interval: Interval | None
) -> None:
    assert sessiontimer.grant(request(*headers), policy) == interval


def test_an_interval_below_our_minimum_is_refused_only_where_the_peer_can_raise_it() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        sessiontimer.check(request(TIMER, ("Session-Expires", "60")), POLICY)
    assert refused.value.status == 422
    sessiontimer.check(request(("Session-Expires", "60")), POLICY)


def test_a_minimum_of_the_far_end_is_taken_once_it_is_higher() -> None:
    response = Response(Headers([("Min-SE", "3600")]), b"", 422)
    assert sessiontimer.raised(response, POLICY) == TimerPolicy(3600, 3600)
    assert sessiontimer.raised(response, TimerPolicy(3600, 3600)) is None
    assert sessiontimer.raised(Response(Headers(), b"", 422), POLICY) is None


def scenario(test: Callable[[UserAgent, Peer, Callee], Awaitable[None]], **config: Any) -> None:
    async def body() -> None:
        wire = Wire()
        agent, peer, callee = user_agent(wire, **config), Peer(wire), Callee(0.1)
        await agent.start(callee)
        await test(agent, peer, callee)
        await agent.close()
        assert agent.counters.errors == 0

    run(body)


async def dial(peer: Peer, *headers: tuple[str, str]) -> Response:
    answer = await peer.ask(peer.request("INVITE", sdp(), headers=headers), 200)
    await asyncio.sleep(0.1)
    return answer


def test_a_caller_who_does_not_refresh_is_hung_up_on() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        answer = await dial(peer, TIMER, ("Session-Expires", "120"), ("Allow", "INVITE, UPDATE"))
        assert answer.headers.get("session-expires") == "120;refresher=uac"
        assert answer.headers.tokens("require") == {"timer"}
        await asyncio.sleep(60)
        await peer.ask(peer.request("UPDATE", headers=(TIMER, ("Session-Expires", "120;refresher=uac"))), 200)
        await peer.nothing(85)
        peer.answer(await peer.receive("BYE", within=6), 200)
        assert callee.ears[0].causes == [HangupCause.NETWORK]

    scenario(test)


@pytest.mark.parametrize("allow, method", [("INVITE, UPDATE", "UPDATE"), ("INVITE", "INVITE")])
def test_we_refresh_by_what_the_far_end_takes(allow: str, method: str) -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer, TIMER, ("Session-Expires", "200;refresher=uas"), ("Allow", allow))
        for _ in range(3):
            await peer.nothing(99)
            refresh = await peer.receive(method, within=2)
            assert (
                refresh.headers.get(
                    "session-expires",
                )
                == "1800;refresher=uac"
            )
            assert bool(refresh.body) == (method == "INVITE")
            body = sdp() if refresh.body else b""
            peer.answer(refresh, 200, body, headers=(("Session-Expires", "200;refresher=uac"),))
            if method == "INVITE":
                await peer.receive("ACK")
        assert not callee.ears[0].causes

    scenario(test)


def test_an_update_that_is_not_known_gives_way_to_an_invite() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer, TIMER, ("Session-Expires", "200;refresher=uas"), ("Allow", "INVITE, UPDATE"))
        peer.answer(await peer.receive("UPDATE", within=101), 501)
        refresh = await peer.receive("INVITE")
        peer.answer(refresh, 200, sdp(), headers=(("Session-Expires", "200;refresher=uac"),))
        await peer.receive("ACK")
        await peer.receive("UPDATE", within=101)

    scenario(test)


@pytest.mark.parametrize("status", [481, 408])
def test_a_far_end_that_knows_no_call_any_more_ends_it(status: int) -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        await dial(peer, TIMER, ("Session-Expires", "200;refresher=uas"), ("Allow", "UPDATE"))
        peer.answer(await peer.receive("UPDATE", within=101), status)
        peer.answer(await peer.receive("BYE"), 481)
        assert callee.ears[0].causes == [HangupCause.NETWORK]

    scenario(test)


def test_a_call_of_ours_takes_the_carriers_minimum() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        invite = await peer.receive("INVITE")
        assert (invite.headers.get("session-expires"), invite.headers.get("min-se")) == ("600", "90")
        peer.answer(invite, 422, headers=(("Min-SE", "700"),))
        await peer.receive("ACK")
        again = await peer.receive("INVITE")
        assert (again.headers.get("session-expires"), again.headers.get("min-se")) == ("700", "700")
        assert (again.call_id, again.cseq.number) == (invite.call_id, invite.cseq.number + 1)
        granted = (("Session-Expires", "700;refresher=uac"), ("Allow", "INVITE, UPDATE"))
        peer.answer(again, 200, sdp(), headers=granted)
        await peer.receive("ACK")
        Ear(await task)
        refresh = await peer.receive("UPDATE", within=351)
        assert refresh.headers.get("session-expires") == "700;refresher=uac"
        peer.answer(refresh, 422, headers=(("Min-SE", "800"),))
        refresh = await peer.receive("UPDATE")
        assert refresh.headers.get("min-se") == "800"
        peer.answer(refresh, 200, headers=(("Session-Expires", "800;refresher=uas"),))
        peer.answer(await peer.receive("BYE", within=770), 200)

    scenario(test, session_expires_s=600)


def test_a_short_interval_is_answered_with_our_minimum() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        headers = (TIMER, ("Session-Expires", "60"))
        refused = await peer.ask(peer.request("INVITE", sdp(), headers=headers), 422)
        assert refused.headers.get("min-se") == "90"
        peer.tag = ""
        await dial(peer, TIMER, ("Session-Expires", "90"), ("Min-SE", "90"))
        refused = await peer.ask(peer.request("UPDATE", headers=headers), 422)
        assert refused.headers.get("min-se") == "90"

    scenario(test)


def test_without_timers_nothing_is_asked_for() -> None:
    async def test(agent: UserAgent, peer: Peer, callee: Callee) -> None:
        answer = await dial(peer, TIMER)
        assert "session-expires" not in answer.headers
        await peer.nothing(1900)  # more than the default
        assert not callee.ears[0].causes

    scenario(test, session_expires_s=0)


def test_settings_below_the_standards_minimum_are_refused() -> None:
    with pytest.raises(ValueError, match="90 or more"):
        user_agent(Wire(), min_se_s=30)
