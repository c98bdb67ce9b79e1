"""The classifier generalises from a handful of examples and knows when a sentence is none of them."""

import sys

import pytest

from dialog.errors import DialogError, MissingExtra
from dialog.nlu import classifier
from dialog.nlu.classifier import IntentClassifier, default_threshold

TRAIN = {
    "book": """i want to book an appointment|i would like to make an appointment|can i schedule a visit
        |i need an appointment next week|could you arrange a time for me|is there a free slot tomorrow
        |i want to see the dentist|make a booking for three o'clock|can you fit me in today""",
    "cancel": """cancel my appointment|i want to cancel my booking|please delete my reservation
        |i can't make it on tuesday|i need to call off my visit|i won't be able to come
        |i don't need the appointment any more|drop my booking|take me off the schedule""",
    "hours": """what are your opening hours|when are you open|what time do you close|are you open on sunday
        |when do you open in the morning|how late are you open|are you closed on holidays
        |until when can i come in|what days are you open""",
    "agent": """i want to talk to a person|let me speak to an agent|connect me with someone
        |can i talk to a human|transfer me to the front desk|operator please|get me a real person
        |i want to speak with customer service|put me through to the office""",
}
OTHER = ["", "  ", "?!", "12345", "my favourite colour is purple", "xyzzy", "hello", "do you sell pizza"]
UNSEEN = [
    ("could i make an appointment for next friday", "book"),
    ("i'd like to see the dentist on monday", "book"),
    ("do you have a free slot this week", "book"),
    ("i have to cancel my visit", "cancel"),
    ("please cancel the booking for tuesday", "cancel"),
    ("i can't come in tomorrow please drop my appointment", "cancel"),
    ("when do you close today", "hours"),
    ("are you open on saturday", "hours"),
    ("tell me when you are open", "hours"),
    ("please connect me with a human", "agent"),
    ("i want an operator", "agent"),
    ("let me speak to somebody", "agent"),
]


def examples(groups: dict[str, str]) -> dict[str, list[str]]:
    return {name: [t.strip() for t in texts.split("|")] for name, texts in groups.items()}


@pytest.fixture(scope="module")
def model() -> IntentClassifier:
    return IntentClassifier.train(examples(TRAIN))


@pytest.mark.parametrize("text, intent", UNSEEN)
def test_unseen_sentences_are_understood(model: IntentClassifier, text: str, intent: str) -> None:
    found = model.classify(text)
    assert found[0].name == intent
    assert found == sorted(found, key=lambda i: -i.confidence)
    assert {i.name for i in found} == set(TRAIN)
    assert 0.45 <= sum(i.confidence for i in found) <= 1.001


@pytest.mark.parametrize("text", OTHER)
def test_other_sentences_are_nothing(model: IntentClassifier, text: str) -> None:
    assert model.classify(text) == []


def test_the_lookup_computes_what_scikit_learn_computes(model: IntentClassifier) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    pairs = [(t, name) for name, texts in sorted(examples(TRAIN).items()) for t in texts]
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))
    reference = make_pipeline(make_union(chars, words), LogisticRegression(C=20, max_iter=500))
    reference.fit([t for t, _ in pairs], [n for _, n in pairs])
    for text, _ in UNSEEN:
        expected = dict(zip(reference.classes_, reference.predict_proba([text])[0], strict=True))
        for intent in model.classify(text):
            known = model._familiarity(text)
            assert intent.confidence == pytest.approx(known * expected[intent.name], abs=1e-3)


def test_two_intents_are_enough_and_need_more_certainty() -> None:
    two = {k: v for k, v in examples(TRAIN).items() if k in {"book", "hours"}}
    model = IntentClassifier.train(two)
    assert model.classify("when are you open")[0].name == "hours"
    assert model.classify("my favourite colour is purple") == []
    assert model.threshold == default_threshold(2) > default_threshold(7)


@pytest.mark.parametrize("wrong", [{}, {"a": ["x"]}, {"a": ["x"], "b": []}, {"a": ["x"], "b": ["  ?"]}])
def test_too_little_to_learn_from_is_an_error(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(DialogError):
        IntentClassifier.train(wrong)


def test_training_is_remembered() -> None:
    before = classifier._fit.cache_info().hits
    IntentClassifier.train(examples(TRAIN))
    IntentClassifier.train(examples(TRAIN), threshold=0.9)
    assert classifier._fit.cache_info().hits >= before + 1


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtra, match=r"pip install 'voicegw\[nlu\]'"):
        IntentClassifier.train({"a": ["something never trained"], "b": ["and another thing"]})
