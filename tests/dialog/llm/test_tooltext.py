import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.llm.base import Chunk, Text, ToolCall, ToolSpec
from dialog.llm.tooltext import ToolText, teach

ANSWER = 'One moment. <tool_call>{"name": "book", "arguments": {"n": 4}}</tool_call> and a < b.'


def read(text: str, cuts: list[int]) -> list[Chunk]:
    reader, edges = ToolText(), [0, *sorted(cuts), len(text)]
    found = [c for a, b in zip(edges, edges[1:], strict=False) for c in reader.push(text[a:b])]
    return [*found, *reader.flush()]


@given(st.lists(st.integers(0, len(ANSWER)), max_size=20))
def test_calls_are_found_however_the_text_is_cut(cuts: list[int]) -> None:
    found = read(ANSWER, cuts)
    assert "".join(c.text for c in found if isinstance(c, Text)) == "One moment.  and a < b."
    assert [c for c in found if isinstance(c, ToolCall)] == [ToolCall("call_1", "book", '{"n": 4}')]


def test_text_is_not_held_back_but_for_what_may_be_a_tag() -> None:
    reader = ToolText()
    assert reader.push("Hello <") == [Text("Hello ")]
    assert reader.push("b> <too") == [Text("<b> ")]
    assert reader.push("l_calm") == [Text("<tool_calm")]


@pytest.mark.parametrize(
    "inside, name, arguments",
    [
        ('{"name": "f", "arguments": "{}"}', "f", "{}"),
        ('{"name": "f", "parameters": {"a": 1}}', "f", '{"a": 1}'),
        ('{"name": "f", "a": 1}', "f", '{"a": 1}'),
        ('\n{"name": "f"}\n', "f", "{}"),
        ("{nonsense", "", "{nonsense"),
        ("[1]", "", "[1]"),
        ('{"a": 1}', "", '{"a": 1}'),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_the_forms_in_which_models_call(inside: str, name: str, arguments: str, closed: bool) -> None:
    (call,) = read(f"<tool_call>{inside}{'</tool_call>' if closed else ''}", [])
    assert call == ToolCall("call_1", name, arguments)


@given(st.text(alphabet='<>/tool_ca{}"ne:1 ', max_size=80))
def test_any_text_is_read(text: str) -> None:
    read(text, [3, 7])


def test_tools_are_taught_as_json() -> None:
    lines = teach([ToolSpec("book", "Book a table"), ToolSpec("hours", "When")]).splitlines()
    assert [json.loads(line)["name"] for line in lines[-2:]] == ["book", "hours"]
