"""Markup, lexicon and normalisation reach engines as they can take them; words stay where they were."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog.lexicon import Entry, Lexicon, LexiconError, load, make
from dialog.markup import plain
from media.fallback.voice import FallbackVoice
from media.tts import espeak
from media.tts.base import Speech, TextToSpeech, WordMark
from media.tts.normalise import normalise, say_as
from media.tts.spoken import SpokenVoice
from tests.clock import run

AZURE = frozenset({"break", "prosody", "phoneme", "emphasis", "lang"})


class Engine:
    """Keeps what it was asked; a mark for every word, 100 ms each."""

    rate = 8000

    def __init__(self, tags: frozenset[str] = frozenset()) -> None:
        self.tags, self.asked = tags, list[str]()

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        self.asked.append(text)
        text = re.sub(r"<[^>]*>", lambda tag: " " * len(tag.group()), text) if self.tags else text
        at = n = 0
        for word in text.split():
            at = text.index(word, at)
            yield Speech(b"\x10\x00" * 800, (WordMark(at, n * 800),))
            at, n = at + len(word), n + 1

    perform = synthesize

    async def close(self) -> None:
        """Nothing."""


def spoken(engine: Engine, lexicon: Lexicon = Lexicon(), *, normalised: bool = False) -> SpokenVoice:
    return SpokenVoice(engine, "en-US", lexicon, normalised=normalised, tags=engine.tags)


def say(voice: TextToSpeech, text: str) -> tuple[bytes, list[WordMark]]:
    async def all_of_it() -> list[Speech]:
        async with aclosing(voice.synthesize(text)) as speech:
            return [chunk async for chunk in speech]

    chunks = run(all_of_it())
    return b"".join(c.pcm for c in chunks), [word for c in chunks for word in c.words]


def asked(text: str, tags: frozenset[str] = frozenset(), lexicon: Lexicon = Lexicon()) -> list[str]:
    engine = Engine(tags)
    say(spoken(engine, lexicon), text)
    return engine.asked


@pytest.mark.parametrize(
    "text, simple, azure",
    [
        ("Hello there.", ["Hello there."], ["Hello there."]),
        ("Tom & Jerry, 3 < 4.", ["Tom & Jerry, 3 < 4."], ["Tom & Jerry, 3 < 4."]),
        ("One<break time='1s'/> two.", ["One", " two."], ['One<break time="1000ms"/> two.']),
        (
            "<prosody rate='slow'>Tom & I</prosody>",
            ["Tom & I"],
            ['<prosody rate="80%">Tom &amp; I</prosody>'],
        ),
        ("Code <say-as interpret-as='digits'>42</say-as>", ["Code four two"], ["Code four two"]),
        ("<sub alias='World Wide'>WW</sub> Web", ["World Wide Web"], ["World Wide Web"]),
        ("<emphasis level='strong'>now</emphasis>", ["now"], ['<emphasis level="strong">now</emphasis>']),
        (
            "<phoneme ph='təˈmɑːtəʊ'>tomato</phoneme>",
            ["tomato"],
            ['<phoneme alphabet="ipa" ph="təˈmɑːtəʊ">tomato</phoneme>'],
        ),
    ],
)
def test_each_engine_gets_what_it_can(text: str, simple: list[str], azure: list[str]) -> None:
    assert asked(text) == simple and asked(text, AZURE) == azure


def test_word_marks_are_places_in_the_words_that_were_said() -> None:
    text = (
        "It is <break time='500ms'/><prosody rate='slow'>$12.50 on</prosody> "
        "<sub alias='Main Street'>Main St</sub>."
    )
    for tags in (frozenset[str](), AZURE):
        _, marks = say(spoken(Engine(tags)), text)
        words = plain(text)
        starts = [0, *(n + 1 for n, char in enumerate(words) if char == " ")]
        assert {mark.chars for mark in marks} <= set(starts)
        assert [m.chars for m in marks] == sorted({m.chars for m in marks})
        assert words.index("$12.50") in {m.chars for m in marks} and words.index("Main") in {
            m.chars for m in marks
        }


def test_a_break_is_silence_of_its_length_where_the_engine_has_none() -> None:
    pcm, marks = say(spoken(Engine()), "One<break time='1s'/> two")
    assert len(pcm) // 2 == 800 + 8000 + 800 and marks[1].sample == 8800
    assert not any(pcm[1600:17600])


def test_volume_is_gain_where_the_engine_has_none() -> None:
    loud, _ = say(spoken(Engine()), "x")
    soft, _ = say(spoken(Engine()), "<prosody volume='-6dB'>x</prosody>")
    assert loud[0] == 16 and soft[0] == 8


@settings(deadline=None, max_examples=60)
@given(st.text("ab1 .,$€@%:/-<>&'\"éßBX", max_size=40) | st.text(max_size=20))
def test_any_text_is_spoken_and_marks_rise_within_it(text: str) -> None:
    for tags in (frozenset[str](), AZURE):
        _, marks = say(spoken(Engine(tags)), text)
        assert all(0 <= mark.chars < len(plain(text)) for mark in marks)
        assert all(a.sample <= b.sample for a, b in zip(marks, marks[1:], strict=False))


def test_a_voice_that_fails_within_markup_is_followed_by_the_next_with_the_rest_of_it() -> None:
    class Dying(Engine):
        async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
            from media.errors import ProviderError  # noqa: PLC0415

            async for chunk in super().synthesize(text):
                yield chunk
                if len(self.asked) == 1 and chunk.words[0].sample == 800:
                    raise ProviderError("dead", retryable=True)

    first, second = Dying(), Engine(AZURE)
    voice = FallbackVoice([("a", spoken(first)), ("b", spoken(second))])
    say(voice, "one two <prosody rate='80%'>three four</prosody>")
    assert second.asked == ['two <prosody rate="80%">three four</prosody>']


def test_espeak_speaks_markup_and_places_words() -> None:
    async def scenario() -> None:
        engine = espeak.create(espeak.Config())
        voice = SpokenVoice(engine, "en-us", Lexicon(), normalised=False, tags=espeak.EspeakTts.tags)
        text = "Hello <prosody rate='50%'>there</prosody> <break time='1s'/> R&amp;D <sub alias='x'>y</sub>"
        text += " world."
        async with aclosing(voice.synthesize(text)) as speech:
            chunks = [chunk async for chunk in speech]
        words = [plain(text)[mark.chars :].split()[0] for chunk in chunks for mark in chunk.words]
        assert [word for word in words if word in ("Hello", "there", "world.")] == [
            "Hello",
            "there",
            "world.",
        ]
        assert sum(len(chunk.pcm) for chunk in chunks) / 2 / engine.rate > 2.5
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "language, text, said",
    [
        ("en-US", "It costs $12.50 or $5.", "It costs twelve dollars, fifty cents or five dollars."),
        ("en-US", "on 2026-03-05 at 3:30 pm", "on March fifth, twenty twenty-six at three thirty P M"),
        ("en-US", "3/5/2026", "March fifth, twenty twenty-six"),
        ("en-GB", "3/5/2026", "May third, twenty twenty-six"),
        ("en", "14:05 and 9:00", "fourteen oh five and nine o'clock"),
        (
            "en",
            "Call +1 (555) 123-4567.",
            "Call plus one, five five five, one two three, four five six seven.",
        ),
        ("en", "tom.smith@example.com", "tom dot smith at example dot com"),
        ("en", "see https://example.com/help", "see example dot com slash help"),
        (
            "en",
            "the 21st, 45% of 3.5 km",
            "the twenty-first, forty-five percent of three point five kilometers",
        ),
        ("en", "123 Main St. by DVD", "123 Main Street by D V D"),
        (
            "de",
            "12,50 € am 05.03.2026",
            "zwölf Euro und fünfzig Cent am fünften März zweitausendsechsundzwanzig",
        ),
        ("de", "um 14:30 Uhr", "um vierzehn Uhr dreißig"),
        ("fr", "12,50 €", "douze euros et cinquante centimes"),
        ("es", "3,5 km", "tres punto cinco kilómetros"),
        ("en", "room 12, order 12345, in 1999", "room 12, order 12345, in 1999"),
        ("en", "version 1.2.3, 192.168.1.1, 2020-2024", "version 1.2.3, 192.168.1.1, 2020-2024"),
        ("xx", "$5 at 3:30", "$5 at 3:30"),
    ],
)
def test_written_text_becomes_spoken_text(language: str, text: str, said: str) -> None:
    spoken = normalise(text, language)
    assert spoken.text == said and len(spoken.positions) == len(said)


@pytest.mark.parametrize("text, what, language", [
    ("140040410", "cardinal", "am"), ("2494740733", "ordinal", "am"), ("1000", "ordinal", "ko"),
    ("870", "ordinal", "ca"), ("0", "ordinal", "pl"), ("0", "ordinal", "uk"),
])  # fmt: skip
def test_numbers_that_a_language_has_no_words_for_stay_as_they_are(
    text: str, what: str, language: str
) -> None:
    assert say_as(text, what, language).text == text


@pytest.mark.parametrize(
    "what, text, said",
    [
        ("digits", "1234", "one two three four"),
        ("characters", "AB-12", "A B dash one two"),
        (
            "telephone",
            "+44 20 7946 0958",
            "plus four four, two zero, seven nine four six, zero nine five eight",
        ),
        ("ordinal", "42", "forty-second"),
        ("cardinal", "1,234", "one thousand, two hundred and thirty-four"),
        ("date", "2026-03-05", "March fifth, twenty twenty-six"),
        ("time", "3:05 pm", "three oh five P M"),
        ("date", "someday", "someday"),
    ],
)
def test_say_as(what: str, text: str, said: str) -> None:
    assert say_as(text, what, "en-US").text == said


@settings(deadline=None, max_examples=200)
@given(
    st.text("0123456789.,:-/ $€%@+()amkgXBC", max_size=30),
    st.sampled_from(["en", "de", "fr", "es"]),
    st.sampled_from(["digits", "characters", "telephone", "ordinal", "cardinal", "date", "time"]),
)
def test_any_text_can_be_normalised(text: str, language: str, what: str) -> None:
    for spoken in (normalise(text, language), say_as(text, what, language)):
        assert len(spoken.positions) == len(spoken.text)
        assert list(spoken.positions) == sorted(spoken.positions)
        assert all(0 <= position < len(text) for position in spoken.positions)


def test_a_lexicon_respells_whole_words() -> None:
    lexicon = make({"siobhan": Entry("shi-VAWN"), "GmbH": Entry("G M B H"), "Nguyen": Entry("win", "ŋwiən")})
    assert asked("Siobhan of Foo GmbH, not gmbh, Siobhans.", lexicon=lexicon) == [
        "shi-VAWN of Foo G M B H, not gmbh, Siobhans."
    ]
    assert asked("Mr Nguyen", AZURE, lexicon) == ['Mr <phoneme alphabet="ipa" ph="ŋwiən">Nguyen</phoneme>']
    assert asked("Mr Nguyen", lexicon=lexicon) == ["Mr win"]


def test_mistakes_in_a_lexicon_are_named_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "lexicon.yaml"
    file.write_text("Siobhan: shi-VAWN\nNguyen: {ipas: x}\n42: y\nempty: ''\n")
    with pytest.raises(LexiconError) as raised:
        load(file)
    assert [problem.rpartition("/")[2].split(": ")[0] for problem in raised.value.problems] == [
        f"lexicon.yaml:{line}" for line in (2, 3, 4)
    ]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "a: &x {b: *x}\n", "\0"])
def test_a_file_that_is_no_lexicon_is_one_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "lexicon.yaml"
    file.write_text(text)
    with pytest.raises(LexiconError, match="lexicon.yaml"):
        load(file)


def test_a_lexicon_of_twenty_thousand_words_costs_no_time() -> None:
    lexicon = make({f"word{n}": Entry(f"w {n}") for n in range(20_000)})
    began = time.perf_counter()
    assert len(list(lexicon.apply("a word17 and word19999 " * 20))) > 60
    assert time.perf_counter() - began < 0.05
