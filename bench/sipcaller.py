"""A crowd of callers for measuring a SIP server from outside: N calls in one process, on loopback.

Independent of the server's code on purpose: signalling is the least that a lossless line needs, RTP is
written by hand, and what is measured is what comes back on the wire.

    INVITE -> 200 -> ACK -> line noise, and a sentence whenever the bot has been silent -> BYE

`plan` says what each call does with the bot's answers: A listens to the end, B speaks over it after a
second. Times are of the system's clock, so that they compare with the server's timeline.
"""

import asyncio
import base64
import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

RTP = struct.Struct("!BBHII")
SILENT = frozenset(b"\xff\x7f\xfe\x7e")  # mu-law of 0 and its neighbours
FRAME = 160  # samples, bytes
SLOTS = 4


def sentences(pattern: str) -> list[bytes]:
    """What callers say: mu-law files of bench/speech."""
    return [path.read_bytes() for path in sorted((Path(__file__).parent / "speech").glob(pattern))]


def audible(payload: bytes) -> bool:
    """Whether more than a quarter of a packet is not silence."""
    return sum(payload.count(value) for value in SILENT) < len(payload) * 3 // 4


@dataclass(slots=True)
class Heard:
    """What one caller has measured."""

    arrivals: list[tuple[float, int]] = field(default_factory=list)  # time, RTP timestamp
    responses: list[float] = field(default_factory=list)  # s, own last sound to the bot's first
    stops: list[tuple[float, float]] = field(default_factory=list)  # own first sound over the bot, bot's last
    setup: float = 0.0  # s, INVITE to 200
    answered: bool = False
    ended_by_bot: bool = False
    status: str = ""


class Secret:
    """SRTP of one call, AES_CM_128_HMAC_SHA1_80, keys in the SDP."""

    def __init__(self) -> None:
        import pylibsrtp  # noqa: PLC0415 - an extra

        self._library, self._key = pylibsrtp, os.urandom(30)
        policy = pylibsrtp.Policy(self._key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.protect: Callable[[bytes], bytes] = pylibsrtp.Session(policy).protect
        self.unprotect: Callable[[bytes], bytes] = lambda data: data

    @property
    def line(self) -> str:
        return f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(self._key).decode()}\r\n"

    def accept(self, answer: str) -> None:
        """Take the key of the answer."""
        key = base64.b64decode(answer.partition("inline:")[2].split()[0])
        policy = self._library.Policy(key, self._library.Policy.SSRC_ANY_INBOUND)
        self.unprotect = self._library.Session(policy).unprotect


class Caller(asyncio.DatagramProtocol):
    """One call's RTP and its behaviour."""

    def __init__(self, crowd: "Crowd", number: int) -> None:
        self.crowd, self.number, self.heard = crowd, number, Heard()
        self.call_id = f"{random.getrandbits(64):x}@bench"
        self.remote: tuple[str, int] | None = None
        self.tag = ""
        self.secret = Secret() if crowd.srtp else None
        self.transport: asyncio.DatagramTransport | None = None
        self.port = 0
        self._sequence, self._timestamp, self._ssrc = 0, 0, random.getrandbits(32)
        self._noise = bytes(random.choice(b"\xff\x7f") for _ in range(FRAME))
        self._line: Iterator[bytes] = iter(())
        self._bot_last = 0.0  # when the bot was last audible
        self._bot_began = 0.0
        self._spoke_until = 0.0  # own last sound, if unanswered
        self._barged_at = 0.0
        self._turns = 0
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now = time.time()
        if 192 <= data[1] <= 223:  # RTCP on the same port (RFC 5761)
            return
        if self.secret is not None:
            data = self.secret.unprotect(data)
        _, _, _, timestamp, _ = RTP.unpack_from(data)
        self.heard.arrivals.append((now, timestamp))
        if not audible(data[12:]):
            return
        if now - self._bot_last > 0.3:
            self._bot_began = now
        self._bot_last = now
        if self._spoke_until and not self._barged_at:
            self.heard.responses.append(now - self._spoke_until)
            self._spoke_until = 0.0

    def tick(self) -> None:
        """Every 20 ms: one packet, and perhaps a decision."""
        if self.remote is None or self.transport is None:
            return
        now = time.time()
        payload = next(self._line, None)
        if payload is None:
            payload = self._noise
            self._decide(now)
        header = RTP.pack(0x80, 0, self._sequence & 0xFFFF, self._timestamp & 0xFFFFFFFF, self._ssrc)
        packet = header + payload
        self.transport.sendto(self.secret.protect(packet) if self.secret else packet, self.remote)
        self._sequence += 1
        self._timestamp += FRAME

    def _decide(self, now: float) -> None:
        plan = self.crowd.plan
        if self._barged_at and now - self._bot_last > 0.4:
            self.heard.stops.append((self._barged_at, self._bot_last))
            self._barged_at = 0.0
        barge = plan[self._turns % len(plan)] == "B"
        speaking = now - self._bot_last < 0.1
        if speaking and barge and self._turns and not self._barged_at and now - self._bot_began > 1.0:
            self._barged_at = now
            self._speak(now)
        elif not speaking and self._bot_last and not self._spoke_until and now - self._bot_last > 0.8:
            self._speak(now)

    def _speak(self, now: float) -> None:
        said = self.crowd.said
        sentence = said[(self.number + self._turns) % len(said)]
        self._line = (sentence[i : i + FRAME].ljust(FRAME, b"\xff") for i in range(0, len(sentence), FRAME))
        self._spoke_until = now + len(sentence) / 8000
        self._turns += 1


