"""One page's line: what its WebSocket says becomes a call, what happens in the call goes back.

The line outlives the socket: when that is lost in a call, the media goes on, what is to be said waits, and
another socket takes the line over by its resume token.
"""

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from media.leg import CallInfo, HangupCause
from media.observe import EventName
from sip.endpoint import IncomingCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.webrtc.leg import WebRtcLeg
from sip.webrtc.media import WebRtcMedia
from voicegw.softphone import messages
from voicegw.softphone.tokens import Grant

log = logging.getLogger(__name__)

KEPT = 400  # messages, the newest: a page that was away gets those that it has missed
EARLY = 40  # candidates that come before the answer is made
Listener = Callable[[EventName, Mapping[str, Any]], None]


class Calls(Protocol):
    """The application's calls."""

    async def on_call(self, incoming: IncomingCall, flow: str | None = None) -> None:
        """Take a call from its beginning to its end."""


@dataclass(slots=True)
class Counters:
    """For the metrics, since the start."""

    calls: int = 0
    answered: int = 0
    full: int = 0  # calls refused: too many from browsers
    refused_origin: int = 0
    refused_token: int = 0
    refused_rate: int = 0
    bad_messages: int = 0
    resumed: int = 0  # sockets that took a call over
    restarted: int = 0  # ICE
    interrupted: int = 0  # times that a browser's sound stayed away
    no_media: int = 0  # calls that failed since no media got through


@dataclass(frozen=True, slots=True)
class LineParts:
    """What every line needs."""

    media: WebRtcMedia
    calls: Calls
    counters: Counters
    watch: Callable[[str, Listener], Callable[[], None]]  # events of a call, by its id; returns the end of it


class BrowserCall:
    """An incoming call (sip.endpoint.IncomingCall): rings until the call is let in, then lays the media."""

    def __init__(self, line: "Line", media: WebRtcMedia, info: CallInfo, offer: str) -> None:
        self.info, self._line, self._media, self._offer = info, line, media, offer
        self.leg: WebRtcLeg | None = None
        self.given_up = False
        self.refused = False

    def ring(self) -> None:
        """Tell the page that we work on it."""
        self._line.post("ringing")

    async def answer(self) -> WebRtcLeg:
        """Returns when media flows. Raises CallFailed."""
        leg = self.leg = WebRtcLeg(self._media, self.info, self._line.media_state)
        done = False
        try:
            if self.given_up:
                raise CallFailed(487, "the page hung up")
            answer = await leg.negotiate(self._offer)
            self._line.post("answer", sdp=answer, resume=self._line.resume, call=self.info.call_id)
            await self._line.negotiated()
            await leg.connected()
            done = True
            self._line.counters.answered += 1
        except RemoteProtocolError as error:
            self._line.error("offer", str(error))
            raise CallFailed(error.status, str(error)) from error
        finally:
            if not done:
                await leg.hangup(HangupCause.CANCELLED)
        return leg

    def reject(self, status: int, reason: str = "", retry_after_s: int | None = None) -> None:
        """Tell the page why not."""
        self.refused = True
        self._line.post("ended", cause="refused", status=status, message=reason, retry_after_s=retry_after_s)


