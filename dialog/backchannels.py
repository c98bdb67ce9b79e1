"""What listeners say to show that they listen ("mhm", "okay"): no reason to stop talking.

The same word may be an answer, too. Which of both it is depends on when it is said, and that is for
the turn engine to tell.
"""

from collections.abc import Iterable
from functools import lru_cache

from dialog.nlu.base import normalise

_TABLE = {
    "en": """mhm|mm|mmm|hm|hmm|mm hm|mm hmm|uh huh|aha|ah|oh|okay|ok|yeah|yep|right|i see|got it|all right
|alright|sure|of course|go on|understood|yeah yeah|okay okay|right right""",
    "de": "mhm|mm|hm|hmm|aha|ach so|ah|ja|ja ja|okay|ok|genau|gut|alles klar|verstehe|klar|so|richtig|stimmt",
    "es": "mhm|mm|aja|ajá|ah|sí|si|sí sí|vale|ya|claro|bueno|de acuerdo|okay|ok|entiendo|bien",
    "fr": "mhm|mm|hum|euh|ah|oui|ouais|oui oui|d'accord|ok|okay|bien|très bien|je vois|c'est ça|voilà",
    "el": "μμ|μμμ|μχμ|χμ|α|ναι|ναι ναι|οκ|οκέι|εντάξει|μάλιστα|ωραία|σωστά|καλά|κατάλαβα|αχά",
}

_Words = tuple[str, ...]


def backchannels(language: str) -> tuple[str, ...]:
    """Those of a language (BCP 47); of English where we know none, since "mhm" is understood anywhere."""
    table = _TABLE.get(language.partition("-")[0].lower(), _TABLE["en"])
    return tuple(phrase.strip() for phrase in table.replace("\n", "").split("|"))


class Backchannels:
    """Tells words from backchannels."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases: dict[str, list[_Words]] = {}
        for phrase in phrases:
            if words := tuple(normalise(phrase).split()):
                self._phrases.setdefault(words[0], []).append(words)
        for group in self._phrases.values():
            group.sort(key=len, reverse=True)

    def words(self, text: str) -> int:
        """How many words of `text` are none."""
        words, at, count = normalise(text).split(), 0, 0
        while at < len(words):
            group = self._phrases.get(words[at], ())
            length = next((len(p) for p in group if words[at : at + len(p)] == list(p)), 0)
            count += not length
            at += length or 1
        return count


@lru_cache(maxsize=64)
def backchannels_of(phrases: tuple[str, ...] | None, language: str) -> Backchannels:
    """Those that a policy names; None: those of the language."""
    return Backchannels(backchannels(language) if phrases is None else phrases)
