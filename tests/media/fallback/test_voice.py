import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from dialog.breaker import BreakerConfig, Switched
from media.errors import ProviderError
from media.fallback.config import VoiceFallback
from media.fallback.recorded import RecordedVoice
from media.fallback.voice import FallbackVoice
from media.tts.base import Speech, WordMark
from tests import clock

TEXT = "Your table is booked for tonight."
WORD_S = 0.25  # every word of the scripted voice


@dataclass(eq=False)
class Voice:
    """Speaks a word a chunk. `fails`: after so many words, once for each entry; None: not at all."""

    fails: Sequence[int | None] = (None,)
    rate: int = 8000
    marks: bool = True
    hangs: bool = False  # instead of failing
    texts: list[str] = field(default_factory=list)
    closed: bool = False

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        limit = self.fails[min(len(self.texts), len(self.fails) - 1)]
        self.texts.append(text)
        words, at, chunk = text.split(), 0, round(self.rate * WORD_S)
        for number, word in enumerate(words):
            if number == limit:
                if self.hangs:
                    await asyncio.sleep(3600)
                raise ProviderError("the voice broke", retryable=True)
            marks = (WordMark(text.index(word, at), number * chunk),) if self.marks else ()
            at = text.index(word, at) + len(word)
            yield Speech(b"\x01\x00" * chunk, marks)

    async def close(self) -> None:
        self.closed = True


def pair(first: Voice, second: Voice, config: VoiceFallback | None = None) -> FallbackVoice:
    return FallbackVoice([("one", first), ("two", second)], config)


async def spoken(voice: FallbackVoice, text: str = TEXT) -> tuple[list[str], int, list[Switched]]:
    """Words by their marks, samples, changes."""
    words, samples, changes = [], 0, []
    async with aclosing(voice.synthesize(text)) as speech:
        async for chunk in speech:
            words += [text[mark.chars :].split(maxsplit=1)[0] for mark in chunk.words]
            assert all(samples <= mark.sample for mark in chunk.words), "marks stand in their chunk"
            samples += len(chunk.pcm) // 2
            changes += [chunk.switched] if chunk.switched else []
    return words, samples, changes


def test_the_preferred_voice_speaks_while_it_is_well() -> None:
    one, two = Voice(), Voice()
    words, _, changes = clock.run(spoken(pair(one, two)))
    assert words == TEXT.split() and not changes and not two.texts


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_a_voice_that_breaks_is_followed_from_the_next_word(rate: int) -> None:
    one, two = Voice([3]), Voice(rate=rate)
    words, samples, changes = clock.run(spoken(pair(one, two)))
    assert two.texts == [" booked for tonight."]
    assert words == TEXT.split()
    assert samples == pytest.approx(6 * WORD_S * 8000, rel=0.01), "at the preferred voice's rate"
    assert changes == [Switched("one", "two", "the voice broke")]


def test_a_voice_that_never_began_is_replaced_whole() -> None:
    one, two = Voice([0]), Voice()
    assert clock.run(spoken(pair(one, two)))[0] == TEXT.split()
    assert two.texts == [TEXT]


def test_without_word_marks_the_place_is_estimated_at_a_words_beginning() -> None:
    one, two = Voice([4], marks=False), Voice()
    clock.run(spoken(pair(one, two)))
    assert two.texts == ["booked for tonight."], "one second of speech is 15 characters"


def test_a_silent_voice_is_given_up_before_and_between_sounds() -> None:
    for after in (0, 2):
        one, two = Voice([after], hangs=True), Voice()
        _, _, changes = clock.run(spoken(pair(one, two, VoiceFallback(first_ms=700, pause_ms=700))))
        assert len(two.texts) == 1 and changes[0].reason == "one: no sound for 700 ms"


def test_a_voice_that_broke_behind_its_last_word_had_said_it_all() -> None:
    one, two = Voice([1]), Voice()
    words, _, _ = clock.run(spoken(pair(one, two), "Goodbye and"))
    assert words == ["Goodbye", "and"]
    one, two = Voice([1]), Voice()
    clock.run(spoken(pair(one, two), "Yes  "))
    assert not two.texts


def test_when_nobody_can_speak_the_last_error_comes_out() -> None:
    voice = pair(Voice([0]), Voice([1, 1]))
    with pytest.raises(ProviderError, match="broke"):
        clock.run(spoken(voice))
    assert voice.stats().lost == 1 and voice.stats().failed == 2


def test_a_broken_voice_is_left_alone_and_found_again() -> None:
    one, two = Voice([0, 0, None]), Voice()
    voice = pair(one, two, VoiceFallback(breaker=BreakerConfig(failures=2, cool_down_s=5)))

    async def scenario() -> None:
        for _ in range(5):
            await spoken(voice)
        assert len(one.texts) == 2 and voice.members.fault() == "left alone: one"
        await asyncio.sleep(5)
        await spoken(voice)
        assert len(one.texts) == 3 and voice.members.fault() is None

    clock.run(scenario())


def test_cut_speech_blames_nobody_and_closes_all() -> None:
    one, two = Voice(), Voice()
    voice = pair(one, two)

    async def scenario() -> None:
        async with aclosing(voice.synthesize(TEXT)) as speech:
            async for _ in speech:
                break
        await voice.close()

    clock.run(scenario())
    assert voice.stats().failed == 0 and one.closed and two.closed


def test_a_reply_that_is_interrupted_while_a_voice_is_tried_again_does_not_shut_that_voice_out() -> None:
    one, two = Voice([0]), Voice()
    voice = pair(one, two, VoiceFallback(breaker=BreakerConfig(failures=1, cool_down_s=5)))

    async def scenario() -> None:
        await spoken(voice)
        await asyncio.sleep(5)
        one.hangs = True
        trial = asyncio.create_task(spoken(voice))
        await asyncio.sleep(0.1)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        assert trial.cancelled()
        one.fails = [None]
        await asyncio.sleep(5)
        await spoken(voice)

    clock.run(scenario())
    assert len(one.texts) == 3 and len(two.texts) == 1


def test_the_apology_is_spoken_from_its_recording_when_every_voice_is_gone() -> None:
    inner = Voice([None, None, 0])
    voice = RecordedVoice(inner)

    async def said(text: str) -> int:
        async with aclosing(voice.synthesize(text)) as speech:
            return sum([len(chunk.pcm) async for chunk in speech])

    async def scenario() -> None:
        await voice.record(["I am sorry. Please say that again."])
        assert await said("I am sorry.") == 3 * 4000
        assert await said("Please say that again.") == 4 * 4000
        with pytest.raises(ProviderError):
            await said("Something else.")

    clock.run(scenario())
