"""Which language is this? By the words that everybody uses and by letters: enough for a sentence on the
telephone among the few languages that a flow speaks, where a model would cost more than it tells."""

from collections.abc import Iterable
from functools import lru_cache

from dialog.nlu.base import normalise, words_of

_COMMON = {
    "en": """the a i you is are it to of and in that have my for not on with do at this but we they from or
    an will would there what can please yes no hello thank thanks want need speak english""",
    "de": """der die das und ist ich nicht ein eine zu den mit sich auf für sie es dem wir habe hat von bei
    aus wie auch kann möchte bitte ja nein hallo danke guten tag haben wann was mein meine sprechen
    deutsch""",
    "es": """el la los las de que y en un una por con no para es mi me lo su al del quiero
    necesito puedo tengo hay favor sí hola gracias buenos días cuando qué está hablar español""",
    "fr": """le la les de des un une et est je vous ne pas que qui dans pour sur avec mon ma il elle nous
    c'est j'ai voudrais peux oui non bonjour merci plaît s'il quand parler français""",
    "el": """και το η ο να θα είναι δεν για με από που τι στο στη θέλω μπορώ ναι όχι γεια ευχαριστώ παρακαλώ
    ελληνικά""",
}
_LETTERS = {"de": "äöüß", "es": "ñ¿¡", "fr": "çœêèàù"}
SURE = 0.6  # share of the evidence that one language must have
LEAST = 2.0  # evidence that is needed at all: two common words, or one and a letter


def identify(text: str, candidates: Iterable[str]) -> str | None:
    """The candidate (BCP 47) in which `text` is; None where it could be several or none of them."""
    words = normalise(text).split()
    evidence = {code: _evidence(text.lower(), words, code.partition("-")[0].lower()) for code in candidates}
    total = sum(evidence.values())
    best = max(evidence, key=lambda code: evidence[code], default=None)
    if best is None or evidence[best] < LEAST or evidence[best] < SURE * total:
        return None
    return best


def _evidence(text: str, words: list[str], code: str) -> float:
    """How much speaks for a language: common words, and letters that hardly any other has."""
    common = _common(code)
    greek = sum("α" <= char <= "ω" or char in "άέήίόύώ" for char in text)
    if greek and code == "el":
        return LEAST + len(words)
    return sum(word in common for word in words) + sum(
        text.count(letter) for letter in _LETTERS.get(code, "")
    )


@lru_cache
def _common(code: str) -> frozenset[str]:
    return frozenset(words_of(_COMMON.get(code, "")))
