"""The phone's turn taking and measuring, against a bot whose habits are known."""

import asyncio

import numpy as np
import pytest

from media.tasks import task_scope
from tests.clock import run
from tests.voicegw.phone.bot import BotLeg, spoken
from voicegw.phone.dial import prepare
from voicegw.phone.report import CallRecord
from voicegw.phone.script import (
    Answer,
    Expect,
    HangUp,
    Now,
    OnTurn,
    OverBot,
    Pause,
    Press,
    Reply,
    Say,
    Script,
    Standing,
    WaitBot,
    WaitSilence,
)
from voicegw.phone.session import MOST_ANSWERS, Asks, Happening, PhoneSession, Sounds
from voicegw.phone.sound import Sound

GREETING = "Welcome to the city clinic. How can I help you today?"
LONG = "We are open on weekdays from nine to five, on Saturdays from ten to one, and never on Sundays."


def line(text: str) -> Sound:
    return Sound(np.frombuffer(spoken(text), "<i2"), 8000)


class Call:
    def __init__(self, leg: BotLeg, script: Script, asks: Asks | None = None) -> None:
        self.leg, self.script = leg, script
        self.told: list[Happening] = []
        self.sounds = {said: line(said.text) for said in script.sounding() if isinstance(said, Say)}
        self.asks = asks

    def live(self, limit_s: float = 120) -> CallRecord:
        async def scenario() -> CallRecord:
            self.session = PhoneSession(self.leg, self.told.append, asks=self.asks)
            async with task_scope() as start:
                start(self.leg.run(), "bot")
                async with asyncio.timeout(limit_s):
                    return await self.session.perform(self.script, self.sounds)

        return run(scenario())


@pytest.mark.parametrize("latency_ms", [200, 800])
def test_a_conversation_takes_turns_and_is_measured(latency_ms: int) -> None:
    script = Script((Say("I want to book an appointment"), Say("next Tuesday at three"), Say("yes please")))
    answers = [GREETING, "Sure, when?", "Next Tuesday at three, right?", "Done."]
    call = Call(BotLeg(answers, latency_ms), script)
    record = call.live()
    assert [said.text for said in record.lines] == [step.text for step in script.steps]  # type: ignore[union-attr]
    assert len(record.utterances()) == 4
    assert record.latencies() == [pytest.approx(latency_ms + 20, abs=60)] * 3
    assert not any(said.over_bot for said in record.lines)
    for said in record.lines:  # never into what the bot says, and soon after it
        before = [span for span in record.bot if span.end_ms <= said.start_ms]
        assert 880 <= said.start_ms - before[-1].end_ms <= 960
    assert (record.hangup, record.cause, record.problems) == ("caller", "NORMAL", [])
    assert record.total_ms - record.bot[-1].end_ms == pytest.approx(4000, abs=60)


def test_what_is_said_reaches_the_line_unbroken_and_in_its_place() -> None:
    call = Call(BotLeg([GREETING, "Thanks."]), Script((Say("good morning"),)))
    record = call.live()
    frames = [pcm for _, pcm in call.leg.caller_heard]
    assert b"".join(frames).startswith(spoken("good morning"))
    times = [at for at, _ in call.leg.caller_heard]
    assert all(b - a == 20 for a, b in zip(times, times[1:], strict=False))
    said, heard = call.session.stereo()
    assert len(said) == len(heard) == record.total_ms * 8
    loud = np.nonzero(np.abs(said.astype(int)) > 300)[0]
    assert loud[0] / 8 == pytest.approx(record.lines[0].start_ms, abs=30)
    assert loud[-1] / 8 == pytest.approx(record.lines[0].end_ms, abs=30)
    for span in record.bot:
        assert np.abs(call.session.heard(span)).max() > 2000


