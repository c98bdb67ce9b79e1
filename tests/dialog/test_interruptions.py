"""Coughs, listeners and early answers: what a sound over the bot means, on a virtual clock."""

import pytest

from dialog.backchannels import Backchannels, backchannels
from dialog.turn import (
    BargeIn,
    BeginSpeech,
    BotSpeaking,
    Decision,
    Dtmf,
    Interrupt,
    KeysDropped,
    OnHold,
    PauseBot,
    ReplyReady,
    ResumeBot,
    SilenceExpired,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    TurnEnded,
    TurnInput,
    TurnPolicy,
    TurnScore,
    TurnSource,
)
from dialog.turn_engine import TurnEngine
from tests.dialog.turn_play import BOT_TALKS, GREETED, final, partial, play, turns


def over_bot(speech_ms: int, *more: tuple[int, TurnInput]) -> list[tuple[int, TurnInput]]:
    """Speech from 1000 ms on, over a bot that speaks all the time."""
    return [*BOT_TALKS, (1000, SpeechStarted()), (1000 + speech_ms, SpeechStopped()), *more]


def kinds(out: list[tuple[int, Decision]]) -> list[tuple[int, str]]:
    wanted = (BargeIn, PauseBot, ResumeBot, TurnEnded)
    return [(at, type(d).__name__) for at, d in out if isinstance(d, wanted)]


def test_a_cough_pauses_the_bot_which_goes_on_once_the_recogniser_has_found_nothing() -> None:
    out = play(over_bot(450, (1960, final("", rejected=True))))
    assert kinds(out) == [(1350, "PauseBot"), (1960, "ResumeBot")]


def test_the_bot_goes_on_although_the_recogniser_is_late() -> None:
    assert kinds(play(over_bot(450), until=2800)) == [(1350, "PauseBot"), (2450, "ResumeBot")]


def test_a_word_that_comes_after_the_bot_went_on_still_interrupts() -> None:
    out = play(over_bot(450, (2600, final("stop it"))))
    assert kinds(out) == [
        (1350, "PauseBot"),
        (2450, "ResumeBot"),
        (2600, "BargeIn"),
        (2600, "TurnEnded"),
    ]


@pytest.mark.parametrize("policy", [TurnPolicy(), TurnPolicy(interrupt=Interrupt.SPEECH)])
def test_a_word_makes_the_pause_an_interruption(policy: TurnPolicy) -> None:
    out = play(over_bot(800, (1500, partial("wait"))), policy)
    assert kinds(out)[:2] == [(1350, "PauseBot"), (1700, "BargeIn")]


def test_speech_longer_than_any_cough_interrupts_without_words() -> None:
    out = play(over_bot(2000, (3510, final("", rejected=True))))
    assert kinds(out) == [(1350, "PauseBot"), (2200, "BargeIn"), (3510, "TurnEnded")]
    assert turns(out)[0][1].rejected


def test_without_recovery_speech_interrupts_at_once() -> None:
    assert kinds(play(over_bot(450), TurnPolicy(resume_ms=0), until=1900)) == [(1350, "BargeIn")]


def test_a_second_cough_is_judged_for_itself() -> None:
    again: list[tuple[int, TurnInput]] = [(3000, SpeechStarted()), (3200, SpeechStopped())]
    out = play(over_bot(450, (1960, final("")), *again, (3710, final(""))))
    assert kinds(out) == [(1350, "PauseBot"), (1960, "ResumeBot")]


def test_a_key_interrupts_a_paused_bot() -> None:
    out = play(over_bot(450, (1400, Dtmf("1"))), until=1500)
    assert kinds(out) == [(1350, "PauseBot"), (1400, "BargeIn"), (1400, "TurnEnded")]
    assert turns(out)[0][1].source is TurnSource.DTMF


@pytest.mark.parametrize("word", ["mhm", "uh-huh", "okay", "Yeah.", "right", "okay right"])
def test_a_listeners_word_does_not_interrupt(word: str) -> None:
    heard = [(1300, partial(word)), (2060, final(word))]
    assert kinds(play(over_bot(500, *heard))) == []


def test_a_listeners_word_before_others_is_not_counted() -> None:
    out = play(over_bot(900, (1250, partial("okay")), (1700, partial("okay stop"))))
    assert kinds(out)[:2] == [(1700, "PauseBot"), (1900, "BargeIn")]
    [barge_in] = [d for _, d in out if isinstance(d, BargeIn)]
    assert barge_in.words == 1


def test_a_word_must_stay_to_interrupt() -> None:
    """What the embedded recogniser believes of a hum, 60 ms apart; only the third guess is one that stays."""
    guesses = [(1200, "no"), (1260, "book"), (1320, "end"), (1500, "end the call")]
    policy = TurnPolicy(interrupt=Interrupt.WORDS)
    out = play(over_bot(600, *((at, partial(text)) for at, text in guesses)), policy)
    assert kinds(out)[0] == (1520, "BargeIn")
    fragments = [(at, Transcript(text, final=False, fragment=True)) for at, text in guesses]
    assert kinds(play(over_bot(600, *fragments), policy)) == []


@pytest.mark.parametrize("policy", [TurnPolicy(backchannels=()), TurnPolicy(backchannels=("mhm",))])
def test_which_words_are_a_listeners_is_the_policys_choice(policy: TurnPolicy) -> None:
    assert kinds(play(over_bot(300, (1250, partial("okay"))), policy))[0] == (1450, "BargeIn")


