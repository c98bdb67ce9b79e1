"""A time of day: "half past nine", "three p m", "quarter to ten", "ten thirty in the morning", "15:30".

"three" alone may be night or afternoon: the hours between `earliest` and `latest` decide.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time

from dialog.capture.base import NO_TURN, Keys, Scalar, alternatives, jsgf
from dialog.capture.numbers import cardinal, parse_cardinal
from dialog.nlu.base import words_of
from dialog.nlu.rules import NEGATIONS, bare
from dialog.types import Hints

_HOURS = [cardinal(n) for n in range(1, 13)]
_MINUTES = ["oh five", *(cardinal(n) for n in range(10, 60, 5))]

GRAMMAR = jsgf(
    "time",
    "[at | around | about | maybe] <clock> [please]",
    "<clock> = noon | midday | midnight | <hour> [o'clock] [<half>] | <hour> <minute> [<half>]"
    " | half past <hour> [<half>] | [a] quarter (past | to) <hour> [<half>]"
    " | (five | ten | twenty | twenty five) (past | to) <hour> [<half>];",
    f"<hour> = {alternatives(_HOURS)};",
    f"<minute> = {alternatives(_MINUTES)};",
    "<half> = a m | p m | in the (morning | afternoon | evening);",
)

_LEADS = frozenset(words_of("at around about maybe for by say let's it's"))
_FIXED = {"noon": time(12), "midday": time(12), "midnight": time(0)}
_DIGITAL = re.compile(r"(\d{1,2})[:.](\d{2})")
_PAST = re.compile(r"(?:a )?(half|quarter|\S+(?: five)?)(?: minutes?)? (past|after|to) (.+)")
_HALF = re.compile(r"(.*?) ?(?:\b([ap]) m|(?:in the |at )(morning|afternoon|evening|night))$")


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day, to the minute."""

    earliest: time = time(7)
    """An hour said without a.m. or p.m. is taken to lie from here ..."""
    latest: time = time(19)
    """... to here."""

    def __post_init__(self) -> None:
        if self.earliest >= self.latest:
            raise ValueError(
                f"earliest ({self.earliest:%H:%M}) must come before latest ({self.latest:%H:%M})"
            )

    @property
    def value_type(self) -> type[Scalar]:
        return time

    @property
    def hints(self) -> Hints:
        return Hints(grammar=GRAMMAR)

    @property
    def keys(self) -> Keys | None:
        return Keys(4)

    @property
    def turn(self) -> Mapping[str, object]:
        return NO_TURN

    @property
    def help(self) -> str:
        return (
            "You can say, for example, half past nine, or three p m."
            " Or press four digits, like 0 9 3 0 for half past nine."
        )

    def parse(self, text: str, now: datetime) -> time | None:
        words = bare(_DIGITAL.sub(r"\1 \2", text).replace("-", " ")).split()
        while words and words[0] in _LEADS:
            words.pop(0)
        if NEGATIONS.intersection(words):
            return None
        line = " ".join(words)
        if line in _FIXED:
            return _FIXED[line]
        half = _HALF.fullmatch(line)
        found = _hour_minute(half[1] if half else line)
        if found is None:
            return None
        if half is None:
            return self._likely(*found)
        hour, minute = found
        if hour > 12:
            return time(hour, minute)  # "15:30 p m"
        night = half[3] == "night" and hour % 12 < 6
        late = half[2] == "p" or (half[3] in {"afternoon", "evening", "night"} and not night)
        return time(hour % 12 + (12 if late else 0), minute)

    def parse_keys(self, keys: str, now: datetime) -> time | None:
        if not (keys.isascii() and keys.isdigit()) or len(keys) not in {3, 4}:
            return None  # a single key is left to the flow's global options
        hour, minute = int(keys[:-2]), int(keys[-2:])
        return self._likely(hour, minute) if hour < 24 and minute < 60 else None

    def spoken(self, value: Scalar) -> str:
        return spoken_time(value) if isinstance(value, time) else str(value)

    def _likely(self, hour: int, minute: int) -> time:
        """The reading that lies in the expected hours; else as said, small hours being afternoon."""
        readings = [time(hour, minute)]
        if 1 <= hour <= 12:
            readings.append(time((hour + 12) % 24, minute))
        fitting = [t for t in readings if self.earliest <= t <= self.latest]
        if fitting:
            return fitting[0]
        return readings[1] if 1 <= hour <= 5 else readings[0]


def _hour_minute(line: str) -> tuple[int, int] | None:
    """Read the clock without a.m. or p.m.; the hour is 0..23 if given in figures, else 1..12."""
    line = re.sub(r" o(?:h |'| )clock$", "", line.removesuffix(" sharp"))
    if line.startswith("half ") and not line.startswith("half past"):
        line = "half past " + line.removeprefix("half ")  # as the British say it
    past = _PAST.fullmatch(line)
    if past is not None:
        amount = {"half": 30, "quarter": 15}.get(past[1]) or parse_cardinal(past[1].split())
        hour = parse_cardinal(past[3].removesuffix(" o'clock").split())
        if amount is None or hour is None or not 0 < amount < 60 or hour > 23:
            return None
        return ((hour - 2) % 12 + 1, 60 - amount) if past[2] == "to" else (hour, amount)
    words = line.split()
    for split in range(1, len(words) + 1):
        hour, rest = parse_cardinal(words[:split]), words[split:]
        minute = parse_cardinal(rest[1:] if rest[:1] in (["oh"], ["o"]) else rest) if rest else 0
        if hour is None or minute is None or hour > 23 or minute > 59:
            continue
        if rest and not rest[0].isdigit() and rest[0] not in {"oh", "o"} and minute < 10:
            continue  # "twenty five" is no time; "twenty oh five" is
        return hour, minute
    return None


def spoken_time(value: time) -> str:
    """ "half past nine in the morning", "three fifteen in the afternoon", "noon"."""
    if value in {time(12), time(0)}:
        return "noon" if value.hour else "midnight"
    hour, minute = cardinal((value.hour - 1) % 12 + 1), value.minute
    if minute == 30:
        clock = f"half past {hour}"
    elif minute == 0:
        clock = hour
    else:
        clock = f"{hour} oh {cardinal(minute)}" if minute < 10 else f"{hour} {cardinal(minute)}"
    part = "morning" if value.hour < 12 else "afternoon" if value.hour < 18 else "evening"
    return f"{clock} in the {part}"
