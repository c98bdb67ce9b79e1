"""Small flows for tests."""

from collections.abc import AsyncGenerator
from datetime import datetime
from textwrap import dedent

from dialog.flow.engine import FlowEngine
from dialog.flow.load import parse_flow
from dialog.flow.model import Flow
from dialog.turn import TurnPolicy, TurnSource
from dialog.types import Act, DialogInput, Say, UserTurn
from tests.clock import run

NOW = datetime(2026, 3, 4, 10, 30)  # a Wednesday

SHOP = """\
flow: shop
start: hello
variables: {shop: Hill Shop, desk: "sip:desk@127.0.0.1"}
globals:
  operator: {phrases: [operator], key: 0, goto: desk}
  repeat: {phrases: [say that again], key: "*", repeat: true}
  start_over: {phrases: [start over], key: 9, goto: ask_day, clear: true}
  goodbye: {phrases: [goodbye], goto: bye}
nodes:
  hello:
    say: Welcome to {shop}.
    goto: ask_day
  ask_day:
    ask: Which day?
    slot: day
    capture: day
    reprompts: ["Once more, which day?", "{help}"]
    goto: check
  check:
    branch:
      - {when: weekday(day) == "sunday", goto: closed}
    else: ask_code
  closed:
    say: We are closed on Sundays.
    goto: ask_day
  ask_code:
    ask: Your code for {day|weekday}?
    slot: code
    capture: {type: digits, min: 4, max: 4}
    confirm: "{code|spell}, right?"
    on_fail: desk
    retries: 1
    goto: more
  more:
    menu: Anything else?
    slot: wish
    options:
      again: {phrases: [another day, another one], key: 1, goto: ask_day}
      done: {phrases: [that is all], key: 2, goto: legal}
  legal:
    say: [This call is over., "Your code is {code|spell}."]
    turn: {interrupt: never}
    goto: bye
  desk:
    say: One moment.
    transfer: "{desk}"
  bye:
    say: Goodbye.
    hangup: done
"""


def flow(text: str = SHOP) -> Flow:
    return parse_flow(dedent(text), "shop.yaml")


class Talk:
    """One conversation; every call returns the acts of one turn."""

    def __init__(self, text: str | Flow = SHOP, **variables: str) -> None:
        made = text if isinstance(text, Flow) else flow(text)
        self.engine = FlowEngine(made, TurnPolicy(), lambda: NOW, variables)
        self.at_ms = 0

    def greet(self) -> list[Act]:
        return run(_all(self.engine.greet()))

    def reply(self, turn: DialogInput) -> list[Act]:
        return run(_all(self.engine.reply(turn)))

    def say(self, text: str, **more: object) -> list[Act]:
        self.at_ms += 1000
        return self.reply(UserTurn(text, self.at_ms, **more))  # type: ignore[arg-type]

    def press(self, keys: str) -> list[Act]:
        return self.say(keys, source=TurnSource.DTMF)


async def _all(acts: AsyncGenerator[Act, None]) -> list[Act]:
    return [act async for act in acts]


def spoken(acts: list[Act]) -> str:
    return " ".join(act.text for act in acts if isinstance(act, Say))
