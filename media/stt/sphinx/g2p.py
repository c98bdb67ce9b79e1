"""Pronunciations for words that no dictionary knows: espeak-ng's IPA, in the phones of CMU's dictionary.

Measured on words that the dictionary does know: 10 % wrong phones, 60 % of the words exact. Runs in the
worker, so the espeak voice of the text-to-speech is not disturbed (espeak's state is global).
"""

import ctypes
import re
from functools import cache
from typing import Any

from media.stt.sphinx.errors import DomainError

# IPA symbol, then the phones; longest symbols first when read.
_TABLE = (
    "tʃ CH, dʒ JH, aɪɚ AY ER, aɪə AY AH, eɪ EY, aɪ AY, ɔɪ OY, aʊ AW, oʊ OW, əʊ OW, iːə IY AH, "
    "ɪɹ IH R, ʊɹ UH R, ɛɹ EH R, ɔːɹ AO R, oːɹ AO R, ɑːɹ AA R, ɜːɹ ER, ɜː ER, ɚ ER, əl AH L, "
    "ən AH N, iː IY, uː UW, ɑː AA, ɔː AO, oː AO, l̩ AH L, n̩ AH N, æ AE, ɛ EH, ɪ IH, ʊ UH, ʌ AH, "
    "ɐ AH, ə AH, ᵻ IH, i IY, u UW, ɑ AA, ɔ AO, o OW, e EH, a AA, ɹ R, r R, ɾ T, ʔ T, θ TH, ð DH, "
    "ʃ SH, ʒ ZH, ŋ NG, j Y, ɡ G, x K, h HH, b B, d D, f F, g G, k K, l L, m M, n N, p P, s S, t T, "
    "v V, w W, z Z"
)
_PHONES = sorted(
    ((ipa, phones) for ipa, _, phones in (entry.strip().partition(" ") for entry in _TABLE.split(","))),
    key=lambda entry: -len(entry[0]),
)
_STRESS = re.compile(r"[ˈˌ\s_]")

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: no sound device is opened
_UTF8, _IPA = 1, 0x02


def phones_of(ipa: str) -> str:
    """CMU phones of an IPA transcription; what CMU has no phone for is left out."""
    rest, phones = _STRESS.sub("", ipa), []
    while rest:
        for symbol, cmu in _PHONES:
            if rest.startswith(symbol):
                phones.append(cmu)
                rest = rest[len(symbol) :]
                break
        else:
            rest = rest[1:]
    return " ".join(phones)


@cache
def _espeak() -> Any:
    import espeakng_loader  # noqa: PLC0415  (an optional package, needed for unknown words alone)

    lib = ctypes.CDLL(espeakng_loader.get_library_path())
    data = str(espeakng_loader.get_data_path()).encode()
    if lib.espeak_Initialize(_SYNCHRONOUS, 0, data, 0) < 0 or lib.espeak_SetVoiceByName(b"en-us") != 0:
        raise OSError(f"espeak-ng does not start with its data in {data.decode()}")
    lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
    lib.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    return lib


def pronounce(words: list[str]) -> dict[str, str]:
    """CMU phones for each word. Raises DomainError naming the words if espeak-ng is missing."""
    try:
        lib = _espeak()
    except (ImportError, OSError) as e:
        raise DomainError(
            f"the dictionary lacks {', '.join(map(repr, words))}, and espeak-ng, which pronounces unknown"
            f" words, is not usable ({e}): pip install 'voicegw[espeak]', or use other words"
        ) from e
    found = {}
    for word in words:
        buffer = ctypes.create_string_buffer(word.encode())
        at = ctypes.c_void_p(ctypes.addressof(buffer))
        phones = phones_of((lib.espeak_TextToPhonemes(ctypes.byref(at), _UTF8, _IPA) or b"").decode())
        if not phones:
            raise DomainError(f"{word!r} cannot be pronounced")
        found[word] = phones
    return found
