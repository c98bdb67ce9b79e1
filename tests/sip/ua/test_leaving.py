"""Giving up at any moment, from either side, leaves nothing behind: no dialog, no call, no open socket."""

import asyncio

import pytest

from media.leg import CallLeg, HangupCause
from sip.endpoint import EarlyCall, IncomingCall, OutboundCall
from sip.errors import CallFailed
from sip.ua.agent import UserAgent
from sip.ua.config import Reach
from sip.ua.message import Request, Response, parse, reply
from tests.sip.ua.wire import HOST, UA_PORT, Callee, Ear, Wire, run, sdp, user_agent

MOMENTS = [0.0, 0.005, 0.015, 0.045, 0.055, 0.075, 0.105, 0.125, 0.155, 0.205, 0.255, 0.275, 0.305, 0.5]


class Telephone:
    """Rings, tells its description early and reliably, answers, and does what is polite from then on."""

    def __init__(self, wire: Wire, port: int = 5070, answers: bool = True) -> None:
        self.wire, self.port, self.answers = wire, port, answers
        self.invite: Request | None = None
        self.done = False  # a final answer went out
        wire.join(port, lambda data, flow: self._take(parse(data)) if data.strip() else None)

    def _take(self, message: Request | Response) -> None:
        if isinstance(message, Response):
            return
        match message.method:
            case "INVITE" if self.invite is None:
                self.invite = message
                loop = asyncio.get_running_loop()
                loop.call_later(0.03, self._progress, 180, 1, b"")
                loop.call_later(0.08, self._progress, 183, 2, sdp())
                if self.answers:
                    loop.call_later(0.2, self._final, 200)
            case "CANCEL":
                self._send(reply(message, 200, tag="phone"))
                self._final(487)
            case "ACK" | "INVITE":
                pass
            case _:
                self._send(reply(message, 200, tag="phone"))

    def _progress(self, status: int, number: int, body: bytes) -> None:
        if not self.done:
            extra = {"require": "100rel", "rseq": str(number)}
            self._answer(status, body, extra)

    def _final(self, status: int) -> None:
        if not self.done:
            self.done = True
            self._answer(status, b"", {})

    def _answer(self, status: int, body: bytes, extra: dict[str, str]) -> None:
        assert self.invite is not None
        response = reply(self.invite, status, tag="phone")
        response.headers.add("contact", f"<sip:phone@{HOST}:{self.port}>")
        for name, value in extra.items():
            response.headers.add(name, value)
        if body:
            response.headers.add("content-type", "application/sdp")
            response.body = body
        self._send(response)

    def _send(self, message: Request | Response) -> None:
        self.wire.send(bytes(message), self.port, UA_PORT)


class Herald:
    """An application that rings, speaks, and answers."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []

    async def __call__(self, call: IncomingCall) -> None:
        assert isinstance(call, EarlyCall)
        call.ring()
        await asyncio.sleep(0.05)
        self.ears.append(Ear(await call.early()))
        await asyncio.sleep(0.15)
        await call.answer()


async def nothing_is_left(agent: UserAgent) -> None:
    await asyncio.sleep(100)
    assert agent.calls == 0 and not agent._running().dialogs and agent.counters.errors == 0
    assert agent._running().exchange.layer.deadline() is None, "no transaction waits"
    await agent.close()


@pytest.mark.parametrize("moment", MOMENTS)
def test_giving_up_a_call_that_we_place(moment: float) -> None:
    async def test() -> None:
        wire = Wire()
        agent = user_agent(wire)
        await agent.start(Callee())
        Telephone(wire)
        legs: list[CallLeg] = []
        call = OutboundCall(f"sip:phone@{HOST}:5070", on_early=legs.append)
        task = asyncio.ensure_future(agent.place(call))
        await asyncio.sleep(moment)
        if task.done():
            await (await task).hangup(HangupCause.NORMAL)
        else:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        await nothing_is_left(agent)
        for leg in legs:
            assert leg._closed is not None  # type: ignore[attr-defined]

    run(test)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("who", ["caller", "application", "server"])
def test_leaving_a_call_that_comes_in(who: str, moment: float) -> None:
    async def test() -> None:
        wire = Wire()
        agent, caller = user_agent(wire), user_agent(wire, 5090)
        herald = Herald()
        ears = herald.ears
        await agent.start(herald)
        await caller.start(Callee())
        task = asyncio.ensure_future(caller.place(OutboundCall(f"sip:bot@{HOST}:{UA_PORT}")))
        await asyncio.sleep(moment)
        if who == "caller" and not task.done():
            task.cancel()
        elif who == "caller":
            await (await task).hangup(HangupCause.NORMAL)
        elif who == "server":
            await agent.close()
        elif ears:
            await ears[0].leg.hangup(HangupCause.REJECTED)
        else:
            task.cancel()
        await asyncio.wait([task])
        failed = task.cancelled() or isinstance(task.exception(), CallFailed)
        if not failed and who != "caller":
            ear = Ear(task.result())
            await asyncio.sleep(1)
            assert len(ear.causes) == 1, "it has heard that the call is over"
        await asyncio.sleep(100)
        assert all(len(ear.causes) == 1 for ear in ears)
        assert caller.calls == agent.calls == 0
        assert caller.counters.errors == agent.counters.errors == 0
        assert not caller._running().dialogs
        if who != "server":
            await nothing_is_left(agent)
        await caller.close()

    run(test)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("answers", [True, False])
def test_hanging_up_while_a_far_end_sends_us_on(answers: bool, moment: float) -> None:
    async def test() -> None:
        wire = Wire()
        agent, caller, callee = user_agent(wire, refer=Reach.SAME_HOST), user_agent(wire, 5090), Callee(0)
        await agent.start(callee)
        await caller.start(Callee())
        Telephone(wire, 5070, answers)
        leg = await caller.place(OutboundCall(f"sip:bot@{HOST}:{UA_PORT}"))
        Ear(leg)
        await asyncio.sleep(0.1)
        session = next(iter(caller._running().dialogs.values()))
        move = asyncio.ensure_future(session.transfer(f"sip:phone@{HOST}:5070"))  # type: ignore[attr-defined]
        await asyncio.sleep(moment)
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        await asyncio.wait([move])
        move.exception()
        await asyncio.sleep(1)
        await leg.hangup(HangupCause.NORMAL)
        assert len(callee.ears[0].causes) == 1
        await nothing_is_left(agent)
        assert caller.calls == 0
        await caller.close()

    run(test)
