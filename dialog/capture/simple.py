"""Captures of few words: yes or no, one of several choices, a phrase as it was said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from dialog import jsgf
from dialog.capture.base import NO_TURN, Keys, Scalar
from dialog.nlu.base import normalise
from dialog.nlu.rules import PhraseRules, bare
from dialog.types import Hints

YES = """yes|yes please|yeah|yep|yup|sure|of course|correct|right|that's right|that is right|that's correct
|that is correct|yes that's right|yes that's correct|yes it is|exactly|absolutely|okay|fine|that's fine
|yes i do|please do""".replace("\n", "").split("|")
NO = """no|nope|no thanks|no thank you|nah|wrong|that's wrong|that is wrong|no that's wrong|not right
|that's not right|no it's not|no it isn't|incorrect|not correct|no way|no i don't|not really""".replace(
    "\n", ""
).split("|")
_YES_STARTS = frozenset({"yes", "yeah", "yep", "yup", "sure", "correct", "right", "exactly"})
_NO_STARTS = frozenset({"no", "nope", "nah", "wrong"})
_TURNS = frozenset({"but", "or", "not", "wrong", "no", "nope", "yes", "yeah"})
_ANSWERS = PhraseRules({"yes": YES, "no": NO})


@dataclass(frozen=True, slots=True)
class YesNo:
    """Yes is True, key 1; no is False, key 2."""

    value_type: type[Scalar] = field(default=bool, init=False)
    keys: Keys | None = field(default=Keys(1), init=False)
    turn: Mapping[str, object] = field(default_factory=lambda: NO_TURN, init=False)
    hints: Hints = field(default=Hints(phrases=(*YES, *NO)), init=False)
    help: str = field(default="Please say yes, or press 1, or say no, or press 2.", init=False)

    def parse(self, text: str, now: datetime) -> bool | None:
        answer = _ANSWERS.exact(text)
        if answer is not None:
            return answer == "yes"
        first, *rest = bare(text).split() or [""]
        if _TURNS.intersection(rest):
            return None  # "yes but not on monday" is neither
        return True if first in _YES_STARTS else False if first in _NO_STARTS else None

    def parse_keys(self, keys: str, now: datetime) -> bool | None:
        return {"1": True, "2": False}.get(keys)

    def spoken(self, value: Scalar) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several things. Keys count them from 1."""

    choices: Mapping[str, tuple[str, ...]]
    """Value -> the phrases that mean it; without phrases the value itself is the phrase. 1 to 9."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.choices) <= 9:
            raise ValueError(f"choices must be 1 to 9, to have a key each, not {len(self.choices)}")
        filled = {str(v): tuple(p) or (str(v).lower(),) for v, p in self.choices.items()}
        seen: dict[str, str] = {}
        for value, phrases in filled.items():
            for phrase in map(normalise, (*phrases, value)):
                if seen.setdefault(phrase, value) != value:
                    raise ValueError(f"the phrase {phrase!r} means both {seen[phrase]!r} and {value!r}")
        object.__setattr__(self, "choices", filled)

    @property
    def value_type(self) -> type[Scalar]:
        return str

    @property
    def hints(self) -> Hints:
        return Hints(phrases=tuple(normalise(p) for group in self.choices.values() for p in group))

    @property
    def keys(self) -> Keys | None:
        return Keys(1)

    @property
    def turn(self) -> Mapping[str, object]:
        return NO_TURN

    @property
    def help(self) -> str:
        parts = [f"{group[0]}, or press {n}" for n, group in enumerate(self.choices.values(), start=1)]
        return "You can say: " + "; ".join(parts) + "."

    def parse(self, text: str, now: datetime) -> str | None:
        rules = PhraseRules({value: (*phrases, value) for value, phrases in self.choices.items()})
        return rules.exact(text) or rules.within(text)

    def parse_keys(self, keys: str, now: datetime) -> str | None:
        by_key = {str(n): value for n, value in enumerate(self.choices, start=1)}
        return by_key.get(keys)

    def spoken(self, value: Scalar) -> str:
        return str(value)


@lru_cache(maxsize=256)
def _matcher(grammar: str) -> jsgf.Matcher:
    """Built when the flow is loaded, not in the middle of a call."""
    return jsgf.Matcher(jsgf.parse(grammar))


@dataclass(frozen=True, slots=True)
class Phrase:
    """The words as they were said. With `grammar` or `phrases` and no `sentences`, only those."""

    phrases: tuple[str, ...] = ()
    """Whole answers to expect."""
    grammar: str = ""
    """JSGF with one public rule, for answers that follow a pattern."""
    sentences: tuple[str, ...] = ()
    """Examples of free speech; with these anything that is understood is taken."""

    def __post_init__(self) -> None:
        if not (self.phrases or self.grammar or self.sentences):
            raise ValueError(
                "a phrase needs phrases, grammar or sentences: a recogniser must expect something"
            )
        if self.grammar:
            _matcher(self.grammar)

    @property
    def value_type(self) -> type[Scalar]:
        return str

    @property
    def hints(self) -> Hints:
        plain = tuple(normalise(p) for p in self.phrases)
        return Hints(plain, self.grammar or None, tuple(normalise(s) for s in self.sentences))

    @property
    def keys(self) -> Keys | None:
        return None

    @property
    def turn(self) -> Mapping[str, object]:
        return NO_TURN

    @property
    def help(self) -> str:
        example = next(iter(self.phrases or self.sentences), "")
        example = example or next(jsgf.parse(self.grammar).phrases())
        return f"You can say, for example: {example}."

    def parse(self, text: str, now: datetime) -> str | None:
        plain, core = normalise(text), bare(text)
        if self.sentences:
            return plain or None
        known = {normalise(p) for p in self.phrases}
        for candidate in (plain, core):
            if candidate in known or (self.grammar and _matcher(self.grammar).accepts(candidate.split())):
                return candidate
        return None

    def parse_keys(self, keys: str, now: datetime) -> str | None:
        return None

    def spoken(self, value: Scalar) -> str:
        return str(value)
