"""Who is let in when it gets full, or late."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from media.leg import CallInfo, Direction
from tests.clock import run
from voicegw.admission import BUSY, CALLER_BUSY, FLOW_BUSY, LATE, NOT_FOUND, Admission, Refusal
from voicegw.config.model import Limits
from voicegw.livecalls import LiveCall, LiveCalls
from voicegw.metrics import Metrics


class House:
    def __init__(self, **limits: Any) -> None:
        self.live, self.late = LiveCalls(), Metrics().late
        self.admission = Admission(Limits(**limits), self.live, self.late)

    def take(self, caller: str = "alice", flow: str = "demo") -> None:
        call = info(caller, call_id=f"c{len(self.live)}")
        self.live.add(LiveCall(call, flow, cast("asyncio.Task[object]", SimpleNamespace()), 0.0))

    def refusal(self, flow: str | None, call: CallInfo | None = None) -> Refusal | None:
        async def ask() -> Refusal | None:
            return self.admission.refusal(flow, call)

        return run(ask())

    def lateness(self, ms: float) -> None:
        for _ in range(1000):
            self.late.observe(ms / 1000)


def info(caller: str = "bob", callee: str = "bot", call_id: str = "new") -> CallInfo:
    return CallInfo(call_id, caller, callee, "sip")


def test_reserved_places_are_for_calls_of_ours_and_for_priority_numbers() -> None:
    house = House(max_calls=4, reserved=2, priority=("112", "+4930*"))
    house.take()
    assert house.refusal("demo", info()) is None
    house.take()
    assert house.refusal("demo", info()) is BUSY
    assert house.refusal("demo", info(callee="112")) is None
    assert house.refusal("demo", info(caller="+49301234")) is None
    assert house.refusal("demo") is None  # one that we place
    outbound = CallInfo("o", "bot", "bob", "sip", direction=Direction.OUTBOUND)
    assert house.refusal("demo", outbound) is None
    house.take()
    house.take()
    assert house.refusal("demo", info(callee="112")) is BUSY  # full is full
    assert house.refusal(None, info()) is NOT_FOUND


def test_a_flow_and_a_caller_may_have_limits_of_their_own() -> None:
    house = House(per_flow={"demo": 2}, per_caller=1)
    house.take("alice", "demo")
    assert house.refusal("demo", info("alice")) is CALLER_BUSY
    assert house.refusal("demo", info("bob")) is None
    house.take("bob", "demo")
    assert house.refusal("demo", info("carol")) is FLOW_BUSY
    assert house.refusal("sales", info("carol")) is None
    assert house.refusal("sales", info("")) is None  # nobody in particular


def test_lateness_closes_the_door_and_opens_it_well_below_and_later() -> None:
    house = House(lateness_ms=40)
    house.take()

    async def scenario() -> list[bool]:
        seen = []
        for ms in (39, 41, 30, 39, 23, 23, 23):
            house.lateness(ms)
            seen.append(house.admission.refusal("demo", info()) is LATE)
            await asyncio.sleep(2)
        return seen

    # 30 and 39 are below the limit, yet not well below; 23 is, for the first time 5 s after the last excess.
    assert run(scenario()) == [False, True, True, True, False, False, False]


def test_it_does_not_flap() -> None:
    house = House(lateness_ms=40)
    house.take()

    async def scenario() -> list[bool]:
        seen = []
        for n in range(20):  # a load that sways around the limit
            house.lateness(45 if n % 2 else 20)
            seen.append(house.admission.refusal("demo", info()) is LATE)
            await asyncio.sleep(1)
        return seen

    assert run(scenario()) == [False] + [True] * 19


def test_an_empty_house_is_open() -> None:
    house = House(lateness_ms=40)
    house.lateness(500)
    assert house.refusal("demo", info()) is None


def test_what_is_reserved_must_leave_room() -> None:
    with pytest.raises(ValueError, match=r"reserved \(5\) must leave room of max_calls \(5\)"):
        Limits(max_calls=5, reserved=5)
