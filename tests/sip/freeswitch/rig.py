"""An edge between a scripted FreeSWITCH and calls of the test: no SIP, no audio."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from media.leg import CallInfo, CallLeg, HangupCause
from media.quality import CallQuality
from media.tts.base import Speech
from sip.endpoint import IncomingCall
from sip.errors import CallFailed
from sip.esl.client import EslConfig
from sip.freeswitch import FreeswitchConfig, FreeswitchEdge
from tests.fakes import FakeLeg
from tests.sip.esl.switch import FakeChannel, Switch

REFERENCE = re.compile(r"sip_h_X-VoiceGW-Ref=([0-9a-f]+)")


class FakeStats:
    def fields(self) -> dict[str, object]:
        return {"received_lost": 0}


class FakeMedia(FakeLeg):
    """The SIP call that brings the audio."""

    def __init__(self) -> None:
        super().__init__()
        self.stats, self.keys = FakeStats(), ""
        self.sink: Any = None
        self.beating: asyncio.Task[None] | None = None

    def start(self, sink: Any) -> None:
        super().start(sink)
        if self.closed is not None:
            sink.on_closed(self.closed)
        self.beating = asyncio.ensure_future(self._beat())

    async def _beat(self) -> None:
        while self.closed is None:
            self.sink.on_tick()
            await asyncio.sleep(0.001)

    def quality(self) -> CallQuality:
        return CallQuality()

    def info_dtmf(self, digit: str) -> None:
        self.keys += digit

    def close(self, cause: HangupCause) -> None:
        if self.closed is None and self.sink is None:
            self.closed = cause
        super().close(cause)


class FakeSipCall:
    """What our SIP endpoint reports when FreeSWITCH calls it."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.info = CallInfo("s", "a", "bot", "sip", headers=headers)
        self.media, self.rejected = FakeMedia(), 0
        self.answered, self.heard = asyncio.Event(), asyncio.Event()

    async def early(self) -> CallLeg:
        self.heard.set()
        return self.media

    def ring(self) -> None:
        pass

    async def answer(self) -> CallLeg:
        self.answered.set()
        return self.media

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        if not self.answered.is_set():
            self.rejected = status


class Session:
    """The call's sink."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[HangupCause] = asyncio.get_running_loop().create_future()
        self.keys = ""

    def on_audio(self, frame: Any) -> None: ...
    def on_tick(self) -> None: ...
    def on_played(self, pts: int) -> None: ...
    def on_dtmf(self, digit: str) -> None:
        self.keys += digit

    def on_closed(self, cause: HangupCause) -> None:
        self.closed.set_result(cause)


class FakeVoice:
    """20 ms a text, and remembers it."""

    rate = 8000

    def __init__(self) -> None:
        self.said: list[str] = []

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        self.said.append(text)
        yield Speech(b"\1\0" * 160)

    async def close(self) -> None: ...


class Rig:
    """`bot` answers calls by itself; what happened is in `sessions`, `sip`, `switch`."""

    def __init__(self, switch: Switch, edge: FreeswitchEdge, voice: FakeVoice) -> None:
        self.switch, self.edge, self.voice = switch, edge, voice
        self.sip: list[FakeSipCall] = []
        self.sessions: list[Session] = []
        self.legs: list[Any] = []
        self.came: list[IncomingCall] = []
        self.failed: list[CallFailed] = []
        self.refuse = 0
        switch.bridge = self.bridge

    async def bot(self, call: IncomingCall) -> None:
        self.came.append(call)
        if self.refuse:
            call.reject(self.refuse, "no")
            return
        call.ring()
        try:
            leg = await call.answer()
        except CallFailed as error:
            self.failed.append(error)
            return
        await self.talk(leg)

    async def talk(self, leg: CallLeg) -> None:
        session = Session()
        self.legs.append(leg)
        self.sessions.append(session)
        leg.start(session)
        await session.closed

    def bridge(self, channel: FakeChannel, argument: str) -> None:
        match = REFERENCE.search(argument)
        if match is None:
            return
        call = FakeSipCall({"x-voicegw-ref": match[1]})
        self.sip.append(call)
        self.switch.spawn(self._bridged(channel, call))

    async def _bridged(self, channel: FakeChannel, call: FakeSipCall) -> None:
        await self.edge.on_sip_call(call)
        await call.answered.wait()
        channel.answer()
        channel.bridge(f"b-{channel.uuid}")

    async def call(self, **variables: str) -> FakeChannel:
        """A call comes in and is answered."""
        fake = await self.switch.call(self.edge.server.port, **variables)
        await until(lambda: self.sessions)
        return fake


async def until(condition: Callable[[], Any], limit_s: float = 5) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def rigged(**config: Any) -> AsyncIterator[Rig]:
    switch, voice = Switch(), FakeVoice()
    await switch.start()
    esl = EslConfig(port=switch.port, password="pw", retry_max_s=0.1)
    settings = {"socket_port": 0, "gateway": "trunk", "reconcile_s": 0.0, **config}
    edge = FreeswitchEdge(FreeswitchConfig(enabled=True, esl=esl, **settings), voice)
    rig = Rig(switch, edge, voice)
    await edge.start(rig.bot, "127.0.0.1:5060")
    try:
        await asyncio.wait_for(edge.client.connected.wait(), 5)
        yield rig
    finally:
        await edge.close()
        await switch.stop()


def rig_test(test: Callable[[Rig], Awaitable[None]], **config: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), rigged(**config) as rig:
            await test(rig)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
