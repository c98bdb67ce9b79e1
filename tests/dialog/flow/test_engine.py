"""Conversations with a small flow: what is said, when the engine listens, and what it remembers."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from textwrap import dedent

import pytest

from dialog.errors import FlowRunError
from dialog.flow.model import Flow, Say
from dialog.flow.template import compile_template
from dialog.turn import Interrupt, TurnPolicy
from dialog.types import (
    Act,
    CallExpired,
    Hangup,
    Listen,
    NoInput,
    Note,
    NoteName,
    Transfer,
    TransferFailed,
    TransferMode,
    UserTurn,
)
from dialog.types import Say as Spoken
from tests.clock import run
from tests.dialog.flow.flows import SHOP, Talk, flow, spoken


def started(**variables: str) -> Talk:
    talk = Talk(**variables)
    talk.greet()
    return talk


def at_code() -> Talk:
    talk = started()
    talk.say("monday")
    return talk


def at_more() -> Talk:
    talk = at_code()
    talk.say("1 2 3 4")
    talk.say("yes")
    return talk


def listen(acts: list[Act]) -> Listen:
    return [act for act in acts if isinstance(act, Listen)][-1]


def notes(acts: list[Act], name: str) -> list[dict[str, object]]:
    return [dict(act.data) for act in acts if isinstance(act, Note) and act.name == name]


def test_greeting_listens_before_it_speaks() -> None:
    talk = Talk()
    acts = talk.greet()
    assert [type(act) for act in acts] == [Note, Note, Listen, Spoken, Spoken]
    assert [n["id"] for n in notes(acts, NoteName.NODE)] == ["hello", "ask_day"]
    assert spoken(acts) == "Welcome to Hill Shop. Which day?"
    assert "today" in str(listen(acts).hints.grammar)
    assert {"operator", "goodbye"} <= set(listen(acts).hints.phrases)


def test_a_whole_conversation() -> None:
    talk = started(shop="Dale Shop")
    acts = talk.say("next tuesday")
    assert spoken(acts) == "Your code for Tuesday?"
    assert notes(acts, NoteName.SLOT) == [{"name": "day", "value": "2026-03-10"}]
    assert talk.engine.slots["day"] == date(2026, 3, 10)
    assert spoken(talk.say("one two three four")) == "1 2 3 4, right?"
    assert spoken(talk.say("yes")) == "Anything else?"
    acts = talk.say("that is all")
    assert notes(acts, NoteName.INTENT) == [{"name": "done", "confidence": 1.0}]
    assert spoken(acts) == "This call is over. Your code is 1 2 3 4. Goodbye."
    assert acts[-1] == Hangup("done")
    assert talk.engine.slots["wish"] == "done"


def test_the_same_by_keys() -> None:
    talk = started()
    assert spoken(talk.press("2")) == "Your code for Tuesday?"
    assert spoken(talk.press("1234")) == "1 2 3 4, right?"
    assert spoken(talk.press("1")) == "Anything else?"
    assert talk.press("2")[-1] == Hangup("done")


def test_every_state_listens_with_its_own_policy() -> None:
    talk = started()
    policy = listen(talk.say("monday")).policy
    assert policy is not None and policy.dtmf_max == 4 and policy.end_silence_ms == 1200
    policy = listen(talk.say("1 2 3 4")).policy
    assert policy is not None and policy.dtmf_max == 1 and policy.end_silence_ms == 500
    acts = talk.say("yes") and talk.say("that is all")
    policies = [act.policy.interrupt for act in acts if isinstance(act, Listen) and act.policy]
    assert policies == [Interrupt.NEVER]  # legal and goodbye alike


def test_a_say_node_with_a_policy_gets_a_listen_of_its_own() -> None:
    text = SHOP.replace("goto: ask_day\n  ask_day", "goto: ask_day\n    turn: {barge_in_words: 3}\n  ask_day")
    acts = Talk(text).greet()
    assert [type(act) for act in acts] == [Note, Note, Listen, Spoken, Listen, Spoken]
    first, second = (act for act in acts if isinstance(act, Listen))
    assert first.hints == second.hints
    assert first.policy and second.policy
    assert (first.policy.barge_in_words, second.policy.barge_in_words) == (3, 1)


def test_all_that_is_expected_was_announced() -> None:
    talk = started()
    turns = ["sunday", "monday", "1 2 3 4", "no", "1 2 3 4", "yes", "operator"]
    heard = [listen(talk.say(turn)).hints for turn in turns]
    assert set(heard) <= set(talk.engine.domain.hints)
    assert talk.engine.domain.name == "shop" and talk.engine.domain.language == "en"
    assert not any(hints.open for hints in talk.engine.domain.hints)


# Misunderstandings


def test_reprompts_by_attempt_then_goodbye_without_on_fail() -> None:
    talk = started()
    acts = talk.say("xyzzy")
    assert spoken(acts) == "Once more, which day?"
    assert notes(acts, NoteName.NO_MATCH) == [{"text": "xyzzy"}]
    assert "press 1 for Monday" in spoken(talk.say("", rejected=True))
    acts = talk.say("xyzzy")
    assert "cannot understand you" in spoken(acts)
    assert acts[-1] == Hangup("no_match")
    policy = listen(acts).policy
    assert policy is not None and policy.interrupt is Interrupt.NEVER


def test_on_fail_leads_to_its_node_and_back_when_the_transfer_fails() -> None:
    talk = at_code()
    assert "I did not get that" in spoken(talk.say("one two"))
    acts = talk.say("three")
    assert spoken(acts) == "One moment." and acts[-1] == Transfer("sip:desk@127.0.0.1")
    acts = talk.reply(TransferFailed("sip:desk@127.0.0.1", "busy"))
    assert notes(acts, "transfer_failed") == [{"target": "sip:desk@127.0.0.1", "reason": "busy"}]
    assert spoken(acts) == "I am sorry, nobody can take your call right now. Your code for Monday?"
    assert spoken(talk.say("what")).startswith("Sorry")  # attempts count anew


def test_attempts_count_anew_at_the_next_question() -> None:
    talk = started()
    talk.say("xyzzy")
    talk.say("xyzzy")
    talk.say("monday")
    assert "did not get that" in spoken(talk.say("xyzzy"))


def test_unknown_keys_are_misunderstandings_too() -> None:
    talk = started()
    assert spoken(talk.press("8")) == "Once more, which day?"
    assert "tomorrow" in spoken(talk.press("#"))


def test_rejected_speech_is_not_guessed_at() -> None:
    talk = started()
    assert spoken(talk.say("monday", rejected=True)) == "Once more, which day?"


# Reading back


def test_no_asks_again_and_counts() -> None:
    talk = at_code()
    talk.say("1 2 3 4")
    assert spoken(talk.say("no")) == "All right, once more. Your code for Monday?"
    talk.say("1 2 3 4")
    assert talk.say("no")[-1] == Transfer("sip:desk@127.0.0.1")


def test_a_correction_is_taken_at_once() -> None:
    talk = at_code()
    talk.say("1 2 3 4")
    assert spoken(talk.say("no 1 2 3 5")) == "1 2 3 5, right?"
    assert spoken(talk.say("5 5 5 5")) == "5 5 5 5, right?"
    assert spoken(talk.say("5 5 5 5")) == "Anything else?"
    assert talk.engine.slots["code"] == "5555"


def test_a_read_back_is_answered_by_keys() -> None:
    talk = at_code()
    talk.press("1234")
    assert spoken(talk.press("7")).endswith("or say no, or press 2.")
    assert spoken(talk.press("1")) == "Anything else?"
    talk = at_code()
    talk.press("1234")
    assert spoken(talk.press("2")).startswith("All right")
    assert spoken(talk.press("1235")) == "1 2 3 5, right?"


def test_only_the_unsure_is_read_back() -> None:
    text = SHOP.replace("    on_fail: desk", "    confirm_when: unsure\n    on_fail: desk")
    for confidence, answer in [(0.9, "Anything else?"), (None, "Anything else?"), (0.3, "1 2 3 4, right?")]:
        talk = Talk(text)
        talk.greet()
        talk.say("monday")
        assert spoken(talk.say("1 2 3 4", confidence=confidence)) == answer


# Options of every question


def test_globals_work_everywhere_by_voice_and_key() -> None:
    for make in (started, at_code, at_more):
        assert make().say("operator")[-1] == Transfer("sip:desk@127.0.0.1")
        assert make().press("0")[-1] == Transfer("sip:desk@127.0.0.1")
        assert make().say("goodbye")[-1] == Hangup("done")
        assert make().say("could you say that again")[-1] == make().press("*")[-1]


def test_repeat_asks_the_same_and_costs_nothing() -> None:
    talk = at_code()
    talk.say("1 2 3 4")
    assert spoken(talk.say("say that again")) == "1 2 3 4, right?"
    assert spoken(talk.say("yes")) == "Anything else?"


def test_start_over_forgets() -> None:
    talk = at_more()
    acts = talk.say("start over")
    assert spoken(acts) == "Which day?"
    assert talk.engine.slots["day"] is None and talk.engine.slots["shop"] == "Hill Shop"


def test_back_returns_to_the_question_that_was_left() -> None:
    text = SHOP.replace('transfer: "{desk}"', 'transfer: "{desk}"\n    on_failed: sorry').replace(
        "  bye:", "  sorry:\n    say: Nobody there.\n    goto: back\n  bye:"
    )
    talk = Talk(text)
    talk.greet()
    talk.say("friday")
    talk.say("operator")
    assert spoken(talk.reply(TransferFailed("x", "busy"))) == "Nobody there. Your code for Friday?"


# Silence and the end


def test_silence_prompts_then_goodbye_which_can_be_interrupted() -> None:
    talk = started()
    assert spoken(talk.reply(NoInput(1, 7000))) == "Are you still there? Which day?"
    assert spoken(talk.reply(NoInput(2, 14000))).startswith("I cannot hear you.")
    assert spoken(talk.reply(NoInput(9, 20000))).startswith("I cannot hear you.")
    acts = talk.reply(NoInput(3, 25000, last=True))
    assert "hang up" in spoken(acts) and acts[-1] == Hangup("no_input")
    assert spoken(talk.say("monday", interrupted=True)) == "Your code for Monday?"


def test_silence_is_no_misunderstanding() -> None:
    talk = started()
    for count in range(1, 6):
        talk.reply(NoInput(count, 1000 * count))
    assert spoken(talk.say("xyzzy")) == "Once more, which day?"


def test_a_call_that_lasts_too_long_ends_politely() -> None:
    acts = at_code().reply(CallExpired())
    assert "Goodbye" in spoken(acts) and acts[-1] == Hangup("expired")


def test_speech_over_the_goodbye_does_not_keep_the_line_open() -> None:
    talk = at_more()
    talk.say("that is all")
    acts = talk.say("thank you so much", interrupted=True)
    assert spoken(acts) == "Goodbye." and acts[-1] == Hangup("done")
    assert talk.say("operator")[-1] == Transfer("sip:desk@127.0.0.1")


def test_a_transfer_without_any_question_before_ends_the_call_when_it_fails() -> None:
    text = 'flow: f\nstart: desk\nnodes: {desk: {transfer: "100"}}'
    talk = Talk(text)
    assert talk.greet()[-1] == Transfer("100")
    acts = talk.reply(TransferFailed("100", "busy"))
    assert "nobody can take your call" in spoken(acts) and acts[-1] == Hangup("transfer_failed")


def test_a_flow_says_how_the_caller_is_handed_over() -> None:
    text = """
        flow: f
        start: desk
        nodes:
          desk:
            transfer: "100"
            mode: attended
            summary: A call from {caller}.
            announce: aloud
            music: ringing
            timeout_s: 20
    """
    order = Transfer("100", TransferMode.ATTENDED, "A call from .", True, "ringing", 20.0)
    assert Talk(dedent(text)).greet()[-1] == order


# Interruptions and second thoughts


async def first_of(acts: AsyncGenerator[Act, None], kind: type[Act]) -> None:
    """Take acts until one of a kind, then close the generator, as a barge-in does."""
    async with aclosing(acts):
        async for act in acts:
            if isinstance(act, kind):
                return


def test_a_barge_in_finds_the_question_that_is_being_asked() -> None:
    talk = Talk()
    run(first_of(talk.engine.greet(), Listen))
    assert spoken(talk.say("monday", interrupted=True)) == "Your code for Monday?"
    run(first_of(talk.engine.reply(UserTurn("1 2 3 4", 5000)), Spoken))
    assert spoken(talk.say("yes", interrupted=True)) == "Anything else?"


def test_a_reply_that_never_started_changed_nothing() -> None:
    talk = started()
    unused = talk.engine.reply(UserTurn("monday", 1000))
    run(unused.aclose())
    assert talk.engine.node == "ask_day" and talk.engine.slots["day"] is None


def test_a_turn_that_goes_on_takes_the_reply_back() -> None:
    talk = started()
    talk.say("tuesday")
    assert talk.engine.slots["day"] == date(2026, 3, 10)
    acts = talk.say("tuesday next week please", continues=True)
    assert spoken(acts) == "Your code for Tuesday?"
    assert spoken(talk.say("sunday", continues=True)) == "We are closed on Sundays. Which day?"
    assert [u.text for u in talk.engine.history.utterances] == ["sunday"]


def test_a_misunderstanding_that_goes_on_counts_once() -> None:
    talk = started()
    for text in ("x", "x y", "x y z"):
        assert spoken(talk.say(text, continues=text != "x")) == "Once more, which day?"


def test_history_is_what_was_heard() -> None:
    talk = started()
    talk.engine.heard("Welcome to Hill Shop. Which", complete=False)
    talk.say("monday")
    talk.engine.heard("Your code for Monday?", complete=True)
    talk.say("", rejected=True)
    said = [(u.speaker.value, u.text, u.complete) for u in talk.engine.history.utterances]
    assert said == [
        ("bot", "Welcome to Hill Shop. Which", False),
        ("caller", "monday", True),
        ("bot", "Your code for Monday?", True),
        ("caller", "", False),
    ]


# Keeping a conversation


def test_a_conversation_goes_on_in_another_process() -> None:
    talk = at_code()
    talk.say("1 2 3 4")
    kept = json.loads(json.dumps(talk.engine.dump()))
    other = Talk()
    other.engine.restore(kept)
    assert other.engine.slots == talk.engine.slots
    assert spoken(other.say("yes")) == "Anything else?"


@pytest.mark.parametrize(
    "change",
    [
        {"flow": "other"},
        {"node": "gone"},
        {"back": "gone"},
        {"slots": []},
        {"slots": {"day": {"x": 1}}},
        {"attempts": "many"},
        {"question": None},
        {"more": 1},
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    kept = at_code().engine.dump() | change
    with pytest.raises(FlowRunError):
        Talk().engine.restore(kept)


def test_unknown_variables_are_refused() -> None:
    with pytest.raises(ValueError, match='no variable "shopp", did you mean "shop"'):
        Talk(shopp="x")


# Flows that fail


def looping() -> Flow:
    """A circle that the loader would have refused."""
    good = flow()
    circle = Say(id="hello", line=1, texts=(compile_template("Again."),), goto="hello")
    return replace(good, nodes={**good.nodes, "hello": circle})


def test_an_endless_loop_ends_the_call_with_an_apology() -> None:
    acts = Talk(looping()).greet()
    assert "more than 100 nodes" in str(notes(acts, "flow_error")[0]["error"])
    assert spoken(acts) == "I am sorry, something went wrong on our side."
    assert acts[-1] == Hangup("flow_error")


def test_an_expression_that_fails_asks_again_and_then_gives_up() -> None:
    text = SHOP.replace('weekday(day) == "sunday"', "weekday(shop) == shop")
    talk = Talk(text)
    talk.greet()
    acts = talk.say("monday")
    assert spoken(acts) == "I am sorry, something went wrong on our side. Which day?"
    assert "a day is wanted, not text" in str(notes(acts, "flow_error")[0]["error"])
    assert talk.engine.node == "ask_day" and talk.engine.slots["day"] is None
    assert talk.say("monday")[-1] == Hangup("flow_error")


def test_a_turn_that_works_forgives_the_failure() -> None:
    text = SHOP.replace(
        'weekday(day) == "sunday"', 'weekday(day) == "monday" and day > name and name == shop'
    )
    talk = Talk(text.replace("variables: {", "variables: {name: x, "))
    talk.greet()
    assert "went wrong" in spoken(talk.say("monday"))
    assert spoken(talk.say("xyzzy")) == "Once more, which day?"
    assert "went wrong" in spoken(talk.say("monday"))
    assert spoken(talk.say("friday")) == "Your code for Friday?"


def test_policy_of_the_call_is_the_base() -> None:
    talk = Talk()
    talk.engine._policy = TurnPolicy(barge_in_ms=777)
    policy = listen(talk.greet()).policy
    assert policy is not None and policy.barge_in_ms == 777
