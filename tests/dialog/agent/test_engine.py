import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime

import pytest

from dialog.agent.engine import AgentEngine, AgentParts
from dialog.agent.load import parse_agent
from dialog.agent.toolbox import Toolbox
from dialog.llm.base import Finished, LlmError, Role, Text
from dialog.turn import TurnPolicy
from dialog.types import (
    Act,
    CallExpired,
    Hangup,
    Listen,
    NoInput,
    Note,
    Say,
    Transfer,
    TransferFailed,
    UserTurn,
)
from tests import clock
from tests.dialog.llm.models import Scripted, Step, call, words

FILE = """\
agent: reception
instructions: You answer for {clinic}. The caller is {caller}.
greeting: Hello, this is {clinic}.
hints: [when are you open]
variables: {clinic: Riverside}
transfers: {operator: "100"}
limits: {filler_ms: 1000, rounds: 3}
turn: {end_silence_ms: 700}
tools:
  hours:
    description: Opening hours
    parameters: {day: weekday}
    optional: [day]
    python: tests.dialog.agent.test_engine:hours
    timeout_s: 8
"""
NOW = datetime(2026, 1, 5, 9)


async def hours(day: str = "", wait_s: float = 0) -> str:
    if day == "slowday":
        await asyncio.sleep(3)
    return "nine to five"


def agent(*answers: Sequence[Step], file: str = FILE) -> tuple[AgentEngine, Scripted]:
    model = Scripted(answers)
    spec = parse_agent(file)
    parts = AgentParts(model, Toolbox())
    return AgentEngine(spec, parts, TurnPolicy(), lambda: NOW, {"caller": "555"}), model


async def played(acts: AsyncGenerator[Act, None]) -> list[Act]:
    async with aclosing(acts):
        return [act async for act in acts]


def spoken(acts: list[Act]) -> str:
    return "".join(act.text for act in acts if isinstance(act, Say)).strip()


def turn(text: str, **more: bool) -> UserTurn:
    return UserTurn(text, 1000, **more)


def talk(engine: AgentEngine, *turns: UserTurn | NoInput | TransferFailed | CallExpired) -> list[list[Act]]:
    """Play the turns; each answer is heard whole."""

    async def run() -> list[list[Act]]:
        found = []
        for given in turns:
            acts = await played(engine.reply(given))
            engine.heard(spoken(acts), True)
            found.append(acts)
        return found

    return clock.run(run())


def test_it_greets_listens_and_answers_in_sentences() -> None:
    engine, model = agent(words("We are open. Every day from nine to five! Anything else?"))

    async def run() -> list[Act]:
        greeting = await played(engine.greet())
        engine.heard(spoken(greeting), True)
        assert isinstance(greeting[0], Listen) and greeting[0].hints.sentences == ("when are you open",)
        assert greeting[0].policy is not None and greeting[0].policy.end_silence_ms == 700
        assert greeting[1:] == [Say("Hello, this is Riverside.")]
        return await played(engine.reply(turn("when are you open")))

    acts = clock.run(run())
    said = [act.text for act in acts if isinstance(act, Say)]
    assert said == ["We are open. ", "Every day from nine to five! ", "Anything else? "]
    assert [(m.role, m.content) for m in model.requests[0].messages] == [
        (Role.SYSTEM, "You answer for Riverside. The caller is 555."),
        (Role.ASSISTANT, "Hello, this is Riverside."),
        (Role.USER, "when are you open"),
    ]
    (cost,) = [act for act in acts if isinstance(act, Note) and act.name == "llm"]
    assert cost.data["completion"] == 11 and cost.data["first_token_ms"] == 0


def test_the_next_question_is_asked_with_what_was_heard_of_the_answer() -> None:
    engine, model = agent(words("We are open every day. Until five."), words("Yes."))

    async def run() -> None:
        await played(engine.reply(turn("when are you open")))
        engine.heard("We are open every", False)
        await played(engine.reply(turn("on sunday too", interrupted=True)))

    clock.run(run())
    contents = [m.content for m in model.requests[1].messages[1:]]
    assert contents == ["when are you open", "We are open every", "on sunday too"]


def test_a_tool_runs_and_its_result_is_told_to_the_model() -> None:
    engine, model = agent([Text("Let me see. "), *call("hours", '{"day": "monday"}')], words("From nine."))
    (acts,) = talk(engine, turn("monday?"))
    assert spoken(acts) == "Let me see. From nine."
    (used,) = [act for act in acts if isinstance(act, Note) and act.name == "tool"]
    assert used.data["result"] == "nine to five" and used.data["ok"] is True
    assert [m.role for m in model.requests[1].messages[1:]] == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert {tool.name for tool in model.requests[0].tools} == {"hours", "transfer_call", "end_call"}


def test_a_slow_tool_is_covered_by_words_that_the_model_never_learns_of() -> None:
    engine, model = agent(call("hours", '{"day": "slowday"}'), words("From nine."))
    (acts,) = talk(engine, turn("when"))
    assert spoken(acts) == "One moment, please.From nine."
    assert all("One moment" not in m.content for m in model.requests[1].messages)


def test_a_slow_model_is_covered_once() -> None:
    engine, _ = agent([5.0, *words("From nine.")])
    (acts,) = talk(engine, turn("when"))
    assert spoken(acts) == "One moment, please.From nine."
    (cost,) = [act for act in acts if isinstance(act, Note)]
    assert cost.data["first_token_ms"] == 5000


