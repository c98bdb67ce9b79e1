"""A service that repeats the whole request in its error: what it says is told, but never our keys."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from dialog.types import Domain
from media.errors import ProviderError
from media.frames import AudioFormat
from media.stt import google
from media.stt.base import SpeechToText
from media.tts import azure
from media.tts.base import TextToSpeech
from tests.callers import caller, frames
from tests.media.stt import hosted as ears
from tests.media.stt.services import KEY as EARS_KEY
from tests.media.tts import hosted as voices
from tests.media.tts.services import KEY as VOICE_KEY

QUERY_KEY = "q+s/e cret"  # as it is, and as addresses write it


def echo(request: web.Request) -> str:
    head = " ".join(f"{name}={value}" for name, value in request.headers.items() if "-key" in name.lower())
    return (
        f"who is {request.query.get('key')}? {head} {request.headers.get('Authorization')} {request.path_qs}"
    )


async def refuse(request: web.Request) -> web.StreamResponse:
    if "Upgrade" not in request.headers:
        return web.Response(status=400, text=echo(request))
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            said: Any = {"type": "Error" if "deepgram" in request.path else "error"}
            said |= {"description": echo(request), "message": echo(request)}
            said["error"] = {"message": echo(request)} if "openai" in request.path else echo(request)
            await socket.send_str(json.dumps(said))
    return socket


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def heard(engine: SpeechToText) -> None:
    async with engine.stream(AudioFormat(), Domain("test", "en-US")) as stream:
        stream.begin()
        for frame in frames(caller("yes please")):
            stream.push(frame)
        stream.finish()
        async for _ in stream:
            pass


async def spoken(engine: TextToSpeech) -> None:
    async with aclosing(engine.synthesize("Hello.")) as speech:
        async for _ in speech:
            pass


def said(make: Callable[[str], Any], use: Callable[[Any], Any]) -> ProviderError:
    """Its error."""

    async def scene() -> ProviderError:
        async with service() as url, asyncio.timeout(20):
            engine = make(url)
            try:
                with pytest.raises(ProviderError) as raised:
                    await use(engine)
            finally:
                await engine.close()
        return raised.value

    return asyncio.run(scene())


def told(error: ProviderError, key: str) -> None:
    """All that may be logged of it, its traceback too."""
    causes, cause = [str(error)], error.__cause__
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__
    assert "who is" in str(error) and "***" in str(error)
    assert not [text for text in causes if key in text]


@pytest.mark.parametrize("name", [name for name in ears.HOSTED if name != "azure"])  # it says no words
def test_recognisers(name: str, caplog: pytest.LogCaptureFixture) -> None:
    told(said(ears.HOSTED[name], heard), EARS_KEY)
    assert EARS_KEY not in str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize("name", voices.HOSTED)
def test_voices(name: str) -> None:
    told(said(voices.HOSTED[name], spoken), VOICE_KEY)


@pytest.mark.parametrize("written", ["q%2Bs%2Fe+cret", "q%2Bs%2Fe%20cret"])
def test_keys_that_are_part_of_an_address(written: str) -> None:
    def recogniser(url: str) -> SpeechToText:
        address = f"http://{url}/v1/speech?key={written}"
        return google.create(google.Config(api_key=EARS_KEY, url=address, rest=ears.REST))

    def voice(url: str) -> TextToSpeech:
        address = f"http://{url}/v1/speech?key={written}"
        return azure.create(azure.Config(api_key=VOICE_KEY, url=address, connection=voices.QUICK))

    for error in (said(recogniser, heard), said(voice, spoken)):
        for key in (QUERY_KEY, written, "q%2Bs/e%20cret"):
            told(error, key)
