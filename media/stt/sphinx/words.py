"""From written phrases to spoken words: "Yes, at 3 P.M.!" -> yes at three p m.

The result holds what a pronouncing dictionary may know: lower-case letters and apostrophes. Numbers
are spoken where there is one way to say them; longer ones ("911", "2024") are an error, since the
author alone knows whether callers read them as a number or digit by digit.
"""

import re
import unicodedata

from media.stt.sphinx.errors import DomainError

_UNITS = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
DIGITS = (*_UNITS[:10], "oh")

_CLOCK = re.compile(r"\b(\d{1,2}):([0-5]\d)\b")
_HALF_DAY = re.compile(r"(?<=\d)\s*([ap])\.?m\b\.?|\b([ap])\.m\b\.?|\b(p)m\b")
_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")
_NUMBER = re.compile(r"\d+")
_PAUSES = re.compile(r"[-.,;:!?…\"“”()\[\]/–—]+")  # noqa: RUF001
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?|'[a-z]+")


def cardinal(number: int) -> str:
    """0..99 in words."""
    if number < 20:
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f" {_UNITS[units]}" if units else "")


def ordinal(number: int) -> str:
    """1..99 in words."""
    *before, last = cardinal(number).split()
    last = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*before, last])


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f"{cardinal(hour)} o'clock"
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"


def spoken(text: str) -> tuple[str, ...]:
    """The words of `text`. Raises DomainError naming the text and what in it cannot be said."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))  # noqa: RUF001
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = _HALF_DAY.sub(lambda m: f" {m[1] or m[2] or m[3]} m ", plain)
    plain = _CLOCK.sub(_clock, plain)
    plain = _ORDINAL.sub(lambda m: ordinal(int(m[1])) if int(m[1]) else m[0], plain)
    plain = plain.replace("&", " and ").replace("%", " percent ")
    words: list[str] = []
    for token in _PAUSES.sub(" ", plain).split():
        if token.isdecimal() and len(token) <= 2:
            words += cardinal(int(token)).split()
        elif number := _NUMBER.search(token):
            raise DomainError(f"{text!r}: write the number {number[0]} in words, as callers say it")
        elif _WORD.fullmatch(token):
            words.append(token)
        elif token.strip("'"):
            raise DomainError(f"{text!r}: {token!r} cannot be spoken; use letters and apostrophes")
    return tuple(words)
