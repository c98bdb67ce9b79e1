"""Callers on media sockets, for measuring any server that speaks Twilio Media Streams: N in one process.

Independent of the server's code on purpose. A caller speaks in real time (sentences and line noise, 20 ms
of mu-law a message), and keeps a model of the carrier's buffer, so that it knows what is HEARD: when a sound
comes out of the loudspeaker, where it tears, what a `clear` leaves of it. Marks return when the loudspeaker
is there.

`Delay` puts a network in between: every message of either direction is late by so much, a little more or
less, and never overtakes another (it is TCP).
"""

import asyncio
import base64
import contextlib
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

FRAME, FRAME_S = 160, 0.02  # samples, bytes
QUIET = frozenset(i for i in range(256) if (~i & 0x7F) < 0x24)  # mu-law below -42 dBFS
NOISE = (0xFF, 0xFE, 0x7E, 0x7F, 0xFD, 0x7D)
now = time.perf_counter


def sentences(pattern: str = "u*.ulaw") -> list[list[str]]:
    """What callers say: files of bench/speech, as payloads of 20 ms."""
    paths = sorted((Path(__file__).parent / "speech").glob(pattern))
    return [_payloads(path.read_bytes()) for path in paths]


def _payloads(sound: bytes) -> list[str]:
    pieces = (sound[at : at + FRAME].ljust(FRAME, b"\xff") for at in range(0, len(sound), FRAME))
    return [base64.b64encode(piece).decode() for piece in pieces]


def first_audible(sound: bytes) -> int | None:
    """Index of the first sample that can be heard; None if hardly any can."""
    loud = [at for at, value in enumerate(sound) if value not in QUIET]
    return loud[0] if len(loud) * 10 > len(sound) else None


class Loudspeaker:
    """The carrier's buffer, and the ear behind it. Times in seconds."""

    def __init__(self) -> None:
        self.end = 0.0  # when it runs dry
        self.marks: deque[tuple[float, str]] = deque()
        self.played_s = 0.0  # audible sound heard since `listen`
        self.gaps: list[float] = []
        self.ahead = 0.0  # most that lay in the buffer
        self._pieces: deque[tuple[float, float]] = deque()  # audible: from, until
        self._inside = False  # an answer is being played

    def listen(self, at: float) -> None:
        """Count from here."""
        self.heard(at)
        self.played_s, self._inside = 0.0, False

    def put(self, sound: bytes, at: float) -> float | None:
        """Sound arrives; when its first audible sample is heard, or None."""
        audible = first_audible(sound)
        if audible is not None and self._inside and at - self.end > 0.010:
            self.gaps.append(at - self.end)
        start = max(at, self.end)
        self.end = start + len(sound) / 8000
        self.ahead = max(self.ahead, self.end - at)
        if audible is None:
            return None
        self._inside = True
        self._pieces.append((start + audible / 8000, self.end))
        return start + audible / 8000

    def heard(self, at: float) -> float:
        """Audible sound so far, in seconds."""
        while self._pieces and self._pieces[0][1] <= at:
            begin, end = self._pieces.popleft()
            self.played_s += end - begin
        return self.played_s + sum(max(0.0, at - begin) for begin, _ in self._pieces)

    def clear(self, at: float) -> float:
        """Forget what has not been played; how much was heard until then."""
        heard = self.heard(at)
        self._pieces.clear()
        self.end, self._inside = min(self.end, at), False
        return heard

    def due(self, at: float) -> Iterator[str]:
        """Marks that playing has reached."""
        while self.marks and self.marks[0][0] <= at:
            yield self.marks.popleft()[1]


@dataclass(frozen=True, slots=True)
class Delay:
    """A network: one way, in seconds."""

    base: float = 0.0
    jitter: float = 0.0  # up to so much more or less


class Pipe:
    """Delivers in order, each message late by the network's delay."""

    def __init__(self, delay: Delay, deliver: Callable[[str], None]) -> None:
        self._delay, self._deliver = delay, deliver
        self._last = 0.0
        self._loop = asyncio.get_running_loop()

    def send(self, message: str) -> None:
        """Put a message in."""
        if not self._delay.base and not self._delay.jitter:
            self._deliver(message)
            return
        late = self._delay.base + random.uniform(-self._delay.jitter, self._delay.jitter)
        self._last = max(self._last, self._loop.time() + max(0.0, late))
        self._loop.call_at(self._last, self._deliver, message)


@dataclass(slots=True)
class Measured:
    """What one caller has seen, in milliseconds."""

    answers: list[float] = field(default_factory=list)  # own last sound to the bot's first
    clears: list[float] = field(default_factory=list)  # own first sound over the bot to the `clear`
    stale: list[float] = field(default_factory=list)  # bot's sound after the clear, while we speak
    heard: list[float] = field(default_factory=list)  # of answers that were heard to their end
    cut: list[float] = field(default_factory=list)  # heard of an answer that was interrupted
    gaps: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # how late our own frames left
    ahead: float = 0.0
    unanswered: int = 0
    uncleared: int = 0
    frames: int = 0
    error: str = ""


