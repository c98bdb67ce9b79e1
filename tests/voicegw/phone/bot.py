"""A bot of known habits at the other end of a line: it greets, answers after a fixed time, lets itself
be interrupted or not, and hangs up when told to. Speech is real, time is the loop's."""

import asyncio
from functools import cache

import numpy as np
import soxr

from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from media.tts.espeak import Config
from media.tts.espeaklib import Style, library


@cache
def spoken(text: str) -> bytes:
    """8 kHz, from first sound to last."""
    lib, buffers = library(), []  # type: ignore[var-annotated]
    style = Style(lib.find_voice(Config().voice), 165, 50, 50, 80, 0)
    lib.speak(text, style, lambda pcm, words: buffers.append(pcm) or True)
    samples = np.frombuffer(b"".join(buffers), "<i2").astype(np.float32)
    loud = np.nonzero(np.abs(samples) > 300)[0]
    return soxr.resample(samples[loud[0] : loud[-1]], lib.rate, 8000).astype("<i2").tobytes()


class BotLeg:
    """`media.leg.CallLeg` with a bot behind it. `run` is its life."""

    lead_ms = 0
    flows = True

    def __init__(
        self,
        answers: list[str],
        latency_ms: int = 400,
        stops_after_ms: int | None = None,
        hangs_up_after: int | None = None,  # answers
    ) -> None:
        self.info = CallInfo("c1", "phone", "bot", "fake", "sip-1")
        self.format = AudioFormat()
        self.answers, self.latency_ms, self.stops_after_ms = answers, latency_ms, stops_after_ms
        self.hangs_up_after = hangs_up_after
        self.pressed = ""
        self.closed: HangupCause | None = None
        self.caller_heard: list[tuple[int, bytes]] = []
        self._saying = b""
        self._given = 0  # answers
        self._caller_spoke_at: int | None = None  # last loud frame since the last answer
        self._interrupted_at: int | None = None
        self._sink: LegSink | None = None

    def start(self, sink: LegSink) -> None:
        self._sink = sink

    def send(self, frame: AudioFrame) -> None:
        self.caller_heard.append((self._now(), frame.pcm))
        if np.abs(np.frombuffer(frame.pcm, "<i2").astype(int)).max(initial=0) > 300:
            self._caller_spoke_at = self._now()
            if self._saying and self._interrupted_at is None:
                self._interrupted_at = self._now()

    def clear(self) -> None:
        pass

    def send_dtmf(self, digits: str) -> None:
        self.pressed += digits
        self._caller_spoke_at = self._now()

    async def hangup(self, cause: HangupCause) -> None:
        self._close(cause)

    async def transfer(self, target: str) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Greets with the first answer, 500 ms into the call."""
        pts, greeted = 0, False
        await asyncio.sleep(0.1)
        assert self._sink is not None
        while self.closed is None:
            if not greeted and pts >= 4000:
                greeted = True
                self._answer()
            self._think()
            pcm, self._saying = self._saying[:320], self._saying[320:]
            self._sink.on_audio(AudioFrame(pcm.ljust(320, b"\0"), 8000, pts))
            pts += 160
            await asyncio.sleep(0.005)
            if self.closed is None:
                self._sink.on_tick()
            await asyncio.sleep(0.015)

    def _think(self) -> None:
        if self._saying:
            interrupted, patience = self._interrupted_at, self.stops_after_ms
            if interrupted is not None and patience is not None and self._now() - interrupted >= patience:
                self._saying = b""
            return
        self._interrupted_at = None
        if self.hangs_up_after is not None and self._given >= self.hangs_up_after:
            self._close(HangupCause.NORMAL)
        elif self._caller_spoke_at is not None and self._now() - self._caller_spoke_at >= self.latency_ms:
            self._answer()

    def _answer(self) -> None:
        self._caller_spoke_at = None
        if self._given < len(self.answers):
            self._saying = spoken(self.answers[self._given])
            self._given += 1

    def _close(self, cause: HangupCause) -> None:
        if self.closed is None:
            self.closed = cause
            assert self._sink is not None
            self._sink.on_closed(cause)

    def _now(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)
