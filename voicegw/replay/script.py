"""What a timeline says that the caller, the recogniser and the voice did. Pure; times in ms of call time."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from dialog.turn import Interrupt, SpeechStarted, SpeechStopped, Transcript, TurnPolicy
from recordings.calllog import Event

CHARS_PER_S = 15.0  # pace of a voice of which nothing was heard
FIRST_AUDIO_MS = 20.0  # from a reply to its first packet, where nothing was measured
END_MS = 10_000  # a call that the bot had ended may go on for so long in the replay
SAME_TURN_MS = 60


def as_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """TurnPolicy fields, as JSON holds them."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return fields | ({"interrupt": Interrupt(fields["interrupt"])} if "interrupt" in fields else {})


@dataclass(slots=True)
class Utterance:
    """One utterance of the recogniser."""

    begin: int
    spoke_until: int | None = None
    asked: int | None = None  # when its final was asked for
    answered: int | None = None  # when it came
    final: Transcript | None = None
    partials: list[tuple[int, Transcript]] = field(default_factory=list)

    def text_until(self, at: int) -> str:
        """What was believed at that time."""
        known = [partial.text for t, partial in self.partials if t <= at]
        return known[-1] if known else ""


@dataclass(slots=True)
class Script:
    """One recorded call."""

    flow: str = ""
    caller: str = ""
    called: str = ""
    started_at: str = ""  # UTC
    policy: Mapping[str, Any] = field(default_factory=dict)
    rate: int = 8000
    answered: int = 0
    ended: int = 0
    closed_by_bot: bool = False
    opened: int | None = None  # when the greeting's first sound was heard
    vad: list[tuple[int, SpeechStarted | SpeechStopped]] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    holds: list[tuple[int, bool]] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)  # of the end-of-turn estimate
    unasked: list[tuple[int, Transcript]] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)
    transfers: list[tuple[int, str]] = field(default_factory=list)  # how long until it failed, why
    latencies: list[tuple[int, float]] = field(default_factory=list)  # turn, ms to the first packet
    spoken: list[tuple[str, int]] = field(default_factory=list)  # text heard, ms

    def base_policy(self) -> TurnPolicy:
        """Turn taking as configured then. Raises TypeError, ValueError for settings of another version."""
        return TurnPolicy(**as_fields(self.policy))

    def first_audio_ms(self, turn_at: int) -> float:
        """How long the reply to this turn took then."""
        same = [ms for at, ms in self.latencies if abs(at - turn_at) <= SAME_TURN_MS]
        known = same or [ms for _, ms in self.latencies]
        return median(known) if known else FIRST_AUDIO_MS

    def duration_ms(self, text: str) -> float:
        """How long the voice takes to say this: as it took then, or at its pace."""
        for said, ms in self.spoken:
            if text.strip() in said:
                return ms * len(text) / len(said)
        chars = sum(len(said) for said, _ in self.spoken)
        pace = chars / (sum(ms for _, ms in self.spoken) / 1000) if chars else CHARS_PER_S
        return len(text) * 1000 / pace


def read(events: Iterable[Event]) -> Script:
    """The script of a timeline."""
    script, transfer_at = Script(), 0
    for event in events:
        t, fields = event.t_ms, event.fields
        match event.name:
            case "call":
                _milestone(script, event)
            case "session":
                turn = fields.get("turn")
                script.policy = turn if isinstance(turn, Mapping) else {}
            case "dtmf" if fields.get("direction") == "received":
                script.keys.append((t, str(fields.get("digit", ""))))
            case "hold":
                script.holds.append((t, bool(fields.get("active"))))
            case "latency":
                total, eot, stt = (_number(fields.get(f"{step}_ms")) for step in ("total", "eot", "stt"))
                script.latencies.append((round(_number(fields.get("turn_at_ms"))), total - eot - stt))
            case "act" if fields.get("kind") == "transfer":
                transfer_at = t
            case "error" if fields.get("where") == "transfer":
                script.transfers.append((t - transfer_at, str(fields.get("message", ""))))
            case "eot":
                script.scores.append((t, _number(fields.get("score"))))
            case "heard":
                _heard(script, event)
            case _:
                _speech(script, event)
    return script


