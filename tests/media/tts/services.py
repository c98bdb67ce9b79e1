"""Voices as they are on the net: local servers that speak their protocols and fail in their ways.

What they say is a tone of 60 ms for every character, silence for spaces: length and word times are known.
"""

import asyncio
import base64
import io
import json
import re
import threading
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from media.codecs.g711 import PCMU

KEY = "k-secret-1"
CHAR_MS = 60


def tone(text: str, rate: int) -> bytes:
    """What the services say for `text`."""
    size = rate * CHAR_MS // 1000
    loud = np.repeat([0.0 if char.isspace() else 6000.0 for char in text], size)
    wave_ = loud * np.sin(2 * np.pi * 400 * np.arange(len(loud)) / rate)
    return wave_.astype("<i2").tobytes()


@dataclass
class Faults:
    """What goes wrong, for so many requests from the first on."""

    times: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # end the connection after so many pieces of audio
    code: int = 1011  # of a WebSocket's close
    hang_after: int | None = None  # say nothing more after so many pieces
    garbage: bool = False
    odd: bool = False  # cut samples in half, all the time
    wav: bool = False
    error: str = ""  # the service's own message of an error


@dataclass
class Service:
    """All services on one port."""

    faults: Faults = field(default_factory=Faults)
    url: str = ""
    asked: int = 0  # sentences
    connections: int = 0  # WebSockets
    requests: list[dict[str, Any]] = field(default_factory=list)  # what tests look at
    cancelled: int = 0  # sentences that were stopped before their end
    live: int = 0
    peers: set[Any] = field(default_factory=set)  # TCP connections of REST requests
    slow_s: float = 0.0  # before each piece

    def broken(self) -> bool:
        self.asked += 1
        return self.asked <= self.faults.times

    def pieces(self, text: str, rate: int) -> list[bytes]:
        pcm, size = tone(text, rate), rate // 5 * 2 + (1 if self.faults.odd else 0)
        return [pcm[at : at + size] for at in range(0, len(pcm), size)]

    # Plain HTTP

    async def rest(self, request: web.Request) -> web.StreamResponse:
        broken, faults = self.broken(), self.faults
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        text, rate = await self._wanted(request)
        if broken and faults.status:
            body = json.dumps({"error": f"no, not with {KEY}"})
            return web.Response(status=faults.status, headers=faults.headers, text=body)
        if broken and faults.garbage:
            return web.Response(text="<html>hello</html>", content_type="text/html")
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        if faults.wav:
            await response.write(_wav_header(rate)[:20])
            await response.write(_wav_header(rate)[20:])
        self.live += 1
        try:
            for sent, piece in enumerate(self.pieces(text, rate)):
                if broken and sent == faults.hang_after:
                    await asyncio.sleep(30)
                if broken and sent == faults.cut_after:
                    request.transport.abort()
                    return response
                await asyncio.sleep(self.slow_s)
                await response.write(piece)
        except ConnectionError:
            self.cancelled += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.live -= 1
        return response

    async def _wanted(self, request: web.Request) -> tuple[str, int]:
        head = {"path": request.path, "query": dict(request.query), "headers": dict(request.headers)}
        if request.path.endswith("/cognitiveservices/v1"):
            body = (await request.read()).decode()
            self.requests.append({**head, "body": body})
            spoken = re.search(r"<voice [^>]*>(.*)</voice>", body, re.DOTALL)
            assert spoken and request.headers["Content-Type"] == "application/ssml+xml"
            text = re.sub(r"<[^>]+>", "", spoken[1]).replace("&amp;", "&").replace("&lt;", "<")
            khz = re.fullmatch(r"raw-(\d+)khz-16bit-mono-pcm", request.headers["X-Microsoft-OutputFormat"])
            assert khz
            return text, int(khz[1]) * 1000
        body = await request.json()
        self.requests.append({**head, "body": body})
        if request.path == "/deepgram":
            assert request.query["encoding"] == "linear16" and request.query["container"] == "none"
            return body["text"], int(request.query["sample_rate"])
        assert body["response_format"] == "pcm"
        return body["input"], 24000

    # WebSockets

    async def socket(self, request: web.Request) -> web.StreamResponse:
        if self.faults.status and self.asked < self.faults.times:
            self.asked += 1
            return web.Response(status=self.faults.status, headers=self.faults.headers)
        self.connections += 1
        self.requests.append({"query": dict(request.query), "headers": dict(request.headers)})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        talk = (ElevenLabs if "multi-stream-input" in request.path else Cartesia)(self, socket, request)
        speaking: dict[str, asyncio.Task[None]] = {}
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            found = json.loads(message.data)
            self.requests.append(found)
            if talk.stops(found) and found["context_id"] in speaking:
                self.cancelled += not speaking[found["context_id"]].done()
                speaking[found["context_id"]].cancel()
            elif (text := talk.wanted(found)) is not None:
                speaking[found["context_id"]] = asyncio.ensure_future(talk.speak(text, found["context_id"]))
        for task in speaking.values():
            self.cancelled += not task.done()
            task.cancel()
        return socket


