"""Intents of free sentences, learned from a handful of examples each.

TF-IDF over character 2- to 4-grams (forgiving towards a recogniser's slips) and words, then logistic
regression. scikit-learn trains; the classifying is a table look-up and one sum here, 0.2 ms instead
of the 4 ms that scikit-learn takes for one sentence, because it runs between two packets of audio.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dialog.errors import DialogError, MissingExtra
from dialog.nlu.base import Intent, normalise

_WORDS = re.compile(r"\b\w+\b")  # as the word n-grams count them
Floats = npt.NDArray[np.float64]


def default_threshold(intents: int) -> float:
    """The confidence below which a sentence is about something else.

    0.45 lies between the in-domain minimum (0.47) and the out-of-domain maximum (0.46) of seven intents
    with fifteen examples each; the fewer the intents, the more even a senseless sentence gets.
    """
    return max(0.45, 1 / intents + 0.25)


@dataclass(frozen=True, slots=True)
class _Features:
    """One kind of n-gram and its weights."""

    ngrams: Callable[[str], list[str]]
    index: Mapping[str, int]
    idf: Floats  # one per n-gram
    weights: Floats  # n-grams x intents

    def score(self, text: str) -> Floats | None:
        """What these n-grams say for each intent; None if the text holds none that was learned."""
        counts = Counter(self.index[g] for g in self.ngrams(text) if g in self.index)
        if not counts:
            return None
        rows = np.fromiter(counts.keys(), dtype=np.intp)
        values = np.fromiter(counts.values(), dtype=np.float64) * self.idf[rows]
        scores: Floats = (values / np.linalg.norm(values)) @ self.weights[rows]
        return scores


class IntentClassifier:
    """A trained IntentModel. Immutable; one serves all calls."""

    def __init__(
        self, names: Sequence[str], features: Sequence[_Features], bias: Floats, threshold: float
    ) -> None:
        self.names, self.threshold = tuple(names), threshold
        self._features, self._bias = tuple(features), bias

    @classmethod
    def train(
        cls, examples: Mapping[str, Sequence[str]], threshold: float | None = None
    ) -> "IntentClassifier":
        """Learn from examples by intent; 0.5 s, remembered for the same examples.

        Raises DialogError for fewer than two intents or an intent without examples, and MissingExtra
        without scikit-learn. `threshold` is 0..1; None takes `default_threshold`.
        """
        if len(examples) < 2:
            raise DialogError("intents can only be told apart if there are two or more")
        for name, texts in examples.items():
            if not any(normalise(text) for text in texts):
                raise DialogError(f"intent {name!r} has no examples")
        key = tuple((name, tuple(normalise(t) for t in texts)) for name, texts in sorted(examples.items()))
        names, features, bias = _fit(key)
        return cls(names, features, bias, default_threshold(len(names)) if threshold is None else threshold)

    def classify(self, text: str) -> list[Intent]:
        """All intents, best first; empty if none is likely enough or no word was ever seen."""
        text = normalise(text)
        parts = [s for f in self._features if (s := f.score(text)) is not None]
        if not parts:
            return []
        scores = np.exp((total := self._bias + np.sum(parts, axis=0)) - total.max())
        scores *= self._familiarity(text) / scores.sum()
        order = np.argsort(-scores, kind="stable")
        if scores[order[0]] < self.threshold:
            return []
        return [Intent(self.names[i], round(float(scores[i]), 4)) for i in order]

    def _familiarity(self, text: str) -> float:
        """Share of words that the examples hold: "do you sell pizza" resembles "do you open" only so far.
        A recogniser that knows no other words always scores 1."""
        known = self._features[-1].index
        words = [word in known for word in _WORDS.findall(text)]
        return sum(words) / len(words) if words else 0.0


@lru_cache(maxsize=32)
def _fit(
    examples: tuple[tuple[str, tuple[str, ...]], ...],
) -> tuple[tuple[str, ...], tuple[_Features, ...], Floats]:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - 1.1 s, and an extra
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import make_union  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("nlu", "scikit-learn") from error
    texts = [text for _, group in examples for text in group if text]
    labels = [name for name, group in examples for text in group if text]
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=_WORDS.pattern)
    model = LogisticRegression(C=20, max_iter=500)
    model.fit(make_union(chars, words).fit_transform(texts), labels)
    weights = np.asarray(model.coef_, dtype=np.float64).T
    bias = np.asarray(model.intercept_, dtype=np.float64)
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        weights, bias = np.hstack([0 * weights, weights]), np.array([0.0, bias[0]])
    features, start = [], 0
    for vectoriser in (chars, words):
        size = len(vectoriser.vocabulary_)
        index = {gram: int(i) for gram, i in vectoriser.vocabulary_.items()}
        part = np.ascontiguousarray(weights[start : start + size])
        features.append(_Features(vectoriser.build_analyzer(), index, np.asarray(vectoriser.idf_), part))
        start += size
    return tuple(str(name) for name in model.classes_), tuple(features), bias
