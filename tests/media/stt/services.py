"""Recognisers as they are on the net: local servers that speak their protocols and fail in their ways.

What they understand is found by the loudness of what they are sent, over time: they know a few utterances.
"""

import asyncio
import base64
import io
import json
import struct
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from tests.callers import caller

KNOWN = ("i want to book a table", "yes please", "no thank you", "what are your opening hours")
KEY = "k-1"


def envelope(pcm: bytes, rate: int) -> np.ndarray:
    """Loudness by 20 ms, without the silence around."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(float)
    size = rate // 50
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    loud = np.sqrt((frames**2).mean(axis=1)) if len(frames) else np.zeros(0)
    heard = np.flatnonzero(loud > 300)
    return loud[heard[0] : heard[-1] + 1] if len(heard) else np.zeros(0)


@cache
def _known() -> Mapping[str, np.ndarray]:
    return {text: envelope(caller(text), 8000) for text in KNOWN}


def understand(pcm: bytes, rate: int) -> str:
    """Which of the known utterances this is; "" for silence."""
    heard = envelope(pcm, rate)
    if len(heard) < 5:
        return ""

    def likeness(text: str) -> float:
        other = _known()[text]
        size = min(len(heard), len(other))
        best = max(
            float(np.corrcoef(heard[-size:], other[len(other) - size - late : len(other) - late])[0, 1])
            for late in range(min(4, len(other) - size + 1))
        )
        return best - abs(len(heard) - len(other)) / len(other)

    return max(KNOWN, key=likeness)


@dataclass
class Faults:
    """What goes wrong, for so many connections or requests from the first on."""

    times: int = 0
    status: int = 0  # of the handshake, or of the answer
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None  # close after so many messages of audio
    code: int = 1011  # of the close
    silent: bool = False  # take everything, say nothing
    garbage: bool = False


@dataclass
class Service:
    """All services on one port."""

    faults: Faults = field(default_factory=Faults)
    url: str = ""
    connections: int = 0
    requests: list[Any] = field(default_factory=list)  # queries, headers, settings: what tests look at
    live: int = 0
    keepalives: int = 0

    def broken(self) -> bool:
        """Whether this connection is one of those that fail."""
        self.connections += 1
        return self.connections <= self.faults.times

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket services, by path."""
        broken = self.broken()
        if broken and self.faults.status:
            return web.Response(status=self.faults.status, headers=self.faults.headers)
        self.requests.append({"query": dict(request.query), "headers": dict(request.headers)})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.live += 1
        try:
            talk = TALKS[request.path.rsplit("/", 1)[-1]](self, socket, request)
            heard = 0
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                heard += 1
                if broken and self.faults.garbage:
                    nobody = '{"type": "Results", "channel": {"alternatives": []}}'
                    await socket.send_str(nobody if heard == 1 else "nonsense {")
                elif broken and self.faults.drop_after is not None and heard > self.faults.drop_after:
                    await socket.close(code=self.faults.code)
                elif not (broken and self.faults.silent):
                    await talk.take(message.data)
        finally:
            self.live -= 1
        return socket

    async def rest(self, request: web.Request) -> web.Response:
        """The services behind plain HTTP."""
        broken, faults = self.broken(), self.faults
        if broken and faults.status:
            return web.Response(status=faults.status, headers=faults.headers, text='{"error": "no"}')
        if broken and faults.silent:
            await asyncio.sleep(30)
        if broken and faults.garbage:
            return web.Response(text="[1]" if "google" in request.path else '{"text": ')
        if request.path.endswith("speech:recognize"):
            body = await request.json()
            self.requests.append({"headers": dict(request.headers), "body": body["config"]})
            audio = base64.b64decode(body["audio"]["content"])
            text = understand(audio, body["config"]["sampleRateHertz"])
            option = {"transcript": text, "confidence": 0.9}
            return web.json_response({"results": [{"alternatives": [option]}]} if text else {})
        form = await request.post()
        body = {name: form[name] for name in form if name != "file"}
        self.requests.append({"headers": dict(request.headers), "body": body})
        file = form["file"]
        assert isinstance(file, web.FileField)
        with wave.open(io.BytesIO(file.file.read())) as sound:
            text = understand(sound.readframes(sound.getnframes()), sound.getframerate())
        return web.json_response({"text": text})


