"""Hosted voices in trouble: refused, overloaded, cut off, silent, unreadable. The services are local ones
that speak the real protocols (services.py)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from media.errors import ProviderError
from media.fallback.voice import FallbackVoice
from media.tts import azure, cartesia, deepgram, elevenlabs, openai
from media.tts.base import Speech, TextToSpeech
from media.tts.hosted import HostedVoice, Samples, WordPlaces
from tests.media.tts.hosted import HOSTED, RESTS, SOCKETS
from tests.media.tts.services import KEY, Faults, Service, serving, tone

TEXT = "Good morning, how can I help you today?"

every = pytest.mark.parametrize("name", HOSTED)
sockets = pytest.mark.parametrize("name", SOCKETS)
rests = pytest.mark.parametrize("name", RESTS)
Script = Callable[[TextToSpeech, Service], Awaitable[None]]


def play(name: str, script: Script, faults: Faults | None = None) -> None:
    async def run() -> None:
        async with serving(faults) as service, asyncio.timeout(20):
            engine = HOSTED[name](service.url)
            try:
                await script(engine, service)
            finally:
                await engine.close()

    asyncio.run(run())


async def speak(tts: TextToSpeech, text: str = TEXT) -> list[Speech]:
    async with aclosing(tts.synthesize(text)) as speech:
        return [chunk async for chunk in speech]


def seconds(tts: TextToSpeech, speech: list[Speech]) -> float:
    return sum(len(chunk.pcm) for chunk in speech) / 2 / tts.rate


def whole(text: str) -> float:
    return len(tone(text, 8000)) / 2 / 8000


async def failure(tts: TextToSpeech) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        await speak(tts)
    assert KEY not in str(raised.value)
    return raised.value


@every
@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_will_never_work_fails_at_once(name: str, status: int) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        error = await failure(tts)
        assert not error.retryable and f"HTTP {status}" in str(error) and service.asked == 1

    play(name, script, Faults(times=9, status=status))


@rests
def test_a_redirect_is_refused_and_nobody_else_hears(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        error = await failure(tts)
        assert not error.retryable and "HTTP 307" in str(error) and service.asked == 1

    play(name, script, Faults(times=1, status=307, headers={"Location": "/elsewhere"}))


@every
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_may_pass_by_itself_is_tried_again(name: str, status: int) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        assert seconds(tts, await speak(tts)) == pytest.approx(whole(TEXT), abs=0.01)
        assert service.asked == 2

    play(name, script, Faults(times=1, status=status, headers={"Retry-After": "0.02"}))


@every
@pytest.mark.parametrize("wait", ["60", "Wed, 21 Oct 2037 07:28:00 GMT"])
def test_a_service_that_asks_for_more_patience_than_a_caller_has_is_down(name: str, wait: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        assert (await failure(tts)).retryable and service.asked == 1

    play(name, script, Faults(times=9, status=429, headers={"Retry-After": wait}))


@every
def test_a_service_that_stays_down_is_an_error_that_may_pass(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        assert (await failure(tts)).retryable and service.asked == 2

    play(name, script, Faults(times=9, status=503))


@every
def test_a_connection_lost_before_the_first_sound_is_made_again(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        assert seconds(tts, await speak(tts)) == pytest.approx(whole(TEXT), abs=0.01)

    play(name, script, Faults(times=1, cut_after=0))


@every
def test_a_sentence_cut_off_is_not_begun_again(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        heard = []
        with pytest.raises(ProviderError) as raised:
            async with aclosing(tts.synthesize(TEXT)) as speech:
                async for chunk in speech:
                    heard.append(chunk)  # noqa: PERF401 - what came before the error counts
        assert raised.value.retryable and service.asked == 1
        assert 0 < seconds(tts, heard) < whole(TEXT)

    play(name, script, Faults(times=9, cut_after=3))


@every
def test_the_next_voice_speaks_on_from_the_next_word(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        other = HOSTED["deepgram"](service.url)
        both = FallbackVoice([("first", tts), ("second", other)])
        speech = await speak(both)
        assert seconds(both, speech) == pytest.approx(whole(TEXT), abs=0.7)
        assert [chunk.switched.to for chunk in speech if chunk.switched] == ["second"]
        await other.close()

    play(name, script, Faults(times=1, cut_after=5))


@every
@pytest.mark.parametrize("after", [0, 3])
def test_silence_is_given_up(name: str, after: int) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        error = await failure(tts)
        assert error.retryable and "no sound for 0.75 s" in str(error)

    play(name, script, Faults(times=9, hang_after=after))


@sockets
def test_a_close_for_cause_is_final(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        error = await failure(tts)
        assert not error.retryable and "1008" in str(error)

    play(name, script, Faults(times=9, cut_after=0, code=1008))


@every
def test_unreadable_answers_are_an_error_and_not_a_crash(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        await failure(tts)

    play(name, script, Faults(times=9, garbage=True))


@pytest.mark.parametrize(
    "name, error, retryable",
    [
        ("elevenlabs", "quota_exceeded", False),
        ("elevenlabs", "invalid_api_key", False),
        ("elevenlabs", "system_busy", True),
        ("cartesia", "402", False),
        ("cartesia", "503", True),
    ],
)
def test_the_services_own_errors_say_whether_they_pass(name: str, error: str, retryable: bool) -> None:  # noqa: FBT001
    async def script(tts: TextToSpeech, service: Service) -> None:
        found = await failure(tts)
        assert found.retryable == retryable and error in str(found)

    play(name, script, Faults(times=9, error=error))


@every
def test_samples_cut_in_half_by_the_network_are_put_together(name: str) -> None:
    if name == "elevenlabs-ulaw":
        pytest.skip("a sample is one byte")

    async def script(tts: TextToSpeech, service: Service) -> None:
        pcm = b"".join(chunk.pcm for chunk in await speak(tts))
        assert pcm == tone(TEXT, tts.rate)

    play(name, script, Faults(odd=True))


@rests
def test_a_wav_header_is_not_spoken(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        assert b"".join(chunk.pcm for chunk in await speak(tts)) == tone(TEXT, tts.rate)

    play(name, script, Faults(wav=True))


@every
def test_sentences_share_a_connection(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        for _ in range(4):
            await speak(tts, "Yes.")
        assert max(service.connections, len(service.peers)) == 1
        assert isinstance(tts, HostedVoice) and tts.stats().connections == 1

    play(name, script)


@every
def test_a_connection_that_died_while_idle_costs_nothing(name: str) -> None:
    """The service hangs up between two sentences."""

    async def script(tts: TextToSpeech, service: Service) -> None:
        await speak(tts, "Yes.")
        service.faults = Faults(times=2, cut_after=0)
        assert seconds(tts, await speak(tts)) == pytest.approx(whole(TEXT), abs=0.01)
        assert seconds(tts, await speak(tts)) == pytest.approx(whole(TEXT), abs=0.01)

    play(name, script)


@every
def test_speech_closed_early_stops_the_service(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        service.slow_s = 0.01
        async with aclosing(tts.synthesize(TEXT * 3)) as speech:
            await anext(speech)
        async with asyncio.timeout(2):
            while not service.cancelled:  # noqa: ASYNC110 - the service is another program
                await asyncio.sleep(0.01)
        service.slow_s = 0
        assert seconds(tts, await speak(tts)) == pytest.approx(whole(TEXT), abs=0.01)

    play(name, script)


@sockets
def test_words_are_where_the_service_says(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        marks = [(mark.chars, mark.sample) for chunk in await speak(tts) for mark in chunk.words]
        starts = [0, *(i + 1 for i, char in enumerate(TEXT) if char == " ")]
        assert [chars for chars, _ in marks] == starts
        assert [sample for _, sample in marks] == pytest.approx([tts.rate * 0.06 * n for n in starts], abs=50)

    play(name, script)


@every
def test_the_service_is_told_the_key_where_no_log_sees_it(name: str) -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        await speak(tts)
        head = service.requests[0]
        assert KEY in json.dumps(head["headers"]) and KEY not in json.dumps(head["query"])

    play(name, script)


def test_text_of_any_kind_is_a_valid_document_for_azure() -> None:
    async def script(tts: TextToSpeech, service: Service) -> None:
        text = "Tom & Jerry say 3 < 4."
        assert seconds(tts, await speak(tts, text)) == pytest.approx(whole(text), abs=0.01)
        assert "Tom &amp; Jerry say 3 &lt; 4." in service.requests[0]["body"]

    play("azure", script)


@pytest.mark.parametrize(
    "create, config",
    [
        (elevenlabs.create, elevenlabs.Config(voice="x")),
        (openai.create, openai.Config()),
        (azure.create, azure.Config()),
        (deepgram.create, deepgram.Config()),
        (cartesia.create, cartesia.Config(voice="x")),
    ],
)
def test_a_missing_key_is_named_at_the_start(create: Any, config: Any) -> None:
    with pytest.raises(ProviderError, match="api_key"):
        create(config)


@pytest.mark.parametrize(
    "create, config, named",
    [
        (elevenlabs.create, elevenlabs.Config(api_key="x"), "voice"),
        (elevenlabs.create, elevenlabs.Config(api_key="x", voice="y", format="mp3"), "format"),
        (azure.create, azure.Config(api_key="x", rate=11025), "rate"),
        (azure.create, azure.Config(api_key="x", voice="Ava"), "voice"),
        (openai.create, openai.Config(api_key="x", speed=9), "speed"),
        (cartesia.create, cartesia.Config(api_key="x"), "voice"),
    ],
)
def test_settings_that_cannot_work_are_named_at_the_start(create: Any, config: Any, named: str) -> None:
    with pytest.raises(ProviderError, match=named):
        create(config)


def test_samples_are_whole_however_bytes_come() -> None:
    samples = Samples("s16le")
    assert b"".join(samples.decode(bytes([byte])) for byte in range(9)) == bytes(range(8))


def test_words_are_found_where_a_service_spells_them_otherwise() -> None:
    places = WordPlaces("It costs $5, (really) no more")
    found = [places.place(word) for word in ("It", "costs", "five", "dollars", "really", "no", "more", "x")]
    assert found == [0, 3, 10, 14, 22, 25, None, None]
