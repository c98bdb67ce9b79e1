"""Verdicts: one a call, as lines and a table for people, as JSON, and as JUnit XML for build servers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from voicegw.phone.report import CallRecord
from voicegw.simulate.served import Served

_XML = "".join(map(chr, [*range(9), 11, 12, *range(14, 32)]))  # characters that XML 1.0 does not have


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call."""

    name: str
    seed: int
    caller: str = ""  # user part of its From
    record: CallRecord | None = None  # None: it was not answered
    served: Served | None = None
    status: int | None = None  # of a refusal
    failures: tuple[str, ...] = ()
    happened: tuple[str, ...] = ()  # lines
    took_s: float = 0.0

    @property
    def good(self) -> bool:
        """All was as expected."""
        return not self.failures

    @property
    def latencies(self) -> list[int]:
        """Of the bot's answers, in ms, sorted."""
        found = self.record.latencies() if self.record is not None else []
        return sorted(ms for ms in found if ms is not None)

    @property
    def call_id(self) -> str:
        """The server's; "" where it was not asked."""
        return str(self.served.call["id"]) if self.served is not None else ""


Told = Callable[[Result], None]


def line(result: Result) -> str:
    """For the eye, while others still run."""
    verdict = "ok    " if result.good else "FAILED"
    seconds = result.record.total_ms / 1000 if result.record is not None else result.took_s
    parts = [f"{verdict} {result.name:<34} {seconds:6.1f} s"]
    if answers := result.latencies:
        parts.append(f"{len(answers)} answers, median {_median(answers)} ms, longest {answers[-1]} ms")
    elif result.status is not None:
        parts.append(f"refused with {result.status}")
    if result.call_id:
        parts.append(f"call {result.call_id[:12]}")
    return "\n".join(["  ".join(parts), *(f"       {failure}" for failure in result.failures)])


def summary(results: Sequence[Result], took_s: float) -> str:
    """The last lines."""
    bad = [result for result in results if not result.good]
    answers = sorted(ms for result in results for ms in result.latencies)
    text = f"{len(results)} calls in {took_s:.1f} s: {len(results) - len(bad)} good, {len(bad)} failed"
    if answers:
        worst = answers[min(len(answers) - 1, len(answers) * 95 // 100)]
        text += f"; {len(answers)} answers, median {_median(answers)} ms, 95 % within {worst} ms"
    return text


def as_dict(result: Result) -> dict[str, Any]:
    """For JSON."""
    return {
        "name": result.name,
        "seed": result.seed,
        "good": result.good,
        "failures": list(result.failures),
        "caller": result.caller,
        "call_id": result.call_id or None,
        "status": result.status,
        "took_s": round(result.took_s, 3),
        "phone": result.record.as_dict() if result.record is not None else None,
    }


def junit(results: Sequence[Result], took_s: float) -> bytes:
    """One suite, one test case a call."""
    failed = sum(not result.good for result in results)
    counts = {"tests": str(len(results)), "failures": str(failed), "errors": "0", "time": f"{took_s:.3f}"}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "voicegw simulate", **counts})
    for result in results:
        attributes = {"classname": "scenario", "name": result.name, "time": f"{result.took_s:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if result.failures:
            failure = ElementTree.SubElement(case, "failure", {"message": _clean(result.failures[0])})
            failure.text = _clean("\n".join(result.failures))
        out = ElementTree.SubElement(case, "system-out")
        out.text = _clean("\n".join([f"seed {result.seed}, call {result.call_id or '?'}", *result.happened]))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _median(answers: Sequence[int]) -> int:
    return answers[len(answers) // 2]


def _clean(text: str) -> str:
    return text.translate(dict.fromkeys(map(ord, _XML)))