class Caller:
    """One call: for each letter of the plan a question, and for B an interruption."""

    def __init__(self, number: int, plan: str, said: list[list[str]], delay: Delay) -> None:
        self.number, self.plan, self.seen = number, plan, Measured()
        self.call_sid = f"CA{random.getrandbits(96):024x}"
        self._said, self._delay = said, delay
        self._stream = f"MZ{random.getrandbits(96):024x}"
        self._queue: deque[str] = deque()  # what is being said
        self._ear = Loudspeaker()
        noise = random.Random(7)
        self._noise = _payloads(bytes(noise.choice(NOISE) for _ in range(8000)))
        self._first_loud = self._cleared = self._onset = self._spoke = 0.0
        self._cut_heard = self._stale = 0.0
        self._closed = False
        self._next = 0.0

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        """Call, talk, hang up."""
        try:
            async with session.ws_connect(url, compress=0, max_msg_size=0) as socket:
                await self._talk(socket)
        except (aiohttp.ClientError, OSError) as error:
            self.seen.error = f"{type(error).__name__}: {error}"
        self.seen.gaps = [gap * 1000 for gap in self._ear.gaps]
        self.seen.ahead = self._ear.ahead * 1000

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        out: asyncio.Queue[str] = asyncio.Queue()
        self._out = Pipe(self._delay, out.put_nowait)
        self._in = Pipe(self._delay, self._received)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send(socket, out)), group.create_task(self._read(socket))]
            form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
            start = {
                "streamSid": self._stream,
                "callSid": self.call_sid,
                "mediaFormat": form,
                "tracks": ["inbound"],
            }
            self._out.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
            self._out.send(json.dumps({"event": "start", "streamSid": self._stream, "start": start}))
            self._next = now()
            await self._wait(1.5)
            await self._until(self._quiet, 30)  # the bot greets
            for n, kind in enumerate(self.plan):
                await self._turn(n, kind)
            if self._closed:
                self.seen.error = "the server hung up"
            self._out.send(json.dumps({"event": "stop", "streamSid": self._stream}))
            await self._wait(0.3 + 2 * self._delay.base)
            for task in tasks:
                task.cancel()

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, out: "asyncio.Queue[str]") -> None:
        with contextlib.suppress(
            aiohttp.ClientConnectionResetError
        ):  # the server has hung up: `_read` says so
            while True:
                await socket.send_str(await out.get())

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self._in.send(message.data)
        self._closed = True

    # The carrier's side

    def _received(self, message: str) -> None:
        at, body = now(), json.loads(message)
        match body["event"]:
            case "media":
                heard = self._ear.put(base64.b64decode(body["media"]["payload"]), at)
                if heard is not None:
                    self._first_loud = self._first_loud or heard
                    if self._cleared and self._queue:
                        self._stale += len(body["media"]["payload"]) * 3 / 4 / 8
            case "clear":
                self._cut_heard = self._ear.clear(at)
                self._cleared = self._cleared or at
                for _, name in self._ear.marks:
                    self._echo(name)
                self._ear.marks.clear()
            case "mark":
                self._ear.marks.append((self._ear.end, body["mark"]["name"]))

    def _echo(self, name: str) -> None:
        self._out.send(json.dumps({"event": "mark", "streamSid": self._stream, "mark": {"name": name}}))

    # The caller's side

    async def _turn(self, number: int, kind: str) -> None:
        said = self._said
        self._ear.listen(now())
        if not await self._ask(said[(number + self.number) % len(said)]):
            return
        if kind == "B":
            await self._until(lambda: now() - self._first_loud >= 1.5, 10)
            self._ear.heard(now())
            self._cleared = self._stale = 0.0
            if not await self._ask(said[(number + 3) % len(said)], over=True):
                return
        await self._until(self._quiet, 30)
        if kind == "A":
            self.seen.heard.append(self._ear.heard(now()) * 1000)

    async def _ask(self, sentence: list[str], *, over: bool = False) -> bool:
        """Say something and wait for the answer's first sound."""
        self._queue, self._onset = deque(sentence), 0.0
        self._first_loud = 0.0
        await self._until(lambda: not self._queue, 30)
        spoke = self._spoke
        if over:
            if self._cleared:
                self.seen.clears.append((self._cleared - self._onset) * 1000)
                self.seen.stale.append(self._stale)
                self.seen.cut.append(self._cut_heard * 1000)
                self._ear.listen(now())
            else:
                self.seen.uncleared += 1
        if self._first_loud < spoke:  # the bot was faster than the end of our own sentence
            self._first_loud = 0.0
        answered = await self._until(lambda: self._first_loud > 0, 10)
        if answered:
            self.seen.answers.append((self._first_loud - spoke) * 1000)
        else:
            self.seen.unanswered += 1
        return answered

    def _quiet(self) -> bool:
        return now() - self._ear.end > 0.6

    async def _until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        end = now() + limit_s
        while not condition():
            if now() > end or self._closed:
                return False
            await self._tick()
        return True

    async def _wait(self, seconds: float) -> None:
        await self._until(lambda: False, seconds)

    async def _tick(self) -> None:
        """The next packet time."""
        self._next += FRAME_S
        left = self._next - now()
        if left > 0:
            await asyncio.sleep(left)
        elif left < -0.5:
            self._next = now()
        self.seen.late.append(max(0.0, now() - self._next) * 1000)
        speaks = bool(self._queue)
        sound = self._queue.popleft() if speaks else self._noise[self.seen.frames % len(self._noise)]
        self.seen.frames += 1
        n = self.seen.frames
        self._out.send(
            f'{{"event":"media","sequenceNumber":"{n + 1}","media":{{"track":"inbound","chunk":"{n}",'
            f'"timestamp":"{n * 20}","payload":"{sound}"}},"streamSid":"{self._stream}"}}'
        )
        if speaks:
            self._spoke = now()
            self._onset = self._onset or self._spoke
        for name in self._ear.due(now()):
            self._echo(name)
