"""Written text to spoken words: money, dates, times, telephone numbers, units, e-mail, addresses of the web,
in the text's language. Number words are num2words'; each language here adds its words for signs and units.

Only what engines read badly is changed: whole numbers stay as they are. A language without words here keeps
its text, except in `say_as`, which needs number words alone. Every character remembers where it comes from.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from num2words import num2words

from media.tts.tongues import LARGEST, WORDS, Words, cardinal, in_words, ordinal


@dataclass(frozen=True, slots=True)
class Spoken:
    """Text to be spoken."""

    text: str
    positions: Sequence[int]  # of each character in the text that it came from


def normalise(text: str, language: str) -> Spoken:
    """Spoken words for what engines read badly."""
    base = language.partition("-")[0].lower()
    words = WORDS.get(base)
    if words is None or not (
        any(char.isdigit() or char in "@$€£" for char in text)
        or "www." in text
        or _ACRONYM.search(text)
        or "://" in text
    ):
        return Spoken(text, range(len(text)))
    spoken, positions, done = "", list[int](), 0
    for match in _pattern(base).finditer(text):
        said = _say(match, base, words, american=language.lower() in ("en", "en-us"))
        if said is None or match.end() == match.start():
            continue
        spoken += text[done : match.start()] + said
        positions += [*range(done, match.start()), *[match.start()] * len(said)]
        done = match.end()
    return Spoken(spoken + text[done:], [*positions, *range(done, len(text))])


def say_as(text: str, what: str, language: str) -> Spoken:
    """As SSML's say-as wants it; what does not fit stays as it is."""
    base = language.partition("-")[0].lower()
    said: str | None = None
    match what:
        case "characters":
            return _each(text, base, lambda char: char.upper() if char.isalpha() else None)
        case "digits":
            return _each(text, base, lambda char: None)
        case "telephone":
            said = _telephone(text, base)
        case "cardinal" | "ordinal" if (digits := re.sub(r"[\s,.']", "", text)).isdecimal():
            said = ordinal(int(digits), base) if what == "ordinal" else cardinal(int(digits), base)
        case "date":
            said = _date(text.strip(), base, american=language.lower() in ("en", "en-us"))
        case "time":
            if (found := _TIME.fullmatch(text.strip())) is not None:
                said = _time(found[1], found[2], found[3], base)
    if said is None:
        return Spoken(text, range(len(text)))
    return Spoken(said, [0] * len(said))


_TIME = re.compile(r"([01]?\d|2[0-4])[:h.]([0-5]\d)(?:\s*([ap])\.?\s?m\b\.?)?", re.IGNORECASE)
_ACRONYM = re.compile(r"\b(?=[A-Z]{2,6}\b)[BCDFGHJKLMNPQRSTVWXZ]+\b")
_GAP = r"(?<![\w.,:/-])"


@cache
def _pattern(base: str) -> re.Pattern[str]:
    words = WORDS[base]
    number = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,4})?(?!\d)|\d{1,12}(?:[.,]\d{1,6})?(?!\d)"
    signs = "|".join(re.escape(sign) for sign in words.currencies)
    units = "|".join(re.escape(unit) for unit in sorted(words.units, key=len, reverse=True))
    streets = "|".join(words.streets or {"\0": ""})
    return re.compile(
        rf"""(?P<mail>[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+)
        |(?P<url>(?:https?://|www\.)[\w/.:%+&=?\#~-]*[\w/])
        |{_GAP}(?P<date>\d{{4}}-\d\d-\d\d|\d{{1,2}}/\d{{1,2}}/\d{{4}}|\d{{1,2}}\.\d{{1,2}}\.\d{{4}})(?![\w/-])
        |{_GAP}(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?:\s?(?P<half>[apAP])\.?[mM]\b\.?|(?:\sUhr))?(?![\w:])
        |(?P<sign>{signs})\s?(?P<amount>{number})
        |{_GAP}(?P<amount2>{number})\s?(?P<sign2>{signs})(?!\w)
        |{_GAP}(?P<phone>\+?\(?\d[\d ().-]{{6,20}}\d)(?![\w-])
        |{_GAP}(?P<percent>{number})\s?%
        |{_GAP}(?P<measure>{number})\s?(?P<unit>{units})(?!\w)
        |{_GAP}(?P<ordinal>\d{{1,6}})(?:st|nd|rd|th)\b
        |{_GAP}(?P<number>\d{{1,3}}(?:[.,]\d{{3}})+(?:[.,]\d+)?|\d{{1,12}}[.,]\d{{1,6}})(?![\w/-]|[.,:]\d)
        |(?P<house>\d{{1,6}}\s(?:\w+\s){{1,3}})(?P<street>{streets})\b\.?
        |(?P<acronym>{_ACRONYM.pattern})
        """,
        re.VERBOSE,
    )


