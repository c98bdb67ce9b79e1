"""Engines, legs and callers that cost nothing. The two engine modules are found by dotted names, as an
engine of somebody else would be: ``stt: {engine: tests.voicegw.deaf}``."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dialog.turn import SpeechStarted, SpeechStopped
from dialog.types import Act, DialogInput, Domain, Hangup, Say
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from media.tts.base import Speech
from voicegw.ears import DeafEars


class SilentVad:
    def process(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        return None


class QuietEars(DeafEars):
    """Hears nothing, and does not complain."""

    def __init__(self) -> None:
        super().__init__(ProviderError("unused"))

    async def __anext__(self) -> Any:
        await asyncio.Event().wait()


class FakeStt:
    """Has room for `room` calls."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.prepared: list[str] = []
        self.closed = False

    async def prepare(self, domain: Domain) -> None:
        self.prepared.append(domain.name)

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> Any:
        if not self.room:
            raise ProviderError("no room left", retryable=True)
        self.room -= 1
        try:
            yield QuietEars()
        finally:
            self.room += 1

    async def close(self) -> None:
        self.closed = True


class FakeTts:
    """Speaks a sentence as `ms` of silence."""

    rate = 8000

    def __init__(self, ms: int = 200, error: Exception | None = None) -> None:
        self._ms, self._error = ms, error

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        if self._error is not None:
            raise self._error
        yield Speech(bytes(16 * self._ms))

    async def close(self) -> None:
        pass


class FakeDialog:
    """Greets, and hangs up after a while if told so."""

    domain = Domain("fake")

    def __init__(
        self, greeting: str = "Hello.", hang_up: bool = False, error: Exception | None = None
    ) -> None:
        self._greeting, self._hang_up, self._error = greeting, hang_up, error

    async def greet(self) -> AsyncGenerator[Act, None]:
        if self._error is not None:
            raise self._error
        yield Say("Hello.")
        if self._hang_up:
            yield Hangup()

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        yield Say("Well.")

    def heard(self, text: str, complete: bool) -> None:
        pass


@dataclass(slots=True)
class Counted:
    """What a leg counted."""

    lost: int = 0

    def fields(self) -> dict[str, object]:
        return {"received_received": 100, "received_lost": self.lost, "sent_packets": 100}


class FakeLeg:
    """A leg with its own 20 ms clock; `hang_up` is the caller's."""

    lead_ms = 0
    flows = True

    def __init__(self, info: CallInfo, break_at: int | None = None) -> None:
        """`break_at`: raise a bug of ours in that tick."""
        self.info, self.format, self.stats = info, AudioFormat(), Counted(lost=3)
        self.sent = 0
        self.causes: list[HangupCause] = []
        self._break_at = break_at
        self._sink: LegSink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    def start(self, sink: LegSink) -> None:
        if self._break_at == 0:
            raise RuntimeError("a bug")
        self._sink = sink
        self._tick()

    def _tick(self) -> None:
        assert self._sink is not None
        self._ticks += 1
        self._sink.on_audio(AudioFrame(bytes(320), 8000, 160 * self._ticks))
        self._sink.on_tick()
        if not self.causes:
            self._timer = asyncio.get_running_loop().call_later(0.02, self._tick)

    def send(self, frame: AudioFrame) -> None:
        self.sent += 1

    def clear(self) -> None:
        pass

    def send_dtmf(self, digits: str) -> None:
        pass

    def close(self, cause: HangupCause) -> None:
        if not self.causes:
            self.causes.append(cause)
            if self._sink is not None:
                self._sink.on_closed(cause)

    async def hangup(self, cause: HangupCause) -> None:
        self.close(cause)

    async def transfer(self, target: str) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class FakeCall:
    """An IncomingCall. `answer` takes `ring_s`; it may fail."""

    info: CallInfo
    ring_s: float = 0.05
    failure: Exception | None = None
    break_at: int | None = None
    rings: int = 0
    rejected: tuple[int, str, int | None] | None = None
    leg: FakeLeg | None = None
    on_answer: Callable[[], None] = field(default=lambda: None)

    def ring(self) -> None:
        self.rings += 1

    async def answer(self) -> FakeLeg:
        await asyncio.sleep(self.ring_s)
        if self.failure is not None:
            raise self.failure
        self.leg = FakeLeg(self.info, self.break_at)
        self.on_answer()
        return self.leg

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        if self.rejected is None:
            self.rejected = (status, reason, retry_after_s)


def incoming(
    number: str = "bot", call_id: str = "c1", headers: Mapping[str, str] | None = None, **how: Any
) -> FakeCall:
    """A call to `number`."""
    return FakeCall(CallInfo(call_id, "alice", number, "sip", headers=headers or {}), **how)
