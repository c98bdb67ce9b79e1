"""What a flow may say next is known while it listens, as far as the answer does not matter."""

from datetime import datetime

from dialog.flow.engine import FlowEngine
from dialog.flow.foresee import first_words
from dialog.turn import TurnPolicy
from dialog.types import Act, Say, UserTurn
from tests.clock import run
from tests.dialog.flow.flows import flow

NOW = datetime(2026, 3, 2, 10, 0)

CLINIC = """
flow: clinic
start: hello
nodes:
  hello:
    say: "Welcome."
    goto: what
  what:
    menu: "Bookings or opening hours?"
    reprompts: ["Please say bookings, or opening hours."]
    options:
      book: {phrases: [bookings], goto: day}
      hours: {phrases: [opening hours], goto: hours}
  day:
    ask: "On which day?"
    slot: day
    capture: day
    goto: done
  hours:
    say: "We open at nine."
    goto: what
  done:
    say: "See you on {day|weekday}. Bring your card."
    goto: bye
  bye:
    say: Goodbye.
    hangup: done
"""


def conversation() -> tuple[FlowEngine, list[list[str]]]:
    engine = FlowEngine(flow(CLINIC), TurnPolicy(), lambda: NOW)
    told: list[list[str]] = []
    engine.on_listening = lambda says: told.append([say.text for say in says])
    return engine, told


async def play(engine: FlowEngine, *texts: str) -> list[list[str]]:
    replies = [said([act async for act in engine.greet()])]
    for text in texts:
        acts = [act async for act in engine.reply(UserTurn(text, 0))]
        replies.append(said(acts))
    return replies


def said(acts: list[Act]) -> list[str]:
    return [act.text for act in acts if isinstance(act, Say)]


def test_reprompts_and_all_ways_out_of_a_menu_are_foreseen() -> None:
    engine, told = conversation()
    run(play(engine))
    assert "Please say bookings, or opening hours." in told[0]
    assert "On which day?" in told[0] and "We open at nine." in told[0]


def test_what_depends_on_the_answer_is_not_foreseen_and_what_comes_after_it_is() -> None:
    engine, told = conversation()
    run(play(engine, "bookings"))
    assert "Goodbye." in told[1]
    assert not any("See you" in text for text in told[1])


def test_what_is_said_had_been_foreseen() -> None:
    engine, told = conversation()
    replies = run(play(engine, "opening hours", "nonsense", "bookings"))
    for before, reply in zip(told[:-1], replies[1:], strict=True):
        assert reply and set(reply) <= set(before)


def test_looking_ahead_changes_nothing() -> None:
    engine, _ = conversation()
    run(play(engine, "bookings"))
    assert engine.node == "day" and engine.dump() == engine.dump()


def test_the_greeting_is_known_before_anybody_calls() -> None:
    assert [say.text for say in first_words(flow(CLINIC), NOW)] == ["Welcome.", "Bookings or opening hours?"]
