"""What has to be built to hear one flow: its dictionary, grammars, n-grams, and who reads which answer.

A state of the flow (one `Hints`) is heard by one reader for each kind of answer it allows; the readers
run side by side, and the phone loop tells which of them to believe.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from io import StringIO

from pocketsphinx.lm import ArpaBoLM

from dialog import jsgf
from dialog.types import Domain, Hints
from media.stt.sphinx import grammars
from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.wire import OPEN
from media.stt.sphinx.words import spoken

_ASIDES = ("mhm", "hm", "uh huh", "aha", "okay", "yeah", "right", "i see", "alright")
"""What listeners say. Every question's grammar holds it: else the nearest answer is heard instead, and the
bot stops for a word that nobody said (9 of 10 times; with it and the rule of whole answers 1 of 13)."""
_EXAMPLES = 200  # sentences of each grammar that teach the n-gram of the open state


class Kind(Enum):
    """Decoders differ in their settings, and one decoder hears one thing at a time."""

    GRAMMAR = "grammar"
    DIGITS = "digits"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Reader:
    """One way to understand an utterance."""

    kind: Kind
    search: str  # name of the grammar or n-gram in its decoder
    threshold: float  # least log-likelihood ratio
    matcher: jsgf.Matcher | None = None
    originals: dict[str, str] = field(default_factory=dict)  # spoken -> as the flow writes it
    asides: tuple[str, ...] = ()  # what else is heard, though no answer here
    per_frame: bool = True  # the ratio is per frame; else per square root of the frames with speech


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least log-likelihood ratio, by what is read."""

    phrases: float
    digits: float
    free: float


@dataclass(slots=True)
class Plan:
    """The blueprint of decoder sets for one domain. `general`: no text at all, so dictation it is."""

    dictionary: str = ""
    grammars: dict[Kind, dict[str, str]] = field(default_factory=dict)  # JSGF by search
    models: dict[str, str] = field(default_factory=dict)  # ARPA by search
    readers: dict[int, tuple[Reader, ...]] = field(default_factory=dict)  # by index of the hints
    general: bool = False


class _Builder:
    def __init__(self, thresholds: Thresholds) -> None:
        self.plan, self.words = Plan(), set[str]()
        self._thresholds = thresholds

    def state(self, index: int, hints: Hints) -> None:
        readers = []
        if hints.phrases or hints.grammar:
            readers.append(self._answers(index, hints))
        if hints.digits:
            readers.append(self._digits(index, hints.digits, alone=not readers))
        if hints.sentences:
            readers.append(self.free(f"free{index}", hints.sentences))
        self.plan.readers[index] = tuple(readers)

    def free(self, search: str, sentences: Iterable[str]) -> Reader:
        texts = [words for words in map(spoken, sentences) if words]
        if not texts:
            raise DomainError("example sentences hold no words")
        self.plan.models[search] = arpa(texts)
        self.words.update(*texts)
        return Reader(Kind.FREE, search, self._thresholds.free)

    def _answers(self, index: int, hints: Hints) -> Reader:
        options = []
        rules: dict[str, jsgf.Node] = {}
        originals: dict[str, str] = {}
        if hints.phrases:
            options.append((1.0, grammars.phrases(hints.phrases)))
            originals = {s: p for p in hints.phrases if (s := " ".join(spoken(p))) != p}
        if hints.grammar:
            given = grammars.parse(hints.grammar)
            options.append((1.0, jsgf.Ref(given.root)))
            rules |= given.rules
        asides = [words for words in _ASIDES if words not in hints.phrases]
        options.append((1.0, grammars.phrases(asides)))
        root = "answer"
        while root in rules:
            root += "_"
        grammar = jsgf.Grammar(root, {root: jsgf.Choice(tuple(options)), **rules})
        reader = self._grammar(Kind.GRAMMAR, f"answers{index}", grammar, self._thresholds.phrases)
        return replace(reader, originals=originals, asides=tuple(asides), per_frame=False)

    def _digits(self, index: int, count: tuple[int, int], *, alone: bool) -> Reader:
        fewest, most = count
        # Where the count is known, insertions are impossible, and the decoder of phrases errs less.
        kind = Kind.GRAMMAR if fewest == most and alone else Kind.DIGITS
        return self._grammar(kind, f"digits{index}", grammars.digits(fewest, most), self._thresholds.digits)

    def _grammar(self, kind: Kind, search: str, grammar: jsgf.Grammar, threshold: float) -> Reader:
        matcher = grammars.matcher(grammar)
        self.plan.grammars.setdefault(kind, {})[search] = grammar.text()
        self.words |= grammar.words()
        return Reader(kind, search, threshold, matcher)


def build(domain: Domain, thresholds: Thresholds, dictionary: Callable[[Iterable[str]], str]) -> Plan:
    """Raises DomainError with the word, phrase or grammar that cannot be built."""
    if domain.language.partition("-")[0].lower() != "en":
        raise DomainError(f"pocketsphinx understands English alone, not {domain.language!r}")
    builder = _Builder(thresholds)
    examples: list[str] = []
    for index, hints in enumerate(domain.hints):
        try:
            builder.state(index, hints)
            examples += [*hints.phrases, *hints.sentences]
            examples += grammars.parse(hints.grammar).sentences(_EXAMPLES) if hints.grammar else ()
            examples += grammars.digits(*hints.digits).sentences(_EXAMPLES) if hints.digits else ()
        except RecursionError as e:
            raise DomainError(f"rules refer to each other too deeply: {(hints.grammar or '')[:60]!r}") from e
    plan = builder.plan
    plan.general = not examples
    if examples:
        plan.readers[OPEN] = (builder.free("open", examples),)
        plan.dictionary = dictionary(builder.words)
    else:
        plan.readers[OPEN] = (Reader(Kind.FREE, "general", thresholds.free),)
    for index, hints in enumerate(domain.hints):
        if hints.open:
            plan.readers[index] = plan.readers[OPEN]
    return plan


def arpa(sentences: Iterable[Iterable[str]]) -> str:
    """A back-off trigram model, as ARPA text."""
    model = ArpaBoLM(text="\n".join(f"<s> {' '.join(words)} </s>" for words in sentences))
    model.compute()
    text = StringIO()
    model.write(text)
    return text.getvalue()
