"""Outbound calls, through a way out that does what the test says, on the virtual clock."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from media.leg import CallLeg, Direction, HangupCause
from media.tasks import task_scope
from sip.endpoint import CallProgress, OnProgress, OutboundCall
from sip.errors import CallFailed
from sip.ua.config import Trunk
from tests.clock import run
from tests.voicegw.fakes import FakeLeg
from tests.voicegw.test_calls import House
from voicegw.config.model import Limits
from voicegw.config.outbound import OutboundConfig, OutboundRoute, RetryPolicy
from voicegw.dialplan import DialPlan, NoRoute, Way, problems
from voicegw.outbound import Dial, Dialer, DialOrder, DialParts, DialRefused

ROUTES = (
    OutboundRoute(prefix="sip:"),
    OutboundRoute(prefix="+49", trunk="carrier", strip=3, add="0", caller="4930999"),
    OutboundRoute(prefix="+", trunk="carrier"),
    OutboundRoute(prefix="+44", way="cloud"),
)
TRUNKS = (Trunk("carrier", "sip.example.com:5070", "4930111"),)
CALLBACK = "http://example.com/hook"


class FakeWay:
    """A way out: each attempt takes the next of `answers`, a status or a leg's life in seconds (200)."""

    def __init__(self, *answers: int, ring_s: float = 1.0) -> None:
        self.answers, self.ring_s = list(answers), ring_s
        self.calls: list[OutboundCall] = []
        self.times: list[float] = []
        self.legs: list[FakeLeg] = []
        self.given_up = 0

    async def place(self, call: OutboundCall, on_progress: OnProgress | None = None) -> CallLeg:
        self.calls.append(call)
        self.times.append(asyncio.get_running_loop().time())
        assert on_progress is not None
        on_progress(CallProgress.TRYING)
        on_progress(CallProgress.RINGING)
        on_progress(CallProgress.RINGING)
        try:
            await asyncio.sleep(self.ring_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        status = self.answers.pop(0)
        if status != 200:
            raise CallFailed(status, "no")
        info = next(live.info for live in HOUSES[-1].manager.live if live.info.call_id == call.call_id)
        self.legs.append(FakeLeg(info))
        return self.legs[-1]


HOUSES: list[House] = []


class Office:
    """A dialer, and what it told."""

    def __init__(self, house: House, way: FakeWay, start: Any, **config: Any) -> None:
        self.house, self.way = house, way
        self.told: list[Mapping[str, Any]] = []
        self._changed = asyncio.Event()
        settings = OutboundConfig(routes=ROUTES, **config)
        plan = DialPlan(ROUTES, TRUNKS)
        parts = DialParts(plan, {"sip": way}, start, self._tell)
        self.dialer = Dialer(settings, house.manager, parts)

    def _tell(self, url: str, change: Mapping[str, Any]) -> None:
        self.told.append(change)
        self._changed.set()

    async def until(self, state: str) -> None:
        """Wait until this was told."""
        while state not in self.states:
            self._changed.clear()
            await self._changed.wait()

    @property
    def states(self) -> list[str]:
        return [change["state"] for change in self.told]


def office(
    way: FakeWay, test: Callable[[Office], Awaitable[None]], limits: Limits = Limits(), **config: Any
) -> Office:
    """Runs a test in a dialer's office; leaving it ends all orders."""

    async def scenario() -> Office:
        house = House(limits, hang_up=True)
        HOUSES.append(house)
        async with task_scope() as start:
            office = Office(house, way, start, **config)
            await test(office)
        return office

    return run(scenario())


def dialled(office: Office, target: str = "sip:anna@host", **order: Any) -> Dial:
    return office.dialer.dial(DialOrder(target, callback=CALLBACK, **order))


async def over(dial: Dial) -> None:
    assert dial.task is not None
    await asyncio.wait([dial.task])
    await asyncio.sleep(0)


def test_an_outbound_call_runs_the_flow_and_is_told_step_by_step() -> None:
    async def test(office: Office) -> None:
        dial = dialled(office, "+49 (30) 123-45")
        await over(dial)
        assert dial.json()["cause"] == "normal" and dial.json()["answered"]
        journal = office.house.journals.opened[dial.id]
        assert journal.causes == [HangupCause.NORMAL]
        assert [f["progress"] for n, f in journal.events if n == "sip"] == ["trying", "ringing", "ringing"]

    done = office(FakeWay(200), test)

    call = done.way.calls[0]
    assert (call.target, call.caller, call.trunk) == (
        "sip:03012345@sip.example.com:5070",
        "4930999",
        "carrier",
    )
    assert done.states == ["dialing", "ringing", "answered", "ended"]
    assert done.way.legs[0].sent > 5, "the flow has spoken"
    assert done.house.count("calls_total", direction="outbound", cause="normal") == 1


@pytest.mark.parametrize(
    "status, cause",
    [
        (486, "busy"),
        (600, "busy"),
        (480, "no_answer"),
        (408, "no_answer"),
        (603, "rejected"),
        (403, "rejected"),
        (404, "unallocated"),
        (484, "invalid_number"),
        (503, "congestion"),
        (0, "unreachable"),
        (500, "temporary"),
        (488, "incompatible"),
    ],
)
def test_final_states_are_told_apart(status: int, cause: str) -> None:
    async def test(office: Office) -> None:
        await over(dialled(office))

    done = office(FakeWay(status), test)

    assert done.told[-1]["cause"] == cause and not done.told[-1]["answered"]
    assert done.told[-1]["sip_status"] == (status or None)
    assert done.states.count("ended") == 1
    assert done.house.count("calls_total", direction="outbound", cause=cause) == 1


def test_attempts_are_repeated_by_policy_and_linked() -> None:
    policy = RetryPolicy(attempts=4, wait_s=10, factor=3, longest_wait_s=60)

    async def test(office: Office) -> None:
        dial = dialled(office, retry=policy)
        await over(dial)
        assert dial.attempts == [dial.id, f"{dial.id}-2", f"{dial.id}-3"]

    done = office(FakeWay(486, 480, 200), test)

    assert done.way.times == [0, 11, 42], "10 s and 30 s after the end of the attempt before"
    assert done.states == [*["dialing", "ringing", "waiting"] * 2, "dialing", "ringing", "answered", "ended"]


def test_what_is_final_is_not_repeated() -> None:
    async def test(office: Office) -> None:
        await over(dialled(office, retry=RetryPolicy(attempts=5)))

    assert len(office(FakeWay(603), test).way.calls) == 1


@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.0, 1.05, 5.0, 11.5])
def test_a_call_cancelled_at_any_moment_has_one_final_state(after_s: float) -> None:
    """Before it begins, while it rings, as it is answered, while it waits for its next attempt."""

    async def test(office: Office) -> None:
        dial = dialled(office, retry=RetryPolicy(attempts=3, wait_s=10))
        await asyncio.sleep(after_s)
        assert await office.dialer.hang_up(dial.id)
        await over(dial)
        assert not await office.dialer.hang_up(dial.id)
        assert len(office.house.manager.live) == 0

    done = office(FakeWay(486, 200), test)

    assert done.states.count("ended") == 1 and done.states[-1] == "ended"
    assert done.told[-1]["cause"] in ("cancelled", "normal")
    assert all(len(journal.causes) == 1 for journal in done.house.journals.opened.values())


