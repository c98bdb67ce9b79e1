"""A day: "tomorrow", "next tuesday", "the third of may", "monday the fourth", "in two weeks".

Without a year the day is the next such day to come. "tuesday" is the coming one, never today; "next
tuesday" is the one of next week, weeks beginning on monday. Since people differ in this, read it back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from dialog.capture.base import NO_TURN, Keys, Scalar, alternatives, jsgf
from dialog.capture.numbers import ORDINALS, cardinal, ordinal, parse_cardinal
from dialog.nlu.base import normalise, words_of
from dialog.nlu.rules import NEGATIONS, bare
from dialog.types import Hints

WEEKDAYS = words_of("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = words_of("january february march april may june july august september october november december")
YEARS_AHEAD = 8  # 29 February may be that far away

_ISO = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
_NTH = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")
_FROM = re.compile(r"\b(?:days?|weeks?) (?:from|after|before)\b")  # "a week from monday" is not monday
_BREAKS = NEGATIONS | {"or", "and", "but"}  # "not tuesday", "monday or tuesday": no single day

GRAMMAR = jsgf(
    "day",
    "[on | for | how about | maybe] <when> [please]",
    "<when> = today | tomorrow | [the] day after tomorrow | in a week | in <few> (days | weeks)"
    " | [this | next] <weekday> | <weekday> next week | [<weekday>] the <ordinal> [of <month>]"
    " | [<weekday>] <month> [the] <ordinal> | [<weekday>] <ordinal> of <month>;",
    f"<weekday> = {alternatives(WEEKDAYS)};",
    f"<month> = {alternatives(MONTHS)};",
    f"<ordinal> = {alternatives(ORDINALS)};",
    f"<few> = {alternatives(cardinal(n) for n in range(2, 11))};",
)


@dataclass(frozen=True, slots=True)
class Day:
    """A day from today on."""

    keying: Literal["weekday", "date", "either"] = "weekday"
    """weekday: one key, 1 for the coming Monday to 7 for Sunday. date: four keys, day and month (0305).
    either: both, so that a single key waits for `dtmf_pause_ms`, then 1.5 s."""

    @property
    def value_type(self) -> type[Scalar]:
        return date

    @property
    def hints(self) -> Hints:
        return Hints(grammar=GRAMMAR)

    @property
    def keys(self) -> Keys | None:
        return Keys(1 if self.keying == "weekday" else 4)

    @property
    def turn(self) -> Mapping[str, object]:
        return {"dtmf_pause_ms": 1500} if self.keying == "either" else NO_TURN

    @property
    def help(self) -> str:
        weekday = "press 1 for Monday, 2 for Tuesday, and so on"
        number = "two digits for the day and two for the month, like 0 3 0 5 for the third of May"
        offers = {"weekday": weekday, "date": f"press {number}", "either": f"{weekday}; or {number}"}
        return f"You can say, for example, tomorrow, or next Tuesday. Or {offers[self.keying]}."

    def parse(self, text: str, now: datetime) -> date | None:
        day = parse_day(text, now.date())
        return day if day is not None and day >= now.date() else None

    def parse_keys(self, keys: str, now: datetime) -> date | None:
        if not (keys.isascii() and keys.isdigit()):
            return None
        if len(keys) == 1 and self.keying != "date":
            return _coming(int(keys) - 1, now.date()) if 1 <= int(keys) <= 7 else None
        if len(keys) == 4 and self.keying != "weekday":
            return _next_date(int(keys[:2]), int(keys[2:]), now.date())
        return None

    def spoken(self, value: Scalar) -> str:
        return spoken_day(value) if isinstance(value, date) else str(value)


def spoken_day(day: date) -> str:
    """ "Tuesday, the third of May"."""
    weekday, month = WEEKDAYS[day.weekday()].capitalize(), MONTHS[day.month - 1].capitalize()
    return f"{weekday}, the {ordinal(day.day)} of {month}"


def parse_day(text: str, today: date) -> date | None:
    """The day that `text` names, seen from `today`; None if it names none, or more than one."""
    iso = _ISO.search(text)
    if iso is not None:
        return _date(int(iso[1]), int(iso[2]), int(iso[3]))
    words = bare(_NTH.sub(lambda m: _ordinal_word(int(m[1])), normalise(text).replace("-", " "))).split()
    if _BREAKS.intersection(words):
        return None
    relative = _relative(words, today)
    if relative is not None or _FROM.search(" ".join(words)):
        return relative
    return _named(words, today)


def _ordinal_word(n: int) -> str:
    return ordinal(n) if 1 <= n <= 31 else str(n)


def _relative(words: list[str], today: date) -> date | None:
    """today, tomorrow, the day after tomorrow, in three days, in a week."""
    line = " ".join(words)
    if line.endswith("day after tomorrow"):
        return today + timedelta(days=2)
    named = {"today": 0, "tomorrow": 1}
    found = [named[w] for w in words if w in named]
    if len(found) == 1 and not set(words) & {*WEEKDAYS, *MONTHS}:
        return today + timedelta(days=found[0])
    span = re.search(r"\bin (\S+) (days?|weeks?)$", line)
    count = None if span is None else 1 if span[1] == "a" else parse_cardinal([span[1]])
    if span is None or count is None or count > 52:
        return None
    return today + timedelta(days=count * (7 if span[2].startswith("week") else 1))


def _named(words: list[str], today: date) -> date | None:
    """A weekday, a day of the month, or both."""
    weekdays = [WEEKDAYS.index(w) for w in words if w in WEEKDAYS]
    months = [MONTHS.index(w) + 1 for w in words if w in MONTHS]
    numbers = _month_days(words, bool(months))
    if len(weekdays) > 1 or len(months) > 1 or len(numbers) > 1:
        return None
    years = [int(w) for w in words if w.isascii() and w.isdigit() and len(w) == 4]
    if years:
        return _date(years[0], months[0], numbers[0]) if months and numbers and len(years) == 1 else None
    if numbers:
        month = months[0] if months else None
        return _next_date(numbers[0], month, today, weekdays[0] if weekdays else None)
    if not weekdays or months:
        return None
    if "next" in words:  # "next tuesday", "tuesday next week"
        return today + timedelta(days=7 - today.weekday() + weekdays[0])
    if "this" in words and weekdays[0] == today.weekday():
        return today
    return _coming(weekdays[0], today)


def _month_days(words: list[str], month_named: bool) -> list[int]:
    """Days of the month in the words; "3" alone counts beside a month only."""
    found, i = [], 0
    while i < len(words):
        pair = " ".join(words[i : i + 2])
        if pair in ORDINALS:
            found.append(ORDINALS[pair])
            i += 1
        elif words[i] in ORDINALS:
            found.append(ORDINALS[words[i]])
        elif month_named and words[i].isascii() and words[i].isdigit() and 1 <= int(words[i][:3]) <= 31:
            found.append(int(words[i]))
        i += 1
    return found


def _coming(weekday: int, today: date) -> date:
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _next_date(day: int, month: int | None, today: date, weekday: int | None = None) -> date | None:
    """The next such date from today on. A weekday decides between the next two months; otherwise the
    number counts more than the name, and reading it back shows the difference."""
    months = [
        (today.year + m // 12, m % 12 + 1) for m in range(today.month - 1, today.month + 12 * YEARS_AHEAD)
    ]
    days = [d for y, m in months if month in {None, m} and (d := _date(y, m, day)) and d >= today]
    if month is None and weekday is not None:
        days = [d for d in days[:2] if d.weekday() == weekday] or days
    return days[0] if days else None
