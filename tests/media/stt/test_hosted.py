"""Hosted recognisers in trouble: refused, overloaded, cut off, silent, unreadable. The services are local
ones that speak the real protocols (services.py)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat
from media.stt import assemblyai, azure, deepgram, google, openai
from media.stt.base import SpeechToText, SttStream
from tests.callers import caller, frames
from tests.media.stt.hosted import HOSTED, RESTS, SOCKETS
from tests.media.stt.services import KEY, Faults, Service, serving

BOOK, YES = "i want to book a table", "yes please"
DOMAIN = Domain("test", "en-US", (Hints(phrases=(BOOK, YES)),))

every = pytest.mark.parametrize("name", HOSTED)
sockets = pytest.mark.parametrize("name", SOCKETS)
rests = pytest.mark.parametrize("name", RESTS)
Script = Callable[[SpeechToText, Service], Awaitable[None]]


def play(name: str, script: Script, faults: Faults | None = None) -> None:
    async def run() -> None:
        async with serving(faults) as service, asyncio.timeout(20):
            engine = HOSTED[name](service.url)
            try:
                await script(engine, service)
            finally:
                await engine.close()

    asyncio.run(run())


def say(stream: SttStream, text: str) -> None:
    stream.begin()
    for frame in frames(caller(text)):
        stream.push(frame)
    stream.finish()


async def final(stream: SttStream) -> str:
    async for heard in stream:
        if isinstance(heard, Transcript) and heard.final:
            return heard.text
    raise AssertionError("the stream ended")


async def understood(engine: SpeechToText, *texts: str) -> list[str]:
    found = []
    async with engine.stream(AudioFormat(), DOMAIN) as stream:
        stream.expect(DOMAIN.hints[0])
        for text in texts:
            say(stream, text)
            found.append(await final(stream))
    return found


async def failure(engine: SpeechToText) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        await understood(engine, BOOK)
    assert KEY not in str(raised.value)
    return raised.value


@every
@pytest.mark.parametrize("status", [401, 403, 400])
def test_what_will_never_work_fails_at_once(name: str, status: int) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        error = await failure(engine)
        assert not error.retryable and f"HTTP {status}" in str(error)
        assert service.connections == 1

    play(name, script, Faults(times=9, status=status))


@rests
def test_a_redirect_is_refused_and_nobody_else_hears(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        error = await failure(engine)
        assert not error.retryable and "HTTP 307" in str(error)
        assert service.connections == 1

    play(name, script, Faults(times=1, status=307, headers={"Location": "/elsewhere"}))


@every
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_may_pass_by_itself_is_tried_again_and_nothing_is_lost(name: str, status: int) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        assert await understood(engine, BOOK, YES) == [BOOK, YES]

    play(name, script, Faults(times=1, status=status, headers={"Retry-After": "0.05"}))


@every
def test_a_service_that_stays_down_is_an_error_that_may_pass(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        error = await failure(engine)
        assert error.retryable and service.connections in (2, 3)

    play(name, script, Faults(times=9, status=503))


@every
def test_a_service_that_comes_back_hears_the_next_utterance(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        async with engine.stream(AudioFormat(), DOMAIN) as stream:
            say(stream, BOOK)
            with pytest.raises(ProviderError):
                await final(stream)
            service.faults = Faults()
            say(stream, YES)
            assert await final(stream) == YES

    play(name, script, Faults(times=9, status=503))


@rests
@pytest.mark.parametrize("wait", ["60", "Wed, 21 Oct 2037 07:28:00 GMT"])
def test_a_service_that_asks_for_more_patience_than_a_caller_has_is_down(name: str, wait: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        await failure(engine)
        assert service.connections == 1

    play(name, script, Faults(times=9, status=429, headers={"Retry-After": wait}))


@sockets
@pytest.mark.parametrize("after", [0, 3, 8])
def test_a_connection_lost_in_mid_utterance_is_made_again_and_hears_all_of_it(name: str, after: int) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        assert await understood(engine, BOOK, YES) == [BOOK, YES]
        assert service.connections == 2

    play(name, script, Faults(times=1, drop_after=after))


@sockets
def test_a_connection_lost_between_utterances_is_made_again(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        async with engine.stream(AudioFormat(), DOMAIN) as stream:
            say(stream, BOOK)
            assert await final(stream) == BOOK
            service.faults = Faults(times=1, drop_after=0)
            await asyncio.sleep(0.4)
            say(stream, YES)
            assert await final(stream) == YES

    play(name, script)


@sockets
def test_a_close_for_cause_is_final(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        error = await failure(engine)
        assert not error.retryable and "1008" in str(error)

    play(name, script, Faults(times=9, drop_after=1, code=1008))


@every
def test_unreadable_answers_are_an_error_and_not_a_crash(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        if name == "azure":  # its messages have a path; what has none says nothing
            async with engine.stream(AudioFormat(), DOMAIN) as stream:
                say(stream, BOOK)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(final(stream), 0.5)
            return
        assert (await failure(engine)).retryable

    play(name, script, Faults(times=9, garbage=True))


@rests
def test_silence_is_given_up(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        assert "no answer for 0.5 s" in str(await failure(engine))

    play(name, script, Faults(times=9, silent=True))


@sockets
def test_a_service_that_goes_silent_owes_a_final_and_the_call_goes_on(name: str) -> None:
    """Whoever waits for the final gives up by himself: the turn, or the next recogniser in order."""

    async def script(engine: SpeechToText, service: Service) -> None:
        async with engine.stream(AudioFormat(), DOMAIN) as stream:
            say(stream, BOOK)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(final(stream), 0.4)
            stream.cancel()  # as the turn does; what the service still says is skipped
            say(stream, YES)
            assert await final(stream) == YES

    play(name, script, Faults(times=1, silent=True))


@pytest.mark.parametrize("name", ["deepgram", "assemblyai"])
def test_a_silent_line_is_kept_alive(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        async with engine.stream(AudioFormat(), DOMAIN):
            await asyncio.sleep(0.6)
        assert service.keepalives >= 2 and service.connections == 1

    play(name, script)


@every
def test_the_service_is_told_the_key_the_language_and_what_is_expected(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        await understood(engine, BOOK)
        told = json.dumps(service.requests)
        assert KEY in told and '"en' in told and BOOK in told

    play(name, script)


@every
def test_sixteen_calls_at_once_hear_their_own(name: str) -> None:
    async def script(engine: SpeechToText, service: Service) -> None:
        texts = [BOOK, YES] * 8
        assert await asyncio.gather(*[understood(engine, text) for text in texts]) == [[t] for t in texts]

    play(name, script)


@pytest.mark.parametrize(
    "create, config",
    [
        (deepgram.create, deepgram.Config()),
        (assemblyai.create, assemblyai.Config()),
        (azure.create, azure.Config()),
        (google.create, google.Config()),
        (openai.create, openai.Config(realtime=True)),
    ],
)
def test_a_missing_key_is_named_at_the_start(create: Any, config: Any) -> None:
    with pytest.raises(ProviderError, match="api_key"):
        create(config)