def _milestone(script: Script, event: Event) -> None:
    fields = event.fields
    match fields.get("state"):
        case "ringing":
            script.flow, script.started_at = str(fields.get("flow", "")), event.at
            script.caller, script.called = str(fields.get("from", "")), str(fields.get("to", ""))
        case "answered":
            script.answered, script.rate = event.t_ms, int(_number(fields.get("rate"))) or 8000
        case "closing":
            script.closed_by_bot = True
        case "ended":
            script.ended = event.t_ms


def _heard(script: Script, event: Event) -> None:
    fields = event.fields
    if script.opened is None:
        script.opened = round(_number(fields.get("at_ms")))
    text, ms = str(fields.get("text", "")), round(_number(fields.get("ms")))
    if text and ms:
        script.spoken.append((text, ms))


def _speech(script: Script, event: Event) -> None:
    t, fields = event.t_ms, event.fields
    last = script.utterances[-1] if script.utterances else None
    current = last if last is not None and last.asked is None else None
    match event.name:
        case "vad":
            ago = round(_number(fields.get("ago_ms")))
            speaks = bool(fields.get("speaking"))
            script.vad.append((t, SpeechStarted(ago) if speaks else SpeechStopped(ago)))
            if speaks and current is None:
                script.utterances.append(Utterance(t - ago))
        case "partial" | "final" if fields.get("unasked"):
            script.unasked.append((t, _transcript(event)))
        case "partial" if current is not None:
            current.partials.append((t, _transcript(event)))
        case "end_of_speech":
            if current is None:  # speech that has never stopped
                current = Utterance(last.asked or t if last is not None else t)
                script.utterances.append(current)
            current.asked, current.spoke_until = t, round(_number(fields.get("spoke_until_ms")))
        case "final":
            for utterance in script.utterances:
                if utterance.final is None and utterance.asked is not None:
                    utterance.final, utterance.answered = _transcript(event), t
                    break


def _transcript(event: Event) -> Transcript:
    fields = event.fields
    confidence = fields.get("confidence")
    return Transcript(
        str(fields.get("text", "")),
        final=event.name == "final",
        confidence=_number(confidence) if confidence is not None else None,
        **{k: bool(fields.get(k)) for k in ("rejected", "complete", "fragment", "unasked")},
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


class Recogniser:
    """Answers for utterances that may begin and end elsewhere than in the recording."""

    def __init__(self, utterances: list[Utterance]) -> None:
        self._utterances, self._next, self._said = utterances, 0, 0
        self._begins = [u.begin for u in utterances]

    def partials(self) -> Iterator[tuple[int, Transcript]]:
        """All that were recorded."""
        for utterance in self._utterances:
            yield from utterance.partials

    def finish(self, now: int) -> tuple[int, Transcript]:
        """The final of what was said until `now`, and how long it takes: the recorded one where the utterance
        is the recorded one, else what was believed of a part, or several together."""
        until = bisect_right(self._begins, now)
        mine, skipped = self._utterances[self._next : until], self._said
        if not mine:
            return round(FIRST_AUDIO_MS), Transcript("", final=True)
        last = mine[-1]
        asked, answered = last.asked or now, last.answered or last.asked or now
        whole = last.spoke_until is None or now >= last.spoke_until
        if len(mine) == 1 and whole and not skipped:
            self._next, self._said = until, 0
            return answered - asked, last.final or Transcript("", final=True)
        words = [(u.final.text if u.final else "").split() for u in mine]
        if not whole:
            words[-1] = last.text_until(now).split()
        self._next, self._said = (until, 0) if whole else (until - 1, len(words[-1]))
        text = " ".join(word for part in words for word in part)
        text = " ".join(text.split()[skipped:])
        rejected = not text and any(u.final is not None and u.final.rejected for u in mine)
        return answered - asked, Transcript(text, final=True, rejected=rejected)

    def cancel(self, now: int) -> None:
        """Forget what was said until `now`."""
        self._next, self._said = max(self._next, bisect_right(self._begins, now)), 0
