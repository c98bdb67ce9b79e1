"""What a flow expects, as grammars of spoken words. Their errors are DomainErrors from here on."""

from collections.abc import Sequence

from dialog import jsgf
from dialog.jsgf import Choice, Grammar, Matcher, Node, Ref, Repeat, Series, Word
from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.words import DIGITS, spoken

# pocketsphinx writes rules out as well; at this size a grammar takes it seconds and tens of megabytes.
MAX_STATES = 50_000


def parse(text: str) -> Grammar:
    """Read a grammar with one public rule, in any spelling that can be spoken. Raises DomainError."""
    try:
        return jsgf.read(text, spoken)
    except jsgf.GrammarError as e:
        raise DomainError(str(e)) from e


def phrases(texts: Sequence[str]) -> Node:
    """One of `texts`."""
    options = dict.fromkeys(tuple(map(Word, spoken(text))) for text in texts)
    if () in options:
        raise DomainError(f"phrases {list(texts)!r}: one of them has no words")
    return Choice(tuple((1.0, Series(words)) for words in options))


def digits(fewest: int, most: int) -> Grammar:
    """A string of `fewest` to `most` digits."""
    if not 1 <= fewest <= most <= 30:
        raise DomainError(f"digits {fewest}..{most}: 1 <= fewest <= most <= 30 is needed")
    tail: Node = Series(())
    for _ in range(most - fewest):
        tail = Repeat(Series((Ref("digit"), tail)), optional=True, many=False)
    one = Choice(tuple((1.0, Word(d)) for d in DIGITS))
    root = Series((*[Ref("digit")] * fewest, tail))
    return Grammar("digits", {"digits": root, "digit": one})


def matcher(grammar: Grammar) -> Matcher | None:
    """Tells whole answers; None for a grammar that recurs, whose answers are never called complete.

    Raises DomainError for a grammar that is too large.
    """
    try:
        return Matcher(grammar, MAX_STATES)
    except jsgf.Recursive:
        return None
    except jsgf.GrammarError as e:
        raise DomainError(str(e)) from e
