"""Whole calls with fake edges on a virtual clock: play the caller, watch the bot."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from dialog.turn import Interrupt, Transcript, TurnPolicy, TurnSource
from dialog.types import (
    Act,
    CallExpired,
    DialogInput,
    Hangup,
    Hints,
    Listen,
    NoInput,
    Note,
    Say,
    SendDtmf,
    Transfer,
    TransferFailed,
    UserTurn,
)
from media.callconfig import Engines, SessionConfig
from media.errors import ProviderError, TransferError
from media.leg import HangupCause
from media.session import CallSession
from media.tts.base import Speech
from tests.clock import run
from tests.fakes import (
    SILENCE,
    SPEECH,
    FakeDialog,
    FakeEars,
    FakeLeg,
    FakeObserver,
    FakeTap,
    FakeVad,
    FakeVoice,
)

LONG = "one two three four five six seven eight nine ten"


def echo(turn: DialogInput) -> list[Act]:
    return [Say(f"you said {turn.text}."), Say(LONG)] if isinstance(turn, UserTurn) else [Say("hm")]


class Call:
    """A call in progress."""

    def __init__(
        self,
        answer: Callable[[DialogInput], list[Act]] = echo,
        greeting: list[Act] | None = None,
        config: SessionConfig = SessionConfig(),
    ) -> None:
        self.leg, self.ears, self.voice = FakeLeg(), FakeEars(), FakeVoice()
        self.dialog, self.seen, self.tap = FakeDialog(answer, greeting), FakeObserver(), FakeTap()
        self.session = CallSession(
            self.leg, Engines(FakeVad(), self.ears, self.voice), self.dialog, config, self.seen, self.tap
        )

    async def caller(self, text: str | None, speech_ms: int = 400, silence_ms: int = 520) -> None:
        """Speak, then be silent for as long as ends a turn."""
        self.ears.next_text = text
        await self.leg.beat(SPEECH, speech_ms)
        await self.leg.beat(SILENCE, silence_ms)


def play(scenario: Callable[[Call], Awaitable[Any]], **how: Any) -> tuple[Call, HangupCause]:
    """Run a scenario; the caller hangs up at its end unless somebody has before."""

    async def main() -> tuple[Call, HangupCause]:
        call = Call(**how)
        async with asyncio.timeout(4000):
            task = asyncio.create_task(call.session.run())
            await asyncio.sleep(0)
            await scenario(call)
            if call.leg.closed is None:
                call.leg.close(HangupCause.NORMAL)
            cause = await task
        assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []
        return call, cause

    return run(main())


def test_reply_is_heard_whole() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=500)
        await call.caller("good morning")
        await call.leg.beat(ms=3000)

    call, cause = play(scenario)
    assert cause is HangupCause.NORMAL
    assert call.dialog.log == [
        ("bot", "hello", True),
        ("user", "good morning"),
        ("bot", f"you said good morning. {LONG}", True),
    ]
    assert call.leg.cleared == 0
    assert [f.pts for f in call.leg.sent] == list(range(0, 160 * len(call.leg.sent), 160))
    assert call.ears.calls == ["begin", "finish"]


def test_latency_is_told_by_step() -> None:
    async def scenario(call: Call) -> None:
        call.dialog.thinking = 0.1
        await call.leg.beat(ms=500)
        await call.caller("good morning", silence_ms=1000)

    call, _ = play(scenario)
    [latency] = call.seen.of("latency")
    assert latency["eot_ms"] == pytest.approx(500, abs=21)
    assert latency["dialog_ms"] == pytest.approx(100, abs=1)
    assert latency["tts_ms"] == pytest.approx(10, abs=1)
    assert 0 <= latency["playout_ms"] <= 20
    assert latency["total_ms"] == pytest.approx(
        sum(latency[k] for k in ("eot_ms", "stt_ms", "dialog_ms", "tts_ms", "playout_ms")), abs=0.5
    )


def test_a_decision_at_a_received_frame_is_on_the_wire_within_the_same_packet_time() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=500)
        await call.caller("hi", silence_ms=600)

    async def instant(text: str) -> Any:
        from media.tts.base import Speech

        yield Speech(b"\x10\x00" * 800)

    async def main() -> float:
        call = Call()
        call.voice.synthesize = instant  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(call.session.run())
        await asyncio.sleep(0)
        await scenario(call)
        call.leg.close(HangupCause.NORMAL)
        await task
        [latency] = call.seen.of("latency")
        return float(latency["total_ms"] - latency["eot_ms"])

    assert run(main()) <= 20


def test_barge_in_stops_speech_and_remembers_what_was_heard() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=500)
        await call.caller("good morning")
        await call.leg.beat(ms=700)  # of the reply
        await call.leg.beat(SPEECH, 380)
        sent = len(call.leg.sent)
        await call.leg.beat(SPEECH, 300)
        assert len(call.leg.sent) == sent  # silent once it is paused
        assert call.leg.cleared == 1
        call.ears.next_text = "stop"
        await call.leg.beat(ms=520)

    call, _ = play(scenario)
    [pause] = call.seen.of("pause")
    assert pause["speech_ms"] == pytest.approx(350, abs=21)
    [barge_in] = call.seen.of("barge_in")
    assert barge_in["words"] == 1
    cut = next(e for e in call.dialog.log if e[0] == "bot" and not e[2])
    assert cut[1] == "you said good morning. one two three four five six"
    assert call.dialog.last == UserTurn("stop", call.dialog.last.at_ms, confidence=0.9, interrupted=True)


def test_late_speech_is_one_turn_with_what_came_before() -> None:
    async def scenario(call: Call) -> None:
        call.dialog.thinking = 2.0
        await call.leg.beat(ms=500)
        await call.caller("next tuesday")
        call.ears.next_text = "at three"
        await call.leg.beat(SPEECH, 500)
        await call.leg.beat(ms=4000)

    call, _ = play(scenario)
    assert [e for e in call.dialog.log if e[0] == "user"] == [
        ("user", "next tuesday"),
        ("user", "next tuesday at three"),
    ]
    assert call.dialog.last.continues
    assert call.dialog.closed == 2  # the first reply was given up


def test_silence_is_prompted_and_then_the_call_ends() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=40_000)

    call, cause = play(scenario)
    assert cause is HangupCause.NORMAL
    said = [e[0] for e in call.dialog.log if e[0] != "bot"]
    assert [(n.count, n.last) for n in said] == [(1, False), (2, False), (3, True)]
    assert [n.at_ms for n in said] == pytest.approx([7100, 14200, 25300], abs=150)
    assert call.dialog.log[-1] == ("bot", "hm", True)  # goodbye was heard before the hang-up


def test_the_longest_call_is_ended_with_a_goodbye() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        return [Say("time is up goodbye")] if isinstance(turn, CallExpired) else echo(turn)

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=5000)

    call, _ = play(scenario, answer=answer, config=SessionConfig(TurnPolicy(max_call_ms=2000)))
    assert call.dialog.log[-1] == ("bot", "time is up goodbye", True)
    assert call.leg.closed is HangupCause.NORMAL


def test_hangup_waits_for_the_last_word() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=3000)

    call, _ = play(scenario, greeting=[Say("sorry goodbye"), Hangup()])
    assert call.dialog.log == [("bot", "sorry goodbye", True)]
    assert call.leg.closed is HangupCause.NORMAL
    assert len(call.leg.sent) == 10


def test_hangup_does_not_wait_for_speech_that_fills_no_frame() -> None:
    async def odd(text: str) -> AsyncGenerator[Speech, None]:
        yield Speech(b"\x10\x00" * (3 * call_rate // 100 + 7))  # 30 ms and 7 samples

    call_rate = FakeVoice().rate

    async def scenario(call: Call) -> None:
        call.voice.synthesize = odd  # type: ignore[method-assign, assignment]
        await call.leg.beat(ms=1000)

    call, _ = play(scenario, greeting=[Say("bye"), Hangup()])
    assert call.leg.closed is HangupCause.NORMAL
    assert call.dialog.log == [("bot", "bye", True)]
    assert len(call.leg.sent) == 2


def test_transfer_waits_for_the_last_word_and_a_failure_brings_the_caller_back() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        return (
            [Say("nobody there")]
            if isinstance(turn, TransferFailed)
            else [Say("one moment"), Transfer("sip:agent@x")]
        )

    async def scenario(call: Call) -> None:
        call.leg.transfer_error = TransferError("486 Busy Here")
        await call.leg.beat(ms=500)
        await call.caller("a person please")
        await call.leg.beat(ms=1500)

    call, _ = play(scenario, answer=answer)
    assert call.leg.transferred == ["sip:agent@x"]
    assert call.dialog.log[-2:] == [
        (TransferFailed("sip:agent@x", "486 Busy Here"),),
        ("bot", "nobody there", True),
    ]
    assert call.seen.of("error") == [{"where": "transfer", "message": "486 Busy Here"}]


def test_a_barge_in_cancels_the_hangup_it_cuts() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=100)
        await call.leg.beat(SPEECH, 600)
        call.ears.next_text = "wait"
        await call.leg.beat(ms=1000)
        assert call.leg.closed is None

    play(scenario, greeting=[Say(LONG), Hangup()])


def test_listen_is_in_force_before_its_question_is_heard() -> None:
    question = Listen(Hints(phrases=("yes", "no")), TurnPolicy(interrupt=Interrupt.NEVER))

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=300)
        assert call.ears.hints == [question.hints]
        await call.leg.beat(SPEECH, 600)  # may not interrupt
        await call.leg.beat(ms=500)

    call, _ = play(scenario, greeting=[question, Say(LONG)])
    assert call.seen.of("barge_in") == []
    assert call.dialog.log == [("bot", LONG, True)]


def test_keys_are_turns_and_can_be_sent() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        return [SendDtmf("42")]

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=300)
        call.leg.sink.on_dtmf("5")
        await call.leg.beat(ms=100)

    call, _ = play(scenario, answer=answer)
    assert (call.dialog.last.text, call.dialog.last.source) == ("5", TurnSource.DTMF)
    assert call.leg.dtmf == "42"


def test_a_failed_reply_says_so_and_the_call_goes_on() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        if isinstance(turn, UserTurn) and turn.text == "bad":
            raise KeyError("no such slot")
        return echo(turn)

    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=500)
        await call.caller("bad")
        await call.leg.beat(ms=2500)
        await call.caller("good")
        await call.leg.beat(ms=2500)

    call, _ = play(scenario, answer=answer)
    assert ("bot", SessionConfig().fallback_phrase, True) in call.dialog.log
    assert call.seen.of("error") == [{"where": "reply", "message": "KeyError: 'no such slot'"}]
    assert call.dialog.log[-1][1].startswith("you said good")


def test_a_call_whose_every_reply_fails_is_ended() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        raise ValueError("broken flow")

    async def scenario(call: Call) -> None:
        for _ in range(6):
            await call.leg.beat(ms=3500)
            await call.caller("hello")

    call, cause = play(scenario, answer=answer)
    assert cause is HangupCause.NORMAL
    assert len(call.seen.of("error")) == 3
    assert ("bot", SessionConfig().goodbye_phrase, True) in call.dialog.log


def test_a_dead_voice_ends_the_call_in_the_end() -> None:
    async def scenario(call: Call) -> None:
        call.voice.error = ProviderError("voice is down")
        for _ in range(6):
            await call.leg.beat(ms=1500)
            await call.caller("hello")

    call, cause = play(scenario)
    assert cause is HangupCause.NORMAL
    assert {e["where"] for e in call.seen.of("error")} == {"reply"}


def test_dead_ears_leave_the_keys() -> None:
    async def scenario(call: Call) -> None:
        async def broken() -> Any:
            raise ProviderError("recogniser is down")
            yield

        call.ears.__class__ = type("Broken", (FakeEars,), {"__aiter__": lambda self: broken()})
        await call.leg.beat(ms=500)
        call.leg.sink.on_dtmf("1")
        await call.leg.beat(ms=3000)

    call, _ = play(scenario)
    assert {"where": "stt", "message": "recogniser is down"} in call.seen.of("error")
    assert ("user", "1") in call.dialog.log


def test_ears_that_lose_an_utterance_hear_the_next() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=500)
        call.ears.results.put_nowait(ProviderError("connection lost", retryable=True))
        await call.leg.beat(ms=500)
        await call.caller("hello")

    call, _ = play(scenario)
    assert {"where": "stt", "message": "connection lost"} in call.seen.of("error")
    assert ("user", "hello") in call.dialog.log


@pytest.mark.parametrize("at_ms", [0, 20, 300, 700, 1000, 1500, 2600])
def test_a_hangup_at_any_moment_leaves_nothing_behind(at_ms: int) -> None:
    async def scenario(call: Call) -> None:
        beats = [(SILENCE, 500), (SPEECH, 400), (SILENCE, 2000)]
        call.ears.next_text = "hi"
        left = at_ms
        for pcm, ms in beats:
            await call.leg.beat(pcm, min(ms, left))
            left -= min(ms, left)

    call, cause = play(scenario)
    assert cause is HangupCause.NORMAL
    assert call.voice.closed >= 1


def test_goodbye_ends_the_call_from_our_side() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=700)
        call.session.say_goodbye()
        await call.leg.beat(ms=3000)
        assert call.leg.closed is HangupCause.NORMAL

    call, _ = play(scenario, greeting=[Say(LONG)])
    assert call.dialog.log[0] == ("bot", "one two three four five six", False)
    assert call.dialog.log[-1] == ("bot", SessionConfig().goodbye_phrase, True)


def test_the_recording_has_what_was_played() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=500)
        await call.caller("hi")
        await call.leg.beat(ms=300)
        await call.leg.beat(SPEECH, 500)

    call, _ = play(scenario)
    assert b"".join(pcm for pcm, _ in call.tap.spoken) == b"".join(f.pcm for f in call.leg.sent)
    times = [at for _, at in call.tap.heard]
    assert times == pytest.approx([20 * n for n in range(len(times))], abs=0.01)


def test_partials_finals_and_notes_are_told() -> None:
    async def scenario(call: Call) -> None:
        await call.leg.beat(ms=300)
        await call.leg.beat(SPEECH, 200)
        call.ears.results.put_nowait(Transcript("good", final=False))
        await call.caller("good day", speech_ms=200)

    call, _ = play(scenario, greeting=[Note("node", {"id": "start"}), Say("hi")])
    assert call.seen.of("note") == [{"name": "node", "data": {"id": "start"}}]
    assert call.seen.of("partial") == [{"text": "good"}]
    assert call.seen.of("final") == [{"text": "good day", "confidence": 0.9, "rejected": False}]
    assert [v["speaking"] for v in call.seen.of("vad")] == [True, False]
    assert isinstance(call.dialog.last, UserTurn | NoInput)
