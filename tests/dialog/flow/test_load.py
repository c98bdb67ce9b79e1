# ruff: noqa: E501 - one mistake a line
"""Every mistake in a flow file is named with its line and, where it can be guessed, what was meant."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog.errors import FlowError
from dialog.flow.check import edges, reachable
from dialog.flow.load import load_flow, parse_flow
from dialog.flow.model import Ask, Flow, Menu
from dialog.turn import Interrupt
from tests.dialog.flow.flows import SHOP

BASE = """\
flow: f
start: a
variables: {name: x}
nodes:
  a:
    ask: Hello {name}?
    slot: day
    capture: day
    goto: b
  b:
    say: Bye.
    hangup: done
"""
GLOBAL = "globals:\n  op: {phrases: [help], key: 0, goto: b}\nnodes:"
MENU = """  m:
    menu: What?
    options:
      one: {phrases: [first], key: 1, goto: b}
      two: {phrases: [second], key: 2, goto: b}
"""

# what is replaced in BASE, by what, the line of the mistake, what is said about it
MISTAKES = [
    ("slot: day", "slott: day", 7, 'unknown key "slott" in node "a", did you mean "slot"?'),
    ("    hangup: done", "    transfer: x\n    mode: warm", 13, 'unknown mode "warm"; there is blind, attended'),
    ("    hangup: done", "    transfer: x\n    mode: attended", 13, "mode: attended needs a summary"),
    ("    hangup: done", "    transfer: x\n    summary: y", 13, "summary needs mode: attended"),
    ("    hangup: done", "    transfer: x\n    timeout_s: 0", 13, "timeout_s must be a whole number from 1 to 600"),
    ("slot: day", "zzz: day", 7, 'unknown key "zzz" in node "a"'),
    ("    slot: day\n", "", 5, 'node "a" needs slot'),
    ("goto: b", "goto: bb", 9, 'goto leads to "bb", which is no node'),
    ("goto: b", "goto: [b]", 9, "goto must be a text, not a list"),
    ("goto: b", "goto:", 9, "goto is empty"),
    ("    goto: b\n", "", 5, 'node "a" needs goto'),
    ("capture: day", "capture: dey", 8, 'unknown capture "dey", did you mean "day"?'),
    ("capture: day", "capture: xxx", 8, "there is yes_no, digits, number, day, time, name, choice, phrase"),
    ("    capture: day\n", "", 5, 'node "a" needs capture, phrases or grammar'),
    ("capture: day", "capture: {min: 4}", 8, "capture needs a type"),
    ("capture: day", "capture: {type: digits, mim: 4}", 8, 'unknown key "mim" in capture digits, did you mean "min"'),
    ("capture: day", "capture: {type: digits, min: four}", 8, 'min must be a whole number from 0 to 1000000000, not "four"'),
    ("capture: day", "capture: {type: digits, min: 9, max: 4}", 8, "min <= max"),
    ("capture: day", "capture: {type: name}", 8, "capture name needs names"),
    ("capture: day", "capture: {type: name, names: [Smith], spell: maybe}", 8, "spell must be true or false"),
    ("capture: day", "capture: {type: time, earliest: nine}", 8, 'earliest must be a time like "09:00", not "nine"'),
    ("capture: day", "capture: {type: day, keying: wekday}", 8, 'unknown keying "wekday", did you mean "weekday"'),
    ("capture: day", "capture: {type: choice, choices: []}", 8, "choices is empty"),
    ("capture: day", "capture: {type: choice, choices: {a: x, b: x}}", 8, "means both 'a' and 'b'"),
    ("capture: day", "capture: {type: phrase, grammar: x}", 8, "a grammar begins with"),
    ("capture: day", "grammar: x", 8, "grammar: a grammar begins with"),
    ("capture: day", "capture: day\n    phrases: [x]", 9, "phrases and capture exclude each other"),
    ("capture: day", "capture: day\n    confirm_when: always", 9, "confirm_when needs a confirm text"),
    ("capture: day", "capture: day\n    confirm: ok?\n    confirm_when: allways", 10, 'did you mean "always"'),
    ("capture: day", "capture: day\n    retries: 99", 9, "retries must be a whole number from 0 to 10"),
    ("capture: day", "capture: day\n    on_fail: c", 9, 'on_fail leads to "c", which is no node'),
    ("capture: day", "capture: day\n    reprompts: ['{qestion}']", 9, 'unknown slot "qestion"'),
    ("capture: day", "capture: day\n    turn: {end_silence: 3}", 9, 'did you mean "end_silence_ms"'),
    ("capture: day", "capture: day\n    turn: {end_silence_ms: soon}", 9, "turn.end_silence_ms must be a whole number"),
    ("capture: day", "capture: day\n    turn: {interrupt: newer}", 9, 'unknown turn.interrupt "newer", did you mean "never"'),
    ("capture: day", "capture: day\n    turn: {dtmf_max: 0}", 9, "dtmf_max must be at least 1"),
    ("capture: day", "capture: day\n    turn: {no_input_ms: [5, 3]}", 9, "no_input_ms must rise"),
    ("capture: day", "capture: day\n    turn: 5", 9, "turn must be a mapping"),
    ("slot: day", "slot: today", 7, 'slot "today" is not usable as a name'),
    ("slot: day", "slot: a day", 7, 'slot "a day" is not usable as a name'),
    ("{name}", "{nam}", 6, 'unknown slot "nam", did you mean "name"?'),
    ("{name}", "{name|spel}", 6, "unknown format 'spel', did you mean \"spell\"?"),
    ("{name}", "{name", 6, "a single '{'"),
    ("{name}", "{weekdy(day)}", 6, "unknown function 'weekdy' in 'weekdy(day)', did you mean \"weekday\"?"),
    ("{name}", "{name.x}", 6, "Attribute is not allowed"),
    ("ask: Hello {name}?", "ask: 5", 6, 'ask must be a text: write "5" in quotes'),
    ("hangup: done", "hangup: done\n    goto: a", 13, 'unknown key "goto" in node "b"'),
    ("    say: Bye.\n    hangup: done", "    say: Bye.\n    branch: []", 10, 'node "b" is both say and branch'),
    ("    say: Bye.\n    hangup: done", "    sai: Bye.", 11, 'unknown key "sai" in node "b", did you mean "say"?'),
    ("    say: Bye.\n    hangup: done", "    sai: Bye.", 10, 'node "b" needs one of say, ask, menu'),
    ("\n    say: Bye.\n    hangup: done", " 5", 10, 'node "b" must be a mapping'),
    ("    say: Bye.\n    hangup: done", "    say: []\n    goto: a", 11, "say is empty"),
    ("    say: Bye.\n    hangup: done", "    branch: [{when: day}]\n    else: a", 11, "a branch needs when and goto"),
    ("    say: Bye.\n    hangup: done", "    branch: [{when: day >, goto: a}]\n    else: a", 11, "cannot read 'day >'"),
    ("    say: Bye.\n    hangup: done", "    branch: [{when: dai, goto: a}]\n    else: a", 11, 'unknown slot "dai", did you mean "day"'),
    ("    say: Bye.\n    hangup: done", "    branch: [{when: day, goto: a}]", 10, 'node "b" needs else'),
    ("    say: Bye.\n    hangup: done", "    set: {day: dya}\n    goto: a", 11, 'unknown slot "dya"'),
    ("    say: Bye.\n    hangup: done", "    note: n\n    data: {x: y z}\n    goto: a", 12, "data x: cannot read"),
    ("    say: Bye.\n    hangup: done", "    transfer: '{nme}'", 11, 'unknown slot "nme"'),
    ("    say: Bye.\n    hangup: done", "    transfer: x\n    on_failed: q", 12, 'on_failed leads to "q"'),
    ("    say: Bye.\n    hangup: done", "    menu: x\n    options: {}", 12, "options is empty"),
    ("    say: Bye.\n    hangup: done", "    menu: x\n    options: {o: {key: 12, goto: a}}", 12, "key must be one of 0 to 9"),
    ("    say: Bye.\n    hangup: done", "    menu: x\n    options: {o: {goto: a}}", 12, 'option "o" needs phrases, a key'),
    ("    say: Bye.\n    hangup: done", "    menu: x\n    options: {o: {key: 1}}", 12, 'option "o" needs goto'),
    ("    say: Bye.\n    hangup: done", "    menu: x\n    threshold: 0.5\n    options: {o: {key: 1, goto: a}}", 12, "needs options with examples"),
    ("    say: Bye.\n    hangup: done", "    menu: x\n    options: {o: {examples: [x], goto: a}}", 10, "at least two options need examples"),
    ("nodes:\n", "nodes:\n  c: {say: x, goto: b}\n", 5, 'nothing leads to node "c"'),
    ("nodes:\n", "nodes:\n  back: {say: x, goto: b}\n", 5, 'no node can be called "back"'),
    ("nodes:\n", "nodes:\n  a: {say: x, goto: b}\n", 6, 'key "a" stands twice in nodes'),
    ("goto: b\n", "goto: c\n  c: {say: x, goto: d}\n  d: {branch: [{when: day, goto: b}], else: c}\n", 10, "endless loop without listening: c -> d -> c"),
    ("goto: b\n", "goto: c\n  c: {transfer: x, on_failed: c}\n", 10, "endless loop without listening: c -> c"),
    ("nodes:\n", MENU.join(["nodes:\n", ""]).replace("[second]", "[First!]"), 9, 'phrase "first" of option "two" already belongs to option "one"'),
    ("nodes:\n", MENU.join(["nodes:\n", ""]).replace("key: 2", "key: 1"), 9, 'key "1" of option "two" already belongs to option "one"'),
    ("nodes:\n", MENU.join([GLOBAL + "\n", ""]).replace("key: 1", "key: 0"), 10, 'key "0" of option "one" already belongs to global "op"'),
    ("nodes:\n", "globals: {op: {goto: b}}\nnodes:\n", 4, 'global "op" needs phrases or a key'),
    ("nodes:\n", "globals: {op: {key: 1}}\nnodes:\n", 4, 'global "op" needs either goto or repeat: true'),
    ("nodes:\n", "globals: {op: {key: 1, goto: back}}\nnodes:\n", 4, 'leads to "back", which is no node'),
    ("nodes:\n", "texts: {goodby: x}\nnodes:\n", 4, 'unknown key "goodby" in texts, did you mean "goodbye"?'),
    ("nodes:\n", "texts: {goodbye: [x, y]}\nnodes:\n", 4, "goodbye is one text"),
    ("nodes:\n", "texts: {fallback: '{name}'}\nnodes:\n", 4, "it can hold no slot"),
    ("nodes:\n", "on_fail: c\nnodes:\n", 4, 'on_fail leads to "c"'),
    ("start: a", "start: aa", 2, 'start leads to "aa", which is no node'),
    ("start: a\n", "", 1, "the flow needs start"),
    ("start: a", "begin: a", 2, 'unknown key "begin" in the flow'),
    ("variables: {name: x}", "variables: {name: {x: y}}", 3, "name must be a text or a list of texts"),
    ("variables: {name: x}", "variables: {today: x}", 3, 'variable "today" is not usable'),
    ("variables: {name: x}", "variables: [name]", 3, "variables must be a mapping"),
    ("flow: f", "flow: 'f", 1, "not YAML"),
    ("nodes:\n", "nodes:\n\t- x\n", 5, "not YAML"),
]  # fmt: skip


@pytest.mark.parametrize("old, new, line, message", MISTAKES, ids=[m[3][:50] for m in MISTAKES])
def test_mistakes_are_named_with_their_line(old: str, new: str, line: int, message: str) -> None:
    assert old in BASE
    with pytest.raises(FlowError) as error:
        parse_flow(BASE.replace(old, new, 1), "clinic.yaml")
    found = [f"{p.file}:{p.line}: {p.message}" for p in error.value.problems]
    assert any(text.startswith(f"clinic.yaml:{line}: ") and message in text for text in found), found


def test_the_base_itself_is_right() -> None:
    assert isinstance(parse_flow(BASE).nodes["a"], Ask)


def test_all_mistakes_are_told_at_once_in_order() -> None:
    text = BASE.replace("slot: day", "slott: day").replace("{name}", "{nam}").replace("goto: b", "goto: c")
    with pytest.raises(FlowError) as error:
        parse_flow(text, "x.yaml")
    lines = str(error.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["5", "6", "7", "9"]
    assert all(line.startswith("x.yaml:") for line in lines)


@pytest.mark.parametrize("text", ["", "# nothing", "- a\n- b", "just text", "flow: f"])
def test_files_that_are_no_flows(text: str) -> None:
    with pytest.raises(FlowError):
        parse_flow(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000 + "x",
        "variables: &a {x: *a}\n" + BASE.replace("variables: {name: x}\n", ""),
        "flow: &a [*a]",
        BASE.replace("nodes:\n", "globals: &a {op: *a}\nnodes:\n"),
        "x" * 1_000_001,
        "flow: f\x00",
        "--- a\n--- b",
        "? [a]\n: b",
        "<<: {flow: f}\nstart: a",
    ],
    ids=range(11),
)
def test_hostile_yaml_is_one_error(text: str) -> None:
    with pytest.raises(FlowError) as error:
        parse_flow(text)
    assert len(str(error.value)) < 2000


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match=r"gone.yaml:1: cannot be read"):
        load_flow(tmp_path / "gone.yaml")
    (tmp_path / "odd.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FlowError, match="cannot be read"):
        load_flow(tmp_path / "odd.yaml")


def test_turn_settings_have_their_types() -> None:
    turn = "turn: {interrupt: words, no_input_ms: [5000, 9000], dtmf_finish: '', barge_in_words: 2}"
    flow = parse_flow(BASE.replace("nodes:\n", f"{turn}\nnodes:\n"))
    assert flow.turn == {
        "interrupt": Interrupt.WORDS,
        "no_input_ms": (5000, 9000),
        "dtmf_finish": "",
        "barge_in_words": 2,
    }


def test_the_graph_knows_voice_from_keys() -> None:
    flow = parse_flow(SHOP.replace("phrases: [that is all], key: 2", "phrases: [that is all]"))
    assert reachable(flow) == set(flow.nodes)
    assert set(flow.nodes) - reachable(flow, "speech") == set()
    assert set(flow.nodes) - reachable(flow, "keys") == {"legal", "bye"}
    menu = flow.nodes["more"]
    assert isinstance(menu, Menu)
    assert {e.goto for e in edges(flow, menu)} == {"ask_day", "legal", "desk", "bye"}


# Fuzzing: whatever is in the file, there is a Flow or one FlowError.

LINES = SHOP.splitlines()
JUNK = st.sampled_from(
    ["[", "{", "}", ":", "- ", "&a", "*a", "|", ">", "'", '"', "#", "\t", "!!x", "!!int z", "%", "?", "~"]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_flow_is_one_error(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(["drop", "double", "junk", "cut", "swap"]))
        if what == "drop":
            del lines[at]
        elif what == "double":
            lines.insert(at, lines[at])
        elif what == "junk":
            column = data.draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:column] + data.draw(JUNK) + lines[at][column:]
        elif what == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    loads_or_complains("\n".join(lines))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_flow_or_one_error(text: str) -> None:
    loads_or_complains(text)
    loads_or_complains(BASE + text)


def loads_or_complains(text: str) -> None:
    try:
        flow = parse_flow(text)
    except FlowError as error:
        assert error.problems
        assert all(1 <= p.line <= text.count("\n") + 2 and p.message for p in error.problems)
    else:
        assert isinstance(flow, Flow)
