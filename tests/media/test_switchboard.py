"""Other people in a call: handing over by bridge, conferences, supervisors. On a virtual clock."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from dialog.turn import TurnPolicy
from dialog.types import Act, DialogInput, Hangup, Say, Transfer, TransferFailed, TransferMode
from media.callconfig import Engines, SessionConfig, TransferConfig, TransferHow
from media.company import Role
from media.errors import TransferError, TransferRefused, Unsupported
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause
from media.session import CallSession
from tests.clock import run
from tests.fakes import FakeDialog, FakeEars, FakeLeg, FakeObserver, FakeTap, FakeVad, FakeVoice

CALLER, AGENT, BOSS = 1000, 200, 50  # flat levels: a sum tells who is in it


def flat(level: int, rate: int = 8000) -> bytes:
    return np.full(rate // 50, level, "<i2").tobytes()


class Line(FakeLeg):
    """A leg that sends its level all the time."""

    def __init__(self, level: int, rate: int = 8000) -> None:
        super().__init__()
        self.level, self.format = level, AudioFormat(rate)
        self.held = False

    async def talk(self, ms: int) -> None:
        for _ in range(ms // 20):
            if self.closed is not None:
                return
            if not hasattr(self, "sink"):  # not answered yet
                await asyncio.sleep(0.02)
                continue
            self.sink.on_audio(AudioFrame(flat(self.level, self.format.rate), self.format.rate, 0))
            await asyncio.sleep(0.005)
            if self.closed is None and not self.held:
                self.sink.on_tick()
            await asyncio.sleep(0.015)

    def heard(self, last: int = 5) -> set[int]:
        """Levels of the last frames that were sent to it."""
        return {int(np.frombuffer(f.pcm, "<i2")[0]) for f in self.sent[-last:]}


class FakeDialler:
    """Legs by target; an exception instead of one is raised."""

    def __init__(self, **answers: FakeLeg | Exception) -> None:
        self.answers, self.placed, self.given_up = answers, list[str](), 0
        self.rings_s = 1.0

    async def place(self, target: str, call: CallInfo, timeout_s: float) -> FakeLeg:
        self.placed.append(target)
        try:
            await asyncio.sleep(self.rings_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        answer = self.answers[target]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Scene:
    """A call with a bot that hands over at once, and says "sorry" to whom it comes back to."""

    def __init__(self, order: Transfer, dialler: FakeDialler, config: TransferConfig) -> None:
        self.caller, self.dialler = Line(CALLER), dialler
        self.ears, self.observer, self.tap = FakeEars(), FakeObserver(), FakeTap()
        self.dialog = FakeDialog(self.answer, [Say("one"), order] if order.target else [Say("one")])
        engines = Engines(FakeVad(), self.ears, FakeVoice(), dialler)
        session = SessionConfig(TurnPolicy(), greeting_wait_ms=0, transfer=config)
        self.session = CallSession(self.caller, engines, self.dialog, session, self.observer, self.tap)
        self.cause: HangupCause | None = None

    def answer(self, turn: DialogInput) -> list[Act]:
        return [Say("sorry")] if isinstance(turn, TransferFailed) else [Say("yes"), Hangup()]

    async def play(self, ms: int, *legs: Line) -> None:
        await asyncio.gather(*(leg.talk(ms) for leg in (self.caller, *legs)))

    def parties(self) -> list[tuple[object, object]]:
        return [(e["name"], e["state"]) for e in self.observer.of("party")]


BRIDGE = TransferConfig(TransferHow.BRIDGE)


def scene(
    order: Transfer,
    dialler: FakeDialler,
    act: Callable[[Scene], Awaitable[None]],
    config: TransferConfig = BRIDGE,
) -> Scene:
    async def play() -> Scene:
        made = Scene(order, dialler, config)
        running = asyncio.ensure_future(made.session.run())
        await asyncio.sleep(0)
        await act(made)
        made.caller.close(HangupCause.NORMAL)
        made.cause = await running
        return made

    return run(play())


def test_caller_and_agent_hear_each_other_and_the_bot_rests() -> None:
    agent = Line(AGENT)

    async def act(s: Scene) -> None:
        await s.play(1000)
        assert s.caller.heard() != {0} and s.dialler.placed == ["agent"]  # music, while it rings
        await s.play(500)
        frames = s.ears.frames
        await s.play(1000, agent)
        assert (s.caller.heard(), agent.heard()) == ({AGENT}, {CALLER})
        assert s.ears.frames == frames and s.dialog.log == [("bot", "one", True)]
        s.caller.sink.on_dtmf("5")
        agent.sink.on_dtmf("7")
        assert (agent.dtmf, s.caller.dtmf) == ("5", "7")
        assert {int(np.frombuffer(pcm, "<i2")[0]) for pcm, _ in s.tap.spoken[-5:]} == {AGENT}

    done = scene(Transfer("agent"), FakeDialler(agent=agent), act)
    assert agent.closed is HangupCause.NORMAL  # the caller hung up: the agent is not left alone
    assert done.parties() == [("agent", "joined"), ("agent", "left")]


def test_the_agents_hang_up_ends_the_call() -> None:
    agent = Line(AGENT)

    async def act(s: Scene) -> None:
        await s.play(1500)
        await s.play(500, agent)
        agent.close(HangupCause.NORMAL)
        await s.play(1000)
        assert s.caller.closed is HangupCause.NORMAL

    scene(Transfer("agent"), FakeDialler(agent=agent), act)


@pytest.mark.parametrize("reason", ["busy", "no answer", "unreachable"])
def test_who_finds_nobody_is_back_with_the_bot(reason: str) -> None:
    async def act(s: Scene) -> None:
        s.caller.level = 0
        await s.play(2000)
        assert s.dialog.log[:2] == [("bot", "one", True), (TransferFailed("agent", reason),)]
        assert s.dialog.log[2] == ("bot", "sorry", True)
        assert s.session.board.company is None and s.caller.closed is None
        frames = s.ears.frames
        await s.play(200)
        assert s.ears.frames > frames

    scene(Transfer("agent"), FakeDialler(agent=TransferError(reason)), act)


def test_a_caller_who_gives_up_meanwhile_stops_the_ringing() -> None:
    async def act(s: Scene) -> None:
        await s.play(700)
        assert s.dialler.placed == ["agent"]

    done = scene(Transfer("agent"), FakeDialler(agent=Line(AGENT)), act)
    assert done.dialler.given_up == 1


@pytest.mark.parametrize(
    "refusal, bridged",
    [(TransferRefused("603"), True), (Unsupported("no REFER"), True), (TransferError("target busy"), False)],
)
def test_a_refused_refer_becomes_a_bridge_but_a_busy_target_stays_busy(
    refusal: Exception, bridged: bool
) -> None:
    agent = Line(AGENT)

    async def act(s: Scene) -> None:
        s.caller.transfer_error = refusal
        await s.play(1500)
        await s.play(500, agent) if bridged else await s.play(500)
        assert s.caller.transferred == ["agent"]
        assert s.dialler.placed == (["agent"] if bridged else [])
        assert (s.caller.heard() == {AGENT}) is bridged

    scene(Transfer("agent"), FakeDialler(agent=agent), act, TransferConfig(TransferHow.AUTO))


def test_by_policy_there_is_no_bridge() -> None:
    async def act(s: Scene) -> None:
        s.caller.transfer_error = TransferRefused("603")
        await s.play(1500)
        assert s.dialler.placed == [] and ("bot", "sorry", True) in s.dialog.log

    scene(Transfer("agent"), FakeDialler(), act, TransferConfig(TransferHow.REFER))


def test_the_agent_alone_is_told_first_and_the_caller_waits() -> None:
    agent = Line(AGENT)

    async def act(s: Scene) -> None:
        s.caller.level = 0
        await s.play(1200)
        s.caller.level = CALLER
        before = len(s.caller.sent)
        await s.play(600, agent)  # three words of 100 ms, then connected
        told = [int(np.frombuffer(f.pcm, "<i2")[0]) for f in agent.sent]
        assert told[:15] == [16] * 15 and CALLER not in told[:15]
        assert 16 not in {int(np.frombuffer(f.pcm, "<i2")[0]) for f in s.caller.sent[before:]}
        assert agent.heard() == {CALLER}

    order = Transfer("agent", TransferMode.ATTENDED, "he wants help")
    scene(order, FakeDialler(agent=agent), act)


def test_an_agent_who_hangs_up_during_the_summary_sends_the_caller_back() -> None:
    agent = Line(AGENT)

    async def act(s: Scene) -> None:
        s.caller.level = 0
        await s.play(1200)
        await s.play(100, agent)
        agent.close(HangupCause.NORMAL)
        await s.play(500)
        assert ("bot", "sorry", True) in s.dialog.log

    scene(Transfer("agent", TransferMode.ATTENDED, "one two three four"), FakeDialler(agent=agent), act)


def test_aloud_both_hear_the_summary() -> None:
    agent = Line(0)

    async def act(s: Scene) -> None:
        s.caller.level = 0
        await s.play(800)
        before = len(s.caller.sent)
        await s.play(1200, agent)
        for leg, start in ((s.caller, before), (agent, 0)):
            assert [int(np.frombuffer(f.pcm, "<i2")[0]) for f in leg.sent[start:]].count(16) == 10

    order = Transfer("agent", TransferMode.ATTENDED, "hello both", aloud=True)
    scene(order, FakeDialler(agent=agent), act)


def test_an_agent_who_holds_leaves_the_caller_with_music() -> None:
    agent = Line(AGENT)

    async def act(s: Scene) -> None:
        await s.play(1500)
        await s.play(500, agent)
        agent.held = True
        await s.play(1000, agent)
        assert AGENT not in s.caller.heard(20) and len(s.caller.heard(20)) > 3
        agent.held = False
        await s.play(500, agent)
        assert s.caller.heard() == {AGENT}
        assert [state for _, state in s.parties()] == ["joined", "hold", "back"]

    scene(Transfer("agent"), FakeDialler(agent=agent), act)


def test_a_supervisor_listens_then_whispers_then_barges_in() -> None:
    agent, boss = Line(AGENT), Line(BOSS)

    async def act(s: Scene) -> None:
        await s.play(1500)
        s.session.board.call_in("boss", Role.LISTEN, "boss")
        await s.play(1200, agent)
        await s.play(500, agent, boss)
        assert (s.caller.heard(), agent.heard(), boss.heard()) == ({AGENT}, {CALLER}, {CALLER + AGENT})
        company = s.session.board.company
        assert company is not None
        party = company.find("boss")
        assert party is not None
        company.change(party, Role.WHISPER)
        await s.play(500, agent, boss)
        assert (s.caller.heard(), agent.heard()) == ({AGENT}, {CALLER + BOSS})
        company.change(party, Role.BARGE)
        await s.play(500, agent, boss)
        assert (s.caller.heard(), agent.heard()) == ({AGENT + BOSS}, {CALLER + BOSS})
        boss.close(HangupCause.NORMAL)
        await s.play(500, agent)
        assert (s.caller.heard(), agent.heard()) == ({AGENT}, {CALLER})

    scene(Transfer("agent"), FakeDialler(agent=agent, boss=boss), act)


def test_a_supervisor_hears_the_bot_and_takes_over_from_it() -> None:
    boss = Line(BOSS, 16000)

    async def act(s: Scene) -> None:
        s.session.board.call_in("boss", Role.LISTEN, "boss")
        s.caller.level = 0
        await s.play(1200)
        s.session.do(Say("a long sentence"))
        sent = len(s.caller.sent)
        await s.play(200, boss)
        assert {15, 16} & {int(np.frombuffer(f.pcm, "<i2")[200]) for f in boss.sent}  # he hears the bot
        assert len(s.caller.sent) - sent <= 10  # and the caller hears it once
        company = s.session.board.company
        assert company is not None and not company.bot_rests
        party = company.find("boss")
        assert party is not None
        company.change(party, Role.BARGE)
        frames = s.ears.frames
        await s.play(500, boss)
        assert s.caller.heard() == {BOSS} and s.ears.frames == frames
        boss.close(HangupCause.NORMAL)
        await s.play(500)
        assert s.ears.frames > frames and s.session.board.company is None

    scene(Transfer(""), FakeDialler(boss=boss), act)


def test_who_does_not_come_to_a_conference_is_told_in_the_timeline() -> None:
    async def act(s: Scene) -> None:
        s.session.board.call_in("guest", Role.GUEST, "guest")
        await s.play(1500)
        assert s.observer.of("error") == [{"where": "party", "message": "guest: busy"}]
        assert s.session.board.company is None

    scene(Transfer(""), FakeDialler(guest=TransferError("busy")), act)
