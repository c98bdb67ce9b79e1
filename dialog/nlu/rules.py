"""Fixed phrases: the first thing to try, and the surest."""

from collections.abc import Iterable, Mapping

from dialog.nlu.base import normalise, words_of

FILLERS = frozenset(words_of("uh um er erm ah oh hm hmm well so okay ok please just actually then"))
"""Words that a person puts around an answer without changing it."""
NEGATIONS = frozenset(words_of("no not don't doesn't never nothing without except isn't can't cannot won't"))
MAX_EXTRA_WORDS = 4  # "i would like the dentist": longer sentences say more than the phrase in them


def bare(text: str, keep: frozenset[str] = frozenset()) -> str:
    """The normalised text without the fillers at its ends, but with those that mean something here."""
    words, fillers = normalise(text).split(), FILLERS - keep
    while words and words[0] in fillers:
        words.pop(0)
    while words and words[-1] in fillers:
        words.pop()
    return " ".join(words)


class PhraseRules:
    """Finds which of several answers a text is."""

    def __init__(self, phrases: Mapping[str, Iterable[str]]) -> None:
        self._answers = {normalise(p): name for name, group in phrases.items() for p in group}

    def exact(self, text: str) -> str | None:
        """The answer that the text is, word for word, fillers aside."""
        return self._answers.get(normalise(text)) or self._answers.get(bare(text))

    def within(self, text: str) -> str | None:
        """The answer whose phrase stands in the text, if there is only one and little else."""
        words = bare(text).split()
        found: set[str] = set()
        for phrase, name in self._answers.items():
            part = phrase.split()
            extra = len(words) - len(part)
            if not part or not 0 <= extra <= MAX_EXTRA_WORDS:
                continue
            for start in range(extra + 1):
                others = words[:start] + words[start + len(part) :]
                if words[start : start + len(part)] == part and not NEGATIONS.intersection(others):
                    found.add(name)
        return found.pop() if len(found) == 1 else None
