"""Two timelines of one call, side by side: what the parties said and did, and where they differ. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from recordings.calllog import Event

TOLERANCE_MS = 60  # three packet times: decisions fall on beats, and the beats of two runs differ
_NOTES = frozenset({"node", "slot", "intent", "no_match"})


class Mark(StrEnum):
    """How a line compares."""

    SAME = " "
    MOVED = "~"  # the same thing, at another time
    RECORDED = "-"  # only then
    REPLAYED = "+"  # only now


@dataclass(frozen=True, slots=True)
class Item:
    """Something that was said, done or decided."""

    at_ms: int
    kind: str  # caller, bot, act, note, barge_in, no_input
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the comparison."""

    mark: Mark
    item: Item
    moved_ms: int = 0


def items(events: Iterable[Event]) -> list[Item]:
    """What matters of a timeline, in the order in which it was known."""
    return [item for event in events if (item := _item(event)) is not None]


def _item(event: Event) -> Item | None:
    fields, t = event.fields, event.t_ms
    match event.name:
        case "turn":
            flags = [w for w in ("rejected", "interrupted", "continues") if fields.get(w)]
            by = [] if fields.get("source") == "speech" else [str(fields.get("source"))]
            return Item(_at(event), "caller", _with(str(fields.get("text", "")), [*by, *flags]))
        case "heard":
            # Which words of a cut one were heard is only guessed here: no timeline has the word marks.
            cut = not fields.get("complete", True)
            return Item(_at(event), "bot", _with(str(fields.get("said", "")), ["cut"] if cut else []))
        case "act" if fields.get("kind") in {"transfer", "hangup"}:
            what = fields.get("target", fields.get("reason", ""))
            return Item(t, "act", f"{fields.get('kind')} {what}")
        case "note" if fields.get("name") in _NOTES:
            data = fields.get("data")
            shown = data if isinstance(data, dict) else {}
            pairs = (f"{k}={v}" for k, v in shown.items() if k != "confidence")
            return Item(t, "note", f"{fields.get('name')} {' '.join(pairs)}")
        case "barge_in" | "no_input" | "resume":
            return Item(t, event.name, str(fields.get("count", "")))
    return None


def _with(text: str, flags: list[str]) -> str:
    return f"{text} ({', '.join(flags)})" if flags else text


def _at(event: Event) -> int:
    at = event.fields.get("at_ms")
    return round(at) if isinstance(at, int | float) else event.t_ms


def compare(
    recorded: Sequence[Item], replayed: Sequence[Item], tolerance_ms: int = TOLERANCE_MS
) -> Iterator[Line]:
    """Every item of both, in order. What the bot says is compared in time at its start, and at a turn."""
    keys = [[(i.kind, i.text) for i in side] for side in (recorded, replayed)]
    for tag, a, b, c, d in SequenceMatcher(a=keys[0], b=keys[1], autojunk=False).get_opcodes():
        if tag != "equal":
            yield from (Line(Mark.RECORDED, item) for item in recorded[a:b])
            yield from (Line(Mark.REPLAYED, item) for item in replayed[c:d])
            continue
        for old, new in zip(recorded[a:b], replayed[c:d], strict=True):
            moved = new.at_ms - old.at_ms
            yield Line(Mark.MOVED if abs(moved) > tolerance_ms else Mark.SAME, new, moved)
