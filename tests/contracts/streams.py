"""A media leg between a far end that a test plays and a sink that remembers: no socket, a virtual clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from media.frames import AudioFrame
from media.leg import CallInfo, HangupCause
from media.metronome import Metronome
from media.tasks import task_scope
from sip.mediacore import Message
from sip.medialine import Line, NoControl, StreamConfig
from sip.mediastream import MediaStreamLeg
from tests.contracts.farend import CarrierCase, Said


class Sink:
    """What the call heard. Speaks `tone` for as many ticks as `speaks` says."""

    def __init__(self, leg: MediaStreamLeg) -> None:
        self.leg = leg
        self.frames: list[AudioFrame] = []
        self.keys = ""
        self.played: list[int] = []
        self.causes: list[HangupCause] = []
        self.closed = asyncio.Event()
        self.speaks = 0
        self.pts = 0

    def on_audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def on_tick(self) -> None:
        if self.speaks:
            self.speaks -= 1
            self.say()

    def say(self) -> None:
        form = self.leg.format
        self.leg.send(AudioFrame(b"\x00\x10" * form.samples, form.rate, self.pts))
        self.pts += form.samples

    def on_dtmf(self, digit: str) -> None:
        self.keys += digit

    def on_played(self, pts: int) -> None:
        self.played.append(pts)

    def on_closed(self, cause: HangupCause) -> None:
        self.causes.append(cause)
        self.closed.set()


class Wire:
    """The far end's side of the socket. `stuck`: it reads no more."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, Message]] = []
        self.stuck = False

    @property
    def backlog(self) -> int:
        return 1_000_000 if self.stuck else 0

    def send(self, message: Message) -> None:
        self.sent.append((asyncio.get_running_loop().time(), message))


class Stream:
    """One call over one carrier's stream."""

    def __init__(self, case: CarrierCase, line: Line, wire: Wire) -> None:
        self.case, self.wire = case, wire
        self.leg = MediaStreamLeg(line)
        self.sink = Sink(self.leg)
        self.chunk = 0

    def open(self) -> None:
        """Up to the moment at which the call talks."""
        for message in self.case.start():
            self.leg.receive(message)
        self.leg.adopt(CallInfo("c1", "+491", "+492", self.case.name, "call-1"), NoControl(self.case.name))
        self.leg.start(self.sink)

    def media(self, sound: bytes | None = None) -> None:
        """The next message with sound."""
        self.chunk += 1
        self.leg.receive(self.case.media(self.case.frame if sound is None else sound, self.chunk))

    async def line(self, ms: int) -> None:
        """So much sound, in real time."""
        for _ in range(ms // 20):
            self.media()
            await asyncio.sleep(0.02)

    def said(self) -> list[Said]:
        """What we have sent, as the carrier understands it."""
        return [self.case.understand(message) for _, message in self.wire.sent]

    def audio(self) -> list[bytes]:
        return [said.audio for said in self.said() if said.audio is not None]

    def marks(self) -> list[str]:
        return [said.mark for said in self.said() if said.mark is not None]


@asynccontextmanager
async def stream(case: CarrierCase, config: StreamConfig | None = None) -> AsyncIterator[Stream]:
    """A stream that is not open yet. Nothing of it outlives the block."""
    wire = Wire()
    async with task_scope() as start:
        line = Line(case.core(), wire, case.capabilities, Metronome(), start, config or StreamConfig())
        made = Stream(case, line, wire)
        yield made
        made.leg.disconnected()
