"""What callers do to a talking bot, and what the line does to both: whole calls on a virtual clock."""

import asyncio
from typing import Any

import pytest

from dialog.turn import Interrupt, Transcript, TurnPolicy
from dialog.types import Act, DialogInput, Hangup, Hints, Listen, Say, UserTurn
from media.callconfig import Engines, SessionConfig
from media.frames import AudioFrame
from media.leg import CallInfo, Direction, HangupCause
from media.session import CallSession
from tests.clock import run
from tests.fakes import SILENCE, SPEECH, FakeLeg, FakeVad
from tests.media.test_session import LONG, Call, echo, play


class BufferingLeg(FakeLeg):
    """A carrier that buffers ahead, plays in real time a little later, and confirms what it has played."""

    def __init__(self, lead_ms: int = 200, latency_ms: int = 60, *, confirms: bool = True) -> None:
        super().__init__()
        self.lead_ms = lead_ms  # type: ignore[misc]
        self.latency, self.confirms = latency_ms / 1000, confirms
        self.played: list[tuple[float, AudioFrame]] = []  # when its last sample was heard
        self._timers: list[asyncio.TimerHandle] = []
        self._ends = 0.0

    def send(self, frame: AudioFrame) -> None:
        super().send(frame)
        loop = asyncio.get_running_loop()
        self._ends = max(self._ends, loop.time() + self.latency) + 0.02
        self._timers.append(loop.call_at(self._ends, self._heard, frame))

    def _heard(self, frame: AudioFrame) -> None:
        loop = asyncio.get_running_loop()
        self.played.append((loop.time(), frame))
        if self.confirms:
            self._timers.append(loop.call_later(self.latency, self._confirm, frame.end, self.cleared))

    def _confirm(self, pts: int, generation: int) -> None:
        if generation == self.cleared and self.closed is None:
            self.sink.on_played(pts)

    def clear(self) -> None:
        super().clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._ends = 0.0


def with_leg(leg: FakeLeg, **how: Any) -> Call:
    call = Call(**how)
    call.leg = leg
    engines = Engines(FakeVad(), call.ears, call.voice)
    config = how.get("config", SessionConfig())
    call.session = CallSession(leg, engines, call.dialog, config, call.seen, call.tap)
    return call


async def start(call: Call) -> "asyncio.Task[HangupCause]":
    task = asyncio.ensure_future(call.session.run())
    await asyncio.sleep(0)
    return task


async def stop(call: Call, task: "asyncio.Task[HangupCause]") -> None:
    call.leg.close(HangupCause.NORMAL)
    await task


@pytest.mark.parametrize("lead_ms", [0, 200])
def test_a_cough_is_noticed_by_neither_dialog_nor_history(lead_ms: int) -> None:
    async def main() -> Call:
        call = with_leg(BufferingLeg(lead_ms) if lead_ms else FakeLeg(), greeting=[Say(LONG)])
        task = await start(call)
        await call.leg.beat(ms=300)
        call.ears.next_text = ""
        await call.leg.beat(SPEECH, 400)
        before = len(call.leg.sent)
        await call.leg.beat(ms=400)
        assert len(call.leg.sent) == before, "the bot is silent"
        await call.leg.beat(ms=2000)
        await stop(call, task)
        return call

    call = run(main())
    assert call.dialog.log == [("bot", LONG, True)]
    assert [len(call.seen.of(name)) for name in ("pause", "resume", "barge_in")] == [1, 1, 0]
    assert call.leg.cleared == 1
    [heard] = call.seen.of("heard")
    assert heard["complete"] and heard["ms"] == 1000


def test_a_word_after_the_pause_is_a_real_interruption() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=300)
        await call.leg.beat(SPEECH, 400)
        call.ears.results.put_nowait(Transcript("wait", final=False))
        await call.caller("wait a minute", speech_ms=300)

    call, _ = play(scenario, greeting=[Say(LONG)])
    assert ("user", "wait a minute") in call.dialog.log
    assert call.dialog.last.interrupted
    assert [len(call.seen.of(name)) for name in ("pause", "resume", "barge_in")] == [1, 0, 1]
    assert call.dialog.log[0][:1] == ("bot",) and not call.dialog.log[0][2]


def test_a_hangup_waits_for_the_end_of_a_pause() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=100)
        call.ears.next_text = ""
        await call.leg.beat(SPEECH, 400)
        await call.leg.beat(ms=300)
        assert call.leg.closed is None
        await call.leg.beat(ms=2500)

    call, _ = play(scenario, greeting=[Say(LONG), Hangup()])
    assert call.dialog.log == [("bot", LONG, True)]
    assert call.leg.closed is HangupCause.NORMAL


