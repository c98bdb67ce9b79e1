"""The edges of a replayed call: a leg, a detector, ears and a voice that do what the script says."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from dialog.turn import SpeechStarted, SpeechStopped, Transcript
from dialog.types import Hints, Transfer
from media.eot.base import Post
from media.eot.off import Off
from media.errors import TransferError
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from media.tts.base import Speech, WordMark
from voicegw.replay.script import Recogniser, Script

BEAT_MS = 20
TICK_MS = 5  # after the beat, as the metronome has it
CHUNK_MS = 200  # of speech that the voice gives at once


def now_ms() -> int:
    """Call time: the loop's clock began with the call."""
    return round(asyncio.get_running_loop().time() * 1000)


async def until(ms: float) -> None:
    """Sleep until this call time."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, ms / 1000 - loop.time()))


class ReplayLeg:
    """Implements `media.leg.CallLeg`: a line on which the script's caller is."""

    lead_ms = 0

    def __init__(self, script: Script, detector: "ReplayVad") -> None:
        self._script, self._detector = script, detector
        self.info = CallInfo("replay", script.caller, script.called, "replay")
        self.format = AudioFormat(script.rate)
        self._sink: LegSink
        self._closed = False
        self._transfers = list(script.transfers)

    @property
    def flows(self) -> bool:
        """The far end's media came when the greeting was first heard."""
        return self._script.opened is not None and now_ms() >= self._script.opened - TICK_MS

    def start(self, sink: LegSink) -> None:
        self._sink = sink

    def send(self, frame: AudioFrame) -> None:
        """Nobody listens."""

    def clear(self) -> None:
        """Nothing is buffered."""

    def send_dtmf(self, digits: str) -> None:
        """Nobody listens."""

    async def hangup(self, cause: HangupCause) -> None:
        self.close(cause)

    async def transfer(self, order: Transfer) -> None:
        """As it went then: the first transfer that failed fails again, any other succeeds."""
        if self._transfers:
            after_ms, why = self._transfers.pop(0)
            await asyncio.sleep(max(0, after_ms) / 1000)
            raise TransferError(why)
        self.close(HangupCause.NORMAL)

    def close(self, cause: HangupCause) -> None:
        """The call is over."""
        if not self._closed:
            self._closed = True
            self._sink.on_closed(cause)

    async def talk(self, end_ms: int) -> None:
        """Audio each packet time, what the detector noticed and the keys at their time, until the caller
        hangs up at `end_ms`."""
        size, pts = self.format.size, 0
        for at, kind, what in self._schedule(end_ms):
            await until(at)
            if self._closed:
                return
            match kind:
                case "key":
                    self._sink.on_dtmf(what)
                case "tick":
                    self._sink.on_tick()
                case _:
                    self._detector.next = what
                    self._sink.on_audio(AudioFrame(bytes(size), self.format.rate, pts))
                    pts += self.format.samples
        self.close(HangupCause.NORMAL)

    def _schedule(self, end_ms: int) -> list[tuple[int, str, Any]]:
        """Everything in its order. The beat falls where the detector's reports did."""
        script = self._script
        phase = script.vad[0][0] % BEAT_MS if script.vad else 0
        first = script.answered + (phase - script.answered) % BEAT_MS
        reports = dict(script.vad)
        beats = sorted({*range(first, end_ms, BEAT_MS), *(t for t in reports if t < end_ms)})
        found: list[tuple[int, str, Any]] = [(at, "audio", reports.get(at)) for at in beats]
        ticks = range(first + TICK_MS, end_ms, BEAT_MS)
        found += [(at, "tick", None) for at in ticks if not self._held(at)]
        found += [(at, "key", digit) for at, digit in script.keys if at < end_ms]
        return sorted(found, key=lambda item: item[0])

    def _held(self, at: int) -> bool:
        state = [active for t, active in self._script.holds if (t - 500 if active else t) <= at]
        return bool(state) and state[-1]


class ReplayVad:
    """Implements `media.vad.base.VoiceDetector`."""

    next: SpeechStarted | SpeechStopped | None = None

    def process(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        """What was noticed in this frame then."""
        return self.next


class ReplayEars:
    """Implements `media.stt.base.SttStream`."""

    def __init__(self, script: Script) -> None:
        self._recogniser, self._unasked = Recogniser(script.utterances), script.unasked
        self._results: asyncio.Queue[Transcript] = asyncio.Queue()
        self._open = False
        self._owed: list[asyncio.TimerHandle] = []

    async def hear(self) -> None:
        """Give partials, and what the recogniser found by itself, at their time."""
        for at, transcript in sorted([*self._recogniser.partials(), *self._unasked], key=lambda p: p[0]):
            await until(at)
            if self._open or transcript.unasked:
                self._results.put_nowait(transcript)

    def push(self, frame: AudioFrame) -> None:
        """The script knows what was said."""

    def begin(self) -> None:
        self._open = True

    def finish(self) -> None:
        if self._open:
            self._open = False
            wait_ms, final = self._recogniser.finish(now_ms())
            loop = asyncio.get_running_loop()
            self._owed.append(loop.call_later(max(0, wait_ms) / 1000, self._results.put_nowait, final))

    def cancel(self) -> None:
        for timer in self._owed:
            timer.cancel()
        self._owed.clear()
        self._open = False
        self._recogniser.cancel(now_ms())

    def expect(self, hints: Hints) -> None:
        """The script knows what was said."""

    async def __aiter__(self) -> AsyncIterator[Transcript]:
        while True:
            yield await self._results.get()


class ReplayEstimate:
    """Implements EndOfTurn: the scores of then, at their time."""

    def __init__(self, script: Script) -> None:
        self._scores = script.scores
        self._timers: list[asyncio.TimerHandle] = []

    def stream(self, format: AudioFormat, post: Post) -> Off:
        loop = asyncio.get_running_loop()
        # A score follows what it is about (a pause, a partial) within the same millisecond.
        self._timers = [loop.call_at((at + 1) / 1000, post, score) for at, score in self._scores]
        return Off()

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()


class ReplayVoice:
    """Implements `media.tts.base.TextToSpeech`: silence as long as the speech was then."""

    def __init__(self, script: Script) -> None:
        self._script, self.rate = script, script.rate
        self.first_audio_ms = 0.0
        """How long the next sentence takes to its first sound; then 0 again."""

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        wait_ms, self.first_audio_ms = self.first_audio_ms, 0.0
        await asyncio.sleep(wait_ms / 1000)
        total = round(self._script.duration_ms(text) * self.rate / 1000)
        chunk, at = self.rate * CHUNK_MS // 1000, 0
        words = _even_marks(text, total)
        while at < total:
            size = min(chunk, total - at)
            yield Speech(bytes(2 * size), tuple(w for w in words if at <= w.sample < at + size))
            at += size

    async def close(self) -> None:
        """Nothing to free."""


def _even_marks(text: str, total: int) -> list[WordMark]:
    """Words at an even pace: a timeline does not say where each began."""
    marks, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        marks.append(WordMark(at, total * at // max(1, len(text))))
        at += len(word)
    return marks
