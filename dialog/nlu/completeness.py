"""Does this sound finished? What the words alone say: grammar, counted digits, a conjunction at the end.

"my number is four five"     0.1   six digits are expected
"next tuesday at"            0.05  nobody ends with a preposition
"yes please"                 1.0   a whole answer that cannot go on
"tuesday"                    0.7   whole, but "tuesday at three" is one, too
"""

from functools import lru_cache

from dialog.jsgf import GrammarError, Matcher, read
from dialog.nlu.base import normalise, words_of
from dialog.types import Hints

MAX_STATES = 20_000  # of a grammar that is looked at here; larger ones tell nothing

UNFINISHED, BEGINNING, MAYBE, OPEN, WHOLE, FINISHED = 0.05, 0.15, 0.4, 0.55, 0.75, 1.0

# Words that end no sentence in that language. Not in here: what may end one, as "thank you", "that's it",
# "weil ich krank bin", "το όνομά μου".
_TRAILING = {
    "en": """and or but because if when while with without for from to at in of by about until between the a
    an my your our their its i we would should could i'm we're i'd i'll we'd we'll than as which who whose
    mister mrs double triple um uh er erm hmm""",
    "de": """und oder aber weil dass ob wenn als mit ohne für von zum zur bei im am um über bis zwischen der
    die den dem des eine einen einem einer mein meine meinen unser unsere ihre ich wir nach wegen äh ähm hm
    also""",
    "es": """y e o u pero porque que si cuando con sin para por de del a al en sobre hasta entre el la los
    las un una unos unas mi mis su sus nuestro eh este pues""",
    "fr": """et ou mais parce que qu' si quand sans pour de du des à au aux en dans chez vers entre le les
    un une mon ma mes votre notre ses je j' euh ben donc""",
    "el": """και κι ή αλλά γιατί επειδή ότι πως αν όταν με χωρίς για από προς σε στο στη στην στον στις στα
    μέχρι ανάμεσα ο η το οι τα τον την των ένα μια έναν δεν μην να θα ε εε λοιπόν""",
}
_DIGITS = {
    "en": "zero one two three four five six seven eight nine oh o",
    "de": "null eins zwei zwo drei vier fünf sechs sieben acht neun",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "el": "μηδέν ένα δύο τρία τέσσερα πέντε έξι εφτά επτά οκτώ οχτώ εννιά εννέα",
}
_TIMES = {"double": 2, "triple": 3, "doppel": 2, "doble": 2}  # "double one" is two digits


def completeness(
    text: str, hints: Hints, language: str = "en", *, complete: bool = False, fragment: bool = False
) -> float | None:
    """0 for "goes on" to 1 for "has finished"; None where the words do not tell. `complete` and `fragment`
    are what the recogniser's grammar says."""
    words, code = normalise(text).split(), language.partition("-")[0].lower()
    if not words:
        return None
    if hints.digits is not None and (count := _digits(words, code)):
        return _counted(count, hints.digits)
    if complete:
        return FINISHED
    plain = " ".join(words)
    if plain in hints.phrases or not _trails(words[-1], code):
        return BEGINNING if fragment else by_grammar(plain, hints) or _written(text, words)
    return UNFINISHED


def _trails(word: str, code: str) -> bool:
    return word in _table(code)


@lru_cache
def _table(code: str) -> frozenset[str]:
    return frozenset(words_of(_TRAILING.get(code, _TRAILING["en"])))


def _digits(words: list[str], code: str) -> int:
    """How many digits the words at the end are."""
    known, count, end = frozenset(words_of(_DIGITS.get(code, _DIGITS["en"]))), 0, len(words)
    while end and (words[end - 1] in known or words[end - 1].isdecimal()):
        end -= 1
        times = _TIMES.get(words[end - 1], 1) if end else 1
        count += times * (len(words[end]) if words[end].isdecimal() else 1)
        end -= times > 1
    return count


def _counted(count: int, wanted: tuple[int, int]) -> float:
    fewest, most = wanted
    if count < fewest:
        return UNFINISHED
    return FINISHED if count >= most else MAYBE


def by_grammar(plain: str, hints: Hints) -> float | None:
    """By the answers that are expected here; None: it is something else, or anything is."""
    longer = any(phrase.startswith(plain + " ") for phrase in hints.phrases)
    whole = plain in hints.phrases
    matcher = _matchers.get(hints.grammar) if hints.grammar else None
    if matcher is not None:
        whole = whole or matcher.accepts(plain.split())
        longer = longer or matcher.begins(plain.split())
    if whole:
        return WHOLE if longer else FINISHED
    return BEGINNING if longer else None


_matchers: dict[str, Matcher | None] = {}  # by grammar; None: it tells nothing
MOST = 256  # of them; flows compose some at run time


def is_prepared(hints: Hints) -> bool:
    """Whether `completeness` knows the grammar of `hints`."""
    return hints.grammar is None or hints.grammar in _matchers


def prepare(hints: Hints) -> None:
    """Read the grammar: up to 20 ms, in a thread where calls go on. Without it the words alone are looked
    at."""
    if hints.grammar is None or is_prepared(hints):
        return
    try:
        read_as = read(hints.grammar, lambda text: tuple(normalise(text).split()))
        matcher: Matcher | None = Matcher(read_as, MAX_STATES)
    except (GrammarError, RecursionError):
        matcher = None
    if len(_matchers) >= MOST:  # the oldest alone: those of calls that go on are still wanted
        _matchers.pop(list(_matchers)[0], None)  # noqa: RUF015 - whole at once: several threads do this
    _matchers[hints.grammar] = matcher


def _written(text: str, words: list[str]) -> float:
    """By punctuation, where the recogniser writes any; a sentence of some words may be one."""
    last = text.rstrip()[-1:]
    if last in ".?!;·":
        return WHOLE
    if last in ",…-:":
        return BEGINNING
    return OPEN if len(words) >= 3 else MAYBE
