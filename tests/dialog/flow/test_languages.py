"""A flow in two languages: by a node, by a global option, and because the caller speaks the other one."""

import asyncio
from datetime import datetime

import pytest

from dialog.errors import FlowError
from dialog.flow.engine import FlowEngine
from dialog.flow.load import parse_flow
from dialog.turn import TurnPolicy
from dialog.types import Act, Listen, Note, Say, UserTurn

FLOW = """
flow: hotel
start: welcome
globals:
  german: {phrases: [german please, auf deutsch bitte], language: de, repeat: true}
  english: {phrases: [english please], language: en, repeat: true}
nodes:
  welcome:
    menu: {en: Would you like to book or to cancel?, de: Möchten Sie buchen oder absagen?}
    options:
      book: {phrases: [book, buchen], goto: nights}
      cancel: {phrases: [cancel, absagen], goto: bye}
      greek: {phrases: [greek], goto: hellenic}
    reprompts: {en: 'Sorry? {question}', de: 'Wie bitte? {question}'}
  nights:
    ask: {en: For whom?, de: Für wen?}
    slot: who
    phrases: [mary, maria]
    confirm: {en: 'For {who}?', de: 'Für {who}?'}
    goto: bye
  hellenic: {language: el, say: {en: One moment., el: Μια στιγμή.}, goto: welcome}
  bye: {say: Goodbye., hangup: done}
"""


def said(acts: list[Act]) -> list[tuple[str, str]]:
    return [(act.text, act.language) for act in acts if isinstance(act, Say)]


class Talk:
    """A conversation in text."""

    def __init__(self, source: str = FLOW) -> None:
        self.engine = FlowEngine(parse_flow(source), TurnPolicy(), lambda: datetime(2026, 1, 5))

    def hear(self, text: str | None) -> list[Act]:
        async def collect() -> list[Act]:
            reply = self.engine.greet() if text is None else self.engine.reply(UserTurn(text, 0))
            return [act async for act in reply]

        return asyncio.run(collect())


def test_the_own_language_is_where_a_conversation_begins() -> None:
    talk = Talk()
    acts = talk.hear(None)
    assert said(acts) == [("Would you like to book or to cancel?", "")]
    assert [act.language for act in acts if isinstance(act, Listen)] == ["en"]
    assert (talk.engine.domain.language, talk.engine.domain.others) == ("en", ("de", "el"))


def test_a_global_changes_the_language_and_asks_again() -> None:
    talk = Talk()
    talk.hear(None)
    acts = talk.hear("german please")
    assert said(acts) == [("Möchten Sie buchen oder absagen?", "de")]
    assert [act.language for act in acts if isinstance(act, Listen)] == ["de"]
    assert Note("language", {"code": "de"}) in acts
    assert said(talk.hear("buchen")) == [("Für wen?", "de")]
    assert said(talk.hear("maria")) == [("Für maria?", "de")]
    assert said(talk.hear("english please")) == [("For maria?", "")]
    assert said(talk.hear("yes")) == [("Goodbye.", "")]


def test_a_node_changes_the_language_for_what_follows() -> None:
    talk = Talk()
    talk.hear(None)
    acts = talk.hear("greek")
    assert said(acts) == [("Μια στιγμή.", "el"), ("Would you like to book or to cancel?", "el")]
    assert [act.language for act in acts if isinstance(act, Listen)] == ["el"]


def test_a_caller_who_speaks_the_other_language_is_asked_in_it() -> None:
    talk = Talk()
    talk.hear(None)
    acts = talk.hear("ich möchte bitte ein Zimmer haben")
    assert said(acts) == [("Möchten Sie buchen oder absagen?", "de")]
    assert not [act for act in acts if isinstance(act, Note) and act.name == "no_match"]
    assert said(talk.hear("xyz"))[0][0].startswith("Wie bitte?")


def test_the_language_is_part_of_the_state() -> None:
    talk, other = Talk(), Talk()
    talk.hear(None)
    talk.hear("german please")
    other.engine.restore(talk.engine.dump())
    assert said(other.hear("buchen")) == [("Für wen?", "de")]


@pytest.mark.parametrize(
    "change, message",
    [
        (("en: For whom?, de", "fr: Pour qui?, de"), 'ask has no text in "en"'),
        (("language: el", "language: Greek!"), '"Greek!" is no language'),
        (("de: Für wen?", "de: 'Für {wem}?'"), 'unknown slot "wem"'),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], message: str) -> None:
    with pytest.raises(FlowError) as raised:
        parse_flow(FLOW.replace(*change))
    assert message in str([p.message for p in raised.value.problems])
