"""What languages call numbers, months, signs and units. Number words are num2words'."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from num2words import num2words

LARGEST = 10**15
_LARGEST = {"am": 10**8}  # beyond, num2words never comes back
_NO_WORDS = (NotImplementedError, ValueError, OverflowError, TypeError, LookupError)  # it has gaps


def in_words(value: float, base: str) -> str | None:
    return _words(value, base, "cardinal")


def cardinal(value: int, base: str) -> str | None:
    return _words(value, base, "cardinal")


def ordinal(value: int, base: str) -> str | None:
    return _words(value, base, "ordinal")


def _words(value: float, base: str, to: str) -> str | None:
    if value > _LARGEST.get(base, LARGEST):
        return None
    try:
        return str(num2words(value, lang=base, to=to))
    except _NO_WORDS:
        return None


def year(value: int, base: str) -> str:
    return str(num2words(value, lang=base, to="year"))


@dataclass(frozen=True, slots=True)
class Words:
    """What a language calls things."""

    signs: dict[str, str]  # "@": "at"
    months: tuple[str, ...]
    currencies: dict[str, str]  # sign -> code of num2words
    units: dict[str, tuple[str, str]]  # one, many
    percent: str
    decimal: str = "."
    day: Callable[[date], str] = str
    clock: Callable[[int, int], str] = lambda hour, minute: f"{hour} {minute}"
    streets: dict[str, str] | None = None


def _en_day(day: date) -> str:
    return f"{WORDS['en'].months[day.month - 1]} {ordinal(day.day, 'en')}, {year(day.year, 'en')}"


def _en_clock(hour: int, minute: int) -> str:
    if minute == 0:
        return f"{cardinal(hour, 'en')} o'clock" if hour <= 12 else f"{cardinal(hour, 'en')} hundred"
    return f"{cardinal(hour, 'en')} {'oh ' if minute < 10 else ''}{cardinal(minute, 'en')}"


def _de_day(day: date) -> str:
    return f"{ordinal(day.day, 'de')}r {WORDS['de'].months[day.month - 1]} {year(day.year, 'de')}"


def _de_clock(hour: int, minute: int) -> str:
    name = "ein" if hour == 1 else cardinal(hour, "de")
    return f"{name} Uhr" + (f" {cardinal(minute, 'de')}" if minute else "")


def _fr_day(day: date) -> str:
    first = "premier" if day.day == 1 else cardinal(day.day, "fr")
    return f"{first} {WORDS['fr'].months[day.month - 1]} {cardinal(day.year, 'fr')}"


def _fr_clock(hour: int, minute: int) -> str:
    name = "une heure" if hour == 1 else f"{cardinal(hour, 'fr')} heures"
    return name + (f" {cardinal(minute, 'fr')}" if minute else "")


def _es_day(day: date) -> str:
    return f"{cardinal(day.day, 'es')} de {WORDS['es'].months[day.month - 1]} de {cardinal(day.year, 'es')}"


def _es_clock(hour: int, minute: int) -> str:
    name = "una" if hour == 1 else cardinal(hour, "es")
    return f"{name} y {cardinal(minute, 'es')}" if minute else f"{name} en punto"


_MONEY = {"$": "USD", "€": "EUR", "£": "GBP", "USD": "USD", "EUR": "EUR", "GBP": "GBP"}

WORDS: dict[str, Words] = {
    "en": Words(
        {"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "+": "plus", ":": "colon"},
        (
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ),
        _MONEY,
        {
            "km/h": ("kilometer per hour", "kilometers per hour"),
            "mph": ("mile per hour", "miles per hour"),
            "km": ("kilometer", "kilometers"),
            "cm": ("centimeter", "centimeters"),
            "mm": ("millimeter", "millimeters"),
            "kg": ("kilogram", "kilograms"),
            "mg": ("milligram", "milligrams"),
            "ml": ("milliliter", "milliliters"),
            "lbs": ("pound", "pounds"),
            "°C": ("degree Celsius", "degrees Celsius"),
            "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
            "kWh": ("kilowatt hour", "kilowatt hours"),
            "GB": ("gigabyte", "gigabytes"),
            "MB": ("megabyte", "megabytes"),
            "min": ("minute", "minutes"),
        },
        "percent",
        ".",
        _en_day,
        _en_clock,
        {"St": "Street", "Ave": "Avenue", "Rd": "Road", "Blvd": "Boulevard", "Ln": "Lane", "Dr": "Drive"},
    ),
    "de": Words(
        {"@": "at", ".": "Punkt", "/": "Schrägstrich", "-": "minus", "_": "Unterstrich", "+": "plus"},
        (
            "Januar",
            "Februar",
            "März",
            "April",
            "Mai",
            "Juni",
            "Juli",
            "August",
            "September",
            "Oktober",
            "November",
            "Dezember",
        ),
        _MONEY,
        {
            "km/h": ("Kilometer pro Stunde", "Kilometer pro Stunde"),
            "km": ("Kilometer", "Kilometer"),
            "cm": ("Zentimeter", "Zentimeter"),
            "mm": ("Millimeter", "Millimeter"),
            "kg": ("Kilogramm", "Kilogramm"),
            "mg": ("Milligramm", "Milligramm"),
            "°C": ("Grad", "Grad"),
            "kWh": ("Kilowattstunde", "Kilowattstunden"),
            "GB": ("Gigabyte", "Gigabyte"),
        },
        "Prozent",
        ",",
        _de_day,
        _de_clock,
        {"Str": "Straße", "str": "straße"},
    ),
    "fr": Words(
        {"@": "arobase", ".": "point", "/": "barre oblique", "-": "tiret", "_": "tiret bas", "+": "plus"},
        (
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ),
        _MONEY,
        {
            "km/h": ("kilomètre heure", "kilomètres heure"),
            "km": ("kilomètre", "kilomètres"),
            "kg": ("kilogramme", "kilogrammes"),
            "cm": ("centimètre", "centimètres"),
        },
        "pour cent",
        ",",
        _fr_day,
        _fr_clock,
    ),
    "es": Words(
        {"@": "arroba", ".": "punto", "/": "barra", "-": "guion", "_": "guion bajo", "+": "más"},
        (
            "enero",
            "febrero",
            "marzo",
            "abril",
            "mayo",
            "junio",
            "julio",
            "agosto",
            "septiembre",
            "octubre",
            "noviembre",
            "diciembre",
        ),
        _MONEY,
        {
            "km/h": ("kilómetro por hora", "kilómetros por hora"),
            "km": ("kilómetro", "kilómetros"),
            "kg": ("kilogramo", "kilogramos"),
            "cm": ("centímetro", "centímetros"),
        },
        "por ciento",
        ",",
        _es_day,
        _es_clock,
    ),
}
