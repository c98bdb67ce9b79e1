"""A browser's leg of a call: our RTP over a path that is encrypted and may be laid anew.

    MediaPath -> RtpReceiver .. metronome `receive` -> sink.on_audio, each 20 ms at 16 kHz
    metronome `send` -> sink.on_tick -> send -> RtpSender -> MediaPath; silence where nothing was sent

16 kHz, since speech engines gain from wideband and Opus encodes it as it is; 48 kHz would cost four
times the CPU for what no engine hears. While the browser's network is gone the call rests as on hold: the
bot's words wait. After `resume_s` it ends.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable

from dialog.types import Transfer
from media.codecs.opus import CLOCK, OPUS, RATE
from media.dtmf import EventSender, valid_keys
from media.errors import Unsupported
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from media.quality import CallQuality
from media.rtp import RtpSource
from media.rtpstream import FRAME_MS, ReceiveTypes, RtpReceiver, RtpSender
from sip.errors import CallFailed, LocalProtocolError
from sip.rtcp import Reports
from sip.rtpmedia import MediaStats
from sip.webrtc.media import WebRtcMedia
from sip.webrtc.path import MediaPath, PathEvents
from sip.webrtc.sdp import parse_offer

log = logging.getLogger(__name__)

OUTBOX = 5  # frames; a sink that sends more than one a tick is ahead of its clock
REST_BEATS = 1000 // FRAME_MS  # a second without a packet: browsers send always, also when muted
RANDOM = random.SystemRandom()  # RFC 3550, section 5.1: numbers that an attacker cannot guess


class WebRtcLeg:
    """Implements `media.leg.CallLeg`. Belongs to one loop; `hangup` or `ended` must follow."""

    lead_ms = 0
    format = AudioFormat(RATE, FRAME_MS)

    def __init__(self, media: WebRtcMedia, info: CallInfo, on_state: Callable[[str], None]) -> None:
        """`on_state` is told of the path, for the page: connected, interrupted, failed: why."""
        self._loop = asyncio.get_running_loop()
        self.info, self._media, self._on_state = info, media, on_state
        self.stats = MediaStats()
        ssrc = RANDOM.getrandbits(32)
        events = PathEvents(self._packet, self._report, self._connected, self._path_failed, self._path_closed)
        self._path = MediaPath(media.config, media.certificate, ssrc, media.start, events, self.stats.srtp)
        self._source = RtpSource(ssrc, RANDOM.getrandbits(15), RANDOM.getrandbits(32))
        self._reports = Reports(self._source, self.stats, self._path.send_report)
        self._receiver: RtpReceiver | None = None
        self._sender: RtpSender | None = None
        self._events = EventSender(CLOCK)
        self._event_type: int | None = None
        self._sink: LegSink | None = None
        self._leave: Callable[[], None] | None = None
        self._closed: HangupCause | None = None
        self._settled = asyncio.Event()  # connected, failed or over
        self._up = False
        self._failure = ""
        self._outbox: deque[bytes] = deque()
        self._pts = 0  # samples reported
        self._skipped = 0  # periods of the metronome that were made up for
        self._idle = 0  # packet times without any RTP
        self._resting = False
        self.flows = False  # a packet has come
        self._patience = media.config.resume_s * 1000 / FRAME_MS

    @property
    def negotiated(self) -> bool:
        """Whether there is an answer; candidates are for the last one."""
        return self._receiver is not None

    @property
    def cause(self) -> HangupCause | None:
        """Why the call has ended; None while it has not."""
        return self._closed

    # Signalling, as the page's messages tell

    async def negotiate(self, offer: str) -> str:
        """The page's offer, the first one or one that restarts ICE -> our answer. Raises
        RemoteProtocolError; the call then goes on as before."""
        answer = await self._path.negotiate(offer)
        parsed = parse_offer(offer)
        types = ReceiveTypes(
            frozenset({parsed.opus}),
            frozenset() if parsed.events is None else frozenset({parsed.events}),
            frozenset(),
        )
        self._event_type = parsed.events
        if self._receiver is None:
            jitter_ms = (self._media.jitter_min_ms, self._media.jitter_max_ms)
            self._receiver = RtpReceiver(OPUS, types, self.stats.received, jitter_ms)
        else:
            self._receiver.expect(types)
        self._reports.agree(CLOCK, self._receiver)
        self._sender = RtpSender(OPUS, self._source, parsed.opus)
        return answer

    async def candidate(self, text: str | None) -> None:
        """One more of the page's candidates; None: there are no more. Raises RemoteProtocolError."""
        await self._path.candidate(text)

    async def connected(self) -> None:
        """Wait until media may flow. Raises CallFailed when it never will."""
        await self._settled.wait()
        if self._closed is not None:
            raise CallFailed(487, "the page hung up")
        if not self._up:
            raise CallFailed(408, self._failure)

    def quality(self) -> CallQuality:
        """How good both directions were so far."""
        return self._reports.quality()

    def key(self, digit: str) -> None:
        """A key came by a message. Raises ValueError for what is no key."""
        self._pressed(valid_keys(digit))

    def ended(self, cause: HangupCause) -> None:
        """The page has hung up, or is gone. Idempotent."""
        self._finish(cause)

    # CallLeg

    def start(self, sink: LegSink) -> None:
        """Report to `sink` from now on."""
        if self._sink is not None:
            raise LocalProtocolError("the leg was started before")
        self._sink = sink
        if self._closed is not None:
            self._loop.call_soon(sink.on_closed, self._closed)
            return
        if self._receiver is None:
            raise LocalProtocolError("the leg has no media yet")
        self._skipped = self._media.metronome.skipped
        self._leave = self._media.metronome.join(self._receive_tick, self._send_tick, self._failed)

    def send(self, frame: AudioFrame) -> None:
        """Send one frame at the next tick. Frames beyond one a tick are dropped and counted."""
        if len(frame.pcm) != self.format.size or len(self._outbox) >= OUTBOX or self._closed is not None:
            self.stats.sent.dropped += 1
            return
        self._outbox.append(frame.pcm)

    def clear(self) -> None:
        """Forget frames that wait for their tick."""
        self._outbox.clear()

    def send_dtmf(self, digits: str) -> None:
        """Press keys; `on_tick` rests meanwhile. Raises ValueError for what is no key, Unsupported where the
        browser has no telephone events."""
        keys = valid_keys(digits)
        if self._event_type is None:
            raise Unsupported("this browser knows no telephone events: no keys can be pressed")
        self._events.press(keys)

    async def hangup(self, cause: HangupCause) -> None:
        """End the call. The path is closed by a task of its own: aioice swallows a cancellation while it
        closes, and whoever hangs up is often cancelled by that very hang-up."""
        self._finish(cause)

    async def transfer(self, order: Transfer) -> None:
        """A browser can be sent nowhere."""
        raise Unsupported("a call from a web page cannot be transferred")

    def _finish(self, cause: HangupCause) -> None:
        if self._closed is not None:
            return
        self._closed = cause
        self._settled.set()
        if self._leave is not None:
            self._leave()
        if self._receiver is not None:
            self._receiver.update_stats()
            self._reports.close(self._loop.time())
        self.stats.sent.errors += self._path.dropped
        self._media.start(self._path.close(), "webrtc close")
        if self._sink is not None:
            self._sink.on_closed(cause)

    def _failed(self, error: Exception) -> None:
        """Something in this call's audio plane raised: a bug. The call ends, the others go on."""
        log.error("call ended by a failure", extra={"call_id": self.info.call_id, "error": repr(error)})
        self._finish(HangupCause.INTERNAL)

    # The path

    def _connected(self) -> None:
        first, self._up = not self._up, True
        if not first and self._receiver is not None:
            self._receiver.restart()  # another page may send with another SSRC
        self._idle = 0
        self.stats.cipher = self._path.cipher
        self._settled.set()
        self._on_state("connected")

    def _path_failed(self, reason: str) -> None:
        log.warning("media path failed", extra={"call_id": self.info.call_id, "reason": reason})
        self._failure = self._failure or reason
        self._settled.set()
        self._on_state(f"failed: {reason}")

    def _path_closed(self) -> None:
        self._finish(HangupCause.NORMAL)  # the page was closed, whatever becomes of its socket

    def _packet(self, data: bytes) -> None:
        """RTP, decrypted."""
        receiver = self._receiver
        if receiver is None or self._closed is not None:
            return
        self.flows = True
        if self._sink is None:
            self.stats.early += 1
            return
        self._idle = 0
        digit = receiver.datagram(data, self._loop.time())
        if digit is not None:
            self._pressed(digit)

    def _report(self, data: bytes) -> None:
        """RTCP, decrypted."""
        if self._closed is None:
            self._reports.received(data, self._loop.time())

    def _pressed(self, digit: str) -> None:
        if self._sink is not None and self._closed is None:
            self._sink.on_dtmf(digit)

    # The beat

    def _receive_tick(self) -> None:
        sink, receiver = self._sink, self._receiver
        assert sink is not None and receiver is not None
        self._idle += 1
        resting = self._idle > REST_BEATS
        if resting != self._resting:
            self._resting = resting
            log.info("interrupted" if resting else "resumed", extra={"call_id": self.info.call_id})
            self._on_state("interrupted" if resting else "connected")
        if self._idle > self._patience:
            log.warning("browser gone, ending the call", extra={"call_id": self.info.call_id})
            self._finish(HangupCause.MEDIA_TIMEOUT)
            return
        if not resting:
            self._reports.tick(self._loop.time())
        frame = AudioFrame(receiver.frame(), RATE, self._pts)
        self._pts += self.format.samples
        sink.on_audio(frame)

    def _send_tick(self) -> None:
        sink, sender = self._sink, self._sender
        assert sink is not None and sender is not None
        while self._skipped < self._media.metronome.skipped:
            self._skipped += 1
            sender.pause()  # RFC 3550, section 5.1: timestamps follow the clock
        if self._resting:
            sender.pause()  # nobody hears: the sink is not asked, so that nothing of it is lost
            return
        if self._events.busy and self._event_type is not None:
            packets = sender.events(self._events, self._event_type)
        else:
            sink.on_tick()
            if self._closed is not None:
                return
            if self._outbox:
                packets = sender.audio(self._outbox.popleft())
            else:
                self.stats.sent.silent += 1
                packets = sender.silence()
        for packet in packets:
            if self._path.send(packet):
                self.stats.sent.packets += 1
                self.stats.sent.bytes += len(packet)
            else:
                self.stats.sent.dropped += 1
