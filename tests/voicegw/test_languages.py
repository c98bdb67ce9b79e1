"""Engines for the languages to which flows change: made at the start, or the start says what is missing."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from dialog.types import Domain, Hints
from media.tts import espeak
from media.tts.base import Speech
from voicegw import engines
from voicegw.config import Config
from voicegw.config.check import build
from voicegw.config.model import Engine
from voicegw.config.source import read
from voicegw.errors import ConfigError, StartError


class OneVoice:
    """A voice of one language."""

    rate = 8000

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        yield Speech(b"")

    async def close(self) -> None:
        """Nothing to free."""


GERMAN = {"de": Engine("espeak", espeak.Config(voice="de", wpm=120))}


def test_a_voice_that_speaks_any_language_speaks_this_one() -> None:
    made = engines.voices(Config(), espeak.create(espeak.Config()), ["de", "el"])
    assert set(made) == {"de", "el"}


def test_a_voice_may_be_named_for_a_language() -> None:
    made = engines.voices(Config(tts_by_language=GERMAN), OneVoice(), ["de"])
    assert isinstance(made["de"], espeak.EspeakTts)


@pytest.mark.parametrize(
    "voice, language, said",
    [
        (OneVoice(), "de", "no voice for language 'de': tts engine 'espeak' has one voice"),
        (espeak.create(espeak.Config()), "xx", "name one by tts_by_language.xx"),
    ],
)
def test_a_language_without_a_voice_ends_the_start(voice: OneVoice, language: str, said: str) -> None:
    with pytest.raises(StartError, match=said):
        engines.voices(Config(), voice, [language])


def test_ears_may_be_named_for_a_language() -> None:
    config = Config(stt_by_language={"de": Engine("tests.voicegw.deaf", _deaf_config())})
    ears = engines.polyglot_ears(config, engines.ears(Config(stt=config.stt_by_language["de"])))
    asyncio.run(ears.prepare(Domain("hotel", "en", (Hints(phrases=("yes",)),), ("de",))))
    asyncio.run(ears.close())


def _deaf_config() -> object:
    from tests.voicegw import deaf

    return deaf.Config()


def test_they_are_set_by_language() -> None:
    settings = read(
        None, {"VOICEGW_TTS_BY_LANGUAGE": '{"de": {"engine": "espeak", "voice": "de", "wpm": 120}}'}
    )
    assert build(settings).tts_by_language == GERMAN


@pytest.mark.parametrize(
    "value, said",
    [
        ('{"de": {"engine": "espaek"}}', "espaek"),
        ('{"de": {"engine": "espeak", "wmp": 1}}', "wmp"),
        ("[]", "mapping"),
    ],
)
def test_a_wrong_one_is_named(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(read(None, {"VOICEGW_TTS_BY_LANGUAGE": value}))
