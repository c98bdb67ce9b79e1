"""What happened in a call of the test phone, how fast it was, and whether it was as expected.

Times are milliseconds since the call was answered. Speech of the bot is kept as the detector heard it
(`Span`); an utterance joins spans with pauses shorter than `UTTERANCE_GAP_MS`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, Literal

from voicegw.phone.script import Expect

UTTERANCE_GAP_MS = 700  # a pause between two sentences of one answer is shorter
EARLY_MS = 60  # the detector's error: an answer may seem to begin this much before our end


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the bot's voice."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Line:
    """Something we said or pressed."""

    kind: Literal["say", "wav", "dtmf"]
    text: str  # the words, the file, the keys
    start_ms: int  # first sound
    end_ms: int  # last sound; of keys: when the last one was pressed
    over_bot: bool = False  # the bot was speaking when we began


@dataclass(slots=True)
class CallRecord:
    """All that is known when the call is over."""

    lines: list[Line] = field(default_factory=list)
    bot: list[Span] = field(default_factory=list)
    dtmf: str = ""  # keys that the bot pressed
    total_ms: int = 0
    hangup: Literal["bot", "caller", "timeout"] | None = None  # who ended the call
    cause: str = ""  # name of the HangupCause
    problems: list[str] = field(default_factory=list)  # steps that did not come about

    def utterances(self) -> list[Span]:
        """What the bot said, sentences of one answer joined."""
        return joined(self.bot)

    def latencies(self) -> list[int | None]:
        """For each line: from its end to the bot's first sound; None if no answer came before the next."""
        return [
            latency(line, self.bot, after.start_ms if after is not None else self.total_ms + 1)
            for line, after in zip_longest(self.lines, self.lines[1:])
        ]

    def barge_ins(self) -> list[int | None]:
        """For each line spoken over the bot: from our first sound to the bot's last; None if it spoke on."""
        return [stopped(line, self.bot) for line in self.lines if line.over_bot]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        lines = [
            {**asdict(line), "latency_ms": ms} for line, ms in zip(self.lines, self.latencies(), strict=True)
        ]
        return {
            "lines": lines,
            "bot": [asdict(span) for span in self.utterances()],
            "barge_in_ms": self.barge_ins(),
            "dtmf": self.dtmf,
            "total_ms": self.total_ms,
            "hangup": self.hangup,
            "cause": self.cause,
            "problems": self.problems,
        }


def joined(spans: Sequence[Span], gap_ms: int = UTTERANCE_GAP_MS) -> list[Span]:
    """Spans with pauses shorter than `gap_ms` as one."""
    result: list[Span] = []
    for span in spans:
        if result and span.start_ms - result[-1].end_ms < gap_ms:
            result[-1] = Span(result[-1].start_ms, span.end_ms)
        else:
            result.append(span)
    return result


def latency(line: Line, bot: Sequence[Span], until_ms: int) -> int | None:
    """From the end of `line` to the bot's first sound before `until_ms`."""
    for span in bot:
        if line.end_ms - EARLY_MS <= span.start_ms < until_ms:
            return max(0, span.start_ms - line.end_ms)
    return None


def stopped(line: Line, bot: Sequence[Span]) -> int | None:
    """From the start of `line` to the end of what the bot was saying; None if it spoke on until we had ended.

    The span is taken as joined over pauses between words, so that a bot drawing breath has not stopped.
    """
    for span in joined(bot, 400):
        if span.start_ms <= line.start_ms < span.end_ms:
            return span.end_ms - line.start_ms if span.end_ms < line.end_ms + 500 else None
    return None


def judge(record: CallRecord, expect: Expect) -> list[str]:
    """What was not as expected, in words; nothing if all was."""
    wrong = list(record.problems)
    spoken = len(record.utterances())
    if expect.bot_utterances is not None and spoken < expect.bot_utterances:
        wrong.append(f"the bot spoke {spoken} times, expected {expect.bot_utterances} at least")
    for line, ms in zip(record.lines, record.latencies(), strict=True):
        if expect.latency_ms is not None and ms is not None and ms > expect.latency_ms:
            wrong.append(f"the answer to {line.text!r} took {ms} ms, expected {expect.latency_ms} at most")
    over = [line for line in record.lines if line.over_bot]
    for line, ms in zip(over, record.barge_ins(), strict=True):
        if expect.barge_in_ms is not None and (ms is None or ms > expect.barge_in_ms):
            took = "spoke on" if ms is None else f"took {ms} ms to stop"
            wrong.append(f"the bot {took} under {line.text!r}, expected {expect.barge_in_ms} at most")
    wrong += _times(record, expect)
    if expect.dtmf is not None and record.dtmf != expect.dtmf:
        wrong.append(f"the bot pressed {record.dtmf!r}, expected {expect.dtmf!r}")
    if expect.status is not None:
        wrong.append(f"the call was answered, expected {expect.status}")
    if expect.hangup is not None and record.hangup != expect.hangup:
        wrong.append(f"the call was ended by {record.hangup}, expected {expect.hangup}")
    return wrong


def _times(record: CallRecord, expect: Expect) -> list[str]:
    wrong = []
    median_ms, most, least = expect.median_latency_ms, expect.total_s, expect.least_total_s
    answers = sorted(ms for ms in record.latencies() if ms is not None)
    if median_ms is not None and answers and answers[len(answers) // 2] > median_ms:
        took = answers[len(answers) // 2]
        wrong.append(f"answers took {took} ms in the median, expected {median_ms} at most")
    if most is not None and record.total_ms > 1000 * most:
        wrong.append(f"the call took {record.total_ms / 1000:.1f} s, expected {most} at most")
    if least is not None and record.total_ms < 1000 * least:
        wrong.append(f"the call took {record.total_ms / 1000:.1f} s, expected {least} at least")
    return wrong
