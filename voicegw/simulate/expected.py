"""Whether what the server knows of a call is as the scenario expects. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voicegw.phone.script import ServerExpect
from voicegw.simulate.served import Served


def judge_served(served: Served, expect: ServerExpect) -> list[str]:
    """What was not as expected, in words; nothing if all was."""
    return [*_call(served, expect), *_conversation(served, expect), *_notes(served, expect)]


def _call(served: Served, expect: ServerExpect) -> Iterator[str]:
    call = served.call
    for key, wanted in (("cause", expect.cause), ("recording_state", expect.recording)):
        if wanted is not None and call[key] != wanted:
            yield f"{key} is {call[key]}, expected {wanted}"
    if expect.calls is not None and served.calls != expect.calls:
        yield f"the server kept {served.calls} calls of this one, expected {expect.calls}"
    errors = [f"{e.get('where')}: {e.get('message')}" for e in _events(served, "error")]
    if expect.errors is not None and len(errors) > expect.errors:
        yield f"{len(errors)} errors, expected {expect.errors} at most: {'; '.join(errors)}"
    for name, event, wanted_count in (
        ("barge-ins", "barge_in", expect.barge_ins),
        ("silences", "no_input", expect.no_input),
    ):
        count = len(_events(served, event))
        if wanted_count is not None and count < wanted_count:
            yield f"{count} {name}, expected {wanted_count} at least"


def _conversation(served: Served, expect: ServerExpect) -> Iterator[str]:
    turns = served.call.get("turns", ())
    said = [str(turn["text"]) for turn in turns if turn["role"] == "caller"]
    heard = [str(turn["heard"]) for turn in turns if turn["role"] == "bot"]
    for what, wanted, found in (("transcript", expect.transcript, said), ("heard", expect.heard, heard)):
        missing = _first_missing(wanted, found)
        if missing is not None:
            yield f"{what}: {missing!r} is not there (in order) in {found}"
    for text in expect.not_heard:
        if _matches(text, " ".join(heard)):
            yield f"heard: {text!r} is there, expected not to be"
    if expect.turn_latency_ms is None:
        return
    for turn in turns:
        took = (turn["latency_ms"] or {}).get("total")
        if took is not None and took > expect.turn_latency_ms:
            yield f"{turn['text']!r} came after {took:.0f} ms, expected {expect.turn_latency_ms} at most"


def _notes(served: Served, expect: ServerExpect) -> Iterator[str]:
    notes = [(str(e["name"]), e.get("data") or {}) for e in _events(served, "note")]
    for what, name, key, wanted in (
        ("states", "node", "id", expect.states),
        ("intents", "intent", "name", expect.intents),
    ):
        found = [str(data.get(key)) for note, data in notes if note == name]
        at = 0
        for item in wanted:
            if item not in found[at:]:
                yield f"{what}: {item!r} is not there (in order) in {found}"
                break
            at = found.index(item, at) + 1
    slots = {str(data.get("name")): data.get("value") for note, data in notes if note == "slot"}
    for key, value in expect.slots.items():
        if key not in slots:
            yield f"slot {key} was not filled; there are {', '.join(slots) or 'none'}"
        elif value is not None and not _equal(value, slots[key]):
            yield f"slot {key} is {slots[key]!r}, expected {value!r}"
    for key, value in expect.notes.items():
        yield from _note(key, value, [data for note, data in notes if note == key])


def _note(name: str, wanted: Any, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not found:
        yield f"there is no note {name}"
    elif isinstance(wanted, Mapping):
        last = found[-1]
        for key, value in wanted.items():
            if not _equal(value, last.get(key)):
                yield f"note {name}: {key} is {last.get(key)!r}, expected {value!r}"


def _events(served: Served, name: str) -> list[Mapping[str, Any]]:
    return [event for event in served.events if event.get("event") == name]


def _first_missing(wanted: Sequence[str], found: Sequence[str]) -> str | None:
    at = 0
    for text in wanted:
        place = next((n for n in range(at, len(found)) if _matches(text, found[n])), None)
        if place is None:
            return text
        at = place + 1
    return None


def _matches(wanted: str, text: str) -> bool:
    """`/.../` is a regular expression; else the words of `wanted` stand in `text` one after the other."""
    if len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return re.search(wanted[1:-1], text, re.IGNORECASE) is not None
    return f" {_words(wanted)} " in f" {_words(text)} "


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def _equal(wanted: Any, found: Any) -> bool:
    """Texts by `_matches` where a pattern is wanted, else as they are written."""
    if isinstance(wanted, str) and len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return _matches(wanted, str(found))
    return bool(wanted == found) or str(wanted).lower() == str(found).lower()
