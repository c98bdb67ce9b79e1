"""Turn taking on a virtual clock: events with times in, decisions with times out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog.turn import (
    BargeIn,
    BeginSpeech,
    BotSpeaking,
    CallOverdue,
    DropSpeech,
    Dtmf,
    EndOfSpeech,
    Interrupt,
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


def test_a_turn_ends_after_silence_and_the_final() -> None:
    out = play(
        GREETED
        + [
            (1060, SpeechStarted(60)),
            (2200, SpeechStopped(200)),
            (2510, final("good morning", confidence=0.8)),
        ]
    )
    assert out[:3] == [
        (1060, BeginSpeech()),
        (2500, EndOfSpeech(spoke_until_ms=2000)),
        (2510, TurnEnded("good morning", confidence=0.8)),
    ]


def test_a_pause_shorter_than_the_limit_does_not_end_the_turn() -> None:
    out = play(
        GREETED
        + [(1000, SpeechStarted()), (1500, SpeechStopped()), (1900, SpeechStarted()), (2400, SpeechStopped())]
        + [(2910, final("next tuesday at three"))]
    )
    assert [at for at, d in out if isinstance(d, BeginSpeech)] == [1000]
    assert turns(out) == [(2910, TurnEnded("next tuesday at three"))]


def test_a_complete_answer_ends_the_turn_sooner() -> None:
    events = GREETED + [
        (1000, SpeechStarted()),
        (1300, partial("yes please", complete=True)),
        (1600, SpeechStopped()),
    ]
    assert (1900, EndOfSpeech(1600)) in play(events)
    assert (2100, EndOfSpeech(1600)) in play(GREETED + [(1000, SpeechStarted()), (1600, SpeechStopped())])


def test_speech_that_goes_on_before_the_final_makes_one_turn_of_both() -> None:
    out = play(
        GREETED
        + [
            (1000, SpeechStarted()),
            (1500, SpeechStopped()),
            (2010, SpeechStarted()),
            (2020, final("next tuesday")),
        ]
        + [(2500, SpeechStopped()), (3010, final("at three"))]
    )
    assert turns(out) == [(3010, TurnEnded("next tuesday at three"))]
    assert [at for at, d in out if isinstance(d, BeginSpeech)] == [1000, 2010]


def test_a_final_that_does_not_come_in_time_is_not_replaced_by_a_guess() -> None:
    out = play(
        GREETED
        + [(1000, SpeechStarted()), (1400, partial("yes")), (1500, SpeechStopped()), (4500, final("yes sir"))]
    )
    assert (4000, DropSpeech()) in out
    assert turns(out) == [(4000, TurnEnded("", rejected=True))]


@pytest.mark.parametrize(
    "spoken, transcript, expected",
    [
        (800, final("", rejected=True), TurnEnded("", rejected=True)),  # out of grammar
        (800, final(""), TurnEnded("", rejected=True)),  # long speech, nothing understood
        (100, final(""), None),  # a click
        (100, final("yes"), TurnEnded("yes")),  # a short word is a turn
    ],
)
def test_what_was_not_understood(spoken: int, transcript: Transcript, expected: TurnEnded | None) -> None:
    out = play(
        GREETED
        + [(1000, SpeechStarted()), (1000 + spoken, SpeechStopped()), (1000 + spoken + 505, transcript)]
    )
    assert [d for _, d in turns(out)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    "interrupt, speech_ms, words_at, barge_at",
    [
        (Interrupt.BOTH, 1000, None, 1350),  # by duration
        (Interrupt.BOTH, 1000, 1100, 1300),  # by a word that stays, sooner
        (Interrupt.SPEECH, 1000, 1200, 1350),
        (Interrupt.WORDS, 1000, 1100, 1300),
        (Interrupt.WORDS, 1000, None, None),
        (Interrupt.NEVER, 1000, 1200, None),
        (Interrupt.BOTH, 200, None, None),  # a cough
    ],
)
def test_barge_in(interrupt: Interrupt, speech_ms: int, words_at: int | None, barge_at: int | None) -> None:
    events = BOT_TALKS + [(1000, SpeechStarted()), (1000 + speech_ms, SpeechStopped())]
    events += [(words_at, partial("stop"))] if words_at else []
    out = play(events, TurnPolicy(interrupt=interrupt, resume_ms=0), until=1900)
    assert [at for at, d in out if isinstance(d, BargeIn)] == ([barge_at] if barge_at else [])


def test_pauses_do_not_count_as_speech_for_a_barge_in() -> None:
    out = play(
        BOT_TALKS
        + [
            (1000, SpeechStarted()),
            (1200, SpeechStopped()),
            (1500, SpeechStarted()),
            (1900, SpeechStopped()),
        ],
        TurnPolicy(interrupt=Interrupt.SPEECH, resume_ms=0),
    )
    assert [(at, d.speech_ms) for at, d in out if isinstance(d, BargeIn)] == [(1650, 350)]


def test_an_interruption_says_so_in_its_turn() -> None:
    out = play(
        BOT_TALKS
        + [
            (1000, SpeechStarted()),
            (1360, BotSpeaking(False)),
            (1800, SpeechStopped()),
            (2310, final("stop that")),
        ]
    )
    assert turns(out) == [(2310, TurnEnded("stop that", interrupted=True))]


def test_a_word_recognised_only_at_the_end_still_interrupts() -> None:
    out = play(BOT_TALKS + [(1000, SpeechStarted()), (1250, SpeechStopped()), (1760, final("stop"))])
    assert [(at, type(d).__name__) for at, d in out[-2:]] == [(1760, "BargeIn"), (1760, "TurnEnded")]


def test_a_cough_over_the_bot_is_nothing() -> None:
    out = play(
        BOT_TALKS + [(1000, SpeechStarted()), (1200, SpeechStopped()), (1710, final("", rejected=True))]
    )
    assert [type(d).__name__ for _, d in out] == ["BeginSpeech", "EndOfSpeech"]


def test_speech_that_outlasts_a_bot_that_may_not_be_interrupted_is_a_turn() -> None:
    never = TurnPolicy(interrupt=Interrupt.NEVER)
    events = BOT_TALKS + [(1000, SpeechStarted()), (2000, SpeechStopped()), (2510, final("hello"))]
    assert turns(play(events, never)) == []
    assert turns(play(events + [(1500, BotSpeaking(False))], never)) == [(2510, TurnEnded("hello"))]


FIRST_TURN: list[tuple[int, TurnInput]] = [
    *GREETED,
    (1000, SpeechStarted()),
    (1500, SpeechStopped()),
    (2010, final("next tuesday")),
]


def test_late_speech_is_merged_while_the_reply_is_being_prepared() -> None:
    out = play(
        FIRST_TURN
        + [
            (2100, SpeechStarted()),
            (2450, BotSpeaking(False)),
            (2700, SpeechStopped()),
            (3210, final("at three")),
        ]
    )
    assert (2450, PauseBot(350)) in out  # the reply waits, and is dropped once there are words
    assert [(at, type(d).__name__) for at, d in out if isinstance(d, BargeIn)] == [(3210, "BargeIn")]
    assert turns(out)[1] == (3210, TurnEnded("next tuesday at three", continues=True))


def test_late_noise_only_delays_the_reply() -> None:
    out = play(
        FIRST_TURN + [(2100, SpeechStarted()), (2700, SpeechStopped()), (3210, final("", rejected=True))]
    )
    assert [e for e in out if isinstance(e[1], PauseBot | ResumeBot)] == [
        (2450, PauseBot(350)),
        (3210, ResumeBot(760)),
    ]
    assert len(turns(out)) == 1


def test_late_speech_that_is_not_understood_gives_the_turn_again() -> None:
    out = play(
        FIRST_TURN + [(2100, SpeechStarted()), (3700, SpeechStopped()), (4210, final("", rejected=True))]
    )
    assert turns(out)[1] == (4210, TurnEnded("next tuesday", continues=True))


def test_once_the_reply_is_audible_speech_is_a_new_turn() -> None:
    out = play(
        FIRST_TURN
        + [
            (2050, BotSpeaking(True)),
            (2100, SpeechStarted()),
            (2700, SpeechStopped()),
            (3210, final("at three")),
        ]
    )
    assert turns(out)[1] == (3210, TurnEnded("at three", interrupted=True))


@pytest.mark.parametrize(
    "keys, policy, expected",
    [
        ([(1000, "5")], TurnPolicy(), [(1000, "5")]),
        ([(1000, "1"), (1500, "2"), (2000, "3")], TurnPolicy(dtmf_max=3), [(2000, "123")]),
        ([(1000, "1"), (1500, "2")], TurnPolicy(dtmf_max=8), [(4500, "12")]),  # pause
        ([(1000, "1"), (1500, "2"), (2000, "#")], TurnPolicy(dtmf_max=8), [(2000, "12")]),
        ([(1000, "#")], TurnPolicy(), [(1000, "#")]),
        ([(1000, "#")], TurnPolicy(dtmf_finish=""), [(1000, "#")]),
        ([(1000, "1"), (1100, "#")], TurnPolicy(dtmf_max=1), [(1000, "1")]),
    ],
)
def test_keys(keys: list[tuple[int, str]], policy: TurnPolicy, expected: list[tuple[int, str]]) -> None:
    out = play(GREETED + [(at, Dtmf(k)) for at, k in keys], policy, until=5000)
    assert [(at, t.text) for at, t in turns(out)] == expected
    assert all(t.source is TurnSource.DTMF for _, t in turns(out))


def test_a_key_silences_the_bot_and_drops_what_was_being_said() -> None:
    out = play(BOT_TALKS + [(1000, SpeechStarted()), (1100, Dtmf("1"))], until=1200)
    assert [d for at, d in out if at == 1100] == [
        BargeIn(dtmf=True),
        DropSpeech(),
        TurnEnded("1", TurnSource.DTMF, interrupted=True),
    ]


def test_keys_typed_ahead_answer_the_next_question() -> None:
    out = play(
        GREETED + [(1000, Dtmf("1")), (1050, Dtmf("2")), (1300, BotSpeaking(True)), (1300, ReplyReady())]
    )
    assert [(at, t.text) for at, t in turns(out)][:2] == [(1000, "1"), (1300, "2")]


def test_silence_prompts_then_goodbye() -> None:
    def answered(at: int) -> list[tuple[int, TurnInput]]:
        return [(at, BotSpeaking(True)), (at + 1, ReplyReady()), (at + 2000, BotSpeaking(False))]

    out = play(GREETED + answered(7000) + answered(16000) + answered(29000), until=60_000)
    assert out == [
        (7000, SilenceExpired(1, last=False)),
        (16000, SilenceExpired(2, last=False)),
        (29000, SilenceExpired(3, last=True)),
    ]


def test_speech_starts_the_silence_count_again() -> None:
    out = play(
        [
            *GREETED,
            (7001, ReplyReady()),
            (9000, SpeechStarted()),
            (9500, SpeechStopped()),
            (10005, final("hello")),
        ]
        + [(10_010, ReplyReady())],
        until=17_100,
    )
    assert [d for _, d in out if isinstance(d, SilenceExpired)] == [SilenceExpired(1, False)] * 2


def test_somebody_who_never_stops_is_answered_again_and_again() -> None:
    engine, now, seen = TurnEngine(TurnPolicy(max_speech_ms=5000)), 1000, []
    engine.feed(ReplyReady(), 0)
    decisions = engine.feed(SpeechStarted(), now)
    while now < 40_000:
        for decision in decisions:
            seen.append(type(decision).__name__)
            if isinstance(decision, EndOfSpeech):
                engine.feed(final("", rejected=True), now + 10)
                engine.feed(ReplyReady(), now + 20)
        due = engine.deadline()
        assert due is not None and due > now
        now = due
        decisions = engine.tick(now)
    assert seen.count("EndOfSpeech") >= 7


def test_the_longest_call() -> None:
    assert play(GREETED, TurnPolicy(max_call_ms=5000))[-1] == (5000, CallOverdue())


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtmf_max": 0},
        {"dtmf_finish": "##"},
        {"no_input_ms": (5, 5)},
        {"no_input_ms": (-1,)},
        {"end_silence_ms": -1},
    ]
    + [{"max_call_ms": 0}],
)
def test_a_wrong_policy_names_its_field(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TurnPolicy(**wrong)  # type: ignore[arg-type]


EVENTS = st.one_of(
    st.builds(SpeechStarted, st.integers(0, 300)),
    st.builds(SpeechStopped, st.integers(0, 300)),
    st.builds(
        Transcript,
        st.sampled_from(["", "yes", "a b", "mhm"]),
        st.booleans(),
        rejected=st.booleans(),
        unasked=st.booleans(),
    ),
    st.builds(Dtmf, st.sampled_from("0123456789*#")),
    st.builds(BotSpeaking, st.booleans()),
    st.builds(TurnScore, st.floats(0, 1)),
    st.builds(OnHold, st.booleans()),
    st.just(ReplyReady()),
)
POLICIES = st.builds(
    TurnPolicy,
    interrupt=st.sampled_from(Interrupt),
    dtmf_max=st.integers(1, 4),
    resume_ms=st.sampled_from([0, 500]),
    max_speech_ms=st.integers(1, 3000),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), EVENTS), max_size=40), POLICIES)
def test_any_order_of_events_ends_and_keeps_the_recogniser_paired(
    events: list[tuple[int, TurnInput]], policy: TurnPolicy
) -> None:
    open_, speech = False, 0
    for _, decision in play(events, policy, until=60_000):
        match decision:
            case BeginSpeech():
                assert not open_
                open_, speech = True, speech + 1
            case EndOfSpeech():
                assert open_
                open_ = False
            case DropSpeech():
                open_ = False
