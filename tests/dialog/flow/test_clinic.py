"""The demo flow, played as text: whole conversations, and every node by speech alone and by keys alone."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dialog.flow.chat import Chat, chat
from dialog.flow.check import Means, reachable
from dialog.flow.engine import FlowEngine
from dialog.flow.load import load_flow
from dialog.flow.model import Ask, Flow, HangupNode, Menu, TransferNode
from dialog.turn import TurnPolicy, TurnSource
from dialog.types import Act, Hangup, Listen, Note, Say, Transfer, TransferFailed, UserTurn
from tests.clock import run

CLINIC = Path(__file__).parents[3] / "config/flows/clinic.yaml"
NOW = datetime(2026, 3, 4, 10, 30)  # a Wednesday

SPOKEN = {
    "ask_service": ["the dentist"],
    "ask_day": ["today", "sunday", "the third of december", "saturday", "monday", "next tuesday"],
    "ask_time": ["eight", "ten", "quarter past nine", "nine", "half past two", "four p m"],
    "ask_offer": ["yes please", "no"],
    "ask_name": ["my name is garcia", "xyzzy"],
    "ask_phone": ["five five five one two three four"],
    "confirm_booking": ["yes that's right", "no that's wrong"],
    "confirm_move": ["yes", "no"],
    "move_reference": ["four seven one one"],
    "cancel": ["four seven one one"],
    "confirm_cancel": ["yes", "no"],
}
KEYED = {
    "ask_service": ["2"],
    "ask_day": ["0403", "7", "0312", "6", "1", "2"],
    "ask_time": ["0800", "1000", "0915", "0900", "1430", "1600"],
    "ask_offer": ["1", "2"],
    "ask_name": ["427242", "1"],
    "ask_phone": ["5551234"],
    "confirm_booking": ["1", "2"],
    "confirm_move": ["1", "2"],
    "move_reference": ["4711"],
    "cancel": ["4711"],
    "confirm_cancel": ["1", "2"],
}


@pytest.fixture(scope="module")
def clinic() -> Flow:
    return load_flow(CLINIC)


def engine(flow: Flow) -> FlowEngine:
    return FlowEngine(flow, TurnPolicy(), lambda: NOW)


def answers(flow: Flow, node: str, means: Means, *, confirming: bool) -> Iterator[str]:
    """What a caller may answer at a node: each option once, a wrong answer, and the global options."""
    asked = flow.nodes[node]
    keys = means == "keys"
    if confirming:
        yield from ("1", "2") if keys else ("yes", "no")
    elif isinstance(asked, Menu):
        yield from (o.key if keys else (o.phrases or o.examples)[-1] for o in asked.options)
    else:
        yield from (KEYED if keys else SPOKEN)[node]
    yield "##" if keys else "my favourite colour is purple"
    yield from (g.key if keys else g.phrases[0] for g in flow.globals if not keys or g.key)


def walk(flow: Flow, means: Means) -> tuple[set[str], list[Act]]:
    """Play every answer in every state; the nodes seen and all acts."""
    source = TurnSource.DTMF if means == "keys" else TurnSource.SPEECH
    player = engine(flow)
    everything = play(player.greet)
    todo, known = [player.dump()], set[tuple[object, ...]]()
    while todo:
        state = todo.pop()
        slots = state["slots"]
        assert isinstance(slots, dict) and isinstance(state["node"], str)
        day = str(slots["day"]) if state["node"] == "ask_time" else ""  # elsewhere all days are alike
        place = (state["node"], state["pending"] is None, state["attempts"])
        place = (*place, slots["mode"], slots["who"] is None, day)
        if place in known:
            continue
        known.add(place)
        node = flow.nodes[state["node"]]
        if isinstance(node, HangupNode):
            continue
        if isinstance(node, TransferNode):
            player.restore(state)
            everything += play(lambda: player.reply(TransferFailed("desk", "busy")))
            todo.append(player.dump())
            continue
        for answer in answers(flow, node.id, means, confirming=state["pending"] is not None):
            player.restore(state)
            turn = UserTurn(answer, 0, source)
            acts = play(lambda turn=turn: player.reply(turn))  # type: ignore[misc]
            everything += acts
            todo.append(player.dump())
    return {str(a.data["id"]) for a in everything if isinstance(a, Note) and a.name == "node"}, everything


def play(acts: Callable[[], object]) -> list[Act]:
    async def collect() -> list[Act]:
        return [act async for act in acts()]  # type: ignore[attr-defined]

    return run(collect())


@pytest.mark.parametrize("means", ["speech", "keys"])
def test_every_node_is_reached_by_one_means_alone(clinic: Flow, means: Means) -> None:
    assert reachable(clinic, means) == set(clinic.nodes)
    seen, acts = walk(clinic, means)
    assert set(clinic.nodes) - seen == set()
    assert not [a for a in acts if isinstance(a, Note) and a.name == "flow_error"]
    assert {type(a) for a in acts if isinstance(a, Hangup | Transfer)} == {Hangup, Transfer}
    expected = set(engine(clinic).domain.hints)
    assert {a.hints for a in acts if isinstance(a, Listen)} <= expected
    texts = {a.text for a in acts if isinstance(a, Say)}
    assert not [t for t in texts if "{" in t or "none" in t.lower() or "  " in t or " ," in t]
    assert max(len(t) for t in texts) < 260  # fifteen seconds of speech


def test_every_question_can_be_answered_by_keys(clinic: Flow) -> None:
    for node in clinic.nodes.values():
        if isinstance(node, Ask):
            assert node.capture.keys is not None, node.id
        elif isinstance(node, Menu):
            assert all(option.key and (option.phrases or option.examples) for option in node.options), node.id


def conversation(flow: Flow, *lines: str) -> tuple[list[str], FlowEngine, Chat]:
    player = engine(flow)
    talk = Chat(player)

    async def hold() -> list[str]:
        said = await talk.greet()
        for line in lines:
            assert not talk.over, f"it ended before {line!r}"
            said = [*said, *await talk.send(line)]
        return said

    return run(hold()), player, talk


BOOKED = "You are booked on Tuesday, the tenth of March at half past ten in the morning."


def test_booking_by_voice(clinic: Flow) -> None:
    said, player, talk = conversation(
        clinic,
        *(
            "i would like to see the dentist",
            "the dentist",
            "sunday",
            "next tuesday",
            "ten o'clock",
            "yes please",
        ),
        *("my name is garcia", "yes that's right", "no thank you"),
    )
    assert said[0] == "Hello, this is Riverside Clinic."
    assert "On Sundays we are closed." in said
    assert "I have nothing at that time, but half past ten in the morning is free. Shall I take that?" in said
    assert BOOKED in said
    assert talk.ended == "hangup: done"
    reference = str(player.slots["reference"])
    assert f"Your reference number is {' '.join(reference)}." in said and len(reference) == 4


def test_booking_by_keys_gives_the_same_reference(clinic: Flow) -> None:
    by_keys, keyed, talk = conversation(clinic, "1", "2", "2", "1000", "1", "427242#", "1", "2")
    _, spoken, _ = conversation(
        clinic, "book", "the dentist", "tuesday", "ten thirty", "garcia", "yes", "no thanks"
    )
    assert BOOKED in by_keys and talk.ended == "hangup: done"
    assert keyed.slots["reference"] == spoken.slots["reference"]


def test_a_name_that_is_not_on_the_list_gives_way_to_a_number(clinic: Flow) -> None:
    said, player, _ = conversation(
        clinic, "book", "nurse", "monday", "two p m", "zaphod", "beeblebrox", "555 1234", "yes"
    )
    assert said[-4].endswith("for the number 5 5 5 1 2 3 4. Is that right?")
    assert player.slots["who"] == "the number 5 5 5 1 2 3 4"


def test_correcting_the_read_back(clinic: Flow) -> None:
    said, player, _ = conversation(
        clinic, *("book", "doctor", "monday", "ten", "smith", "no", "the time", "half past three", "yes")
    )
    assert "What shall I change, the day, the time, or the name?" in said
    assert "You are booked on Monday, the ninth of March at half past three in the afternoon." in said
    assert player.slots["name"] == "Smith"


def test_moving(clinic: Flow) -> None:
    said, _, talk = conversation(
        clinic,
        *("can i move my appointment to another day", "four seven one one", "yes", "saturday", "three p m"),
        *("eleven", "no", "friday", "half past nine", "yes", "that's all"),
    )
    assert "4 7 1 1, is that right?" in said
    assert "On Saturdays we see patients from nine to half past eleven." in said
    assert "Your appointment is moved. See you on Friday at half past nine in the morning." in said
    assert talk.ended == "hangup: done"


def test_cancelling_and_thinking_better_of_it(clinic: Flow) -> None:
    said, *_ = conversation(clinic, "please cancel my appointment", "4711", "yes")
    assert "Your appointment is cancelled." in said
    said, *_ = conversation(clinic, "3", "4711", "2")
    assert "All right, I have cancelled nothing." in said


def test_opening_hours_at_any_time(clinic: Flow) -> None:
    said, *_ = conversation(clinic, "are you open on saturday", "are you open on sundays", "no")
    assert sum("from nine to twelve on Saturdays" in text for text in said) == 2


def test_a_person_and_back(clinic: Flow) -> None:
    _, player, talk = conversation(clinic, "book", "nurse", "operator")
    assert talk.ended == "transfer: sip:frontdesk@127.0.0.1:5070"
    said = run(talk.take(TransferFailed("sip:frontdesk@127.0.0.1:5070", "busy")))
    assert said == [
        "I am sorry, nobody at the front desk can take your call right now.",
        "Which day would suit you?",
    ]
    assert player.slots["service"] == "nurse"


def test_nobody_is_asked_more_than_three_times(clinic: Flow) -> None:
    said, _, talk = conversation(clinic, *["my favourite colour is purple"] * 3)
    assert "Or press 1 to book" in said[2]
    assert talk.ended.startswith("transfer")


def test_the_first_question_names_no_keys(clinic: Flow) -> None:
    for node in clinic.nodes.values():
        if isinstance(node, Ask | Menu):
            assert "press" not in node.question.source


UNSEEN = {
    "book": ["could i make an appointment for next friday", "i'd like to see the doctor tomorrow"],
    "move": ["i would like to come on another day", "can we change my appointment to monday"],
    "cancel": ["i can't come tomorrow please cancel", "i want to cancel the visit on monday"],
    "hours": ["when do you close on friday", "are you open in the afternoon"],
    "person": ["i want to speak with a human", "can somebody talk to me please"],
}


@pytest.mark.parametrize("intent, text", [(k, t) for k, group in UNSEEN.items() for t in group])
def test_unseen_sentences_find_their_way(clinic: Flow, intent: str, text: str) -> None:
    menu = clinic.nodes["help"]
    assert isinstance(menu, Menu) and menu.intents is not None
    assert menu.intents.classify(text)[0].name == intent


def test_a_console_talks_by_lines(clinic: Flow) -> None:
    async def hold(*lines: str) -> list[str]:
        return [line async for line in chat(engine(clinic), lines)]

    said = run(hold("opening hours", "", "no", "never read"))
    assert said[-2:] == ["Thank you for calling. Goodbye.", "(hangup: done)"]
    assert "Are you still there? Is there anything else I can do for you?" in said
    assert run(hold("", "", ""))[-1] == "(hangup: no_input)"
    assert len(run(hold())) == 2
