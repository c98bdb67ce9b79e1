"""One call that FreeSWITCH has: our media leg, with FreeSWITCH's channel as its signalling.

It stands between the RTP leg and the call's session in both directions: the session sees one leg, whose end
is the end of FreeSWITCH's channel, not of the SIP call that brings the audio.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from dialog.types import Transfer
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, CallLeg, HangupCause, LegSink
from media.quality import CallQuality
from media.tasks import task_scope
from sip.endpoint import IncomingCall
from sip.errors import LocalProtocolError
from sip.esl.channel import Channel
from sip.esl.errors import EslError
from sip.freeswitch.causes import cause_of, name_of
from sip.freeswitch.figures import HasFields, SwitchStats, figures_of

log = logging.getLogger(__name__)

FIGURES_S = 1.0  # from the hang-up to CHANNEL_HANGUP_COMPLETE: 20 ms as a rule
FETCH_S = 3.0  # for FreeSWITCH to bring us a channel that we ask for: 30 ms as a rule
# Where FreeSWITCH ends the audio earlier, the line carries none: the call would be fetched again and again.
SOUND_S = 15.0
MEDIA_GONE_S = 0.5  # a channel that is not over this long after its media is hung up


class MediaLeg(CallLeg, Protocol):
    """The SIP call that brings the audio: an `sip.rtpleg.RtpLeg`."""

    @property
    def stats(self) -> HasFields:
        """Figures of its media."""

    def quality(self) -> CallQuality:
        """How good its audio is."""

    def info_dtmf(self, digit: str) -> None:
        """A key that came by another way than RTP; what RTP brings too counts once."""


class FreeswitchLeg:
    """Implements `media.leg.CallLeg`, and is the media leg's sink."""

    lead_ms = 0
    hands_over = True

    def __init__(
        self,
        info: CallInfo,
        channel: Channel,
        media: MediaLeg,
        transfer: "Callable[[FreeswitchLeg, Transfer], Awaitable[None]]",
    ) -> None:
        self.info, self.channel, self._media = info, channel, media
        self.stats = SwitchStats(media.stats)
        self._handover: asyncio.Future[bool] | None = None  # whether it worked
        self.guard = ""  # what FreeSWITCH does should our audio end while the call does not (guard.py)
        self.plan = ""  # a dialplan that brings the channel to us anew
        self._began = asyncio.get_running_loop().time()
        self.sip_call: IncomingCall | None = None  # the SIP call behind `media`
        self._transfer = transfer
        self._sink: LegSink | None = None
        self._closed: HangupCause | None = None
        self._cause: HangupCause | None = None  # with which we hang up
        self._said: deque[bytes] = deque()  # frames of `say`
        self._speaking: asyncio.Event | None = None
        self._media_gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._media_cause = HangupCause.NORMAL

    # CallLeg

    @property
    def format(self) -> AudioFormat:
        """Rate and packet time of frames in both directions."""
        return self._media.format

    @property
    def media(self) -> MediaLeg:
        """What brings the audio."""
        return self._media

    @property
    def closed(self) -> bool:
        """Whether the session was told that the call is over."""
        return self._closed is not None

    @property
    def handed_over(self) -> bool:
        """Whether the caller is with somebody else: the end of our media was not the end of his call."""
        return self._handover is not None and self._handover.done() and self._handover.result()

    @contextmanager
    def handing_over(self) -> Iterator[None]:
        """FreeSWITCH is told to connect the caller elsewhere: our media may end before we know that it has.
        Leaving the block says that it has; an exception, that he is still here."""
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._handover = result
        try:
            yield
            result.set_result(True)
        finally:
            if not result.done():
                result.set_result(False)

    def start(self, sink: LegSink) -> None:
        """Report to `sink` from now on."""
        if self._sink is not None:
            raise LocalProtocolError("the leg was started before")
        self._sink = sink
        self._media.start(self)

    @property
    def flows(self) -> bool:
        """Whether audio of the far end has come."""
        return self._media.flows

    def send(self, frame: AudioFrame) -> None:
        """Send one frame at the next tick."""
        self._media.send(frame)

    def quality(self) -> CallQuality:
        """How good the audio between FreeSWITCH and us is; the caller's side is in `stats` at the end."""
        return self._media.quality()

    def clear(self) -> None:
        """Forget frames that wait for their tick."""
        self._media.clear()

    def send_dtmf(self, digits: str) -> None:
        """Press keys: FreeSWITCH passes them on to the caller."""
        self._media.send_dtmf(digits)

    async def hangup(self, cause: HangupCause) -> None:
        """End the call: FreeSWITCH hangs up the caller, which ends our media too."""
        if self._closed is not None or self._cause is not None:
            return
        self._cause = cause
        try:
            await self.channel.hangup(name_of(cause))
        except EslError as error:
            log.warning("cannot hang up over the event socket", extra=self._extra(error=str(error)))
            await self._media.hangup(cause)  # FreeSWITCH's dialplan goes on

    async def transfer(self, order: Transfer) -> None:
        """Hand the caller over. Raises TransferError (he is still here) and Unsupported."""
        await self._transfer(self, order)

    # The call's life; runs as a task from the answer on

    async def watch(self) -> None:
        """Until the call is over: keys that FreeSWITCH reports, its end, its figures."""
        try:
            async with task_scope() as start:
                start(self._keys(), "freeswitch keys")
                ends: set[asyncio.Future[Any]] = {self.channel.ended, self._media_gone}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not self.channel.ended.done():
                    await self._without_media()
            if self.channel.ended.done():
                self.stats.switch = figures_of(self.channel.ended.result())
        finally:
            await self._end()

    async def _keys(self) -> None:
        """A caller's keys come by RTP; where only FreeSWITCH has seen one (in-band tones, INFO), by it."""
        async for event in self.channel.events:
            if event.name == "DTMF" and self._handover is None:
                digit = event.get("DTMF-Digit").upper()
                if digit and digit in "0123456789*#ABCD":
                    self._media.info_dtmf(digit)

    async def _without_media(self) -> None:
        """Our audio has ended. Mostly because the caller has hung up; else his channel has nothing left,
        unless he was handed over."""
        if self._handover is not None and await asyncio.shield(self._handover):
            return
        if await self._over_within(MEDIA_GONE_S) or self.channel.hung_up.done():
            return
        if self._given_up and await self._fetched():
            return
        log.warning("media ended before the call", extra=self._extra())
        await self.hangup(self._media_cause)
        await self._over_within(FIGURES_S)

    @property
    def _given_up(self) -> bool:
        """FreeSWITCH has ended our audio, not we: we have hung, and the caller is still there."""
        old = asyncio.get_running_loop().time() - self._began >= SOUND_S
        return old and self._cause is None and self._media_cause is not HangupCause.MEDIA_TIMEOUT

    async def _fetched(self) -> bool:
        """Have the channel brought to us anew: whoever gets it goes on with the call."""
        log.warning("FreeSWITCH has given up our audio, fetching the call", extra=self._extra())
        uuid = self.channel.uuid
        try:
            await self.channel.sender.demand(f"api uuid_transfer {uuid} '{self.plan}' inline")
        except EslError as error:
            log.warning("call cannot be fetched", extra=self._extra(error=str(error)))
            return False
        return await self._over_within(FETCH_S)

    async def _over_within(self, seconds: float) -> bool:
        await asyncio.wait({self.channel.ended}, timeout=seconds)
        return self.channel.ended.done()

    async def _end(self) -> None:
        cause = self._cause or cause_of(self.channel.cause) if self.channel.cause else self._media_cause
        if self.handed_over:
            cause = HangupCause.NORMAL
        if self._closed is None:
            self._closed = cause
            await self._media.hangup(cause)
            if self._sink is not None:
                self._sink.on_closed(cause)

    # LegSink, for the media leg

    def on_audio(self, frame: AudioFrame) -> None:
        """The caller's next frame."""
        assert self._sink is not None
        self._sink.on_audio(frame)

    def on_tick(self) -> None:
        """The session's turn to send; what is announced comes first."""
        assert self._sink is not None
        if self._speaking is None:
            self._sink.on_tick()
        elif self._said:
            self._media.send(AudioFrame(self._said.popleft(), self.format.rate, 0))
        else:
            self._speaking.set()

    def on_dtmf(self, digit: str) -> None:
        """A key of the caller."""
        assert self._sink is not None
        self._sink.on_dtmf(digit)

    def on_played(self, pts: int) -> None:
        """RTP confirms nothing."""

    def on_closed(self, cause: HangupCause) -> None:
        """The audio has ended; `watch` finds out what that means."""
        self._media_cause = cause
        if not self._media_gone.done():
            self._media_gone.set_result(None)

    # Announcements while the session is silent

    async def say(self, pcm: bytes) -> None:
        """Play audio of this leg's rate in place of the session's. Returns when it was sent."""
        size = self.format.size
        padded = pcm + bytes(-len(pcm) % size)
        self._said.extend(padded[i : i + size] for i in range(0, len(padded), size))
        self._speaking = asyncio.Event()
        try:
            await self._speaking.wait()
        finally:
            self._speaking = None
            self._said.clear()

    def _extra(self, **more: object) -> dict[str, object]:
        return {"call_id": self.info.call_id, "channel": self.channel.uuid, **more}
