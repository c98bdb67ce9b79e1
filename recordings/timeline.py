"""From events to what a person wants to know: the turns of a conversation, and a readable timeline.

Pure. `Conversation` takes events one by one, as they happen or from a file, and keeps the turns:

    turn ------------------> caller's turn      (`continues`: takes the place of the one before)
    latency ----.
    heard ------+----------> bot's turn         (text: all it meant to say; heard: what was heard of it)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from recordings.calllog import Event

STEPS = ("eot", "stt", "dialog", "tts", "playout", "total")
"""Steps of a reply's latency, in order: end of turn, recognition, dialog, voice, playout; and all of it."""

DETAILS = frozenset({"sip", "media", "vad", "partial", "session", "eot", "end_of_speech"})
"""Events that the readable timeline leaves out unless asked."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one party said, once."""

    role: str  # "caller" | "bot"
    text: str  # as recognised, or as the bot meant to say it
    at_ms: int  # call time: when the caller had finished, when the bot began
    heard: str  # what the other side got of it
    latency_ms: Mapping[str, float] = field(default_factory=dict)  # by step; the bot's replies only
    source: str = ""  # "speech", "dtmf", "text"; the caller's turns only
    confidence: float | None = None  # 0..1
    rejected: bool = False  # speech outside of what was expected
    interrupted: bool = False  # the caller: spoke over the bot; the bot: was cut


def quality_text(events: Iterable[Event]) -> str:
    """How good the line was, by its last `media` event; "" if nobody measured."""
    measured = [event.fields for event in events if event.name == "media"]
    last = measured[-1] if measured else {}
    parts = []
    for way, word in (("received", "from the caller"), ("sent", "to the caller")):
        if (score := last.get(f"{way}_mos")) is not None:
            loss, jitter = last.get(f"{way}_loss_percent"), last.get(f"{way}_jitter_ms")
            parts.append(f"{word} {score} ({loss} % lost, jitter {jitter} ms)")
    if (trip := last.get("round_trip_ms")) is not None:
        parts.append(f"round trip {trip} ms")
    return ", ".join(parts)


class Conversation:
    """Turns of one call, by time."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._latency: dict[str, float] = {}  # of the reply that is being heard

    def feed(self, name: str, fields: Mapping[str, object]) -> int | None:
        """Take an event. Returns the first turn that is new or another than before; those after it may
        be too. None: nothing changed."""
        match name:
            case "turn":
                return self._caller(fields)
            case "heard":
                return self._bot(fields)
            case "latency":
                self._latency = {
                    step: _number(value) for step in STEPS if (value := fields.get(f"{step}_ms")) is not None
                }
        return None

    def _caller(self, fields: Mapping[str, object]) -> int:
        self._latency = {}
        if fields.get("continues"):
            # What the bot had begun to answer was not heard: it is as if it had never been asked.
            while self.turns and self.turns[-1].role == "bot" and not self.turns[-1].heard:
                self.turns.pop()
            if self.turns and self.turns[-1].role == "caller":
                self.turns.pop()
        text = str(fields.get("text", ""))
        return self._insert(
            Turn(
                role="caller",
                text=text,
                at_ms=round(_number(fields.get("at_ms"))),
                heard=text,
                source=str(fields.get("source", "")),
                confidence=_optional(fields.get("confidence")),
                rejected=bool(fields.get("rejected")),
                interrupted=bool(fields.get("interrupted")),
            )
        )

    def _bot(self, fields: Mapping[str, object]) -> int:
        latency, self._latency = self._latency, {}
        heard = str(fields.get("text", ""))
        return self._insert(
            Turn(
                role="bot",
                text=str(fields.get("said") or heard),
                at_ms=round(_number(fields.get("at_ms"))),
                heard=heard,
                latency_ms=latency,
                interrupted=not fields.get("complete", True),
            )
        )

    def _insert(self, turn: Turn) -> int:
        """By time: what the bot said is known only when it was heard, which may be after the turn of a
        caller who spoke over it."""
        at = len(self.turns)
        while at and self.turns[at - 1].at_ms > turn.at_ms:
            at -= 1
        self.turns.insert(at, turn)
        return at


def turns(events: Iterable[Event]) -> list[Turn]:
    """The turns of a timeline."""
    conversation = Conversation()
    for event in events:
        conversation.feed(event.name, event.fields)
    return conversation.turns


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the readable timeline."""

    at_ms: int
    kind: str  # "caller", "bot", or the event's name
    text: str
    detail: str = ""  # what stands small beside it


