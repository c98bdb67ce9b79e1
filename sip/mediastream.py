"""A call whose media comes over a socket: one leg for all carriers (sip/mediacore.py: what a carrier is).

    socket -> core.receive -> SoundIn -> sink.on_audio              as it comes, in packet times of 20 ms
    metronome -> sink.on_tick -> send -> SoundOut -> core -> socket     on absolute deadlines, `lead_ms` ahead

The far end buffers what we send. Marks, one each 200 ms, tell what it has played, and so how far away the
ear is; `clear` empties it on a barge-in. Nothing waits behind a slow socket: what it does not take at once is
dropped.
"""

import asyncio
import logging
from collections.abc import Callable

from dialog.types import Transfer
from media.dtmf import valid_keys
from media.errors import MediaError, Unsupported
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.mediacore import (
    Audio,
    Digit,
    Failure,
    Held,
    Ignored,
    Marked,
    Means,
    Message,
    Reply,
    Started,
    Stopped,
    StreamEvent,
)
from sip.medialine import CallControl, Line, NoControl, StreamStats
from sip.mediasound import FRAME_MS, SoundIn, SoundOut

log = logging.getLogger(__name__)

BACKLOG = 16_384  # bytes that the socket has not taken: 1 s of the narrowest encoding in JSON
GARBAGE = 50  # unreadable messages in a row: whoever speaks there is no carrier