def test_a_listeners_word_lets_the_bot_speak() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=200)
        await call.leg.beat(SPEECH, 200)
        call.ears.results.put_nowait(Transcript("uh-huh", final=False))
        await call.caller("uh-huh", speech_ms=200)
        await call.leg.beat(ms=2500)

    said = f"{LONG} {LONG}"
    call, _ = play(scenario, greeting=[Say(said)])
    assert call.dialog.log == [("bot", said, True)]
    assert call.leg.cleared == 0


@pytest.mark.parametrize("starts_ms", range(500, 1300, 100))
def test_yes_is_never_lost_around_the_bots_last_word(starts_ms: int) -> None:
    """The bot's question takes 1000 ms."""

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=starts_ms)
        await call.caller("yes", speech_ms=260)
        await call.leg.beat(ms=1000)

    question = [Listen(Hints(phrases=("yes", "no", "okay"))), Say(LONG)]
    call, _ = play(scenario, greeting=question)
    assert ("user", "yes") in call.dialog.log


@pytest.mark.parametrize(
    "interrupt, texts, stopped",
    [
        (Interrupt.NEVER, ["stop it please"], False),
        (Interrupt.WORDS, [""], False),
        (Interrupt.WORDS, ["stop it please"], True),
        (Interrupt.SPEECH, ["stop it please"], True),
        (Interrupt.BOTH, ["stop it please"], True),
    ],
)
def test_each_listen_says_what_may_interrupt(interrupt: Interrupt, texts: list[str], stopped: bool) -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=100)
        await call.leg.beat(SPEECH, 300)
        if texts[0]:
            call.ears.results.put_nowait(Transcript(texts[0], final=False))
        await call.caller(texts[0], speech_ms=200)
        await call.leg.beat(ms=300)

    said = " ".join([LONG] * 4)
    call, _ = play(scenario, greeting=[Listen(Hints(), TurnPolicy(interrupt=interrupt)), Say(said)])
    assert bool(call.seen.of("barge_in")) is stopped
    assert (("user", texts[0]) in call.dialog.log) is stopped


# Greeting and goodbye


def greeted_at(kind: type[FakeLeg], flows_after_ms: int | None, direction: Direction) -> float:
    async def main() -> float:
        leg = kind()
        leg.flows = flows_after_ms == 0
        leg.info = CallInfo("c1", "1", "2", "fake", direction=direction)
        call = with_leg(leg)
        task = await start(call)
        for at in range(0, 2000, 20):
            leg.flows = leg.flows or at == flows_after_ms
            await leg.beat(ms=20)
        await stop(call, task)
        assert ("bot", "hello", True) in call.dialog.log, "nothing of it is lost"
        return call.leg.sent_at[0] * 1000

    return run(main())


@pytest.mark.parametrize("leg", [FakeLeg, BufferingLeg])
@pytest.mark.parametrize(
    "flows_after_ms, direction, expected",
    [
        (0, Direction.INBOUND, 25),
        (300, Direction.INBOUND, 305),
        (None, Direction.INBOUND, 805),
        (0, Direction.OUTBOUND, 205),
        (300, Direction.OUTBOUND, 305),
    ],
)
def test_the_greeting_starts_when_media_flows(
    leg: Any, flows_after_ms: int | None, direction: Direction, expected: int
) -> None:
    assert greeted_at(leg, flows_after_ms, direction) == pytest.approx(expected, abs=25)


@pytest.mark.parametrize(
    "lead_ms, latency_ms, confirms", [(0, 0, False), (200, 40, False), (200, 40, True), (200, 400, True)]
)
def test_the_goodbye_is_heard_before_the_hangup(lead_ms: int, latency_ms: int, confirms: bool) -> None:
    async def main() -> tuple[Call, BufferingLeg]:
        leg = BufferingLeg(lead_ms, latency_ms, confirms=confirms)
        call = with_leg(leg, greeting=[Say(LONG), Hangup()])
        task = await start(call)
        await leg.beat(ms=4000)
        await task
        return call, leg

    call, leg = run(main())
    assert leg.closed is HangupCause.NORMAL
    assert call.dialog.log == [("bot", LONG, True)]
    assert len(leg.played) == len(leg.sent) == 50


def test_a_far_end_that_confirms_no_more_does_not_hold_the_line() -> None:
    async def main() -> tuple[float, BufferingLeg]:
        leg = BufferingLeg()
        call = with_leg(leg, greeting=[Say(LONG), Hangup()])
        task = await start(call)
        await leg.beat(ms=500)
        leg.confirms = False
        await leg.beat(ms=9000)
        await task
        return asyncio.get_running_loop().time(), leg

    _, leg = run(main())
    assert leg.closed is HangupCause.NORMAL
    assert len(leg.sent) == 50