@pytest.mark.parametrize("stops_after_ms", [100, 400])
def test_interrupting_is_timed_from_our_first_sound_to_the_bots_last(stops_after_ms: int) -> None:
    script = Script((Say("stop it please, stop it now", OverBot(1000)), Say("thank you")))
    record = Call(BotLeg([LONG, "Okay.", "Bye."], 400, stops_after_ms), script).live()
    first = record.lines[0]
    assert first.over_bot and not record.lines[1].over_bot
    assert first.start_ms - record.bot[0].start_ms == pytest.approx(1020, abs=40)
    assert record.barge_ins() == [pytest.approx(stops_after_ms + 20, abs=70)]
    assert record.latencies()[0] == pytest.approx(420, abs=60)


def test_a_bot_that_cannot_be_interrupted_is_recognised() -> None:
    script = Script((Say("stop", OverBot(600)),))
    record = Call(BotLeg([LONG, "Okay."], stops_after_ms=None), script).live()
    assert record.barge_ins() == [None]


class Flow:
    """Where the flow stands, each time that it is asked."""

    def __init__(self, *standings: str | Standing) -> None:
        self.standings = [s if isinstance(s, Standing) else Standing(s) for s in standings]
        self.asked = 0

    async def __call__(self, sip_call_id: str) -> Standing:
        assert sip_call_id == "sip-1"
        self.asked += 1
        return self.standings.pop(0)


def test_who_answers_what_he_is_asked_repeats_what_was_not_understood() -> None:
    right = Reply(Say("yes please"), {"day": "tuesday"})
    replies = {"day": (Reply(Say("next Tuesday")),), "sure": (right, Reply(Say("no")))}
    asked = ["Sorry, which day?", "Next Thursday, right?", "Which day?", "Next Tuesday, right?", "Done."]
    bot = BotLeg([GREETING, *asked], hangs_up_after=6)
    thursday, tuesday = Standing("sure", {"day": "thursday"}), Standing("sure", {"day": "Tuesday"})
    record = Call(bot, Script((Answer(replies),)), Flow("day", "day", thursday, "day", tuesday)).live()
    assert [said.text for said in record.lines] == [*["next Tuesday"] * 2, "no", "next Tuesday", "yes please"]
    assert (record.hangup, record.problems) == ("bot", [])


def test_a_question_without_an_answer_is_waited_out_and_named() -> None:
    script = Script((Answer({"day": (Reply(Say("next Tuesday")),)}),), patience_ms=2000)
    flow = Flow("moment", "day", "name")
    record = Call(BotLeg([GREETING, "One moment.", "Your name?"]), script, flow).live()
    # After the greeting nothing follows: the bot is silent as long as we are.
    assert record.lines == [] and flow.asked == 1
    assert record.problems == ["the bot waits at 'moment', and we have no answer to that"]
    assert record.hangup == "caller"


def test_bot_and_caller_do_not_talk_in_circles_for_ever() -> None:
    script = Script((Answer({"day": (Reply(Say("Tuesday")),)}),))
    flow = Flow(*["day"] * 100)
    record = Call(BotLeg(["Which day?"] * 100), script, flow).live(limit_s=600)
    assert len(record.lines) == MOST_ANSWERS
    assert record.problems == [f"the bot was not content with {MOST_ANSWERS} answers"]


def test_keys_are_a_turn_like_any_other() -> None:
    leg = BotLeg([GREETING, "You pressed one.", "Bye."])
    record = Call(leg, Script((Press("1#"), Press("2", OnTurn(1500))))).live()
    assert leg.pressed == "1#2"
    assert [said.text for said in record.lines] == ["1#", "2"]
    assert record.lines[1].start_ms - record.utterances()[1].end_ms == pytest.approx(1500, abs=60)


def test_an_answer_that_comes_while_the_key_is_held_down_counts() -> None:
    leg = BotLeg([GREETING, "You pressed one."], latency_ms=40)
    record = Call(leg, Script((Press("1"),))).live()
    assert record.latencies() == [pytest.approx(40, abs=60)]


def test_a_bot_that_hangs_up_ends_the_call() -> None:
    script = Script((Say("goodbye"),), Expect(hangup="bot"))
    record = Call(BotLeg([GREETING, "Bye."], hangs_up_after=2), script).live()
    assert (record.hangup, record.problems) == ("bot", [])
    assert record.total_ms - record.bot[-1].end_ms < 100