class MediaStreamLeg:
    """Implements `media.leg.CallLeg`. Whoever reads the socket calls `receive` and, at its end,
    `disconnected`; `started` gives what is needed to `adopt` the call. Belongs to one loop."""

    def __init__(self, line: Line) -> None:
        self._line, self._core, self._channel = line, line.core, line.channel
        self._loop = asyncio.get_running_loop()
        self.capabilities, self.lead_ms = line.capabilities, line.core.lead_ms
        self.stats = StreamStats()
        self.info = CallInfo("", "", "", "")
        self.started: asyncio.Future[Started] = self._loop.create_future()
        """What the carrier says about its call. Cancelled if it leaves before."""
        self.over = asyncio.Event()
        """Set when the call has ended, by whomever."""
        self._control: CallControl = NoControl("")
        self._in = SoundIn(self.stats)
        self._out = SoundOut(line.core, line.channel.send, self.stats)
        self._sink: LegSink | None = None
        self._leave: Callable[[], None] | None = None
        self._closed: HangupCause | None = None
        self._gone = False  # the carrier knows that the call is over
        self._idle = 0  # packet times without any message
        self._garbage = 0  # messages in a row
        self._held = False
        self.flows = False  # audio has come

    # The socket's side

    def receive(self, message: Message) -> None:
        """One message of the carrier."""
        self._idle = 0
        try:
            events = self._core.receive(message)
        except RemoteProtocolError as error:
            self._unreadable(error)
            return
        self._garbage = 0
        for event in events:
            self._happened(event)

    def disconnected(self, *, clean: bool = True) -> None:
        """The socket is closed; `clean`: by the carrier, as when the call is over. Idempotent."""
        self._gone = self._gone or clean
        self._finish(HangupCause.NORMAL if clean else HangupCause.NETWORK)

    def ended(self, cause: HangupCause) -> None:
        """The carrier says, beside the socket, that the call is over. Idempotent."""
        self._gone = True
        self._finish(cause)

    def adopt(self, info: CallInfo, control: CallControl) -> None:
        """Whose call this is, once `started`."""
        self.info, self._control = info, control

    def _unreadable(self, error: RemoteProtocolError) -> None:
        self.stats.received_garbage += 1
        self._garbage += 1
        if self.stats.received_garbage == 1:
            log.warning("unreadable media message", extra={"call_id": self.info.call_id, "error": str(error)})
        if self._garbage >= GARBAGE:
            log.error("media socket speaks another language", extra={"call_id": self.info.call_id})
            self._finish(HangupCause.INCOMPATIBLE)

    def _happened(self, event: StreamEvent) -> None:
        match event:
            case Audio():
                self.flows = True
                self._in.receive(event)
                if self._sink is not None and self._closed is None:
                    self._deliver(self._sink)
            case Marked(name):
                pts = self._out.played(name)
                if pts is not None and self._sink is not None and self._closed is None:
                    self._sink.on_played(pts)
            case Digit(key):
                if self._sink is not None and self._closed is None:
                    self._sink.on_dtmf(key)
            case Started():
                self._begin(event)
            case Held(active):
                self._held = active
            case Reply(message):
                self._channel.send(message)
            case Failure(reason):
                self.stats.failures += 1
                log.warning("carrier complains", extra={"call_id": self.info.call_id, "reason": reason})
            case Ignored():
                self.stats.received_foreign += 1
            case Stopped(cause):
                self._gone = True
                self._finish(cause)

    def _begin(self, started: Started) -> None:
        if self.started.done():
            self.stats.received_foreign += 1
            return
        try:
            if started.received.rate != started.sent.rate:
                raise RemoteProtocolError("the two directions differ in rate", 488)
            self._out.begin(started)
            self._in.begin(started.received)
        except RemoteProtocolError as error:
            log.error("no common codec", extra={"carrier_id": started.call_id, "error": str(error)})
            self._finish(HangupCause.INCOMPATIBLE)
            return
        self.started.set_result(started)

    def _deliver(self, sink: LegSink) -> None:
        while self._closed is None and (frame := self._in.take()) is not None:
            sink.on_audio(frame)

    # CallLeg

    @property
    def format(self) -> AudioFormat:
        """Rate and packet time of frames in both directions; known once `started`."""
        return self._in.format

    def start(self, sink: LegSink) -> None:
        """Report to `sink` from now on."""
        if self._sink is not None:
            raise LocalProtocolError("the leg was started before")
        self._sink = sink
        if self._closed is not None:
            self._loop.call_soon(sink.on_closed, self._closed)
            return
        self._leave = self._line.metronome.join(self._receive_tick, self._send_tick, self.failed)

    def send(self, frame: AudioFrame) -> None:
        """Send one frame with this tick."""
        if self._closed is not None or len(frame.pcm) != self.format.size or self._channel.backlog > BACKLOG:
            self.stats.sent_dropped += 1
            return
        self._out.put(frame)

    def clear(self) -> None:
        """Make the far end forget what it has buffered."""
        if self._closed is None:
            self._out.clear()

    def send_dtmf(self, digits: str) -> None:
        """Press keys. Raises ValueError for what is no key, Unsupported where nothing carries them."""
        keys = valid_keys(digits)
        match self.capabilities.dtmf_out:
            case Means.NO:
                raise Unsupported(f"{self.info.carrier} calls have no keys to press")
            case Means.SOCKET if (message := self._core.keys(keys)) is not None:
                self._channel.send(message)
            case Means.REST:
                self._line.start(self._press(keys), "keys")
            case _:
                self._out.press(keys)

    async def hangup(self, cause: HangupCause) -> None:
        """End the call."""
        self._finish(cause)
        if not self._gone:
            self._gone = True
            await self._control.hangup(cause)

    async def transfer(self, order: Transfer) -> None:
        """Have the carrier connect the caller to the target, then leave."""
        if not self.capabilities.transfer:
            raise Unsupported(f"{self.info.carrier} calls cannot be transferred")
        await self._control.transfer(order)
        self._finish(HangupCause.NORMAL)
        self._gone = True

    def failed(self, error: Exception) -> None:
        """Something in this call's audio plane raised: a bug. The call ends, the others go on."""
        log.error("call ended by a failure", extra={"call_id": self.info.call_id, "error": repr(error)})
        self._finish(HangupCause.INTERNAL)

    async def _press(self, keys: str) -> None:
        try:
            await self._control.press(keys)
        except MediaError as error:
            log.warning("keys not pressed", extra={"call_id": self.info.call_id, "error": str(error)})

    def _finish(self, cause: HangupCause) -> None:
        if self._closed is not None:
            return
        if not self._gone and (message := self._core.goodbye(cause)) is not None:
            self._channel.send(message)
        self._closed = cause
        self.started.cancel()
        if self._leave is not None:
            self._leave()
        self.over.set()
        if self._sink is not None:
            self._sink.on_closed(cause)

    # Beats

    def _receive_tick(self) -> None:
        sink = self._sink
        assert sink is not None
        self._idle += 1
        limit = self._line.config.inactivity_s
        if limit and self._idle * FRAME_MS > limit * 1000:
            log.warning("media socket is silent, ending the call", extra={"call_id": self.info.call_id})
            self._finish(HangupCause.MEDIA_TIMEOUT)
            return
        self._in.beat()
        self._deliver(sink)
        if self._closed is None and (silence := self._in.stand_in()) is not None:
            sink.on_audio(silence)

    def _send_tick(self) -> None:
        sink = self._sink
        assert sink is not None
        if self._held:
            return
        if not self._out.pressing:
            sink.on_tick()
        if self._closed is None:
            self._out.flush()
