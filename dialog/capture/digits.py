"""Captures of figures: a string of digits (a reference, a telephone number) and a number (a count)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dialog.capture.base import NO_TURN, Keys, Scalar, jsgf
from dialog.capture.numbers import MAX_CARDINAL, cardinal, parse_cardinal, parse_digits
from dialog.nlu.rules import bare
from dialog.types import Hints

_LEADS = ("it's", "it is", "my number is", "the number is", "number", "that's")
_ZERO = frozenset({"oh"})  # elsewhere a filler
MAX_LISTED = 100  # numbers written out one by one; beyond that by a pattern


def _without_lead(text: str) -> list[str]:
    text = bare(text, _ZERO)
    for lead in _LEADS:
        if text.startswith(lead + " "):
            return text[len(lead) + 1 :].split()
    return text.split()


@dataclass(frozen=True, slots=True)
class Digits:
    """A string of digits, as dictated ("oh one double five") or keyed."""

    min: int = 1
    """Fewest digits, 1..32."""
    max: int = 16
    """Most digits, 1..32. The same as `min` where the length is known: it is then heard far better."""

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.max <= 32:
            raise ValueError(f"digits need 1 <= min <= max <= 32, not {self.min} and {self.max}")

    @property
    def value_type(self) -> type[Scalar]:
        return str

    @property
    def hints(self) -> Hints:
        return Hints(digits=(self.min, self.max))

    @property
    def keys(self) -> Keys | None:
        return Keys(self.max)

    @property
    def turn(self) -> Mapping[str, object]:
        return {"end_silence_ms": 1200}  # people breathe between groups of digits

    @property
    def help(self) -> str:
        count = (
            cardinal(self.min) if self.min == self.max else f"{cardinal(self.min)} to {cardinal(self.max)}"
        )
        last = "" if self.min == self.max else " and then the hash key"
        return f"Please say the {count} digits one by one, or press them on your keypad{last}."

    def parse(self, text: str, now: datetime) -> str | None:
        return self._fitting(parse_digits(_without_lead(text.replace("-", " "))))

    def parse_keys(self, keys: str, now: datetime) -> str | None:
        return self._fitting(keys if keys.isascii() and keys.isdigit() else None)

    def spoken(self, value: Scalar) -> str:
        return " ".join(str(value))

    def _fitting(self, digits: str | None) -> str | None:
        return digits if digits is not None and self.min <= len(digits) <= self.max else None


@dataclass(frozen=True, slots=True)
class Number:
    """A count: "three", "twenty five", "one hundred and five"."""

    min: int = 0
    """Smallest, 0..9999."""
    max: int = 99
    """Largest, 0..9999."""

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max <= MAX_CARDINAL:
            raise ValueError(
                f"a number needs 0 <= min <= max <= {MAX_CARDINAL}, not {self.min} and {self.max}"
            )

    @property
    def value_type(self) -> type[Scalar]:
        return int

    @property
    def hints(self) -> Hints:
        if self.max - self.min < MAX_LISTED:
            return Hints(phrases=tuple(cardinal(n) for n in range(self.min, self.max + 1)))
        return Hints(grammar=_number_grammar(self.max))

    @property
    def keys(self) -> Keys | None:
        return Keys(len(str(self.max)))

    @property
    def turn(self) -> Mapping[str, object]:
        return NO_TURN

    @property
    def help(self) -> str:
        last = "" if self.max < 10 else ", and then the hash key"
        return f"Please say a number from {self.min} to {self.max}, or press it on your keypad{last}."

    def parse(self, text: str, now: datetime) -> int | None:
        return self._fitting(parse_cardinal(_without_lead(text)))

    def parse_keys(self, keys: str, now: datetime) -> int | None:
        return self._fitting(int(keys) if keys.isascii() and keys.isdigit() and len(keys) <= 4 else None)

    def spoken(self, value: Scalar) -> str:
        return cardinal(int(str(value)))

    def _fitting(self, number: int | None) -> int | None:
        return number if number is not None and self.min <= number <= self.max else None


def _number_grammar(most: int) -> str:
    rules = [
        "<unit> = one | two | three | four | five | six | seven | eight | nine;",
        "<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;",
        "<teen> = ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen"
        " | nineteen;",
        "<below100> = <unit> | <teen> | <tens> [<unit>];",
        "<below1000> = <unit> hundred [[and] <below100>];",
    ]
    top = "zero | <below100> | <below1000>"
    if most >= 1000:
        top += " | <unit> thousand [[and] <below100> | <below1000>]"
    return jsgf("number", top, *rules)