class Talk:
    """One connection."""

    rate = 8000

    def __init__(self, service: Service, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.service, self.ws = service, socket

    async def speak(self, text: str, context: str) -> None:
        service, faults, broken = self.service, self.service.faults, self.service.broken()
        if broken and faults.error:
            await self.error(faults.error, context)
        if broken and faults.garbage:
            await self.ws.send_str("nonsense {")
        at = 0
        for sent, piece in enumerate(service.pieces(text, self.rate)):
            if broken and sent == faults.hang_after:
                await asyncio.sleep(30)
            if broken and sent == faults.cut_after:
                await self.ws.close(code=faults.code)
                return
            await asyncio.sleep(service.slow_s)
            await self.audio(piece, context, text, at)
            at += len(piece)
        await self.done(context)

    def stops(self, found: dict[str, Any]) -> bool:
        raise NotImplementedError

    def wanted(self, found: dict[str, Any]) -> str | None:
        raise NotImplementedError

    async def audio(self, pcm: bytes, context: str, text: str, at: int) -> None:
        raise NotImplementedError

    async def done(self, context: str) -> None:
        raise NotImplementedError

    async def error(self, text: str, context: str) -> None:
        raise NotImplementedError

    def begun(self, text: str, at: int, size: int) -> list[tuple[int, float]]:
        """Characters that begin in a stretch of bytes, with their time in ms."""
        starts = [(index, index * CHAR_MS) for index in range(len(text))]
        low, high = at / 2 / self.rate * 1000, (at + size) / 2 / self.rate * 1000
        return [(index, ms) for index, ms in starts if low <= ms < high]


class ElevenLabs(Talk):
    def __init__(self, service: Service, socket: web.WebSocketResponse, request: web.Request) -> None:
        super().__init__(service, socket, request)
        form, _, rate = request.query["output_format"].partition("_")
        self.rate, self.ulaw = int(rate), form == "ulaw"
        self.texts: dict[str, str] = {}

    def stops(self, found: dict[str, Any]) -> bool:
        return False

    def wanted(self, found: dict[str, Any]) -> str | None:
        context = found["context_id"]
        if found.get("close_context"):
            return self.texts.pop(context).strip()
        self.texts[context] = self.texts.get(context, "") + found["text"]
        return None

    async def audio(self, pcm: bytes, context: str, text: str, at: int) -> None:
        chars = self.begun(text, at, len(pcm))
        start_ms = at / 2 / self.rate * 1000  # times are relative to the chunk
        alignment = {
            "chars": [text[index] for index, _ in chars],
            "charStartTimesMs": [round(ms - start_ms) for _, ms in chars],
            "charDurationsMs": [CHAR_MS for _ in chars],
        }
        audio = base64.b64encode(PCMU.encoder()(pcm) if self.ulaw else pcm).decode()
        await self.ws.send_json({"audio": audio, "alignment": alignment, "contextId": context})

    async def done(self, context: str) -> None:
        await self.ws.send_json({"isFinal": True, "contextId": context})

    async def error(self, text: str, context: str) -> None:
        await self.ws.send_json({"error": text, "message": f"no, not with {KEY}", "code": 1008})


class Cartesia(Talk):
    def stops(self, found: dict[str, Any]) -> bool:
        return bool(found.get("cancel"))

    def wanted(self, found: dict[str, Any]) -> str | None:
        if "transcript" not in found:
            return None
        assert found["output_format"]["encoding"] == "pcm_s16le"
        self.rate = found["output_format"]["sample_rate"]
        return str(found["transcript"])

    async def audio(self, pcm: bytes, context: str, text: str, at: int) -> None:
        data = base64.b64encode(pcm).decode()
        await self.say(context, type="chunk", data=data, done=False, status_code=206, step_time=1)
        words = [(m.group(), m.start() * CHAR_MS / 1000) for m in re.finditer(r"\S+", text)]
        low, high = at / 2 / self.rate, (at + len(pcm)) / 2 / self.rate
        found = [(word, start) for word, start in words if low <= start < high]
        if found:
            times = {
                "words": [w for w, _ in found],
                "start": [s for _, s in found],
                "end": [s for _, s in found],
            }
            await self.say(context, type="timestamps", word_timestamps=times, done=False, status_code=206)

    async def done(self, context: str) -> None:
        await self.say(context, type="done", done=True, status_code=206)

    async def error(self, text: str, context: str) -> None:
        message = f"no, not with {KEY}"
        await self.say(context, type="error", done=True, title=text, message=message, status_code=int(text))

    async def say(self, context: str, **message: Any) -> None:
        await self.ws.send_json({**message, "context_id": context})


def _wav_header(rate: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"")
    return buffer.getvalue()


@asynccontextmanager
async def serving(faults: Faults | None = None) -> AsyncIterator[Service]:
    """All services on a free port of the loopback interface."""
    service = Service(faults or Faults())
    app = web.Application()
    app.router.add_post("/openai/audio/speech", service.rest)
    app.router.add_post("/cognitiveservices/v1", service.rest)
    app.router.add_post("/deepgram", service.rest)
    app.router.add_get("/v1/text-to-speech/rachel/multi-stream-input", service.socket)
    app.router.add_get("/cartesia", service.socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


@contextmanager
def serving_aside() -> Iterator[Service]:
    """The same on a loop of their own, so that tests see only the tasks of what they test."""
    ready, over = threading.Event(), asyncio.Event()
    found: list[Service] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with serving() as service:
            found.append(service)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