def test_it_hangs_up_after_its_goodbye_or_with_the_files() -> None:
    engine, _ = agent([Text("Bye then! "), *call("end_call")], call("end_call"))
    first, second = talk(engine, turn("bye"), turn("bye"))
    assert spoken(first) == "Bye then!" and first[-1] == Hangup()
    assert spoken(second) == "Thank you for calling. Goodbye." and second[-1] == Hangup()


def test_it_transfers_by_name_and_learns_when_nobody_answers() -> None:
    engine, model = agent(call("transfer_call", '{"to": "operator"}'), words("Nobody is there."))
    first, second = talk(engine, turn("a person please"), TransferFailed("100", "busy"))
    assert first[-1] == Transfer("100") and spoken(first) == "One moment, I will connect you."
    assert spoken(second) == "Nobody is there."
    assert (
        model.requests[1].messages[-1].content
        == "(Event: nobody could be reached at operator (busy); say so)"
    )


@pytest.mark.parametrize("arguments", ['{"to": "boss"}', '{"to": ["boss"]}', "{", "[]", "{}"])
def test_a_transfer_to_nobody_is_put_right_by_the_model(arguments: str) -> None:
    engine, model = agent(call("transfer_call", arguments), words("I cannot do that."))
    (acts,) = talk(engine, turn("the boss please"))
    assert spoken(acts) == "I cannot do that."
    assert "known are operator" in model.requests[1].messages[-1].content


def test_an_unknown_tool_and_endless_tools_end_in_an_answer() -> None:
    engine, model = agent(call("cook"), call("hours"), words("Sorry."))
    (acts,) = talk(engine, turn("dinner"))
    assert "there is no tool 'cook'" in model.requests[1].messages[-1].content
    assert spoken(acts) == "Sorry." and model.requests[2].tools == ()


@pytest.mark.parametrize("last", [[Finished()], call("hours"), call("transfer_call", '{"to": "nobody"}')])
def test_a_turn_without_a_word_is_a_failure_and_not_silence(last: Sequence[Step]) -> None:
    engine, model = agent(call("hours"), call("hours"), last, file=FILE + "on_failed: operator\n")
    (acts,) = talk(engine, turn("hello"))
    assert spoken(acts) == "I am sorry, I cannot help you right now." and acts[-1] == Transfer("100")
    used = [act for act in acts if isinstance(act, Note) and act.name == "tool"]
    assert len(used) == 2 and len(model.requests) == 3


def test_barge_in_stops_the_model_and_the_tool() -> None:
    engine, model = agent(words("One two three. Four five six. Seven.", pause_s=0.5))

    async def run() -> int:
        acts = engine.reply(turn("count"))
        async with aclosing(acts):
            async for act in acts:
                if isinstance(act, Say) and "three" in act.text:
                    break
        tool, _ = agent(call("hours", '{"day": "slowday"}'))
        acts = tool.reply(turn("when"))
        async with aclosing(acts):
            async for act in acts:
                if isinstance(act, Say):
                    break
        return len(asyncio.all_tasks())

    assert clock.run(run()) == 1
    assert model.stopped == 1


def test_what_the_caller_adds_replaces_his_turn() -> None:
    engine, model = agent(words("Which day?"), words("Booked."))

    async def run() -> None:
        await played(engine.reply(turn("book a table")))
        await played(engine.reply(turn("book a table for monday", continues=True)))

    clock.run(run())
    assert [m.content for m in model.requests[1].messages[1:]] == ["book a table for monday"]


def test_silence_noise_and_time_need_no_model() -> None:
    engine, model = agent(words("x"))
    acts = talk(engine, NoInput(1, 0), NoInput(2, 0, last=True), turn("", rejected=True), CallExpired())
    assert [spoken(a) for a in acts[:3]] == [
        "Are you still there?",
        "I still cannot hear you, so I will hang up now. Goodbye.",
        "Sorry, I did not get that. Please say it again.",
    ]
    assert acts[3][-1] == Hangup("expired") and not model.requests


def test_with_no_model_left_callers_go_to_a_person_if_there_is_one() -> None:
    down = LlmError("all down")
    engine, _ = agent([down], file=FILE + "on_failed: operator\n")
    (acts,) = talk(engine, turn("hello"))
    assert spoken(acts) == "I am sorry, I cannot help you right now." and acts[-1] == Transfer("100")
    engine, _ = agent([down])
    with pytest.raises(LlmError):
        talk(engine, turn("hello"))


def test_an_agent_without_greeting_opens_by_the_model() -> None:
    engine, model = agent(
        words("Good morning!"), file=FILE.replace("greeting: Hello, this is {clinic}.\n", "")
    )
    acts = clock.run(played(engine.greet()))
    assert spoken(acts) == "Good morning!" and "greet the caller" in model.requests[0].messages[-1].content


def test_signs_without_sound_are_not_spoken() -> None:
    engine, _ = agent([Text("Hello.\n\n"), Text("***\n\n"), Text("Bye."), Finished()])
    (acts,) = talk(engine, turn("hi"))
    assert [act.text.strip() for act in acts if isinstance(act, Say)][-1].endswith("Bye.")
