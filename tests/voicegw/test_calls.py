"""Every call of the server, with fake callers on a virtual clock."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from dialog.types import Act, DialogEngine, Say
from media.callconfig import SessionConfig
from media.leg import CallInfo, HangupCause
from media.tasks import task_scope
from sip.errors import CallFailed
from tests.clock import run
from tests.voicegw.fakes import FakeCall, FakeDialog, FakeLeg, FakeStt, FakeTts, SilentVad, incoming
from voicegw.calls import CallManager, CallParts
from voicegw.config.model import Limits, Routing
from voicegw.greeting import GreetedDialog
from voicegw.metrics import Metrics
from voicegw.routing import Router


class MemoryJournal:
    def __init__(self) -> None:
        self.epoch = asyncio.get_running_loop().time()
        self.tap = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.causes: list[HangupCause] = []
        self.rate = 0

    def event(self, name: str, /, **fields: Any) -> None:
        self.events.append((name, fields))

    def answered(self, rate: int, carrier_id: str = "") -> None:
        self.rate = rate

    def ended(self, cause: HangupCause, sip_status: int | None = None) -> None:
        self.causes.append(cause)


class MemoryJournals:
    def __init__(self) -> None:
        self.opened: dict[str, MemoryJournal] = {}

    @asynccontextmanager
    async def open(self, info: CallInfo, flow: str) -> AsyncIterator[MemoryJournal]:
        self.opened[info.call_id] = MemoryJournal()
        yield self.opened[info.call_id]


class House:
    """A CallManager and what it writes. Calls run as the endpoint would run them: one task each."""

    def __init__(
        self, limits: Limits = Limits(), routing: Routing | None = None, room: int = 1000, **dialog: Any
    ) -> None:
        self.metrics, self.journals = Metrics(), MemoryJournals()

        def new(call: CallInfo) -> DialogEngine:
            return FakeDialog(**dialog)

        parts = CallParts(
            Router(routing or Routing(), ["demo", "sales"]),
            {"demo": new, "sales": new},
            FakeStt(room),
            FakeTts(),
            SilentVad,
            SessionConfig(),
        )
        self.manager = CallManager(parts, limits, self.journals, self.metrics)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"voicegw_{name}", labels) or 0.0


def test_a_call_rings_is_answered_and_ends_once() -> None:
    house, call = House(hang_up=True), incoming()

    run(house.manager.on_call(call))

    assert call.rings == 1 and call.rejected is None
    assert call.leg is not None and call.leg.sent > 5, "the greeting was spoken"
    journal = house.journals.opened["c1"]
    assert journal.causes == [HangupCause.NORMAL]
    assert journal.rate == 8000
    assert ("media", {"final": True, **call.leg.stats.fields()}) in journal.events
    assert house.count("calls_total", direction="inbound", cause="normal") == 1
    assert house.count("rtp_in_packets_total", kind="lost") == 3
    assert len(house.manager.live) == 0


def test_a_caller_who_hangs_up_ends_the_call() -> None:
    house, call = House(), incoming()

    async def scenario() -> None:
        async with task_scope() as start:
            task = start(house.manager.on_call(call), "call")
            await asyncio.sleep(1)
            assert [live.state for live in house.manager.live] == ["answered"]
            assert call.leg is not None
            call.leg.close(HangupCause.NORMAL)
            await task

    run(scenario())
    assert house.journals.opened["c1"].causes == [HangupCause.NORMAL]


@pytest.mark.parametrize("failure, cause", [(487, HangupCause.CANCELLED), (488, HangupCause.INCOMPATIBLE)])
def test_a_call_that_is_not_answered_has_its_final_state(failure: int, cause: HangupCause) -> None:
    house, call = House(), incoming(failure=CallFailed(failure, "no"))

    run(house.manager.on_call(call))

    assert house.journals.opened["c1"].causes == [cause]
    assert house.count("calls_rejected_total", reason="gone") == 1
    assert house.count("calls_total", direction="inbound", cause=cause.name.lower()) == 1


def test_places_are_taken_from_the_invite_on() -> None:
    """Calls that still ring count: a burst cannot overrun the limit."""
    house = House(Limits(max_calls=2, retry_after_s=7))
    calls = [incoming(call_id=f"c{n}", ring_s=5) for n in range(4)]

    async def scenario() -> None:
        async with task_scope() as start:
            for call in calls:
                start(house.manager.on_call(call), "call")
            await asyncio.sleep(1)
            assert [call.rejected and call.rejected[0] for call in calls] == [None, None, 503, 503]

    run(scenario())
    assert calls[2].rejected == (503, "All Lines Busy", 7)
    assert house.count("calls_rejected_total", reason="busy") == 2


def test_a_late_ticker_closes_the_door_while_calls_are_live() -> None:
    house, second, third = House(Limits(lateness_ms=30)), incoming(call_id="c2"), incoming(call_id="c3")

    async def scenario() -> None:
        async with task_scope() as start:
            first = incoming(call_id="c1")
            task = start(house.manager.on_call(first), "call")
            await asyncio.sleep(1)
            for _ in range(1000):
                house.metrics.late.observe(0.05)
            await house.manager.on_call(second)
            assert first.leg is not None
            first.leg.close(HangupCause.NORMAL)
            await task
            start(house.manager.on_call(third), "call")
            await asyncio.sleep(1)

    run(scenario())
    assert second.rejected is not None and second.rejected[:2] == (503, "Overloaded")
    assert third.rejected is None, "an idle server does not remember what the last call suffered"


@pytest.mark.parametrize(
    "number, headers, flow",
    [
        ("bot", {}, None),
        ("100", {}, "demo"),
        ("1009", {}, None),
        ("+493012", {}, "sales"),
        ("+49", {}, "demo"),
        ("bot", {"x-tenant": "acme"}, "sales"),
        ("bot", {"x-tenant": "other"}, None),
    ],
)
def test_unlisted_numbers_are_refused(number: str, headers: dict[str, str], flow: str | None) -> None:
    numbers = {"100": "demo", "+49*": "demo", "+4930*": "sales"}
    table = Routing(header="X-Tenant", headers={"acme": "sales"}, numbers=numbers)
    house = House(routing=table, hang_up=True)
    call = incoming(number, headers=headers)

    run(house.manager.on_call(call))

    if flow is None:
        assert call.rejected is not None and call.rejected[0] == 404
        assert house.count("calls_rejected_total", reason="not_found") == 1
    else:
        assert call.rejected is None
    assert Router(table, ["demo", "sales"]).flow_for(call.info) == flow


def test_without_a_table_the_first_flow_takes_every_call() -> None:
    assert Router(Routing(), ["demo", "sales"]).flow_for(incoming("4711").info) == "demo"
    assert Router(Routing(default="sales"), ["demo", "sales"]).flow_for(incoming("4711").info) == "sales"


@pytest.mark.parametrize("fault", ["leg", "dialog", "answer"])
def test_a_bug_in_one_call_touches_no_other(fault: str) -> None:
    house, good = House(), incoming(call_id="good")
    bad: FakeCall = incoming(call_id="bad")
    if fault == "leg":
        bad.break_at = 0
    elif fault == "answer":
        bad.failure = RuntimeError("a bug")

    async def scenario() -> None:
        async with task_scope() as start:
            task = start(house.manager.on_call(good), "good")
            await asyncio.sleep(0.5)
            if fault == "dialog":
                house.manager._parts.dialogs["demo"] = lambda call: 1 / 0  # type: ignore[index, assignment, return-value]
            await house.manager.on_call(bad)
            assert len(house.manager.live) == 1
            await asyncio.sleep(2)
            assert good.leg is not None and not good.leg.causes, "the other call goes on"
            good.leg.close(HangupCause.NORMAL)
            await task

    run(scenario())
    assert house.count("call_crashes_total") == 1
    assert house.journals.opened["bad"].causes == [HangupCause.INTERNAL]
    assert [f["where"] for n, f in house.journals.opened["bad"].events if n == "error"] == ["call"]
    assert house.journals.opened["good"].causes == [HangupCause.NORMAL]
    if fault == "leg":
        assert bad.leg is not None and bad.leg.causes == [HangupCause.INTERNAL], "the caller is hung up on"
    else:
        assert bad.rejected is not None and bad.rejected[0] == 500


def test_a_dialog_that_fails_is_heard_as_the_fallback_phrase() -> None:
    house, call = House(error=RuntimeError("a bug")), incoming()

    async def scenario() -> None:
        async with task_scope() as start:
            start(house.manager.on_call(call), "call")
            await asyncio.sleep(1)
            assert call.leg is not None and call.leg.sent > 5 and not call.leg.causes

    run(scenario())


def test_a_call_without_room_in_the_recogniser_goes_on_by_keys() -> None:
    house, call = House(room=0), incoming()

    async def scenario() -> None:
        async with task_scope() as start:
            start(house.manager.on_call(call), "call")
            await asyncio.sleep(1)
            assert call.leg is not None and call.leg.sent > 5 and not call.leg.causes

    run(scenario())
    errors = [fields for name, fields in house.journals.opened["c1"].events if name == "error"]
    assert errors == [{"where": "stt", "message": "no room left"}]


def test_draining_refuses_new_calls_and_waits_for_the_old() -> None:
    house, old, new = House(), incoming(call_id="old"), incoming(call_id="new")

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async with task_scope() as start:
            start(house.manager.on_call(old), "old")
            await asyncio.sleep(1)
            drain = start(house.manager.drain(30, 10), "drain")
            await asyncio.sleep(1)
            await house.manager.on_call(new)
            await asyncio.sleep(1)
            assert old.leg is not None and not old.leg.causes
            old.leg.close(HangupCause.NORMAL)
            await drain
            return loop.time()

    assert run(scenario()) < 4
    assert new.rejected is not None and new.rejected[:2] == (503, "Shutting Down")


def test_at_the_drains_limit_callers_hear_goodbye() -> None:
    house, call = House(), incoming()

    async def scenario() -> float:
        async with task_scope() as start:
            start(house.manager.on_call(call), "call")
            await asyncio.sleep(1)
            assert call.leg is not None
            before = call.leg.sent
            await house.manager.drain(5, 10)
            assert call.leg.sent > before, "the goodbye was spoken"
            return asyncio.get_running_loop().time()

    assert 6 < run(scenario()) < 9
    assert call.leg is not None and call.leg.causes == [HangupCause.NORMAL]
    assert house.journals.opened["c1"].causes == [HangupCause.NORMAL]


def test_whoever_does_not_go_is_hung_up_on() -> None:
    """A call that still rings, and one whose goodbye never ends."""
    house, ringing = House(), incoming(call_id="ringing", ring_s=100)

    async def scenario() -> float:
        async with task_scope() as start:
            start(house.manager.on_call(ringing), "call")
            await asyncio.sleep(1)
            await house.manager.drain(5, 10)
            return asyncio.get_running_loop().time()

    assert run(scenario()) == pytest.approx(6, abs=0.5)
    assert house.journals.opened["ringing"].causes == [HangupCause.NORMAL]


def test_what_a_carrier_was_told_chooses_the_flow_before_all_else() -> None:
    router = Router(Routing(numbers={"4711": "demo"}), ["demo", "sales"])
    for told, flow in (({"flow": "sales"}, "sales"), ({"flow": "nonsense"}, "demo"), ({}, "demo")):
        assert router.flow_for(CallInfo("c1", "a", "4711", "twilio", passed=told)) == flow
    assert router.flow_for(CallInfo("c1", "a", "4711", "sip", headers={"flow": "sales"})) == "demo", (
        "a stranger's"
    )


class EarlyFakeCall(FakeCall):
    """Lets the caller hear us before the answer."""

    async def early(self) -> FakeLeg:
        self.leg = FakeLeg(self.info)
        return self.leg

    async def answer(self) -> FakeLeg:
        assert self.leg is not None
        if self.leg.causes:
            raise CallFailed(487, "the caller gave up")
        self.rings = -1
        return self.leg


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_flow_may_greet_before_it_answers(gives_up: bool) -> None:
    house = House()
    house.manager._parts = replace(house.manager._parts, early=frozenset({"demo"}))
    call = EarlyFakeCall(incoming().info)

    async def scenario() -> None:
        async with task_scope() as start:
            task = start(house.manager.on_call(call), "call")
            await asyncio.sleep(0.1)
            assert call.leg is not None and call.leg.sent and call.rings == 0, "the greeting is heard"
            assert [live.state for live in house.manager.live] == ["ringing"]
            if not gives_up:
                await asyncio.sleep(2)
                assert call.rings == -1, "answered after the greeting"
                assert [live.state for live in house.manager.live] == ["answered"]
            call.leg.close(HangupCause.CANCELLED if gives_up else HangupCause.NORMAL)
            await task

    run(scenario())
    journal = house.journals.opened["c1"]
    assert journal.causes == [HangupCause.CANCELLED if gives_up else HangupCause.NORMAL]
    assert journal.rate == (0 if gives_up else 8000)


def test_what_the_carrier_learns_while_it_rings_reaches_the_dialog() -> None:
    async def scene() -> None:
        house, told = House(hang_up=True), []
        made = house.manager.new_dialog

        def new_dialog(info: CallInfo, flow: str) -> DialogEngine:
            told.append(dict(info.passed))
            return made(info, flow)

        house.manager.new_dialog = new_dialog  # type: ignore[method-assign]
        info = CallInfo("c1", "+1", "+2", "twilio")

        async def connect(_: Any) -> Any:
            return FakeLeg(replace(info, passed={"answered_by": "human"}))

        await house.manager.conduct(info, "demo", connect)
        assert told == [{}, {"answered_by": "human"}]

    run(scene())


def test_a_call_is_hung_up_on_if_what_the_carrier_has_learned_breaks_the_dialog() -> None:
    house, info = House(), CallInfo("c1", "+1", "+2", "twilio")
    leg = FakeLeg(replace(info, passed={"answered_by": "human"}))
    made = house.manager.new_dialog

    def new_dialog(info: CallInfo, flow: str) -> DialogEngine:
        if info.passed:
            raise ValueError("a bug")
        return made(info, flow)

    async def connect(_: Any) -> FakeLeg:
        return leg

    house.manager.new_dialog = new_dialog  # type: ignore[method-assign]
    outcome = run(house.manager.conduct(info, "demo", connect))
    assert outcome.cause is HangupCause.INTERNAL and leg.causes == [HangupCause.INTERNAL]
    assert house.count("call_crashes_total") == 1


def test_a_greeting_that_is_cut_lets_go_of_the_dialogs_at_once() -> None:
    ended: list[str] = []

    class Slow(FakeDialog):
        async def greet(self) -> AsyncGenerator[Act, None]:
            try:
                yield Say("Hello.")
                yield Say("How are you?")
            finally:
                ended.append("greeting")

    async def scene() -> None:
        acts = GreetedDialog(Slow()).greet()
        await anext(acts)
        await acts.aclose()
        assert ended == ["greeting"]

    run(scene())
