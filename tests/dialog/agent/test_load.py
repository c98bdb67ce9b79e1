import pytest

from dialog.agent.load import parse_agent
from dialog.agent.spec import HttpTool, PythonTool
from dialog.errors import FlowError
from dialog.turn import Interrupt

FULL = """\
agent: reception
language: en
instructions: |
  You answer the phone of {clinic}. It is {today}. The caller's number is {caller}.
greeting: Hello, this is {clinic}.
hints: [I want an appointment, when are you open]
variables: {clinic: Riverside}
transfers: {operator: "100", billing: "sip:billing@example.com"}
on_failed: operator
end_call: false
texts: {filler: [One moment., Still looking.], goodbye: Bye.}
limits: {rounds: 2, filler_ms: 800}
turn: {end_silence_ms: 700, interrupt: words}
tools:
  hours:
    description: Opening hours of a day
    parameters:
      day: weekday, English
      branch: {type: string, enum: [north, south]}
    optional: [branch]
    url: https://api.example.com/${ROOM}/hours/{day}
    method: GET
    headers: {Authorization: "Bearer ${KEY}"}
    timeout_s: 3.5
  lookup:
    description: Find a patient
    python: tests.dialog.agent.test_toolbox:hours
"""


def test_everything_that_a_file_can_say() -> None:
    spec = parse_agent(FULL, environ={"KEY": "k1", "ROOM": "a"})
    assert spec.name == "reception" and spec.transfers["operator"] == "100" and spec.on_failed == "operator"
    assert not spec.end_call and spec.limits.rounds == 2 and spec.limits.history_tokens == 6000
    assert spec.texts.filler == ("One moment.", "Still looking.") and spec.texts.goodbye == "Bye."
    assert spec.turn == {"end_silence_ms": 700, "interrupt": Interrupt.WORDS}
    hours, lookup = spec.tools
    assert isinstance(hours, HttpTool) and isinstance(lookup, PythonTool)
    assert hours.url == "https://api.example.com/a/hours/{day}" and hours.method == "GET"
    assert hours.headers == {"Authorization": "Bearer k1"} and hours.timeout_s == 3.5
    assert hours.spec.parameters == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "description": "weekday, English"},
            "branch": {"type": "string", "enum": ["north", "south"]},
        },
        "required": ["day"],
    }
    assert "k1" not in repr(hours)


@pytest.mark.parametrize(
    "change, line, says",
    [
        (("agent: reception", "agnt: x"), 1, 'unknown key "agnt" in the agent, did you mean "agent"?'),
        (("{clinic}. It", "{clinik}. It"), 3, 'unknown slot "clinik", did you mean "clinic"?'),
        (("on_failed: operator", "on_failed: operatr"), 9, 'did you mean "operator"?'),
        (("filler_ms: 800", "filler: 800"), 12, 'unknown key "filler" in limits'),
        (("rounds: 2", "rounds: 0"), 12, "rounds must be a whole number from 1"),
        (("description: Opening hours of a day", "about: x"), 16, 'unknown key "about"'),
        (("optional: [branch]", "optional: [brnch]"), 20, '"brnch", which is no parameter'),
        (("${ROOM}", "${GONE}"), 21, "the environment has no GONE"),
        (("method: GET", "method: GTE"), 22, 'did you mean "GET"?'),
        (("timeout_s: 3.5", "timeout_s: 0"), 24, "timeout_s must be seconds"),
        (("test_toolbox:hours", "test_toolbox:days"), 27, "there is no function"),
        (("  lookup:", "  end_call:"), 25, 'a tool cannot be called "end_call"'),
        (("url: https", "url: ftp"), 21, "url must begin with http"),
    ],
)
def test_mistakes_are_named_with_their_line(change: tuple[str, str], line: int, says: str) -> None:
    with pytest.raises(FlowError) as raised:
        parse_agent(FULL.replace(*change), "a.yaml", {"KEY": "k", "ROOM": "r"})
    assert any(p.line == line and says in p.message for p in raised.value.problems), str(raised.value)


def test_a_tool_needs_to_be_somewhere() -> None:
    with pytest.raises(FlowError, match="needs either url or python"):
        parse_agent("agent: a\ninstructions: b\ntools: {t: {description: d}}")
    with pytest.raises(FlowError, match="needs instructions"):
        parse_agent("agent: a")