def test_the_same_word_answers_a_question() -> None:
    said: list[tuple[int, TurnInput]] = [
        (1000, SpeechStarted()),
        (1300, SpeechStopped()),
        (1810, final("okay")),
    ]
    assert turns(play(GREETED + said)) == [(1810, TurnEnded("okay"))]


def test_a_word_in_the_bots_last_one_is_never_lost() -> None:
    """Its final comes while the bot still speaks: it waits for the bot's end."""
    for word, answers in [("okay", ("yes", "okay")), ("okay", None), ("yes", ("yes", "no"))]:
        words = TurnPolicy(interrupt=Interrupt.NEVER)
        out = play(over_bot(300, (1810, final(word)), (2300, BotSpeaking(False))), words, answers=answers)
        assert turns(out) == [(2300, TurnEnded(word))], word


def test_a_listeners_word_that_is_no_answer_here_stays_one() -> None:
    out = play(
        over_bot(300, (1810, final("okay")), (2300, BotSpeaking(False))), answers=("monday", "tuesday")
    )
    assert turns(out) == []


def test_a_word_long_before_the_bots_end_was_no_answer() -> None:
    out = play(over_bot(300, (1810, final("okay")), (2600, BotSpeaking(False))))
    assert turns(out) == []


def test_an_early_answer_and_what_follows_it_are_one_turn() -> None:
    more: list[tuple[int, TurnInput]] = [
        (2000, SpeechStarted()),
        (2400, SpeechStopped()),
        (2910, final("please")),
    ]
    out = play(over_bot(300, (1810, final("okay")), (2200, BotSpeaking(False)), *more))
    assert turns(out) == [(2910, TurnEnded("okay please"))]


def test_a_word_that_no_detector_noticed_opens_and_closes_a_turn() -> None:
    assert turns(play([*GREETED, (1000, Transcript("yes", final=True, unasked=True))])) == [
        (1000, TurnEnded("yes"))
    ]


def test_a_word_noticed_by_the_recogniser_alone_is_followed_to_its_end() -> None:
    out = play([*GREETED, (1000, Transcript("yes", final=False, unasked=True)), (1520, final("yes please"))])
    assert out[0] == (1000, BeginSpeech())
    assert turns(out) == [(1520, TurnEnded("yes please"))]


def test_an_unasked_word_over_the_bot_interrupts_it() -> None:
    out = play([*BOT_TALKS, (1000, Transcript("stop", final=True, unasked=True))])
    assert kinds(out) == [(1000, "BargeIn"), (1000, "TurnEnded")]


@pytest.mark.parametrize(
    "score, ends_at", [(None, 2000), (0.5, 2000), (1.0, 1800), (0.75, 1900), (0.0, 2700), (0.25, 2350)]
)
def test_the_patience_follows_how_finished_the_caller_sounds(score: float | None, ends_at: int) -> None:
    events: list[tuple[int, TurnInput]] = [*GREETED, (1000, SpeechStarted()), (1600, SpeechStopped(100))]
    events += [] if score is None else [(1610, TurnScore(score))]
    ends = [at for at, d in play(events, until=4000) if type(d).__name__ == "EndOfSpeech"]
    assert ends == [ends_at]


def test_only_so_many_keys_wait() -> None:
    keys: list[tuple[int, TurnInput]] = [(100 + n, Dtmf(str(n % 10))) for n in range(7)]
    out = play([*keys, (300, ReplyReady())], TurnPolicy(dtmf_ahead=4, dtmf_max=4))
    assert [d for _, d in out if isinstance(d, KeysDropped)] == [KeysDropped(1)] * 3
    assert turns(out) == [(300, TurnEnded("0123", TurnSource.DTMF))]


def test_keys_typed_ahead_answer_one_question_after_the_other() -> None:
    engine = TurnEngine()
    for at, key in enumerate("12345#6"):
        engine.feed(Dtmf(key), 100 + at)
    texts = []
    for at, most in [(1000, 1), (2000, 8), (3000, 1)]:
        engine.listen(TurnPolicy(dtmf_max=most))
        texts += [d.text for d in engine.feed(ReplyReady(), at) if isinstance(d, TurnEnded)]
    assert texts == ["1", "2345", "6"]


def test_a_question_may_want_no_keys_from_before() -> None:
    engine = TurnEngine()
    engine.feed(Dtmf("1"), 100)
    engine.feed(Dtmf("2"), 200)
    assert engine.listen(TurnPolicy(dtmf_flush=True)) == [KeysDropped(2)]
    assert engine.feed(ReplyReady(), 300) == []


def test_silence_on_hold_is_no_silence() -> None:
    events: list[tuple[int, TurnInput]] = [*GREETED, (5000, OnHold(True)), (65_000, OnHold(False))]
    out = play(events, until=75_000)
    assert [at for at, d in out if isinstance(d, SilenceExpired)] == [72_000]


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "el", "en-GB"])
def test_every_language_has_listeners(language: str) -> None:
    table = backchannels(language)
    assert len(table) >= 10 and all(table)
    assert all(Backchannels(table).words(phrase) == 0 for phrase in table)
    assert Backchannels(table).words("xyzzy") == 1
