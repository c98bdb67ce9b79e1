"""A SIP call's media: the leg behind both endpoints.

    UDP socket -> latch -> RtpReceiver .. metronome `receive` -> sink.on_audio, each 20 ms
    metronome `send` -> sink.on_tick -> send -> RtpSender -> UDP socket; silence where nothing was sent

The endpoint signals and tells the leg: `offer`, `answer`, `accept` for descriptions, `info_dtmf`,
`ended`. The leg asks back through `Signalling`. `on_closed` comes exactly once, whoever hangs up.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from dialog.types import Transfer
from media.codecs import Codec
from media.dtmf import DigitMerger, valid_keys
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, HangupCause, LegSink
from media.quality import CallQuality
from media.rtp import RtpSource
from media.rtpstream import FRAME_MS
from sip.errors import LocalProtocolError
from sip.latch import Latch
from sip.offer import MediaAgreement, OfferAnswer
from sip.patience import Patience
from sip.rtcp import Reports
from sip.rtpmedia import MediaStats, RtpMedia
from sip.rtpsocket import RtpSocket
from sip.rtpstreams import Streams
from sip.sdes import SrtpPolicy
from sip.sdp import MediaDirection

log = logging.getLogger(__name__)

LATE_S = 0.010  # a beat later than this may have run before its packets were read
OUTBOX = 5  # frames; a sink that sends more than one a tick is ahead of its clock
RANDOM = random.SystemRandom()  # RFC 3550, section 5.1: numbers that an attacker cannot guess


class Signalling(Protocol):
    """What the leg asks of the call's signalling. Runs on the leg's loop."""

    def hangup(self, cause: HangupCause) -> None:
        """End the dialog (BYE). Returns at once; retransmissions are the endpoint's business."""

    async def transfer(self, target: str) -> None:
        """Refer the far end to `target`. Raises TransferError or Unsupported."""

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        """Press a key by INFO, for far ends without telephone events. Returns at once."""


