"""A name out of a list: spoken, spelled letter by letter, or by the letters on the keys (7648 = Smit...)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dialog.capture.base import NO_TURN, Keys, Scalar, alternatives, jsgf
from dialog.nlu.base import normalise, words_of
from dialog.nlu.rules import bare
from dialog.types import Hints

LEADS = ("my name is", "the name is", "it's", "it is", "i'm", "i am", "this is", "name")
KEYPAD = {c: k for k, letters in enumerate(words_of("abc def ghi jkl mno pqrs tuv wxyz"), 2) for c in letters}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIN_LETTERS = 2  # of a spelled name
MAX_LETTERS = 12
MIN_KEYS = 3  # fewer match by accident


@dataclass(frozen=True, slots=True)
class Name:
    """A known name. The recogniser's dictionary must hold its words."""

    names: tuple[str, ...]
    """As written: "Garcia", "Mary Smith". Tens, not thousands: the recogniser must tell them apart."""
    spell: bool = False
    """Whether any other name may be spelled. Letters are heard badly on the phone."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names is empty")
        plain = [normalise(name) for name in self.names]
        twice = sorted({name for name in plain if plain.count(name) > 1})
        if twice:
            raise ValueError(f"names lists {twice[0]!r} twice")

    @property
    def value_type(self) -> type[Scalar]:
        return str

    @property
    def hints(self) -> Hints:
        known = alternatives(normalise(name) for name in self.names)
        rules = [f"<known> = {known};"]
        top = "[my name is | the name is | it's | i'm | this is] <known> [please]"
        if self.spell:
            more = "".join("[<letter> " for _ in range(MAX_LETTERS - MIN_LETTERS))
            top += f" | {'<letter> ' * MIN_LETTERS}{more}{']' * (MAX_LETTERS - MIN_LETTERS)}"
            rules.append(f"<letter> = {alternatives(LETTERS)};")
        return Hints(grammar=jsgf("name", top, *rules))

    @property
    def keys(self) -> Keys | None:
        return Keys(MAX_LETTERS)

    @property
    def turn(self) -> Mapping[str, object]:
        return {"end_silence_ms": 1000} if self.spell else NO_TURN

    @property
    def help(self) -> str:
        spelled = " You can also spell it." if self.spell else ""
        return (
            f"Please say the name alone, for example {self.names[0]}.{spelled}"
            " Or spell it on your keypad, pressing each letter's key once, and then the hash key."
        )

    def parse(self, text: str, now: datetime) -> str | None:
        line = bare(text)
        for lead in LEADS:
            line = line.removeprefix(lead + " ")
        plain = {normalise(name): name for name in self.names}
        if line in plain:
            return plain[line]
        letters = line.replace("-", " ").split()
        if any(len(letter) > 1 for letter in letters) or not MIN_LETTERS <= len(letters) <= MAX_LETTERS:
            return None
        joined = "".join(letters)
        squeezed = {_letters(name): name for name in self.names}
        return squeezed.get(joined) or (joined.title() if self.spell and joined.isalpha() else None)

    def parse_keys(self, keys: str, now: datetime) -> str | None:
        """All letters, or as many as only one name begins with."""
        if len(keys) < MIN_KEYS:
            return None
        codes = {name: "".join(str(KEYPAD.get(c, "")) for c in _letters(name)) for name in self.names}
        found = [name for name, code in codes.items() if code == keys]
        found = found or [name for name, code in codes.items() if code.startswith(keys)]
        return found[0] if len(found) == 1 else None

    def spoken(self, value: Scalar) -> str:
        return str(value)


def _letters(name: str) -> str:
    return "".join(c for c in normalise(name) if c in LETTERS)
