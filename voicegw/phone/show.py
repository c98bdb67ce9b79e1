"""A call of the test phone for the eye: lines while it runs, a summary when it is over."""

from collections.abc import Callable

from sip.endpoint import CallProgress
from voicegw.phone.report import CallRecord
from voicegw.phone.session import Happening

Print = Callable[[str], None]

PROGRESS = {
    CallProgress.TRYING: "trying",
    CallProgress.RINGING: "ringing",
    CallProgress.EARLY_MEDIA: "early media",
    CallProgress.ANSWERED: "answered",
}


def happening(event: Happening) -> str:
    """One line: when, who, what."""
    match event.what:
        case "bot":
            words = f": {event.text}" if event.text else ""
            return _line(event.at_ms, "bot", f"spoke {event.ms / 1000:.1f} s{words}")
        case "line":
            return _line(event.at_ms, "you", f"{event.text} ({event.ms / 1000:.1f} s)")
        case "dtmf":
            return _line(event.at_ms, "bot", f"pressed {event.text}")
        case "problem":
            return _line(event.at_ms, "!", event.text)
        case "closed":
            return _line(event.at_ms, "end", _ENDS[event.text])


_ENDS = {"bot": "the bot hung up", "caller": "we hung up", "timeout": "time is up: we hung up"}


def summary(record: CallRecord, failures: list[str]) -> str:
    """What was measured, and the verdict."""
    spoken = record.utterances()
    said = sum(span.end_ms - span.start_ms for span in spoken) / 1000
    parts = [f"{record.total_ms / 1000:.1f} s", f"bot spoke {len(spoken)} times, {said:.1f} s in all"]
    if waits := [ms for ms in record.latencies() if ms is not None]:
        middle = sorted(waits)[len(waits) // 2]
        parts.append(f"answers after {', '.join(map(str, waits))} ms (median {middle})")
    if stops := record.barge_ins():
        texts = ["never" if ms is None else f"{ms} ms" for ms in stops]
        parts.append(f"interrupted after {', '.join(texts)}")
    lines = ["; ".join(parts), *(f"failed: {failure}" for failure in failures)]
    return "\n".join(lines)


def _line(at_ms: int, who: str, text: str) -> str:
    return f"{at_ms / 1000:7.1f} s  {who:<4} {text}"