@pytest.mark.parametrize("word", [True, False])
def test_no_old_audio_after_an_interruption(word: bool) -> None:
    """Neither what the far end had buffered, nor what the voice was still making, comes after it."""

    async def main() -> tuple[Call, BufferingLeg, float, float]:
        leg = BufferingLeg(lead_ms=400)
        call = with_leg(leg, greeting=[Say(LONG), Say(LONG)], answer=lambda turn: [])
        task = await start(call)
        await leg.beat(ms=500)
        began = asyncio.get_running_loop().time()
        await leg.beat(SPEECH, 200)
        if word:
            call.ears.results.put_nowait(Transcript("stop", final=False))
        call.ears.next_text = "stop"
        await leg.beat(SPEECH, 1200)
        await leg.beat(ms=2000)
        await stop(call, task)
        return call, leg, began, max(at for at, _ in leg.played)

    call, leg, began, last = run(main())
    assert last - began < 0.35 + 0.06  # barge_in_ms, and one beat to say so
    assert not [at for at in leg.sent_at if at > last + 0.02]
    assert [e for e in call.dialog.log if e[0] == "bot"][0][2] is False


def test_the_history_holds_what_the_far_end_played() -> None:
    async def main() -> tuple[Call, BufferingLeg]:
        leg = BufferingLeg(lead_ms=400, latency_ms=40)
        call = with_leg(leg, greeting=[Say(LONG)])
        task = await start(call)
        await leg.beat(ms=460)
        leg.sink.on_dtmf("1")
        await leg.beat(ms=300)
        await stop(call, task)
        return call, leg

    call, leg = run(main())
    heard = next(e for e in call.seen.of("heard") if e["said"] == LONG)
    played_ms = 20 * sum(frame.pts < 8 * 1000 for at, frame in leg.played if at <= 0.48)
    assert abs(heard["ms"] - played_ms) <= 60
    assert len(heard["text"].split()) == heard["ms"] // 100


# Silence, keys, hold


def test_nobody_is_asked_whether_he_is_there_while_on_hold() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=3000)
        for _ in range(3000):  # a minute: audio comes (silence), but the leg asks for none
            call.leg.sink.on_audio(AudioFrame(SILENCE, 8000, call.leg.pts))
            call.leg.pts += 160
            await asyncio.sleep(0.02)
        assert call.dialog.log == [("bot", "hello", True)]
        await call.leg.beat(ms=7500)

    call, _ = play(scenario)
    assert [h["active"] for h in call.seen.of("hold")] == [True, False]
    assert len(call.seen.of("no_input")) == 1


def test_keys_typed_ahead_answer_several_questions_in_a_row() -> None:
    asked = iter("abcd")

    def answer(turn: DialogInput) -> list[Act]:
        return [Listen(Hints(), TurnPolicy(dtmf_max=1)), Say(f"question {next(asked)} {LONG}")]

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=100)
        for key in "123":
            call.leg.sink.on_dtmf(key)
        await call.leg.beat(ms=1500)

    call, _ = play(scenario, answer=answer)
    assert [e[1] for e in call.dialog.log if e[0] == "user"] == ["1", "2", "3"]
    spoken = [e[1].split()[1] for e in call.dialog.log if e[0] == "bot" and e[1]]
    assert spoken == ["c"]  # the first two questions had their answers already


def test_a_question_that_wants_no_keys_from_before_is_heard() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        return [Listen(Hints(), TurnPolicy(dtmf_max=1, dtmf_flush=True)), Say("sure?")]

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=100)
        for key in "123":
            call.leg.sink.on_dtmf(key)
        await call.leg.beat(ms=1500)

    call, _ = play(scenario, answer=answer)
    assert [e[1] for e in call.dialog.log if e[0] == "user"] == ["1"]
    assert {"count": 2, "direction": "dropped"} in call.seen.of("dtmf")
    assert call.dialog.log[-1] == ("bot", "sure?", True)


def test_a_key_stops_the_bot_at_once() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=300)
        call.leg.sink.on_dtmf("5")
        await asyncio.sleep(0)
        before = len(call.leg.sent)
        call.dialog.thinking = 1.0
        await call.leg.beat(ms=200)
        assert len(call.leg.sent) <= before + 1

    call, _ = play(scenario, answer=echo, greeting=[Say(LONG)])
    assert isinstance(call.dialog.last, UserTurn) and call.dialog.last.interrupted
