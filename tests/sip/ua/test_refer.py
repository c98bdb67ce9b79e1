"""Calls that change hands: REFER in, INVITE with Replaces, attended transfer, redirects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from media.errors import TransferError
from media.leg import HangupCause
from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from sip.ua.agent import UserAgent
from sip.ua.config import Reach
from sip.ua.join import _near
from sip.ua.message import Request, reply
from tests.sip.ua.wire import HOST, UA_PORT, Callee, Ear, Peer, Wire, run, sdp, user_agent

TARGET = OutboundCall(f"sip:peer@{HOST}:5070")
THIRD = 5080


def scenario(test: Callable[..., Awaitable[None]], **config: Any) -> None:
    """`test` gets the user agent, a peer, a third party and the application."""

    async def body() -> None:
        wire = Wire()
        agent, callee = user_agent(wire, **config), Callee(0.1)
        peer, third = Peer(wire), Peer(wire, THIRD)
        third.call_id = "call-3"
        await agent.start(callee)
        await test(agent, peer, third, callee)
        await asyncio.sleep(40)
        assert agent.calls == 0 and not agent._running().dialogs, "nothing is left behind"
        await agent.close()
        assert agent.counters.errors == 0

    run(body)


async def dial(peer: Peer) -> None:
    await peer.ask(peer.request("INVITE", sdp()), 200)
    await asyncio.sleep(0.1)


def refer(peer: Peer, to: str = f"<sip:third@{HOST}:{THIRD}>", *headers: tuple[str, str]) -> Request:
    return peer.request("REFER", headers=(("Refer-To", to), ("Referred-By", f"<sip:peer@{HOST}>"), *headers))


async def told(peer: Peer, *statuses: int) -> None:
    for status in statuses:
        notify = await peer.receive("NOTIFY")
        assert notify.body.startswith(f"SIP/2.0 {status} ".encode()), notify.body
        assert (notify.headers.get("event") or "").startswith("refer")
        state = notify.headers.get("subscription-state") or ""
        assert state.startswith("terminated" if status >= 200 else "active")
        peer.answer(notify, 200)


def test_a_referred_call_goes_on_with_the_target() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer), 202)
        await told(peer, 100)
        invite = await third.receive("INVITE")
        assert invite.headers.get("referred-by") == f"<sip:peer@{HOST}>"
        third.answer(invite, 180)
        third.answer(invite, 200, sdp())
        await third.receive("ACK")
        await told(peer, 200)
        await peer.ask(peer.request("BYE"), 200)
        await asyncio.sleep(1)
        ear = callee.ears[0]
        assert not ear.causes, "the same leg talks to the target now"
        third.follow(invite)
        await third.ask(third.request("BYE"), 200)
        assert ear.causes == [HangupCause.NORMAL]

    scenario(test, refer=Reach.SAME_HOST)


def test_a_referrer_who_stays_is_hung_up_on() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer), 202)
        await told(peer, 100)
        invite = await third.receive("INVITE")
        third.answer(invite, 200, sdp())
        await third.receive("ACK")
        await told(peer, 200)
        peer.answer(await peer.receive("BYE"), 200)
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        third.answer(await third.receive("BYE"), 200)

    scenario(test, refer=Reach.ANYWHERE)


def test_a_target_that_does_not_answer_leaves_the_call_as_it_was() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer), 202)
        await told(peer, 100)
        third.answer(await third.receive("INVITE"), 486)
        await third.receive("ACK")
        await told(peer, 486)
        assert not callee.ears[0].causes
        await peer.ask(peer.request("INVITE", sdp()), 200)  # media may be changed again
        await peer.ask(peer.request("BYE"), 200)
        assert callee.ears[0].causes == [HangupCause.NORMAL]

    scenario(test, refer=Reach.SAME_HOST)


@pytest.mark.parametrize("status", [200, 486])
def test_a_referrer_who_leaves_at_once_does_not_take_the_call_along(status: int) -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer, f"<sip:third@{HOST}:{THIRD}>", ("Refer-Sub", "false")), 202)
        await peer.ask(peer.request("BYE"), 200)
        invite = await third.receive("INVITE")
        assert not callee.ears[0].causes
        third.answer(invite, status, sdp() if status == 200 else b"")
        await third.receive("ACK")
        await asyncio.sleep(1)
        assert callee.ears[0].causes == ([] if status == 200 else [HangupCause.NORMAL])
        if status == 200:
            await callee.ears[0].leg.hangup(HangupCause.NORMAL)
            third.answer(await third.receive("BYE"), 200)

    scenario(test, refer=Reach.SAME_HOST)


def test_hanging_up_during_a_move_gives_it_up() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer), 202)
        await told(peer, 100)
        invite = await third.receive("INVITE")
        third.answer(invite, 180)
        await asyncio.sleep(0.1)
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        peer.answer(await peer.receive("BYE"), 200)
        third.answer(await third.receive("CANCEL"), 200)
        third.answer(invite, 487)
        await third.receive("ACK")

    scenario(test, refer=Reach.SAME_HOST)


def test_a_referrer_that_answers_no_notify_holds_nothing_up() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer), 202)
        invite = await third.receive("INVITE", within=1)
        third.answer(invite, 200, sdp())
        await third.receive("ACK", within=1)
        await asyncio.sleep(6)
        assert peer.wire.lines("BYE"), "nor is it waited for at the end"
        fragments = [n.body.split()[1] for n in peer.came("NOTIFY")]
        assert fragments == [b"100", b"200"], "in this order"
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        third.answer(await third.receive("BYE"), 200)

    scenario(test, refer=Reach.SAME_HOST)


@pytest.mark.parametrize("stays", [True, False])
def test_a_target_that_hangs_up_as_it_answers_gives_the_call_back(stays: bool) -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer), 202)
        await told(peer, 100)
        invite = await third.receive("INVITE")
        if not stays:
            await peer.ask(peer.request("BYE"), 200)
        third.follow(invite)
        # Both in one go: the call hears of the answer only when the BYE has been taken too.
        answer = reply(invite, 200, tag="peer")
        answer.headers.add("contact", f"<sip:peer@{HOST}:{THIRD}>")
        answer.headers.add("content-type", "application/sdp")
        answer.body = sdp().replace(b"audio 9 ", b"audio 11 ")
        for message in (answer, third.request("BYE")):
            third.wire.deliver(bytes(message), THIRD, UA_PORT)
        ear = callee.ears[0]
        if not stays:
            await asyncio.sleep(1)
            assert ear.causes == [HangupCause.NORMAL], "there is nobody to go back to"
            return
        await told(peer, 487)
        assert not ear.causes, "the referrer talks on"
        assert ear.leg.agreement.port == 9  # type: ignore[attr-defined]
        await peer.ask(peer.request("INVITE", sdp()), 200)
        await peer.ask(peer.request("BYE"), 200)
        assert ear.causes == [HangupCause.NORMAL]

    scenario(test, refer=Reach.SAME_HOST)


@pytest.mark.parametrize(
    "reach, to, status",
    [
        (Reach.NEVER, f"<sip:third@{HOST}:{THIRD}>", 603),
        (Reach.SAME_HOST, "<sip:+88299@expensive.example>", 603),
        (Reach.ANYWHERE, "<tel:+88299>", 603),
        (Reach.ANYWHERE, "<sip:a@b;method=BYE>", 603),
        (Reach.ANYWHERE, "<sip:a@b?Replaces=" + "a" * 600 + ">", 400),
        (Reach.ANYWHERE, "<sip:a@b?Replaces=a%0D%0AX: y>", 400),
        (Reach.ANYWHERE, "<sip:a@b>, <sip:c@d>", 400),
        (Reach.ANYWHERE, "<mailto:a@b>", 416),
    ],
)
def test_transfers_that_the_settings_forbid_are_refused(reach: Reach, to: str, status: int) -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await peer.ask(refer(peer, to), status)
        assert not callee.ears[0].causes
        await peer.ask(peer.request("BYE"), 200)

    scenario(test, refer=reach)


def replacing(third: Peer, peer: Peer, *, suffix: str = "", tag: str = "") -> Request:
    value = f"{peer.call_id};to-tag={tag or peer.tag};from-tag=peer{suffix}"
    return third.request("INVITE", sdp(), headers=(("Require", "replaces"), ("Replaces", value)))


def test_an_invite_with_replaces_takes_the_call_over() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        ear = callee.ears[0]
        latch = ear.leg.latch  # type: ignore[attr-defined]
        latch.signalling_host = "192.0.2.1"
        await third.ask(replacing(third, peer), 200)
        assert latch.signalling_host == HOST, "where the new phone's audio may come from, behind its router"
        peer.answer(await peer.receive("BYE"), 200)
        assert not ear.causes and len(callee.calls) == 1
        await third.ask(third.request("BYE"), 200)
        assert ear.causes == [HangupCause.NORMAL]

    scenario(test)


def test_replaces_that_fit_no_call_are_refused() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await third.ask(replacing(third, peer, tag="unknown"), 481)
        third.tag = ""
        await dial(peer)
        await third.ask(replacing(third, peer, suffix=";early-only"), 486)
        third.tag = ""
        two = replacing(third, peer)
        two.headers.add("replaces", "a;to-tag=b;from-tag=c")
        await third.ask(two, 400)
        third.tag = ""
        await third.ask(third.request("INVITE", sdp(), headers=(("Replaces", "a"),)), 400)
        third.tag = ""
        no_codec = replacing(third, peer)
        no_codec.body = sdp("18")
        await third.ask(no_codec, 488)
        third.tag = ""
        no_sdp = replacing(third, peer)
        no_sdp.headers.set("content-type", "text/plain")
        await third.ask(no_sdp, 415)
        third.tag = ""
        brief = replacing(third, peer)
        brief.headers.add("supported", "timer")
        brief.headers.add("session-expires", "30")
        await third.ask(brief, 422)
        assert not callee.ears[0].causes
        await peer.ask(peer.request("BYE"), 200)
        third.tag = ""
        await third.ask(replacing(third, peer), 481)

    scenario(test)


async def placed(agent: UserAgent, third: Peer) -> Ear:
    task = asyncio.ensure_future(agent.place(OutboundCall(f"sip:third@{HOST}:{THIRD}")))
    invite = await third.receive("INVITE")
    third.answer(invite, 200, sdp())
    await third.receive("ACK")
    third.follow(invite)
    return Ear(await task)


@pytest.mark.parametrize("good", [True, False])
def test_an_attended_transfer_joins_both_far_ends(good: bool) -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        ear = await placed(agent, third)
        caller = callee.ears[0].leg
        task = asyncio.ensure_future(agent.connect(caller, ear.leg))  # type: ignore[arg-type]
        order = await peer.receive("REFER")
        to = order.headers.get("refer-to") or ""
        assert to.startswith(
            f"<sip:third@{HOST}:{THIRD}?Replaces={third.call_id}%3Bto-tag%3Dpeer%3Bfrom-tag%3D"
        )
        peer.answer(order, 202)
        if not good:
            peer.send(notify(peer, b"SIP/2.0 603 Decline"))
            await peer.response(200)
            with pytest.raises(TransferError, match="603"):
                await task
            assert not callee.ears[0].causes and not ear.causes, "both calls go on"
            await peer.ask(peer.request("BYE"), 200)
            await third.ask(third.request("BYE"), 200)
            return
        await third.ask(third.request("BYE"), 200)  # the target talks to the caller's phone now
        peer.send(notify(peer, b"SIP/2.0 200 OK"))
        await peer.response(200)
        await task
        peer.answer(await peer.receive("BYE"), 200)

    scenario(test)


def notify(peer: Peer, fragment: bytes) -> Request:
    headers = (("Event", "refer"), ("Subscription-State", "terminated;reason=noresource"))
    return peer.request("NOTIFY", fragment, headers=headers, kind="message/sipfrag;version=2.0")


def test_a_phone_joins_two_calls_that_both_go_over_us() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        await dial(peer)
        await third.ask(third.request("INVITE", sdp()), 200)  # the same phone's second call
        await asyncio.sleep(0.1)
        first, second = callee.ears
        replaces = f"{third.call_id}%3Bto-tag%3D{third.tag}%3Bfrom-tag%3Dpeer"
        await peer.ask(refer(peer, f"<sip:bot@{HOST}?Replaces={replaces}>"), 202)
        await told(peer, 100, 200)
        third.answer(await third.receive("BYE"), 200)
        await peer.ask(peer.request("BYE"), 200)
        await asyncio.sleep(1)
        assert not first.causes and not second.causes, "the two applications talk to each other"
        first.leg.send_dtmf("5")  # type: ignore[attr-defined]
        agreements = [ear.leg.agreement for ear in (first, second)]  # type: ignore[attr-defined]
        ports = [ear.leg.port for ear in (first, second)]  # type: ignore[attr-defined]
        assert [a.port for a in agreements] == ports[::-1]
        await first.leg.hangup(HangupCause.NORMAL)
        assert first.causes == second.causes == [HangupCause.NORMAL]

    scenario(test, refer=Reach.SAME_HOST)


@pytest.mark.parametrize(
    "bound, host", [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("10.0.0.5", "10.0.0.5")]
)
def test_legs_that_are_joined_meet_where_their_sockets_are(bound: str, host: str) -> None:
    assert f"c=IN IP4 {host}\r\n".encode() in _near(sdp().decode().replace(HOST, "192.0.2.1"), bound).encode()


# Redirects


def contact(*users: str, host: str = f"{HOST}:{THIRD}") -> tuple[tuple[str, str], ...]:
    values = (f"<sip:{user.partition('/')[0]}@{host}>;q={user.partition('/')[2] or '1'}" for user in users)
    return (("Contact", ", ".join(values)),)


async def refused(peer: Peer, status: int, headers: tuple[tuple[str, str], ...] = ()) -> Request:
    """The next INVITE is refused; without the Contact that the peer usually gives."""
    invite = await peer.receive("INVITE")
    response = reply(invite, status, tag="peer")  # what `Peer.answer` does, but for the Contact
    for name, value in headers:
        response.headers.add(name, value)
    peer.send(response, UA_PORT)
    await peer.receive("ACK")
    return invite


def test_redirects_are_followed_the_most_wanted_first() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        first = await refused(peer, 302, contact("second/0.2", "first/high"))  # a registrar ranks it likewise
        invite = await refused(third, 486)
        assert invite.uri == f"sip:first@{HOST}:{THIRD}"
        assert (invite.call_id, invite.from_.tag) == (first.call_id, first.from_.tag)
        assert invite.cseq.number == first.cseq.number + 1
        invite = await third.receive("INVITE")
        assert invite.uri == f"sip:second@{HOST}:{THIRD}"
        third.answer(invite, 200, sdp())
        await third.receive("ACK")
        await (await task).hangup(HangupCause.NORMAL)
        third.answer(await third.receive("BYE"), 200)

    scenario(test)


@pytest.mark.parametrize(
    "reach, host, calls",
    [
        (Reach.NEVER, f"{HOST}:{THIRD}", 0),
        (Reach.SAME_HOST, "127.0.0.2", 0),
        (Reach.SAME_HOST, f"{HOST}:{THIRD}", 1),
    ],
)
def test_redirects_go_no_further_than_the_settings_let_them(reach: Reach, host: str, calls: int) -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        await refused(peer, 302, contact("a", host=host))
        if calls:
            await refused(third, 603)
        with pytest.raises(CallFailed) as failed:
            await task
        assert failed.value.status == (603 if calls else 302)
        await third.nothing(10)

    scenario(test, redirects=reach)


def test_redirects_in_circles_and_without_end_are_given_up() -> None:
    async def test(agent: UserAgent, peer: Peer, third: Peer, callee: Callee) -> None:
        task = asyncio.ensure_future(agent.place(TARGET))
        await refused(peer, 302, contact("n0"))
        for n in range(3):
            await refused(third, 302, contact(f"n{n}", f"n{n + 1}"))
        with pytest.raises(CallFailed):
            await task
        await third.nothing(10)

    scenario(test, max_redirects=3)
