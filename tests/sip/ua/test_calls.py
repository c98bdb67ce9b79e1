"""Two user agents call each other over a bad line."""

import asyncio

import pytest

from media.leg import HangupCause
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.sdp import MediaDirection
from tests.sip.ua.wire import HOST, Callee, Ear, Wire, run, user_agent

TARGET = OutboundCall(f"sip:bot@{HOST}:5061", caller="alice")


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("callee_hangs_up", [False, True])
def test_every_call_is_good_and_none_doubled_though_a_fifth_is_lost(seed: int, callee_hangs_up: bool) -> None:
    async def test() -> None:
        wire = Wire(loss=0.2, seed=seed)
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        caller = Ear(await alice.place(TARGET))
        await callee.answered.wait()
        await asyncio.sleep(1)
        await (callee.ears[0] if callee_hangs_up else caller).leg.hangup(HangupCause.NORMAL)
        await caller.closed.wait()
        await callee.ears[0].closed.wait()
        await asyncio.sleep(100)
        assert len(callee.calls) == 1
        assert caller.causes == callee.ears[0].causes == [HangupCause.NORMAL]
        assert (alice.calls, bob.calls) == (0, 0)
        assert (alice.counters.transactions, bob.counters.transactions) == (0, 0)
        await alice.close()
        await bob.close()

    run(test)


@pytest.mark.parametrize("seed", range(15))
def test_a_cancelled_call_is_cancelled_on_both_sides_though_a_fifth_is_lost(seed: int) -> None:
    async def test() -> None:
        wire = Wire(loss=0.2, seed=seed)
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee(ring_s=60)
        await alice.start(Callee())
        await bob.start(callee)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await alice.place(TARGET)
        await asyncio.sleep(200)
        assert len(callee.calls) == 1
        assert [e.status for e in callee.failures if isinstance(e, CallFailed)] == [487]
        assert (alice.calls, bob.calls) == (0, 0)
        assert (alice.counters.transactions, bob.counters.transactions) == (0, 0)
        await alice.close()
        await bob.close()

    run(test)


def test_progress_names_and_headers_reach_the_other_side() -> None:
    async def test() -> None:
        wire = Wire()
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        progress: list[CallProgress] = []
        call = OutboundCall(TARGET.target, "alice", 'Alice "A"', {"X-Tenant": "clinic"})
        leg = await alice.place(call, progress.append)
        assert progress == [CallProgress.TRYING, CallProgress.RINGING, CallProgress.ANSWERED]
        info = callee.calls[0].info
        assert (info.caller, info.callee, info.carrier) == ("alice", "bot", "sip")
        assert info.headers["x-tenant"] == "clinic"
        assert info.headers["from"].startswith('"Alice \\"A\\"" <sip:alice@127.0.0.1>')
        assert leg.info.carrier_id == info.carrier_id
        assert leg.format.rate == 8000
        assert bob.uri == "sip:bot@127.0.0.1:5061"
        await alice.close()
        await bob.close()

    run(test)


def test_keys_by_info_arrive_in_order() -> None:
    async def test() -> None:
        wire = Wire(loss=0.2, seed=3)
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        leg = await alice.place(TARGET)
        await callee.answered.wait()
        session = next(iter(alice._stack.dialogs.values()))  # type: ignore[union-attr]
        for digit in "159*#D":
            session.send_info_dtmf(digit, 100)  # type: ignore[attr-defined]
        await asyncio.sleep(60)
        assert callee.ears[0].digits == "159*#D"
        await leg.hangup(HangupCause.NORMAL)
        await alice.close()
        await bob.close()

    run(test)


@pytest.mark.parametrize("seed", range(10))
def test_hold_and_back_over_a_bad_line(seed: int) -> None:
    async def test() -> None:
        wire = Wire(loss=0.2, seed=seed)
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        leg = await alice.place(TARGET)
        await callee.answered.wait()
        theirs = callee.ears[0].leg
        await alice.hold(leg)
        assert theirs.agreement.direction is MediaDirection.RECVONLY  # type: ignore[attr-defined]
        assert theirs.agreement.on_hold  # type: ignore[attr-defined]
        await alice.hold(leg, on=False)
        assert theirs.agreement.direction is MediaDirection.SENDRECV  # type: ignore[attr-defined]
        await leg.hangup(HangupCause.NORMAL)
        await asyncio.sleep(100)
        assert callee.ears[0].causes == [HangupCause.NORMAL]
        await alice.close()
        await bob.close()

    run(test)


@pytest.mark.parametrize("seed", range(10))
def test_both_change_the_call_at_once_and_glare_resolves_itself(seed: int) -> None:
    async def test() -> None:
        wire = Wire(seed=seed)
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        leg = await alice.place(TARGET)
        await callee.answered.wait()
        theirs = callee.ears[0].leg
        await asyncio.gather(alice.hold(leg), bob.hold(theirs))  # type: ignore[arg-type]
        assert wire.lines("SIP/2.0 491")
        assert alice.calls == bob.calls == 1
        await leg.hangup(HangupCause.NORMAL)
        await alice.close()
        await bob.close()

    run(test)


def test_both_hang_up_at_once() -> None:
    async def test() -> None:
        wire = Wire()
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        caller = Ear(await alice.place(TARGET))
        await callee.answered.wait()
        await caller.leg.hangup(HangupCause.NORMAL)
        await callee.ears[0].leg.hangup(HangupCause.BUSY)
        await asyncio.sleep(1)
        assert (caller.causes, callee.ears[0].causes) == ([HangupCause.NORMAL], [HangupCause.BUSY])
        assert (alice.calls, bob.calls) == (0, 0)
        await alice.close()
        await bob.close()

    run(test)


def test_closing_hangs_up_what_is_left_and_refuses_what_rings() -> None:
    async def test() -> None:
        wire = Wire()
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee()
        await alice.start(Callee())
        await bob.start(callee)
        caller = Ear(await alice.place(TARGET))
        await callee.answered.wait()
        callee.ring_s = 60
        ringing = asyncio.ensure_future(alice.place(TARGET))
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        await bob.close()
        await bob.close()
        assert asyncio.get_running_loop().time() - before < 1
        await asyncio.sleep(1)
        assert caller.causes == [HangupCause.NORMAL]
        assert callee.ears[0].causes == [HangupCause.NORMAL]
        with pytest.raises(CallFailed) as failed:
            await ringing
        assert failed.value.status == 503
        await alice.close()

    run(test)


def test_nobody_there_is_told_after_32_seconds_and_at_once_to_whom_the_application_waits() -> None:
    async def test() -> None:
        alice = user_agent(Wire())
        await alice.start(Callee())
        with pytest.raises(CallFailed) as failed:
            await alice.place(TARGET)
        assert (failed.value.status, failed.value.cause) == (0, HangupCause.UNREACHABLE)
        assert 31.9 < asyncio.get_running_loop().time() < 32.1
        await alice.close()

    run(test)


def test_a_ringing_call_that_nobody_answers_is_cancelled() -> None:
    async def test() -> None:
        wire = Wire()
        alice, bob = user_agent(wire, 5060), user_agent(wire, 5061)
        callee = Callee(ring_s=60)
        await alice.start(Callee())
        await bob.start(callee)
        with pytest.raises(CallFailed) as failed:
            await alice.place(OutboundCall(TARGET.target, ring_timeout_s=20))
        assert (failed.value.status, failed.value.cause) == (408, HangupCause.NO_ANSWER)
        await asyncio.sleep(60)
        assert len(wire.lines("CANCEL")) == len(wire.lines("SIP/2.0 487")) == 1
        await alice.close()
        await bob.close()

    run(test)
