import json

import pytest

from voicegw.phone.report import CallRecord, Line, Span, joined, judge, latency, stopped
from voicegw.phone.script import Expect

BOT = [Span(500, 1200), Span(1500, 2500), Span(5000, 6000), Span(6300, 7000)]


def test_utterances_join_over_short_pauses() -> None:
    assert joined(BOT) == [Span(500, 2500), Span(5000, 7000)]
    assert joined(BOT, 100) == BOT
    assert joined([]) == []


@pytest.mark.parametrize(
    ("line", "until", "expected"),
    [
        ((3000, 4200), 9000, 800),
        ((3000, 5020), 9000, 0),  # the detector may be early
        ((3000, 5100), 9000, 1200),  # spoke before we had ended: what comes after counts
        ((3000, 4200), 4900, None),  # our next line came first
        ((7000, 8000), 9000, None),
    ],
)
def test_latency_runs_from_our_end_to_the_bots_first_sound(
    line: tuple[int, int], until: int, expected: int | None
) -> None:
    assert latency(Line("say", "x", *line), BOT, until) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ((2000, 3000), 500),
        ((1000, 4000), 1500),  # over the pause between two sentences
        ((5500, 5900), None),  # spoke on, long after our end
        ((3000, 4000), None),  # nothing to interrupt
    ],
)
def test_barge_in_is_timed_to_the_bots_last_sound(line: tuple[int, int], expected: int | None) -> None:
    assert stopped(Line("say", "x", *line, over_bot=True), BOT) == expected


def record() -> CallRecord:
    return CallRecord(
        lines=[Line("say", "hello", 3000, 4200), Line("say", "stop", 6500, 6900, over_bot=True)],
        bot=BOT,
        total_ms=12_000,
        hangup="caller",
        cause="NORMAL",
    )


@pytest.mark.parametrize(
    ("expect", "failures"),
    [
        (Expect(), []),
        (Expect(2, 800, 500, 12, "caller"), []),
        (Expect(bot_utterances=3), ["the bot spoke 2 times, expected 3 at least"]),
        (Expect(latency_ms=799), ["the answer to 'hello' took 800 ms, expected 799 at most"]),
        (Expect(barge_in_ms=499), ["the bot took 500 ms to stop under 'stop', expected 499 at most"]),
        (Expect(total_s=11), ["the call took 12.0 s, expected 11 at most"]),
        (Expect(hangup="bot"), ["the call was ended by caller, expected bot"]),
        (
            Expect(bot_utterances=9, total_s=1),
            ["the bot spoke 2 times, expected 9 at least"] + ["the call took"],
        ),
    ],
)
def test_what_was_not_as_expected_is_said(expect: Expect, failures: list[str]) -> None:
    found = judge(record(), expect)
    assert len(found) == len(failures)
    assert all(text.startswith(start) for text, start in zip(found, failures, strict=True))


def test_a_bot_that_speaks_on_fails_the_barge_in_and_problems_fail_the_call() -> None:
    spoken_on = record()
    spoken_on.bot = [Span(5000, 12_000)]
    spoken_on.problems = ["the bot said nothing"]
    assert judge(spoken_on, Expect(barge_in_ms=500)) == [
        "the bot said nothing",
        "the bot spoke on under 'stop', expected 500 at most",
    ]


def test_json_holds_lines_with_their_latencies() -> None:
    data = json.loads(json.dumps(record().as_dict()))
    assert [line["latency_ms"] for line in data["lines"]] == [800, None]
    assert data["bot"] == [{"start_ms": 500, "end_ms": 2500}, {"start_ms": 5000, "end_ms": 7000}]
    assert data["barge_in_ms"] == [500]
    assert (data["hangup"], data["total_ms"]) == ("caller", 12_000)