class RtpLeg:
    """Implements `media.leg.CallLeg`. Belongs to one loop."""

    lead_ms = 0

    def __init__(
        self,
        media: RtpMedia,
        info: CallInfo,
        signalling: Signalling,
        host: str,
        peer_host: str = "",
        codecs: Sequence[Codec] = (),
    ) -> None:
        """Binds a socket. `host` is our address for the SDP; `peer_host` the one that signals, whose RTP
        is believed too; `codecs` instead of those configured. Raises PortsExhausted. Once open, `hangup`,
        `ended` or `discard` must follow."""
        self._loop = asyncio.get_running_loop()
        self.info, self._media, self._signalling = info, media, signalling
        self.stats = MediaStats()
        self.latch = Latch(peer_host, media.trusted)
        self._socket = RtpSocket(media, self.latch, self.stats, self._packet, self._report, host)
        self.port = self._socket.port
        self._sdp = OfferAnswer(host, self.port, codecs or media.codecs, RANDOM.getrandbits(31))
        self._sdp.comfort_noise = media.config.dtx
        # 15 bits of sequence: RFC 3711, 3.3.1, so that a loss at the start hides no wrap-around.
        self._source = RtpSource(RANDOM.getrandbits(32), RANDOM.getrandbits(15), RANDOM.getrandbits(32))
        self._reports = Reports(self._source, self.stats, self._socket.send_report)
        self._agreement: MediaAgreement | None = None
        self._streams: Streams | None = None
        self.keys_by_info = False  # whatever was agreed
        self._digits = DigitMerger()
        self.flows = False  # a packet has come
        self._sink: LegSink | None = None
        self._leave: Callable[[], None] | None = None
        self._closed: HangupCause | None = None
        self._outbox: deque[bytes] = deque()
        self._format = AudioFormat()
        self._pts = 0  # samples reported
        self._skipped = 0  # periods of the metronome that were made up for
        self._silence = b""  # a frame of it
        self._on_hold = False
        self._patience = Patience(media.config)

    # Descriptions: called by the endpoint

    @property
    def agreement(self) -> MediaAgreement | None:
        """What was agreed on last; None before the first answer."""
        return self._agreement

    def encrypt(self, policy: SrtpPolicy) -> None:
        """Before the first description, and before another far end is asked. Raises RemoteProtocolError."""
        self._sdp.encrypt(policy, self._media.config.srtp_suites)

    def offer(self, direction: MediaDirection = MediaDirection.SENDRECV) -> str:
        """Our offer as SDP; SENDONLY holds the far end. `accept` or `abandon_offer` follows."""
        return self._sdp.offer(direction)

    def abandon_offer(self) -> None:
        """Our offer was refused; the last agreement holds."""
        self._sdp.abandon()

    def accept(self, answer: bytes | str) -> MediaAgreement:
        """The far end's answer to our offer; again where 183 and 200 both carry one. Raises
        RemoteProtocolError."""
        return self._apply(self._sdp.accept(answer))

    def answer(self, offer: bytes | str) -> str:
        """Our answer to the far end's offer, as SDP. Raises RemoteProtocolError (its `status` is the
        answer it deserves); the call then goes on as before."""
        text = self._sdp.answer(offer)
        assert self._sdp.agreement is not None
        self._apply(self._sdp.agreement)
        return text

    def _apply(self, new: MediaAgreement) -> MediaAgreement:
        old, self._agreement = self._agreement, new
        if self._streams is None:
            self._streams = Streams(self._media.config, self._source, self.stats, new)
        else:
            self._streams.agree(new)
        if self._sink is None:
            self._format = AudioFormat(new.codec.rate, FRAME_MS)
            self._silence = bytes(self._format.size)
        elif old is not None and old.on_hold != new.on_hold:
            log.info("hold" if new.on_hold else "resumed", extra={"call_id": self.info.call_id})
            self._streams.receiver.restart()
        self._on_hold = new.on_hold
        self._socket.encrypt(new.srtp)
        self.latch.agree(new.host, new.port)
        self._reports.agree(new.codec.clock, self._streams.receiver)
        self._socket.report_to(None if new.rtcp_mux else (new.host, new.rtcp_port))
        self._patience.renew()
        return new

    # The far end, as told by the endpoint

    def info_dtmf(self, digit: str) -> None:
        """A key came by INFO. Phones that send it by RTP too are believed once."""
        self._pressed("info", digit)

    def ended(self, cause: HangupCause) -> None:
        """The far end has hung up, or signalling has failed. Idempotent."""
        self._finish(cause)

    def discard(self) -> None:
        """The call was never answered: give the socket back. Nothing is reported."""
        self._finish(HangupCause.CANCELLED)

    def quality(self) -> CallQuality:
        """How good both directions were so far."""
        return self._reports.quality()

    # CallLeg

    @property
    def format(self) -> AudioFormat:
        """Rate and packet time of frames in both directions; known once there is an agreement."""
        return self._format

    def start(self, sink: LegSink) -> None:
        """Report to `sink` from now on."""
        if self._sink is not None:
            raise LocalProtocolError("the leg was started before")
        self._sink = sink
        if self._closed is not None:
            self._loop.call_soon(sink.on_closed, self._closed)
            return
        if self._agreement is None:
            raise LocalProtocolError("the leg has no media yet")
        # The session has set itself up for this rate: later descriptions must keep to it.
        self._sdp.restrict(self._agreement.codec)
        self._socket.listen(self._plausible)
        self._skipped = self._media.metronome.skipped
        self._leave = self._media.metronome.join(self._receive_tick, self._send_tick, self._failed)

    def send(self, frame: AudioFrame) -> None:
        """Send one frame at the next tick. Frames beyond one a tick are dropped and counted."""
        if len(frame.pcm) != self._format.size or len(self._outbox) >= OUTBOX or self._closed is not None:
            self.stats.sent.dropped += 1
            return
        self._outbox.append(frame.pcm)

    def clear(self) -> None:
        """Forget frames that wait for their tick."""
        self._outbox.clear()

    def send_dtmf(self, digits: str) -> None:
        """Press keys; `on_tick` rests meanwhile. Raises ValueError for what is no key."""
        keys = valid_keys(digits)
        if not self.keys_by_info and self._streams is not None and self._streams.by_rtp:
            self._streams.keys.press(keys)
            return
        for key in keys:
            self._signalling.send_info_dtmf(key, self._media.config.dtmf_press_ms)

    async def hangup(self, cause: HangupCause) -> None:
        """End the call."""
        self._hangup(cause)

    async def transfer(self, order: Transfer) -> None:
        """Refer the far end to the target (REFER), then leave."""
        await self._signalling.transfer(order.target)
        self._hangup(HangupCause.NORMAL)

    def _hangup(self, cause: HangupCause) -> None:
        if self._closed is None:
            self._signalling.hangup(cause)
            self._finish(cause)

    def _finish(self, cause: HangupCause) -> None:
        if self._closed is not None:
            return
        self._closed = cause
        if self._leave is not None:
            self._leave()
            self._reports.close(self._loop.time())
        self._socket.close()
        if self._streams is not None:
            self._streams.receiver.update_stats()
        if self._sink is not None:
            self._sink.on_closed(cause)

    def _failed(self, error: Exception) -> None:
        """Something in this call's audio plane raised: a bug. The call ends, the others go on."""
        log.error("call ended by a failure", extra={"call_id": self.info.call_id, "error": repr(error)})
        self._hangup(HangupCause.INTERNAL)

    def _plausible(self, data: bytes) -> bool:
        return self._streams is not None and self._streams.receiver.plausible(data)

    def _packet(self, data: bytes) -> None:
        assert self._streams is not None
        self.flows = True
        if not self._on_hold:
            self._patience.renew()
        digit = self._streams.receiver.datagram(data, self._loop.time())
        if digit is not None:
            self._pressed("rtp", digit)

    def _report(self, data: bytes) -> None:
        if not self._on_hold:
            self._patience.renew()  # a phone that is muted may send nothing but these
        self._reports.received(data, self._loop.time())

    def _pressed(self, path: str, digit: str) -> None:
        if self._sink is None or self._closed is not None:
            return
        if self._digits.is_new(path, digit, self._loop.time()):
            self._sink.on_dtmf(digit)

    def _receive_tick(self) -> None:
        sink, streams = self._sink, self._streams
        assert sink is not None and streams is not None
        if self._media.metronome.late > LATE_S:
            self._socket.drain()
            if self._closed is not None:
                return  # by what was read
        if self._patience.ends(on_hold=self._on_hold, noisy=streams.receiver.noisy):
            log.warning("no RTP, ending the call", extra={"call_id": self.info.call_id})
            self._hangup(HangupCause.MEDIA_TIMEOUT)
            return
        # On hold the person is away: music and the like are not for the bot's ears.
        pcm, keys = (self._silence, "") if self._on_hold else streams.incoming()
        for key in keys:
            self._pressed("inband", key)
        frame = AudioFrame(pcm, self._format.rate, self._pts)
        self._pts += len(pcm) // 2
        sink.on_audio(frame)

    def _send_tick(self) -> None:
        sink, streams, agreement = self._sink, self._streams, self._agreement
        assert sink is not None and streams is not None and agreement is not None
        self._reports.tick(self._loop.time())
        while self._skipped < self._media.metronome.skipped:
            self._skipped += 1
            # RFC 3550, section 5.1: timestamps follow the clock, also where nothing was sent.
            streams.sender.pause()
        if not agreement.direction.sends:
            streams.sender.pause()  # nobody listens: the sink is not asked, so that nothing of it is lost
            return
        if not streams.pressing:
            sink.on_tick()
            if self._closed is not None:
                return
        pcm = self._outbox.popleft() if self._outbox and not streams.pressing else None
        for packet in streams.outgoing(pcm):
            self._socket.send(packet)