class Line:
    """Of one page, for one call after the other."""

    def __init__(
        self, parts: LineParts, grant: Grant, full: Callable[[], bool], forget: Callable[["Line"], None]
    ) -> None:
        """`full`: whether there are as many calls as may be. `forget` is called when neither call nor
        socket is left."""
        self._parts, self.grant, self._full, self._forget = parts, grant, full, forget
        self.counters = parts.counters
        self.resume = secrets.token_urlsafe(24)
        self._posted: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._count = 0  # of messages posted
        self._sent = 0  # number of the last one that the socket has
        self._waiting = asyncio.Event()
        self._call: BrowserCall | None = None
        self._candidates: list[str | None] = []  # that came before the leg was ready for them
        self._socket = 0  # number of the one that has the line; 0: none
        self._sockets = 0
        self._unwatch: Callable[[], None] | None = None

    @property
    def calling(self) -> bool:
        """Whether there is a call on the line."""
        return self._call is not None

    # The socket

    def attach(self) -> int:
        """Another socket takes the line. Returns its number."""
        self._sockets += 1
        self._socket = self._sockets
        self._waiting.set()
        return self._socket

    def detach(self, socket: int) -> None:
        """A socket is gone. A call whose media flows goes on without it."""
        if self._socket == socket:
            self._socket = 0
        self._leave()

    def seen(self, number: int) -> None:
        """The page has all messages up to this one; the next socket gets the others."""
        self._sent = min(number, self._count)

    async def outgoing(self, socket: int) -> list[str] | None:
        """What is to be sent next; None when another socket has taken the line."""
        while self._socket == socket and self._sent >= self._count:
            self._waiting.clear()
            await self._waiting.wait()
        if self._socket != socket:
            return None
        batch = [text for number, text in self._posted if number > self._sent]
        self._sent = self._count
        return batch

    def post(self, kind: str, **fields: Any) -> None:
        """Tell the page. Messages are numbered, so that none is lost or doubled when the socket is."""
        self._count += 1
        text = json.dumps({"type": kind, "n": self._count, **fields}, separators=(",", ":"))
        self._posted.append((self._count, text))
        self._waiting.set()

    def error(self, code: str, message: str) -> None:
        """Something went wrong that the page or its user should know."""
        self.post("error", code=code, message=message)

    # What the page says

    async def handle(self, message: messages.Message) -> None:
        """Do what it says."""
        match message:
            case messages.Call():
                self._place(message)
            case messages.Offer(sdp):
                await self._restart(sdp)
            case messages.Candidate(candidate):
                await self._candidate(candidate)
            case messages.Key(key):
                self._key(key)
            case messages.Hangup():
                self.hang_up()
            case messages.Ping():
                self.post("pong")
            case messages.Hello() | messages.Resume():
                self.error("message", "hello and resume come first, and once")

    def hang_up(self) -> None:
        """The caller has hung up."""
        call = self._call
        if call is not None:
            call.given_up = True
            if call.leg is not None:
                call.leg.ended(HangupCause.NORMAL)

    def _place(self, message: messages.Call) -> None:
        flow = message.flow or self.grant.flows[0]
        if self._call is not None:
            self.error("busy", "there is a call on this line")
        elif flow not in self.grant.flows:
            self.post("ended", cause="refused", status=404, message=f"there is no flow {flow!r} here")
        elif self._full():
            self.counters.full += 1
            self.post("ended", cause="refused", status=503, message="All lines are busy. Try again later.")
        else:
            self.counters.calls += 1
            caller = self.grant.origin.partition("://")[2] or "browser"
            info = CallInfo(secrets.token_hex(8), caller, flow, "webrtc")
            self._call = BrowserCall(self, self._parts.media, info, message.sdp)
            self._candidates.clear()
            self._unwatch = self._parts.watch(info.call_id, self._happened)
            self._parts.media.start(self._run(self._call, flow), f"browser call {info.call_id}")

    async def _run(self, call: BrowserCall, flow: str) -> None:
        """From here to its end, whatever becomes of the socket."""
        try:
            await self._parts.calls.on_call(call, flow)
        finally:
            if self._unwatch is not None:
                self._unwatch()
            self._call = None
            if not call.refused:
                cause = call.leg.cause if call.leg is not None else None
                self.post("ended", cause=(cause or HangupCause.INTERNAL).name.lower())
            self._leave()

    async def negotiated(self) -> None:
        """The leg is ready: give it the candidates that were early."""
        early, self._candidates = self._candidates, []
        for candidate in early:
            await self._candidate(candidate)

    async def _restart(self, sdp: str) -> None:
        leg = None if self._call is None else self._call.leg
        if leg is None:
            self.error("offer", "there is no call to restart")
            return
        self.counters.restarted += 1
        try:
            self.post("answer", sdp=await leg.negotiate(sdp), resume=self.resume)
        except RemoteProtocolError as error:
            self.error("offer", str(error))

    async def _candidate(self, candidate: str | None) -> None:
        call = self._call
        if call is None:
            return  # of a call that has just ended
        if call.leg is None or not call.leg.negotiated:
            if len(self._candidates) < EARLY:
                self._candidates.append(candidate)
            return
        try:
            await call.leg.candidate(candidate)
        except RemoteProtocolError as error:
            self.error("candidate", str(error))

    def _key(self, key: str) -> None:
        leg = None if self._call is None else self._call.leg
        if leg is None:
            return
        try:
            leg.key(key)
        except ValueError as error:
            self.error("key", str(error))

    # What happens in the call

    def media_state(self, state: str) -> None:
        """Of the leg's path."""
        name, _, why = state.partition(": ")
        self.counters.interrupted += name == "interrupted"
        self.counters.no_media += name == "failed"
        self.post("media", state=name, **({"message": why} if why else {}))

    def _happened(self, name: EventName, fields: Mapping[str, Any]) -> None:
        """Only what the caller may know: his words, the bot's, and how long things took."""
        match name, fields:
            case ("partial", {"text": text}):
                self.post("partial", text=text)
            case ("turn", {"text": text, "source": source}):
                flags = {key: bool(fields.get(key)) for key in ("rejected", "continues", "interrupted")}
                self.post("turn", text=text, source=source, **flags)
            case ("act", {"kind": "say", "text": text}):
                self.post("say", text=text)
            case ("heard", {"text": text, "said": said, "complete": complete}):
                self.post("heard", text=text, said=said, complete=complete)
            case ("latency", _):
                self.post("latency", **{key: value for key, value in fields.items() if key.endswith("_ms")})
            case ("vad", {"speaking": speaking}):
                self.post("vad", speaking=speaking)
            case ("barge_in", _):
                self.post("barge_in")
            case _:
                pass

    def _leave(self) -> None:
        if self._call is None and not self._socket:
            self._forget(self)