def test_a_bot_that_hangs_up_too_early_is_a_problem() -> None:
    script = Script((Say("hello"), Say("one"), HangUp()))
    record = Call(BotLeg([GREETING, "Bye."], hangs_up_after=2), script).live()
    assert record.problems == ["the bot ended the call before 1 of our lines"]
    mid_line = Call(BotLeg([GREETING], hangs_up_after=1), Script((Say(LONG, OverBot(500)),))).live()
    assert mid_line.problems == [] and mid_line.hangup == "bot"


def test_a_silent_bot_is_a_problem_and_is_spoken_to_nevertheless() -> None:
    script = Script((Say("hello?"), Say("anybody there?")), patience_ms=3000)
    call = Call(BotLeg([]), script)
    record = call.live()
    assert len(record.lines) == 2 and record.latencies() == [None, None]
    assert record.problems == [
        "the bot said nothing within 3000 ms before 'hello?'",
        "the bot said nothing within 3000 ms before 'anybody there?'",
    ]
    assert record.lines[0].start_ms == pytest.approx(3000, abs=40)


def test_where_the_answer_is_timed_one_that_never_comes_is_a_problem() -> None:
    lines = (Say("hello?"), Say("anybody there?"))
    bot = [GREETING, "Yes."]
    timed = Script(lines, Expect(latency_ms=900), patience_ms=3000)
    assert Call(BotLeg(bot), timed).live().problems == [
        "the bot said nothing within 3000 ms after our last line"
    ]
    assert Call(BotLeg([*bot, "Here I am."]), timed).live().problems == []
    assert Call(BotLeg(bot), Script(lines, patience_ms=3000)).live().problems == []


def test_steps_that_wait() -> None:
    script = Script((WaitBot(), Pause(200), Say("yes", Now()), WaitSilence(2500), HangUp()))
    record = Call(BotLeg([LONG, "Fine."]), script).live()
    assert record.lines[0].over_bot
    assert record.lines[0].start_ms == pytest.approx(record.bot[0].start_ms + 140 + 200, abs=80)
    assert record.total_ms - record.bot[-1].end_ms == pytest.approx(2500, abs=60)
    assert record.hangup == "caller"
    silent = Call(BotLeg([]), Script((WaitBot(), HangUp()), patience_ms=500)).live()
    assert silent.problems == ["the bot said nothing within 500 ms"]


def test_what_happens_is_told_in_time() -> None:
    call = Call(BotLeg([GREETING, "Okay."]), Script((Say("hello"),)))
    call.live()
    assert [(told.what, told.text) for told in call.told] == [
        ("bot", ""),
        ("line", "hello"),
        ("bot", ""),
        ("closed", "caller"),
    ]
    greeting = call.told[0]
    assert greeting.at_ms == pytest.approx(500, abs=60)
    assert greeting.ms == pytest.approx(len(spoken(GREETING)) / 16, abs=200)


def test_cancelling_leaves_the_line_to_be_hung_up() -> None:
    async def scenario() -> CallRecord:
        leg = BotLeg([GREETING])
        session = PhoneSession(leg)
        async with task_scope() as start:
            start(leg.run(), "bot")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await session.perform(Script((WaitSilence(100_000),)), {})
            await session.hang_up("timeout")
            await session.hang_up("caller")
        return session.record

    record = run(scenario())
    assert record.hangup == "timeout" and record.total_ms == pytest.approx(4900, abs=40)


def test_lines_are_made_before_the_call() -> None:
    async def scenario() -> Sounds:
        return await prepare(Script((WaitBot(), Say("one"), Press("1"), Say("two")), voice="espeak"))

    sounds = asyncio.run(scenario())
    assert set(sounds) == {Say("one"), Say("two")}
    for sound in sounds.values():
        first, last = sound.audible()
        assert first <= 10 and last >= sound.ms - 20