def test_leaving_the_server_ends_every_order_once() -> None:
    async def test(office: Office) -> None:
        for answer in (486, 200, 200):
            office.way.answers.append(answer)
            dialled(office, retry=RetryPolicy(attempts=2, wait_s=100))
        await asyncio.sleep(1.5)

    done = office(FakeWay(), test)

    assert done.states.count("ended") == 3
    assert sorted(change["cause"] for change in done.told if change["state"] == "ended") == [
        "cancelled",
        "normal",
        "normal",
    ]


@pytest.mark.parametrize(
    "order, message",
    [
        ({"target": "0301234"}, "no prefix in outbound.routes fits"),
        ({"target": "anna"}, "neither a number"),
        ({"target": "sip:a b@c"}, "neither a number"),
        ({"target": "+441234"}, "no way out 'cloud'"),
        ({"target": "sip:a@b", "flow": "nope"}, "no flow 'nope'"),
    ],
)
def test_orders_that_lead_nowhere_are_refused_with_the_reason(order: dict[str, str], message: str) -> None:
    async def test(office: Office) -> None:
        with pytest.raises(DialRefused, match=message) as refused:
            office.dialer.dial(DialOrder(**order))
        assert refused.value.status == 400

    assert office(FakeWay(), test).way.calls == []


def test_outbound_calls_leave_room_for_inbound_ones() -> None:
    async def test(office: Office) -> None:
        for _ in range(2):
            dialled(office)
        with pytest.raises(DialRefused, match="max_calls") as refused:
            dialled(office)
        assert refused.value.status == 503

    office(FakeWay(200, 200), test, max_calls=2)


def test_a_server_that_drains_places_no_calls_and_repeats_none() -> None:
    async def test(office: Office) -> None:
        dial = dialled(office, retry=RetryPolicy(attempts=2, wait_s=100))
        await asyncio.sleep(2)
        office.dialer.drain()
        office.house.manager.draining = True
        await over(dial)
        assert office.told[-1]["cause"] == "cancelled"
        with pytest.raises(DialRefused, match="shutting down"):
            dialled(office)

    office(FakeWay(486), test)


def test_the_dial_plan_takes_the_longest_prefix() -> None:
    plan = DialPlan(ROUTES, TRUNKS)
    assert plan.way("+1 555 0100") == Way("sip", "sip:+15550100@sip.example.com:5070", "+15550100", "carrier")
    assert plan.way("+44 20 7946") == Way("cloud", "+44207946", "+44207946")
    assert plan.way("sip:anna@host") == Way("sip", "sip:anna@host", "anna")
    with pytest.raises(NoRoute, match="names no SIP trunk"):
        DialPlan((OutboundRoute(),), ()).way("123")
    with pytest.raises(NoRoute, match="set outbound.routes"):
        DialPlan((), ()).way("123")


def test_routes_to_nowhere_are_found_at_the_start() -> None:
    routes = (OutboundRoute(way="fax"), OutboundRoute(trunk="lost"))
    found = problems(routes, TRUNKS, ("sip",))
    assert "there is no 'fax'" in found[0] and "there is no trunk 'lost'" in found[1]


def test_a_policy_names_known_causes() -> None:
    with pytest.raises(ValueError, match="no cause 'bussy'"):
        RetryPolicy(causes=("bussy",))
    assert Direction.OUTBOUND.value == "outbound"