def lines(events: Iterable[Event], *, details: bool = False) -> list[Line]:
    """The readable timeline, by time; with `details` every event has a line."""
    found: list[Line] = []
    latency: Mapping[str, object] = {}
    for event in events:
        if event.name == "latency":
            latency = event.fields
        elif event.name == "heard":
            found.append(_bot_line(event, latency))
            latency = {}
        elif details or not (event.name in DETAILS or _minor(event)):
            found.append(_line(event))
    # What the bot said is known when it has been heard, and stands where it began.
    return sorted(found, key=lambda line: line.at_ms)


def _minor(event: Event) -> bool:
    """Whether another event says the same to a reader (what was said is in `heard`, a final in `turn`), or
    it says only that something is not there yet (a slot without a value)."""
    if event.name == "note" and event.fields.get("name") == "slot":
        data = event.fields.get("data")
        return isinstance(data, Mapping) and data.get("value") is None
    return event.name == "final" or (event.name == "act" and event.fields.get("kind") in {"say", "listen"})


def _bot_line(event: Event, latency: Mapping[str, object]) -> Line:
    said, heard = str(event.fields.get("said") or ""), str(event.fields.get("text", ""))
    complete = bool(event.fields.get("complete", True))
    detail = steps_text({step: latency[f"{step}_ms"] for step in STEPS if f"{step}_ms" in latency})
    if not complete:
        cut = f"cut after {seconds(_number(event.fields.get('ms')))} s"
        detail = ", ".join(filter(None, (f"{cut}, meant: {said}" if said != heard else cut, detail)))
    at_ms = round(_number(event.fields.get("at_ms", event.t_ms)))
    return Line(at_ms, "bot", heard or "(nothing was heard)", detail)


def _line(event: Event) -> Line:
    fields = dict(event.fields)
    match event.name:
        case "turn":
            return _caller_line(event)
        case "dtmf":
            done = {"received": "pressed", "dropped": "dropped"}.get(str(fields.get("direction")), "sent")
            return Line(event.t_ms, "dtmf", f"{done} {fields.get('digit', fields.get('count', ''))}")
        case "note":
            return Line(event.t_ms, "note", str(fields.get("name", "")), _pairs(fields.get("data")))
        case "error":
            return Line(event.t_ms, "error", f"{fields.get('where', '')}: {fields.get('message', '')}")
        case "call" | "sip":
            return Line(event.t_ms, event.name, str(fields.pop("state", "")), _pairs(fields))
        case "act":
            return Line(event.t_ms, "act", str(fields.pop("kind", "")), _pairs(fields))
        case "partial" | "final":
            return Line(event.t_ms, event.name, str(fields.pop("text", "")), _pairs(fields))
        case _:
            return Line(event.t_ms, event.name, "", _pairs(fields))


def _caller_line(event: Event) -> Line:
    fields = event.fields
    text = str(fields.get("text", ""))
    if not text:
        text = "(not understood)" if fields.get("rejected") else "(nothing)"
    parts = []
    if fields.get("source") not in {"speech", None, ""}:
        parts.append(f"by {fields['source']}")
    if (confidence := _optional(fields.get("confidence"))) is not None:
        parts.append(f"confidence {confidence:.2f}")
    parts += [word for word in ("rejected", "interrupted", "continues") if fields.get(word)]
    return Line(round(_number(fields.get("at_ms", event.t_ms))), "caller", text, ", ".join(parts))


def steps_text(latency: Mapping[str, object]) -> str:
    """``total 640 ms: eot 500, stt 20, ...``; empty if nothing was measured."""
    known = {step: latency[step] for step in STEPS if latency.get(step) is not None}
    steps = ", ".join(f"{step} {_number(value):.0f}" for step, value in known.items() if step != "total")
    if "total" not in known:
        return steps
    total = f"total {_number(known['total']):.0f} ms"
    return f"{total}: {steps}" if steps else total


def seconds(ms: float) -> str:
    """A time or duration as people read it."""
    return f"{ms / 1000:.1f}"


def _pairs(fields: object) -> str:
    if not isinstance(fields, Mapping):
        return "" if fields is None else str(fields)
    return ", ".join(f"{key}={value}" for key, value in fields.items() if value is not None)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _optional(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