class Talk:
    """One connection of a service."""

    def __init__(self, service: Service, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.service, self.socket = service, socket
        self.rate = int(request.query.get("sample_rate", 8000))
        self.pcm = bytearray()
        self.chunks = 0

    async def take(self, data: str | bytes) -> None:
        raise NotImplementedError

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    def done(self) -> str:
        """What was understood since the last time."""
        text = understand(bytes(self.pcm), self.rate)
        self.pcm.clear()
        return text


class Deepgram(Talk):
    async def take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.pcm += data
            self.chunks += 1
            if self.chunks % 3 == 0:
                await self.result(understand(bytes(self.pcm), self.rate), final=False)
        elif json.loads(data)["type"] == "KeepAlive":
            self.service.keepalives += 1
        elif json.loads(data)["type"] == "Finalize":
            first, _, rest = self.done().partition(" ")
            await self.result(first, final=True)  # two segments: one before, one that answers
            await self.result(rest, final=True, from_finalize=True)
        await self.say(type="Metadata")

    async def result(self, text: str, *, final: bool, **more: Any) -> None:
        channel = {"alternatives": [{"transcript": text, "confidence": 0.9}]}
        await self.say(type="Results", is_final=final, speech_final=False, channel=channel, **more)


class AssemblyAi(Talk):
    async def take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            assert 2 * self.rate * 0.05 <= len(data) <= 2 * self.rate, "50 ms to 1 s"
            self.pcm += data
            self.service.keepalives += not any(data)
            self.chunks += 1
            if self.chunks % 3 == 0 and (text := understand(bytes(self.pcm), self.rate)):
                await self.turn(text, end=False)
        elif json.loads(data)["type"] == "ForceEndpoint":
            await self.turn(self.done(), end=True)

    async def turn(self, text: str, *, end: bool) -> None:
        words = [{"text": word, "confidence": 0.9} for word in text.split()]
        await self.say(type="Turn", transcript=text, end_of_turn=end, turn_is_formatted=False, words=words)


class Azure(Talk):
    async def take(self, data: str | bytes) -> None:
        if isinstance(data, str):
            head, _, body = data.partition("\r\n\r\n")
            if "Path: speech.context" in head:
                self.service.requests.append(json.loads(body))
            return
        (size,) = struct.unpack_from(">H", data)
        head, audio = data[2 : 2 + size].decode(), data[2 + size :]
        assert "Path: audio\r\n" in head and "X-RequestId: " in head
        if audio[:4] == b"RIFF":
            (self.rate,) = struct.unpack_from("<I", audio, 24)
            self.turn = head.partition("X-RequestId: ")[2].partition("\r")[0]
            await self.path("turn.start", {})
        elif audio:
            self.pcm += audio
            self.chunks += 1
            if self.chunks % 3 == 0 and (text := understand(bytes(self.pcm), self.rate)):
                await self.path("speech.hypothesis", {"Text": text, "Offset": 0, "Duration": 1})
        else:
            text = self.done()
            option = {"Confidence": 0.9, "Display": text}
            status = "Success" if text else "NoMatch"
            await self.path("speech.phrase", {"RecognitionStatus": status, "NBest": [option] if text else []})
            await self.path("turn.end", {})

    async def path(self, path: str, body: dict[str, Any]) -> None:
        head = f"X-RequestId:{self.turn}\r\nContent-Type:application/json\r\nPath:{path}"
        await self.socket.send_str(f"{head}\r\n\r\n{json.dumps(body)}")


class OpenAi(Talk):
    rate = 24000
    items = 0

    def __init__(self, service: Service, socket: web.WebSocketResponse, request: web.Request) -> None:
        super().__init__(service, socket, request)
        self.rate = 24000

    async def take(self, data: str | bytes) -> None:
        found = json.loads(data)
        match found["type"]:
            case "session.update":
                assert found["session"]["audio"]["input"]["turn_detection"] is None
                self.service.requests.append(found["session"])
            case "input_audio_buffer.append":
                self.pcm += base64.b64decode(found["audio"])
            case "input_audio_buffer.commit":
                if len(self.pcm) < 2 * self.rate // 10:
                    error = {"code": "input_audio_buffer_commit_empty", "message": "buffer too small"}
                    await self.say(type="error", error=error)
                    return
                self.items += 1
                text, item = self.done(), f"item_{self.items}"
                kind = "conversation.item.input_audio_transcription"
                for word in text.split():
                    await self.say(type=f"{kind}.delta", item_id=item, delta=f"{word} ")
                await self.say(type=f"{kind}.completed", item_id=item, transcript=text)


TALKS: dict[str, type[Talk]] = {
    "deepgram": Deepgram,
    "assemblyai": AssemblyAi,
    "v1": Azure,
    "realtime": OpenAi,
}


@asynccontextmanager
async def serving(faults: Faults | None = None) -> AsyncIterator[Service]:
    """All services on a free port of the loopback interface."""
    service = Service(faults or Faults())
    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/deepgram", service.socket)
    app.router.add_get("/assemblyai", service.socket)
    app.router.add_get("/speech/recognition/conversation/cognitiveservices/v1", service.socket)
    app.router.add_get("/openai/realtime", service.socket)
    app.router.add_post("/openai/audio/transcriptions", service.rest)
    app.router.add_post("/google/speech:recognize", service.rest)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
