"""A telephone written by hand for what no well-behaved one does: hang up at any moment, send what it likes,
and note every packet that comes back. PCMU on loopback; shares no code with the server.

    async with line(server.sip_port, "alice") as phone:
        await phone.answered()
        phone.say("i would like to book an appointment")
        await phone.until(lambda: phone.speaking, 5)
        phone.bye()

Times are of the event loop's clock.
"""

import asyncio
import io
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import soundfile

from tests.callers import caller

RTP = struct.Struct("!BBHII")
FRAME, SILENCE = 160, b"\xff" * 160  # bytes in 20 ms; mu-law
SILENT = frozenset(b"\xff\x7f\xfe\x7e")  # 0 and its neighbours
KEYS = "0123456789*#ABCD"


def mu_law(pcm: bytes) -> bytes:
    """s16le as G.711, by libsndfile."""
    out = io.BytesIO()
    samples, _ = soundfile.read(io.BytesIO(pcm), format="RAW", subtype="PCM_16", channels=1, samplerate=8000)
    soundfile.write(out, samples, 8000, format="RAW", subtype="ULAW")
    return out.getvalue()


def spoken(text: str, voice: str = "slt") -> bytes:
    """What a caller says, from the first sound to the last, as mu-law."""
    pcm = np.frombuffer(caller(text, voice, lead_ms=0, tail_ms=0), "<i2")
    loud = np.nonzero(np.abs(pcm) > 300)[0]
    return mu_law(pcm[loud[0] : loud[-1]].tobytes())


@dataclass(frozen=True, slots=True)
class Packet:
    """One that came in."""

    at: float  # s
    sequence: int
    timestamp: int
    audible: bool


@dataclass(slots=True)
class Offer:
    """What the INVITE says."""

    caller: str
    payload_types: str = "0 101"
    rtp_before_answer: bool = False


@dataclass(slots=True)
class Log:
    """All that came back."""

    packets: list[Packet] = field(default_factory=list)
    responses: list[tuple[str, str]] = field(default_factory=list)  # status, CSeq
    requests: list[str] = field(default_factory=list)  # methods


class _Media(asyncio.DatagramProtocol):
    def __init__(self, phone: "Line") -> None:
        self._phone = phone

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if 192 <= data[1] <= 223:
            return  # RTCP (RFC 5761, section 4)
        _, _, sequence, timestamp, _ = RTP.unpack_from(data)
        payload = data[12:]
        audible = sum(payload.count(value) for value in SILENT) < len(payload) * 3 // 4
        self._phone.on_sound(payload)
        self._phone.log.packets.append(Packet(self._phone.now(), sequence, timestamp, audible))


