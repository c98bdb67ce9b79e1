"""Numbers as words, both ways: cardinals to 9999, ordinals to 31, digits as they are dictated."""

from collections.abc import Sequence

from dialog.nlu.base import words_of

UNITS = words_of("zero one two three four five six seven eight nine")
TEENS = words_of("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = words_of("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = words_of(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth"
    " fifteenth sixteenth seventeenth eighteenth nineteenth"
)
MAX_CARDINAL = 9999

_SMALL = {word: n for n, word in enumerate(UNITS + TEENS)}
_TENS = {word: 10 * n for n, word in enumerate(TENS, start=2)}
_DIGITS = {**{word: str(n) for n, word in enumerate(UNITS)}, "oh": "0", "o": "0", "nought": "0"}
_TIMES = {"double": 2, "triple": 3}


def cardinal(n: int) -> str:
    """The words for 0..9999: "one hundred and five"."""
    if not 0 <= n <= MAX_CARDINAL:
        raise ValueError(f"no words for {n}, only for 0 to {MAX_CARDINAL}")
    if n < 20:
        return (UNITS + TEENS)[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f" {UNITS[n % 10]}" if n % 10 else "")
    size, name = (1000, "thousand") if n >= 1000 else (100, "hundred")
    rest = n % size
    joint = " and " if 0 < rest < 100 else " "
    return f"{cardinal(n // size)} {name}" + (joint + cardinal(rest) if rest else "")


def ordinal(n: int) -> str:
    """The words for 1st..31st: "twenty third"."""
    if not 1 <= n <= 31:
        raise ValueError(f"no ordinal for {n}, only for 1 to 31")
    if n < 20:
        return _ORDINALS[n - 1]
    if n % 10 == 0:
        return {20: "twentieth", 30: "thirtieth"}[n]
    return f"{TENS[n // 10 - 2]} {_ORDINALS[n % 10 - 1]}"


ORDINALS = {ordinal(n): n for n in range(1, 32)}


def parse_cardinal(words: Sequence[str]) -> int | None:
    """Read "one hundred and five", "twenty-three" or "23"; None for anything else."""
    words = [part for word in words for part in word.split("-")]
    if len(words) == 1 and words[0].isascii() and words[0].isdigit() and len(words[0]) <= 4:
        return int(words[0])
    for name, size in (("thousand", 1000), ("hundred", 100)):
        if name in words:
            at = words.index(name)
            high = 1 if words[:at] == ["a"] else parse_cardinal(words[:at])
            rest = words[at + 1 :]
            low = parse_cardinal(rest[1:] if rest[:1] == ["and"] else rest) if rest else 0
            fits = high is not None and low is not None and 0 < high < 10 and 0 <= low < size
            return high * size + low if fits and high is not None and low is not None else None
    if len(words) == 2 and words[0] in _TENS and 0 < _SMALL.get(words[1], 0) < 10:
        return _TENS[words[0]] + _SMALL[words[1]]
    if len(words) != 1:
        return None
    return _SMALL.get(words[0], _TENS.get(words[0]))


def parse_digits(words: Sequence[str]) -> str | None:
    """Read dictated digits: "oh one double five" or "01 55"; None if any word is none."""
    found, times = "", 1
    for word in words:
        if word in _TIMES and times == 1:
            times = _TIMES[word]
            continue
        digits = _DIGITS.get(word) or (word if word.isascii() and word.isdigit() else None)
        if digits is None or (times > 1 and len(digits) > 1):
            return None
        found, times = found + digits * times, 1
    return found if found and times == 1 else None
