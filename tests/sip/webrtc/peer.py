"""A browser made of aiortc, which shares no RTP, jitter buffer, SDP or DTLS code with ours."""

import asyncio
import fractions
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import av
import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from media.frames import AudioFrame
from media.leg import CallInfo, HangupCause
from media.metronome import Metronome
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.leg import WebRtcLeg
from sip.webrtc.media import WebRtcMedia

RATE = 48000
FRAME = RATE // 50


def tone(hz: float, seconds: float) -> npt.NDArray[np.int16]:
    """At 48 kHz."""
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)).astype(np.int16)


class Microphone(MediaStreamTrack):  # type: ignore[misc]
    """Plays `sound` in real time, over and over."""

    kind = "audio"

    def __init__(self, sound: npt.NDArray[np.int16]) -> None:
        super().__init__()
        self._frames = [sound[at : at + FRAME] for at in range(0, len(sound) - FRAME + 1, FRAME)]
        self._count, self._start = 0, 0.0

    async def recv(self) -> av.AudioFrame:
        now = asyncio.get_running_loop().time()
        self._start = self._start or now
        await asyncio.sleep(max(0.0, self._start + self._count * 0.02 - now))
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(self._frames[self._count % len(self._frames)].tobytes())
        frame.sample_rate, frame.pts = RATE, self._count * FRAME
        frame.time_base = fractions.Fraction(1, RATE)
        self._count += 1
        return frame


class Peer:
    """One browser."""

    def __init__(self, sound: npt.NDArray[np.int16], servers: list[RTCIceServer] | None = None) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=servers or []))
        self.connection.addTrack(Microphone(sound))
        self.heard: list[npt.NDArray[np.int16]] = []
        self.on_frame: Callable[[npt.NDArray[np.int16]], None] = self.heard.append
        self._listening: asyncio.Task[None] | None = None
        self.connection.on("track", self._track)

    async def offer(self) -> str:
        """Ours, with all candidates."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def answered(self, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def close(self) -> None:
        await self.connection.close()
        if self._listening is not None:
            self._listening.cancel()

    def _track(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                self.on_frame(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)])
        except MediaStreamError:
            pass  # over


class Sink:
    """Keeps what a leg reports, and sends back `answer`, or what it hears."""

    def __init__(self, leg: WebRtcLeg, *, echo: bool = False) -> None:
        self._leg, self._echo = leg, echo
        self.frames: list[AudioFrame] = []
        self.digits = ""
        self.ticks = 0
        self.closed: HangupCause | None = None

    def on_audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def on_tick(self) -> None:
        self.ticks += 1
        if self._echo and self.frames:
            self._leg.send(self.frames[-1])

    def on_dtmf(self, digit: str) -> None:
        self.digits += digit

    def on_played(self, pts: int) -> None:
        raise AssertionError("browsers confirm nothing")

    def on_closed(self, cause: HangupCause) -> None:
        assert self.closed is None
        self.closed = cause

    def heard(self, last: int = 50) -> npt.NDArray[np.int16]:
        """The samples of the last frames."""
        return np.concatenate([np.frombuffer(frame.pcm, "<i2") for frame in self.frames[-last:]])


@asynccontextmanager
async def media(config: WebRtcConfig | None = None) -> AsyncIterator[WebRtcMedia]:
    """What all browser calls share."""
    made = WebRtcMedia(config or WebRtcConfig(), Metronome(), (40, 200), datetime.now(UTC))
    async with made:
        yield made


async def connect(shared: WebRtcMedia, peer: Peer, number: int = 0) -> tuple[WebRtcLeg, list[str]]:
    """A connected leg, not yet started, and what it tells of its state."""
    states: list[str] = []
    leg = WebRtcLeg(shared, CallInfo(f"c{number}", "anna", "bot", "webrtc"), states.append)
    await peer.answered(await leg.negotiate(await peer.offer()))
    await leg.candidate(None)
    async with asyncio.timeout(10):
        await leg.connected()
    return leg, states


def loudest_hz(samples: npt.NDArray[np.int16], rate: int) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


async def until(ready: Callable[[], object], limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not ready():  # noqa: ASYNC110 - of things that have no event
            await asyncio.sleep(0.02)