class Line(asyncio.DatagramProtocol):
    """One call, from the INVITE to its end."""

    def __init__(self, port: int, offer: Offer) -> None:
        self._offer, self._server = offer, ("127.0.0.1", port)
        self.now = asyncio.get_running_loop().time
        self.log = Log()
        self.remote: tuple[str, int] | None = None  # where its RTP goes
        self.over = False  # a BYE or a final error came, or we have hung up
        self.silent = False  # send no RTP at all
        self._sip: asyncio.DatagramTransport
        self.rtp: asyncio.DatagramTransport
        self._frames: list[bytes] = []
        self.filler: Callable[[], bytes] = lambda: SILENCE
        self.on_sound: Callable[[bytes], None] = lambda payload: None
        self._id, self._tag, self._cseq = f"{random.getrandbits(64):x}@e2e", "", 1
        self._sequence, self._timestamp = random.getrandbits(15), random.getrandbits(31)
        self._ssrc = random.getrandbits(32)
        self.payload_type = 0

    async def open(self) -> None:
        """Bind, and send the INVITE."""
        loop = asyncio.get_running_loop()
        self._sip, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.rtp, _ = await loop.create_datagram_endpoint(lambda: _Media(self), ("127.0.0.1", 0))
        port = self.rtp.get_extra_info("sockname")[1]
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {self._offer.payload_types}\r\na=rtpmap:101 telephone-event/8000\r\n"
            "a=rtcp-mux\r\n"  # the port above may be another phone's
        )
        self._send("INVITE", sdp, "application/sdp")

    def close(self) -> None:
        """Give the ports back."""
        self._sip.close()
        self.rtp.close()

    async def beat(self) -> None:
        """A packet every 20 ms while the call is up."""
        start, count = self.now(), 0
        while True:
            if self.remote is not None and not self.over and not self.silent:
                self.send(self._frames.pop(0) if self._frames else self.filler())
            count += 1
            await asyncio.sleep(max(0.0, start + count * 0.02 - self.now()))

    # What it does

    def send(self, payload: bytes, payload_type: int | None = None, marker: int = 0) -> None:
        """One packet. Keys keep their timestamp (RFC 4733): they come as (payload, 101)."""
        kind = self.payload_type if payload_type is None else payload_type
        assert self.remote is not None
        header = RTP.pack(0x80, marker | kind, self._sequence & 0xFFFF, self._timestamp, self._ssrc)
        self.rtp.sendto(header + payload, self.remote)
        self._sequence += 1
        if kind != 101:
            self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF

    def play(self, sound: bytes) -> None:
        """mu-law, after what is still being played."""
        self._frames += [sound[at : at + FRAME].ljust(FRAME, b"\xff") for at in range(0, len(sound), FRAME)]

    def say(self, text: str, voice: str = "slt") -> float:
        """Speak; returns for how many seconds."""
        sound = spoken(text, voice)
        self.play(sound)
        return len(sound) / 8000

    @property
    def talking(self) -> bool:
        """Whether what was to be said is not all said."""
        return bool(self._frames)

    async def press(self, keys: str) -> None:
        """RFC 4733: 100 ms each, three end packets, 100 ms between them."""
        for key in keys:
            self.silent = True
            for step in range(1, 9):
                done = step > 5
                event = struct.pack("!BBH", KEYS.index(key), 10 | done << 7, FRAME * min(step, 5))
                self.send(event, 101, marker=0x80 if step == 1 else 0)
                if not done:
                    await asyncio.sleep(0.02)
            self._timestamp += 5 * FRAME
            self.silent = False
            await asyncio.sleep(0.1)

    def bye(self) -> None:
        """Hang up."""
        self.over = True
        self._send("BYE")

    def cancel(self) -> None:
        """Give up while it rings."""
        self._send("CANCEL")

    # What comes back

    async def until(self, ready: Callable[[], object], limit_s: float) -> None:
        """Wait for it; at most so long."""
        end = self.now() + limit_s
        while not ready():
            assert self.now() < end, f"not within {limit_s} s: {self.log.responses} {self.log.requests}"
            await asyncio.sleep(0.01)

    async def answered(self) -> None:
        """Wait for the answer."""
        await self.until(lambda: self.remote is not None or self.over, 10)
        assert self.remote is not None, self.log.responses

    async def ended(self, limit_s: float) -> None:
        """Wait until the bot hangs up."""
        await self.until(lambda: "BYE" in self.log.requests, limit_s)

    def heard_since(self, at: float) -> list[Packet]:
        """Audible packets."""
        return [packet for packet in self.log.packets if packet.audible and packet.at > at]

    @property
    def speaking(self) -> bool:
        """Whether the bot was audible in the last 300 ms."""
        return bool(self.heard_since(self.now() - 0.3))

    async def bots_turn(self, limit_s: float = 20) -> None:
        """Wait until the bot has spoken and then been silent for 0.7 s."""
        began = self.now()
        await self.until(lambda: self.heard_since(began), limit_s)
        await self.until(lambda: not self.heard_since(self.now() - 0.7), limit_s)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        head, _, body = data.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = [(n.strip().lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
        if not first.startswith("SIP/2.0"):
            method = first.split()[0]
            if method == "ACK":
                return
            self.log.requests.append(method)
            self.over |= method == "BYE"
            kept = [f"{n}: {v}" for n, v in headers if n in ("via", "from", "to", "call-id", "cseq")]
            status = "202 Accepted" if method == "REFER" else "200 OK"
            self._write([f"SIP/2.0 {status}", *kept, "Content-Length: 0"])
            return
        values = dict(headers)
        status = first.split()[1]
        self.log.responses.append((status, values["cseq"]))
        if values["cseq"].endswith("INVITE"):
            self._invited(status, values["to"].partition(";tag=")[2], body)

    def _invited(self, status: str, tag: str, body: str) -> None:
        self._tag = tag
        if status >= "200":
            # RFC 3261, 17.1.1.3 and 13.2.2.4: a refusal is acknowledged in its transaction, an answer anew.
            self._send("ACK", branch="ack" if status < "300" else "")
        if status.startswith("2"):
            port = next(line.split()[1] for line in body.splitlines() if line.startswith("m=audio"))
            self.remote = ("127.0.0.1", int(port))
        elif status >= "300":
            self.over = True

    def _send(self, method: str, body: str = "", kind: str = "", branch: str = "") -> None:
        if method not in ("INVITE", "ACK", "CANCEL"):
            self._cseq += 1
        cseq = 1 if method in ("INVITE", "ACK", "CANCEL") else self._cseq
        host, port = self._server
        mine = self._sip.get_extra_info("sockname")[1]
        lines = [
            f"{method} sip:bot@{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{mine};branch=z9hG4bK{self._id[:12]}{cseq}{branch};rport",
            f"From: <sip:{self._offer.caller}@127.0.0.1>;tag={self._id[:8]}",
            f"To: <sip:bot@{host}>" + (f";tag={self._tag}" if self._tag and method != "CANCEL" else ""),
            f"Call-ID: {self._id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self._offer.caller}@127.0.0.1:{mine}>",
            "Max-Forwards: 70",
            *([f"Content-Type: {kind}"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self._write(lines, body)

    def _write(self, lines: list[str], body: str = "") -> None:
        self._sip.sendto("\r\n".join([*lines, "", body]).encode(), self._server)


@asynccontextmanager
async def line(port: int, caller: str, payload_types: str = "0 101") -> AsyncIterator[Line]:
    """A call to this port; hung up when the block is left."""
    phone = Line(port, Offer(caller, payload_types))
    await phone.open()
    try:
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(phone.beat())
            yield phone
            if phone.remote is not None and not phone.over:
                phone.bye()
            await asyncio.sleep(0.1)
            beat.cancel()
    finally:
        phone.close()
