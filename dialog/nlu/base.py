"""Understanding free sentences: the port, and the one way in which texts are made comparable."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Intent:
    """What a sentence is about."""

    name: str
    confidence: float  # 0..1


class IntentModel(Protocol):
    """Anything that names the intent of a sentence."""

    def classify(self, text: str) -> list[Intent]:
        """All intents, best first; empty if none is likely enough."""


_DOTTED = re.compile(r"\b([a-z])\.(?=[a-z]\b|\s|$)")
_GLUED = re.compile(r"(?<=\d)(?=[ap]\.?m\b)")
_NOISE = re.compile(r"[^\w':]+|_")


def normalise(text: str) -> str:
    """Lower case, no punctuation, single blanks; "3 P.M." becomes "3 p m", as recognisers write it.

    The colon of "9:30" and the apostrophe of "o'clock" stay.
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")  # noqa: RUF001
    text = _GLUED.sub(" ", text)
    text = re.sub(r"\b([ap])\.?\s?m\b", r"\1 m", text)
    text = _NOISE.sub(" ", _DOTTED.sub(r"\1 ", text))
    return " ".join(word for word in (w.strip(":'") for w in text.split()) if word)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a table written as one text."""
    return tuple(text.split())
