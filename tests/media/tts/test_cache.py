"""Prompts are synthesised once, shared, kept, forgotten; and made before anybody asks."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from pathlib import Path

import pytest

from dialog.types import Act, DialogInput, Say
from media.errors import ProviderError
from media.tts import espeak, piper
from media.tts.ahead import Foresight
from media.tts.base import Speech, TextToSpeech, WordMark
from media.tts.cache import CacheConfig, CachedVoice, PromptCache, identity, slices
from media.tts.promptdisk import PromptDisk
from tests.clock import run
from tests.media.test_session import Call, play
from tests.models.voice import make_voice

SECOND = b"\x10\x00" * 8000


class SlowVoice:
    """A second of speech for each word, half a second of work each."""

    rate = 8000

    def __init__(self, word_s: float = 0.5) -> None:
        self.word_s = word_s
        self.asked: list[str] = []
        self.stopped = 0
        self.error_after: int | None = None

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        self.asked.append(text)
        done = False
        try:
            for n, word in enumerate(text.split()):
                await asyncio.sleep(self.word_s)
                if n == self.error_after:
                    raise ProviderError("broken", retryable=True)
                yield Speech(SECOND, (WordMark(text.index(word), n * 8000),))
            done = True
        finally:
            self.stopped += not done

    async def close(self) -> None:
        """Nothing."""


def cached(voice: TextToSpeech, disk: PromptDisk | None = None) -> CachedVoice:
    return CachedVoice(voice, "slow", PromptCache(CacheConfig(), disk))


async def speak(voice: TextToSpeech, text: str) -> list[Speech]:
    async with aclosing(voice.synthesize(text)) as speech:
        return [chunk async for chunk in speech]


def joined(speech: list[Speech]) -> tuple[bytes, list[WordMark]]:
    return b"".join(c.pcm for c in speech), [word for c in speech for word in c.words]


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def took(awaitable: Awaitable[object]) -> float:
    clock = asyncio.get_running_loop().time
    began = clock()
    await awaitable
    return clock() - began


def test_a_prompt_is_synthesised_once_and_sounds_the_same() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        voice = cached(slow)
        first = await speak(voice, "one two three")
        assert await took(speak(voice, "one two three")) == 0
        again = await speak(voice, "one two three")
        assert joined(again) == joined(first) and slow.asked == ["one two three"]
        assert max(len(chunk.pcm) for chunk in again) == 8000  # half a second at a time

    run(scenario())


def test_calls_that_want_the_same_prompt_at_the_same_time_share_one_synthesis() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        voice = cached(slow)

        async def late(n: int) -> list[Speech]:
            await asyncio.sleep(n * 0.3)
            return await speak(voice, "one two three")

        everybody = await asyncio.gather(*[late(n) for n in range(5)])
        assert len({joined(speech)[0] for speech in everybody}) == 1 and len(slow.asked) == 1

    run(scenario())


def test_who_interrupts_does_not_end_it_for_the_others_and_the_last_one_stops_it() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        voice = cached(slow)
        first, second = voice.synthesize("one two three"), voice.synthesize("one two three")
        await anext(first)
        await anext(second)
        await first.aclose()
        assert slow.stopped == 0
        await anext(second)
        await second.aclose()
        await asyncio.sleep(0)
        assert slow.stopped == 1
        assert len(joined(await speak(voice, "one two three"))[0]) == 3 * len(SECOND)  # whole, made anew
        assert len(slow.asked) == 2

    run(scenario())


@pytest.mark.parametrize("after", [0, 2])
def test_what_failed_is_not_kept(after: int) -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        voice = cached(slow)
        slow.error_after = after
        with pytest.raises(ProviderError, match="broken"):
            await speak(voice, "one two three")
        slow.error_after = None
        assert len(joined(await speak(voice, "one two three"))[0]) == 3 * len(SECOND)

    run(scenario())


def test_memory_has_a_limit_and_the_longest_unused_goes_first() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        cache = PromptCache(CacheConfig(memory_mb=1))
        voice = CachedVoice(slow, "slow", cache)
        for number in range(80):
            await speak(voice, f"number{number}")
            await speak(voice, "number0")
            assert cache.stats().cache_bytes <= 1 << 20
        assert slow.asked.count("number0") == 1
        await speak(voice, "number1")
        assert slow.asked.count("number1") == 2

    run(scenario())


def test_other_settings_are_other_prompts(tmp_path: Path) -> None:
    model = tmp_path / "voice.onnx"
    model.write_bytes(b"1")
    one = identity("piper", piper.Config(model=str(model)))
    assert one == identity("piper", piper.Config(model=str(model)))
    assert one != identity("piper", piper.Config(model=str(model), length_scale=1.1))
    assert one != identity("espeak", espeak.Config())
    os.utime(model, (1, 1))
    assert one != identity("piper", piper.Config(model=str(model)))


def test_a_key_is_no_part_of_a_prompt() -> None:
    from media.tts import deepgram  # noqa: PLC0415

    assert "secret" not in identity("deepgram", deepgram.Config(api_key="secret"))


def test_a_fixed_prompt_outlives_the_server_and_others_do_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        slow = SlowVoice(0)
        voice = cached(slow, disk=PromptDisk(tmp_path, 1 << 20))
        await voice.ahead("welcome to us")
        await speak(voice, "your secret is 1234")
        assert len(files(tmp_path)) == 1

        slow2 = SlowVoice(0)
        voice2 = cached(slow2, disk=PromptDisk(tmp_path, 1 << 20))
        assert joined(await speak(voice2, "welcome to us")) == joined(await speak(voice, "welcome to us"))
        await speak(voice2, "your secret is 1234")
        assert slow2.asked == ["your secret is 1234"]

    asyncio.run(scenario())


DAMAGED = (b"", b"{}\n123", b"\xff\xfe", b'{"rate": 8000, "words": 1, "bytes": 2, "crc": 0}\n12')


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    async def scenario() -> None:
        await cached(SlowVoice(0), disk=PromptDisk(tmp_path, 1 << 20)).ahead("hello")
        (file,) = files(tmp_path)
        file.write_bytes(damage)
        assert (
            joined(await speak(cached(SlowVoice(0), disk=PromptDisk(tmp_path, 1 << 20)), "hello"))[0]
            == SECOND
        )

    asyncio.run(scenario())


def test_the_disk_has_a_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = PromptDisk(tmp_path, 5 * len(SECOND))
        voice = cached(SlowVoice(0), disk=disk)
        for number in range(8):
            await voice.ahead(f"n{number}")
        assert disk.size <= 5 * len(SECOND)
        assert sum(file.stat().st_size for file in files(tmp_path)) == disk.size

    asyncio.run(scenario())


def test_a_disk_that_is_full_keeps_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[:1000])
        raise OSError("no space left on device")

    async def scenario() -> None:
        disk = PromptDisk(tmp_path, 1 << 20)
        await disk.write("k", 8000, [Speech(SECOND)])
        assert disk.failures == 1 and files(tmp_path) == []

    monkeypatch.setattr(Path, "write_bytes", full)
    run(scenario())


def test_a_prompt_that_just_fits_without_its_head_is_not_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = PromptDisk(tmp_path, len(SECOND) + 10)
        await disk.write("k", 8000, [Speech(SECOND)])
        assert disk.size == 0 and files(tmp_path) == []

    run(scenario())


def test_a_bug_of_an_engine_is_not_taken_for_the_end_of_the_prompt() -> None:
    class Buggy(SlowVoice):
        async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
            async for chunk in super().synthesize(text):
                yield chunk
                raise RuntimeError("bug")

    async def scenario() -> None:
        voice = cached(Buggy())
        with pytest.raises(RuntimeError, match="bug"):
            await speak(voice, "one two three")

    run(scenario())


def test_look_ahead_gives_way_to_calls_and_goes_on_after_them() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        voice = cached(slow)
        ahead = Foresight({"": voice.ahead}, 16)
        task = asyncio.ensure_future(ahead.run())
        ahead.want([Say("a b c d"), Say("e f")])
        await asyncio.sleep(0.7)  # in the middle of the first
        assert await took(speak(voice, "urgent")) == 0.5
        assert slow.asked == ["a b c d", "urgent"] and slow.stopped == 1
        await asyncio.sleep(5)
        assert await took(speak(voice, "a b c d")) == await took(speak(voice, "e f")) == 0
        assert ahead.done == 2
        task.cancel()

    run(scenario())


def test_a_call_that_wants_what_is_being_made_ahead_takes_it_over() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        voice = cached(slow)
        ahead = Foresight({"": voice.ahead}, 16)
        task = asyncio.ensure_future(ahead.run())
        ahead.want([Say("a b c d")])
        await asyncio.sleep(1.7)
        assert await took(speak(voice, "a b c d")) == pytest.approx(0.3)
        assert slow.asked == ["a b c d"]
        task.cancel()

    run(scenario())


def test_look_ahead_is_bounded_and_an_engine_that_fails_is_left_alone_for_a_while() -> None:
    async def scenario() -> None:
        slow = SlowVoice()
        slow.error_after = 0
        ahead = Foresight({"": cached(slow).ahead}, 3)
        task = asyncio.ensure_future(ahead.run())
        ahead.want([Say(f"text{n}") for n in range(10)])
        await asyncio.sleep(4.4)
        assert ahead.failures == len(slow.asked) == 3
        task.cancel()

    run(scenario())


def test_a_fixed_prompt_starts_within_one_frame_on_a_slow_voice() -> None:
    slow = SlowVoice()

    def answer(turn: DialogInput) -> list[Act]:
        return [Say("We open at nine.")]

    async def scenario(call: Call) -> None:
        voice = cached(slow)
        call.voice.synthesize = voice.synthesize  # type: ignore[method-assign, assignment]
        ahead = Foresight({"": voice.ahead}, 16)
        task = asyncio.ensure_future(ahead.run())
        ahead.want([Say("We open at nine.")])
        await call.leg.beat(ms=5000)  # the greeting is spoken, the caller is listened to
        await call.caller("when do you open")
        await call.leg.beat(ms=1000)
        task.cancel()
        await asyncio.sleep(0)

    call, _ = play(scenario, answer=answer)
    (steps,) = call.seen.of("latency")
    assert steps["tts_ms"] == 0 and steps["playout_ms"] <= 20
    assert slow.asked == ["hello", "We open at nine."]


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.3])
def test_slices_hold_everything(seconds: float) -> None:
    pcm = bytes(range(256)) * int(seconds * 62.5)
    words = tuple(WordMark(n, n * 997) for n in range(len(pcm) // 2 // 997))
    assert joined(slices([Speech(pcm, words)], 8000)) == (pcm, list(words))


def test_a_prompt_of_a_real_voice_comes_within_a_frame(tmp_path: Path) -> None:
    """A Piper voice that takes half a second for each clause."""
    real = piper.create(piper.Config(model=str(make_voice(tmp_path / "tones.onnx"))))

    class Slowed:
        rate = real.rate

        async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
            await asyncio.sleep(0.5)
            async with aclosing(real.synthesize(text)) as speech:
                async for chunk in speech:
                    yield chunk

        async def close(self) -> None:
            await real.close()

    async def first(voice: TextToSpeech, text: str) -> float:
        async with aclosing(voice.synthesize(text)) as speech:
            return await took(anext(speech))

    async def scenario() -> None:
        voice = cached(Slowed())
        try:
            assert await first(voice, "Anything else I can do?") > 0.5
            await voice.ahead("Which day suits you?")
            assert min([await first(voice, "Which day suits you?") for _ in range(3)]) < 0.02
        finally:
            await voice.close()

    asyncio.run(scenario())
