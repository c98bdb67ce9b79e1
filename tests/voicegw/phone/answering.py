"""A bot that answers real calls: it greets, answers every line after a while, stops when spoken over,
and hangs up after its last word."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from media.frames import AudioFrame
from media.leg import CallLeg, HangupCause
from media.metronome import Metronome
from sip.endpoint import IncomingCall
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig
from tests.voicegw.phone.bot import spoken


class Bot:
    """Implements `media.leg.LegSink`. Times are in packet times of 20 ms."""

    def __init__(self, leg: CallLeg, answers: list[str], latency: int) -> None:
        self._leg, self._answers, self._latency = leg, answers, latency
        self._saying = b""
        self._pts = 0
        self._quiet: int | None = None  # since the caller's last sound; None: nothing to answer
        self._loud = 0
        self.keys = ""
        self.finished, self.closed = asyncio.Event(), asyncio.Event()
        self._say()

    def on_audio(self, frame: AudioFrame) -> None:
        loud = np.abs(np.frombuffer(frame.pcm, "<i2").astype(int)).max(initial=0) > 300
        self._loud = self._loud + 1 if loud else 0
        if loud:
            self._quiet = 0
            if self._loud >= 10:
                self._saying = b""  # interrupted for 200 ms
        elif self._quiet is not None and not self._saying:
            self._quiet += 1
            if self._quiet >= self._latency:
                self._say()

    def on_tick(self) -> None:
        if self._saying:
            pcm, self._saying = self._saying[:320].ljust(320, b"\0"), self._saying[320:]
            self._leg.send(AudioFrame(pcm, 8000, self._pts))
            self._pts += 160
            if not self._saying and not self._answers:
                self.finished.set()

    def on_dtmf(self, digit: str) -> None:
        self.keys += digit
        self._quiet = 0

    def on_played(self, pts: int) -> None:
        pass

    def on_closed(self, cause: HangupCause) -> None:
        self.finished.set()
        self.closed.set()

    def _say(self) -> None:
        self._quiet = None
        if self._answers:
            self._saying = spoken(self._answers.pop(0))


class Answering:
    """The far end of the tests' calls."""

    def __init__(self) -> None:
        self.bots: list[Bot] = []
        self.uri = ""
        self.answers = ["Welcome to the clinic.", "And when would that be?", "Goodbye."]
        self.status = 0  # refuse with this
        self.hangs_up = True

    async def on_call(self, call: IncomingCall) -> None:
        if self.status:
            call.reject(self.status)
            return
        call.ring()
        leg = await call.answer()
        bot = Bot(leg, list(self.answers), latency=25)
        self.bots.append(bot)
        leg.start(bot)
        await bot.finished.wait()
        if self.hangs_up:
            await leg.hangup(HangupCause.NORMAL)
        await bot.closed.wait()


@asynccontextmanager
async def answering() -> AsyncIterator[Answering]:
    """A bot on a free port of this machine."""
    media = RtpMedia(RtpConfig(host="127.0.0.1", first_port=0, last_port=0), Metronome())
    agent = UserAgent(SipConfig(host="127.0.0.1", port=0), media)
    far_end = Answering()
    await agent.start(far_end.on_call)
    try:
        far_end.uri = agent.uri
        yield far_end
    finally:
        await agent.close()
