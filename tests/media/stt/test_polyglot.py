"""Ears and voice follow the language of a conversation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dialog.turn import Transcript
from dialog.types import Act, DialogInput, Domain, Hints, Listen, Say, UserTurn
from media.callconfig import Engines, SessionConfig
from media.errors import ProviderError
from media.frames import AudioFormat
from media.leg import HangupCause
from media.session import CallSession
from media.stt.polyglot import Multilingual, PolyglotEars
from media.tts import espeak
from tests.clock import run
from tests.fakes import SILENCE, SPEECH, FakeDialog, FakeEars, FakeLeg, FakeObserver, FakeVad, FakeVoice

DOMAIN = Domain("hotel", "en", (Hints(phrases=("yes",)),), ("de",))


class Engine:
    """Hears the languages it is told; keeps what was prepared and opened."""

    def __init__(self, *languages: str) -> None:
        self.languages, self.prepared, self.closed = languages, list[Domain](), 0
        self.streams: dict[str, FakeEars] = {}

    async def prepare(self, domain: Domain) -> None:
        if domain.language not in self.languages:
            raise ProviderError(f"does not hear {domain.language}")
        self.prepared.append(domain)

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> AsyncIterator[FakeEars]:
        self.streams[domain.language] = FakeEars()
        yield self.streams[domain.language]

    async def close(self) -> None:
        self.closed += 1


def test_each_language_is_prepared_by_the_engine_that_hears_it() -> None:
    main, german = Engine("en"), Engine("de")
    asyncio.run(PolyglotEars(main, {"de": german}).prepare(DOMAIN))
    assert [d.language for d in main.prepared] == ["en"]
    assert [d.language for d in german.prepared] == ["de"]


def test_a_language_that_nobody_hears_is_said_with_what_to_set() -> None:
    with pytest.raises(ProviderError, match=r"'de': does not hear de; name an engine by stt_by_language\.de"):
        asyncio.run(PolyglotEars(Engine("en"), {}).prepare(DOMAIN))


def test_a_conversation_changes_its_ears_and_its_voice() -> None:
    def answer(turn: DialogInput) -> list[Act]:
        if isinstance(turn, UserTurn) and turn.text == "german please":
            return [Listen(language="de"), Say("auf Deutsch", "de")]
        return [Say("done")]

    async def main() -> tuple[Engine, Engine, FakeVoice, FakeVoice, FakeDialog]:
        english, german = Engine("en"), Engine("de")
        leg, own, other = FakeLeg(), Voice(), Voice()
        dialog = FakeDialog(answer, [Listen(language="en"), Say("hello")])
        ears = PolyglotEars(english, {"de": german})
        async with ears.stream(AudioFormat(), DOMAIN) as stream:
            engines = Engines(FakeVad(), stream, own, voices={"de": other})
            session = CallSession(leg, engines, dialog, SessionConfig(), FakeObserver())
            task = asyncio.ensure_future(session.run())
            await asyncio.sleep(0)
            for ears_of, text in ((english.streams["en"], "german please"), (german.streams["de"], "ja")):
                await leg.beat(ms=800)
                ears_of.next_text = text
                await leg.beat(SPEECH, 400)
                await leg.beat(SILENCE, 600)
            await leg.beat(ms=800)
            leg.close(HangupCause.NORMAL)
            await task
        return english, german, own, other, dialog

    english, german, own, other, dialog = run(main())
    assert [e[1] for e in dialog.log if e[0] == "user"] == ["german please", "ja"]
    assert english.streams["en"].calls == ["begin", "finish", "cancel"]
    assert german.streams["de"].calls == ["begin", "finish"]
    assert isinstance(own, Voice) and isinstance(other, Voice)
    assert (own.said, other.said) == (["hello", "done"], ["auf Deutsch"])


class Voice(FakeVoice):
    """Remembers what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def synthesize(self, text: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
        self.said.append(text)
        return super().synthesize(text)


def test_a_language_that_cannot_be_heard_leaves_the_others_and_is_said_when_it_is_spoken() -> None:
    async def main() -> None:
        english, german = Engine("en"), Engine("de")
        async with PolyglotEars(english, {"de": german}).stream(AudioFormat(), DOMAIN) as ears:
            assert isinstance(ears, Multilingual)
            heard = aiter(ears)
            german.streams["de"].results.put_nowait(ProviderError("connection lost", retryable=True))
            german.streams["de"].results.put_nowait(ProviderError("wrong key"))
            english.streams["en"].results.put_nowait(ProviderError("connection lost", retryable=True))
            with pytest.raises(ProviderError, match="connection lost"):
                await anext(heard)
            ears.begin()
            ears.finish()
            assert await anext(heard) == Transcript("", final=True, confidence=0.9)
            ears.speak("de")
            with pytest.raises(ProviderError, match="wrong key"):
                await anext(heard)

    run(main())


def test_espeak_speaks_another_language_in_the_same_style() -> None:
    voice = espeak.create(espeak.Config(wpm=150))
    german = voice.in_language("de")
    assert german.rate == voice.rate
    with pytest.raises(ProviderError, match="klingon"):
        voice.in_language("klingon")