class Crowd(asyncio.DatagramProtocol):
    """All callers of a run, and their signalling on one socket."""

    def __init__(
        self, target: tuple[str, int], calls: int, plan: str, said: list[bytes], *, srtp: bool = False
    ) -> None:
        self.target, self.plan, self.said, self.srtp = target, plan, said, srtp
        self.callers = [Caller(self, n) for n in range(calls)]
        self._by_id = {caller.call_id: caller for caller in self.callers}
        self._transport: asyncio.DatagramTransport | None = None
        self._port = 0

    async def run(self, seconds: float, per_second: float, started: Callable[[], None]) -> None:
        """Call, talk for `seconds` with everybody on the line, hang up. `started` is told when all are."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self._port = self._transport.get_extra_info("sockname")[1]
        async with asyncio.TaskGroup() as group:
            pulse = group.create_task(self._pulse(loop))
            for caller in self.callers:
                await loop.create_datagram_endpoint(lambda c=caller: c, ("127.0.0.1", 0))  # type: ignore[misc]
                self._invite(caller)
                await asyncio.sleep(1 / per_second)
            await asyncio.sleep(2)
            started()
            await asyncio.sleep(seconds)
            for caller in self.callers:
                self._send(self._request("BYE", caller, 2))
            await asyncio.sleep(1)
            pulse.cancel()

    async def _pulse(self, loop: asyncio.AbstractEventLoop) -> None:
        start, beat = loop.time(), 0
        while True:
            for caller in self.callers[beat % SLOTS :: SLOTS]:
                caller.tick()
            beat += 1
            await asyncio.sleep(max(0.0, start + beat * 0.02 / SLOTS - loop.time()))

    # Signalling

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        head, _, body = data.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        caller = self._by_id.get(headers.get("call-id", ""))
        if caller is None:
            return
        if first.startswith("SIP/2.0"):
            self._response(caller, first.split(" ", 2)[1], headers, body)
        elif first.startswith("BYE"):
            caller.heard.ended_by_bot, caller.remote = True, None
            names = ("via", "from", "to", "call-id", "cseq")
            reply = "".join(f"{name}: {headers[name]}\r\n" for name in names)
            self._send(f"SIP/2.0 200 OK\r\n{reply}Content-Length: 0\r\n\r\n")

    def _response(self, caller: Caller, status: str, headers: dict[str, str], body: str) -> None:
        if not headers["cseq"].endswith("INVITE") or status.startswith("1"):
            return
        caller.tag = headers["to"].partition(";tag=")[2]
        self._send(self._request("ACK", caller, 1))
        if not status.startswith("2"):
            caller.heard.status = status
            return
        if caller.heard.answered:
            return
        caller.heard.answered, caller.heard.setup = True, time.time() - caller.started
        if caller.secret is not None:
            caller.secret.accept(body)
        port = next(line.split()[1] for line in body.splitlines() if line.startswith("m=audio"))
        caller.remote = (self.target[0], int(port))

    def _invite(self, caller: Caller) -> None:
        caller.started = time.time()
        profile, key = ("RTP/SAVP", caller.secret.line) if caller.secret is not None else ("RTP/AVP", "")
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {caller.port} {profile} 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\n{key}"
        )
        self._send(self._request("INVITE", caller, 1, sdp))

    def _request(self, method: str, caller: Caller, cseq: int, sdp: str = "") -> str:
        host, port = self.target
        to = f";tag={caller.tag}" if caller.tag else ""
        branch = f"z9hG4bK{method}{caller.number}{caller.call_id[:8]}"
        content = "Content-Type: application/sdp\r\n" if sdp else ""
        return (
            f"{method} sip:bot@{host}:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self._port};branch={branch}\r\n"
            f"From: <sip:bench{caller.number}@127.0.0.1>;tag={caller.number}\r\n"
            f"To: <sip:bot@{host}>{to}\r\n"
            f"Call-ID: {caller.call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:bench{caller.number}@127.0.0.1:{self._port}>\r\n{content}"
            f"Content-Length: {len(sdp)}\r\n\r\n{sdp}"
        )

    def _send(self, message: str) -> None:
        assert self._transport is not None
        self._transport.sendto(message.encode(), self.target)