def _say(match: re.Match[str], base: str, words: Words, *, american: bool) -> str | None:
    group = match.groupdict()
    if address := group["mail"] or group["url"]:
        return _spelled(re.sub(r"^https?://", "", address), words)
    if group["date"]:
        said = _date(group["date"], base, american=american)
        declined = base == "de" and re.search(r"\b(?:am|vom|zum|dem|den)\s$", match.string[: match.start()])
        return said.replace("r ", "n ", 1) if said and declined and "r " in said else said
    if group["hour"]:
        return _time(group["hour"], group["minute"], group["half"], base)
    if amount := group["amount"] or group["amount2"]:
        return _money(amount, words.currencies[group["sign"] or group["sign2"]], base, words)
    if group["phone"]:
        return _telephone(group["phone"], base) if _is_phone(group["phone"]) else None
    if group["percent"]:
        return _with(group["percent"], words.percent, words, base)
    if group["measure"]:
        one, many = words.units[group["unit"]]
        return _with(group["measure"], one if group["measure"] == "1" else many, words, base)
    if group["ordinal"]:
        return ordinal(int(group["ordinal"]), base) if base == "en" else None
    if group["number"]:
        return _with(group["number"], "", words, base)
    if group["street"] and words.streets:
        return group["house"] + words.streets[group["street"]]
    return " ".join(group["acronym"]) if group["acronym"] else None


def _spelled(address: str, words: Words) -> str:
    """An address with its signs as words."""
    said = "".join(f" {words.signs[char]} " if char in words.signs else char for char in address)
    return " ".join(said.split())


def _value(text: str, words: Words) -> float | int | None:
    """The number that is written so."""
    bare = text.replace(" ", "").replace("'", "")
    other = "," if words.decimal == "." else "."
    whole, point, fraction = bare.partition(words.decimal)
    if other in whole and not re.fullmatch(rf"\d{{1,3}}(?:{re.escape(other)}\d{{3}})+", whole):
        return None
    whole = whole.replace(other, "")
    if not whole.isdecimal() or (point and not fraction.isdecimal()) or int(whole) > LARGEST:
        return None
    return float(f"{whole}.{fraction}") if point else int(whole)


def _with(text: str, unit: str, words: Words, base: str) -> str | None:
    value = _value(text, words)
    if value is None:
        return None
    said = in_words(value, base)
    return None if said is None else f"{said} {unit}".strip()


def _money(text: str, currency: str, base: str, words: Words) -> str | None:
    value = _value(text, words)
    if value is None:
        return None
    try:
        said = str(num2words(float(value), lang=base, to="currency", currency=currency))
    except (NotImplementedError, ValueError, OverflowError):
        return None
    cents = re.search(r"(?:,| and| und| et| y| con)\s(?:zero|null|zéro|cero)\s\S+$", said)
    return said[: cents.start()] if cents and float(value).is_integer() else said


def _date(text: str, base: str, *, american: bool) -> str | None:
    if base not in WORDS:
        return None
    parts = [int(part) for part in re.split(r"[-/.]", text) if part.isdecimal()]
    if len(parts) != 3:
        return None
    if parts[0] > 31:
        year, month, day = parts
    else:
        first, second, year = parts
        month, day = (first, second) if american and "/" in text else (second, first)
    try:
        return WORDS[base].day(date(year, month, day))
    except ValueError:
        return None


def _time(hour: str, minute: str, half: str | None, base: str) -> str | None:
    if base not in WORDS:
        return None
    if half is None:
        return WORDS[base].clock(int(hour), int(minute))
    minutes = int(minute)
    spoken = f"{'oh ' if minutes < 10 else ''}{cardinal(minutes, base)} " if minutes else ""
    return f"{cardinal(int(hour), base)} {spoken}{half.upper()} M"


def _is_phone(text: str) -> bool:
    digits = sum(char.isdigit() for char in text)
    if not 7 <= digits <= 15 or re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", text):  # 192.168.1.1
        return False
    grouped = re.search(r"\d[ ().-]+\d", text) is not None
    return text[0] in "+(" or (digits >= 9 and grouped) or bool(re.fullmatch(r"\d{3}[ .-]\d{4}", text))


def _telephone(text: str, base: str) -> str | None:
    """Digit by digit, with a pause between groups."""
    groups = [group for group in re.split(r"[^\d+]+", text) if group]
    if len(groups) == 1 and len(groups[0]) > 4:
        bare = groups[0]
        groups = [bare[max(0, n - 3) : n] for n in range(len(bare), 0, -3)][::-1]
    said = []
    for group in groups:
        names = [WORDS[base].signs["+"] if base in WORDS else "" for _ in range(group.count("+"))]
        digits = [cardinal(int(char), base) for char in group if char.isdecimal()]
        if None in digits:
            return None
        said.append(" ".join([*names, *[digit for digit in digits if digit]]))
    return ", ".join(said)


def _each(text: str, base: str, name: Callable[[str], str | None]) -> Spoken:
    """Sign by sign."""
    spoken, positions = "", list[int]()
    for at, char in enumerate(text):
        said = name(char)
        if said is None and char.isdecimal():
            said = cardinal(int(char), base) or char
        if said is None:
            said = WORDS[base].signs.get(char, "" if char.isspace() else char) if base in WORDS else char
        if said.strip():
            part = (" " if spoken else "") + said.strip()
            spoken += part
            positions += [at] * len(part)
    return Spoken(spoken, positions)
