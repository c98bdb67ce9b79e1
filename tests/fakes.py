"""Stand-ins for everything outside a call: leg, VAD, ears, voice, dialog, observer.

They are driven by the test: `FakeLeg.beat` is one packet time of a phone line.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from dialog.turn import SpeechStarted, SpeechStopped, Transcript
from dialog.types import Act, DialogInput, Domain, Hints, Say, Transfer, UserTurn
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from media.observe import EventName
from media.stt.base import Outbox
from media.tts.base import Speech, WordMark

SPEECH, SILENCE = b"\x01\x00" * 160, b"\x00\x00" * 160


class FakeLeg:
    """A line at 8 kHz whose clock is the test's."""

    lead_ms = 0
    flows = True

    def __init__(self) -> None:
        self.info = CallInfo("c1", "+49301234", "+49305678", "fake")
        self.format = AudioFormat()
        self.sent: list[AudioFrame] = []
        self.sent_at: list[float] = []
        self.cleared = 0
        self.dtmf = ""
        self.transferred: list[str] = []
        self.transfer_error: Exception | None = None
        self.closed: HangupCause | None = None
        self.pts = 0

    def start(self, sink: LegSink) -> None:
        self.sink = sink

    def send(self, frame: AudioFrame) -> None:
        self.sent.append(frame)
        self.sent_at.append(asyncio.get_running_loop().time())

    def clear(self) -> None:
        self.cleared += 1

    def send_dtmf(self, digits: str) -> None:
        self.dtmf += digits

    async def hangup(self, cause: HangupCause) -> None:
        self.close(cause)

    async def transfer(self, order: Transfer) -> None:
        self.transferred.append(order.target)
        if self.transfer_error is not None:
            raise self.transfer_error
        self.close(HangupCause.NORMAL)

    def close(self, cause: HangupCause) -> None:
        if self.closed is None:
            self.closed = cause
            self.sink.on_closed(cause)

    async def beat(self, pcm: bytes = SILENCE, ms: int = 20) -> None:
        """`ms` of the caller's audio, one frame and one tick each packet time, as on a real line."""
        for _ in range(ms // 20):
            if self.closed is not None:
                return
            self.sink.on_audio(AudioFrame(pcm, 8000, self.pts))
            self.pts += 160
            await asyncio.sleep(0.005)
            self.sink.on_tick()
            await asyncio.sleep(0.015)


class FakeVad:
    """Speech is any frame whose first byte is not zero."""

    speaking = False

    def process(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        speech = frame.pcm[0] != 0
        if speech == self.speaking:
            return None
        self.speaking = speech
        return SpeechStarted() if speech else SpeechStopped()


class FakeEars:
    """Hears what the test puts into `next_text`, as soon as it is asked."""

    def __init__(self) -> None:
        self.results: Outbox[Transcript] = Outbox()
        self.calls: list[str] = []
        self.hints: list[Hints] = []
        self.frames = 0
        self.next_text: str | None = ""

    def push(self, frame: AudioFrame) -> None:
        self.frames += 1

    def begin(self) -> None:
        self.calls.append("begin")

    def finish(self) -> None:
        self.calls.append("finish")
        if self.next_text is not None:
            self.results.put_nowait(Transcript(self.next_text, final=True, confidence=0.9))

    def cancel(self) -> None:
        self.calls.append("cancel")

    def expect(self, hints: Hints) -> None:
        self.hints.append(hints)

    def __aiter__(self) -> AsyncIterator[Transcript]:
        return self.results


class FakeVoice:
    """Speaks 100 ms a word at 8 kHz; each word takes 10 ms to synthesise."""

    rate = 8000

    def __init__(self) -> None:
        self.closed = 0
        self.error: Exception | None = None

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        try:
            position = 0
            for n, word in enumerate(text.split()):
                await asyncio.sleep(0.01)
                yield Speech(b"\x10\x00" * 800, (WordMark(text.index(word, position), n * 800),))
                position = text.index(word, position) + len(word)
                if self.error is not None:
                    raise self.error
        finally:
            self.closed += 1

    async def close(self) -> None:
        """Nothing to free."""


class FakeDialog:
    """Answers by a function from turn to acts; keeps a log of what it was told."""

    def __init__(self, answer: Callable[[DialogInput], list[Act]], greeting: list[Act] | None = None) -> None:
        self.answer = answer
        self.greeting = [Say("hello")] if greeting is None else greeting
        self.domain = Domain("fake")
        self.log: list[tuple[Any, ...]] = []
        self.thinking = 0.0  # seconds before the first act
        self.closed = 0

    async def greet(self) -> AsyncGenerator[Act, None]:
        for act in self.greeting:
            yield act

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        self.log.append(("user", turn.text) if isinstance(turn, UserTurn) else (turn,))
        self.last = turn
        try:
            await asyncio.sleep(self.thinking)
            for act in self.answer(turn):
                yield act
        finally:
            self.closed += 1

    def heard(self, text: str, complete: bool) -> None:
        self.log.append(("bot", text, complete))


class FakeObserver:
    """Keeps every event."""

    def __init__(self) -> None:
        self.epoch = asyncio.get_running_loop().time()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, name: EventName, /, **fields: object) -> None:
        self.events.append((name, dict(fields)))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]


class FakeTap:
    """Keeps the recorded audio and its times."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, float]] = []
        self.spoken: list[tuple[bytes, float]] = []

    def received(self, pcm: bytes, at_ms: float) -> None:
        self.heard.append((pcm, at_ms))

    def played(self, pcm: bytes, at_ms: float) -> None:
        self.spoken.append((pcm, at_ms))
