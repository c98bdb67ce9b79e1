import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from media.errors import MissingExtra, ProviderError
from media.tts import espeaklib
from media.tts.base import Speech, TextToSpeech
from media.tts.espeak import Config, create
from media.tts.espeaklib import OnBuffer, Style, library
from media.tts.text import LONGEST

LONG = "We are open on weekdays from nine to five, and on Saturdays from ten to one. " * 40  # 200 s of speech


async def speak(tts: TextToSpeech, text: str) -> list[Speech]:
    async with aclosing(tts.synthesize(text)) as speech:
        return [chunk async for chunk in speech]


def samples(speech: list[Speech]) -> int:
    return sum(len(chunk.pcm) for chunk in speech) // 2


class Library:
    """Watches the real library; holds it in the third buffer of a long text until told to go on."""

    def __init__(self) -> None:
        self.calls: list[list[int | str]] = []  # text, buffers
        self.held, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def watch(self, lib: espeaklib.Library, text: str, style: Style, on_buffer: OnBuffer) -> None:
        call: list[int | str] = [text, 0]
        self.calls.append(call)

        def counted(pcm: bytes, words: list[espeaklib.Word]) -> bool:
            call[1] += 1  # type: ignore[operator]
            taken = on_buffer(pcm, words)
            if call[1] == 3 and len(text) > 50:
                self.held.set()
                self.go_on.wait(10)
            return taken

        SPEAK(lib, text, style, counted)


SPEAK = espeaklib.Library.speak


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    watcher = Library()

    def watch(lib: espeaklib.Library, text: str, style: Style, on_buffer: OnBuffer) -> None:
        watcher.watch(lib, text, style, on_buffer)

    monkeypatch.setattr(espeaklib.Library, "speak", watch)
    yield watcher
    watcher.go_on.set()


def test_duration_stays_the_same_and_speech_is_loud_enough_for_a_phone() -> None:
    tts = create(Config())
    text = "Good morning, how can I help you?"
    runs = [asyncio.run(speak(tts, text)) for _ in range(5)]
    lengths = [samples(run) for run in runs]
    assert tts.rate == 22050
    assert max(lengths) <= 1.02 * min(lengths)
    assert 1.5 * 22050 < lengths[0] < 3.5 * 22050
    wave = np.frombuffer(b"".join(chunk.pcm for chunk in runs[0]), "<i2").astype(float)
    level = 20 * np.log10(np.sqrt(np.mean(wave[np.abs(wave) > 300] ** 2)) / 32768)
    assert -26 < level < -17
    assert np.abs(wave).max() < 32767


def test_settings_change_the_speech() -> None:
    def length(config: Config) -> int:
        return samples(asyncio.run(speak(create(config), "Good morning, how can I help you today?")))

    normal = length(Config())
    assert length(Config(wpm=250)) < 0.8 * normal
    assert length(Config(word_gap_ms=100)) > 1.1 * normal
    assert length(Config()) == pytest.approx(normal, rel=0.02)  # nothing sticks from the engines before

    def loudness(config: Config) -> float:
        pcm = b"".join(chunk.pcm for chunk in asyncio.run(speak(create(config), "good morning")))
        return float(np.abs(np.frombuffer(pcm, "<i2").astype(float)).mean())

    assert loudness(Config(volume=40)) < 0.6 * loudness(Config(volume=80))


@pytest.mark.parametrize(
    "text",
    [
        "Good morning, how can I help you?",
        "Zoë costs €3.50 at 10:30 — isn't it naïve?",
        "Hi 😀 there,\nap\u00adpointment number 2026.",
        "Please hold, the next person who is free will take your call. " * 6,  # several pieces
    ],
)
def test_word_marks_point_at_the_words_in_order(text: str) -> None:
    speech = asyncio.run(speak(create(Config()), text))
    start = 0
    for chunk in speech:
        end = start + len(chunk.pcm) // 2
        assert all(start <= mark.sample <= end for mark in chunk.words)
        start = end
    marks = [mark for chunk in speech for mark in chunk.words]
    words = [i for i in range(len(text)) if text[i].isalnum() and (i == 0 or text[i - 1] in " \n")]
    words += [i for i in range(len(text)) if text[i] == "€"]
    assert [mark.chars for mark in marks] == sorted(words)
    positions = [mark.sample for mark in marks]
    assert positions == sorted(positions) and len(set(positions)) == len(positions)
    assert positions[-1] < start - 0.1 * 22050  # the last word is spoken after its mark


def test_words_spoken_as_one_share_a_mark() -> None:
    text = "one of the best"
    marks = [m for chunk in asyncio.run(speak(create(Config()), text)) for m in chunk.words]
    assert [text[m.chars :].split(maxsplit=1)[0] for m in marks] == ["one", "of", "best"]


def test_closed_speech_ends_with_the_buffer_in_the_making(watched: Library) -> None:
    async def scenario() -> None:
        tts = create(Config())
        watched.calls.clear()
        watched.go_on.clear()
        speech = tts.synthesize(LONG)
        await anext(speech)
        await asyncio.to_thread(watched.held.wait, 10)
        await speech.aclose()
        watched.go_on.set()
        await speak(tts, "Next.")

    asyncio.run(scenario())
    (_, buffers), (text, _) = watched.calls  # of LONG nothing but the first piece was asked for
    assert buffers == 4  # three before the end, and the one that it was told so in
    assert text == "Next."


def test_cancelled_task_frees_the_engine(watched: Library) -> None:
    async def scenario() -> None:
        tts = create(Config())
        watched.calls.clear()
        watched.go_on.clear()
        task = asyncio.create_task(speak(tts, LONG))
        queued = asyncio.create_task(speak(tts, "Nobody waits for this."))
        await asyncio.to_thread(watched.held.wait, 10)
        task.cancel()
        queued.cancel()
        await asyncio.wait([task, queued])
        assert task.cancelled() and queued.cancelled()
        watched.go_on.set()
        assert samples(await speak(tts, "Next.")) > 4000

    asyncio.run(scenario())
    assert [text for text, _ in watched.calls[1:]] == ["Next."]  # what waited in line was never begun


def test_a_listener_who_does_not_listen_costs_one_piece_and_holds_up_nobody(watched: Library) -> None:
    async def scenario() -> None:
        tts = create(Config())
        watched.calls.clear()
        async with aclosing(tts.synthesize(LONG)) as speech:
            await anext(speech)
            for word in ("one", "two", "three"):
                await speak(tts, word)
            assert [len(str(text)) <= LONGEST for text, _ in watched.calls] == [True] * 4

    asyncio.run(scenario())


def test_two_at_once_are_both_whole() -> None:
    texts = ["Good morning, how can I help you?", "Your appointment is on Tuesday at nine, is that right?"]

    async def scenario() -> list[list[Speech]]:
        tts = [create(Config()), create(Config(voice="en-gb+f3", wpm=200))]
        alone = [await speak(engine, text) for engine, text in zip(tts, texts, strict=True)]
        jobs = [speak(e, t) for e, t in zip(tts, texts, strict=True)]
        return alone + await asyncio.gather(*jobs, *[speak(e, t) for e, t in zip(tts, texts, strict=True)])

    first, second, *others = asyncio.run(scenario())
    for index, run in enumerate(others):
        reference = (first, second)[index % 2]
        assert samples(run) == pytest.approx(samples(reference), rel=0.02)
        assert [m.chars for c in run for m in c.words] == [m.chars for c in reference for m in c.words]


@pytest.mark.parametrize("text", ["", " ", "...", "?!", "😀", "\x00\x07", "—", "\ud800"])
def test_nothing_to_say_is_said_without_an_error(text: str) -> None:
    assert asyncio.run(speak(create(Config()), text)) == []


@pytest.mark.parametrize(
    "text", ["x" * 5000, "9" * 500, "a\x00b", "<speak>&amp;[[h@]]</speak>", "你好 мир हिन्दी", "%s%n"]
)
def test_odd_text_is_spoken_and_breaks_nothing(text: str) -> None:
    tts = create(Config())
    assert samples(asyncio.run(speak(tts, text))) > 2000
    assert samples(asyncio.run(speak(tts, "Still here."))) > 4000


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(voice="en-uk"), "no voice 'en-uk'; did you mean en-us, en-gb"),
        (Config(voice="klingon"), "no voice 'klingon'"),
        (Config(voice=""), "no voice ''"),
        (Config(voice="en-us+f33"), "no voice variant 'f33'; did you mean f3"),
        (Config(voice="../../etc/passwd"), "no voice"),
        (Config(wpm=20), "wpm is 20, outside of 80 to 450"),
        (Config(pitch=100), "pitch is 100, outside of 0 to 99"),
    ],
)
def test_bad_settings_are_named(config: Config, message: str) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        create(config)
    assert not caught.value.retryable


@pytest.mark.parametrize("voice", ["en-us", "EN-GB", "en", "de", "fr-fr", "en-us+f3", "gmw/en-US"])
def test_voices_are_found_by_language_variant_and_file(voice: str) -> None:
    assert samples(asyncio.run(speak(create(Config(voice=voice)), "Hello."))) > 4000


def test_the_list_of_voices_names_languages() -> None:
    assert {"en-us", "en-gb", "de", "fr-fr"} <= set(library().voices)
    assert not any("/" in voice for voice in library().voices)


def test_a_closed_engine_says_so_and_leaves_others_alone() -> None:
    async def scenario() -> None:
        tts, other = create(Config()), create(Config())
        speech = tts.synthesize(LONG)
        await anext(speech)
        await tts.close()
        await tts.close()
        with pytest.raises(ProviderError, match="closed"):
            async for _ in speech:
                pass
        with pytest.raises(ProviderError, match="closed"):
            await speak(tts, "Hello.")
        assert samples(await speak(other, "Hello.")) > 4000

    asyncio.run(scenario())


def test_a_loop_that_is_gone_does_not_hold_the_voice() -> None:
    tts = create(Config())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(anext(tts.synthesize(LONG)))
    loop.close()
    assert samples(asyncio.run(speak(tts, "Hello."))) > 4000


def test_an_error_in_a_callback_reaches_the_caller() -> None:
    def broken(pcm: bytes, words: list[espeaklib.Word]) -> bool:
        raise OverflowError("too much")

    style = Style(library().find_voice("en-us"), 165, 50, 50, 80, 0)
    with pytest.raises(OverflowError):
        library().speak("Hello.", style, broken)
    assert samples(asyncio.run(speak(create(Config()), "Hello."))) > 4000


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtra, match=r"pip install 'voicegw\[espeak\]'"):
        library.__wrapped__()


def test_a_thousand_utterances_leave_nothing_behind() -> None:
    tts = create(Config())

    async def some(count: int) -> None:
        for n in range(count):
            await speak(tts, f"Number {n % 10}.")

    asyncio.run(some(200))
    before = resident_kib()
    asyncio.run(some(1000))
    assert resident_kib() - before < 1500


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4
