"""pjsua2 towards a carrier: registration with digest, calls through a trunk, early media, transfer."""

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.pjsua import PjsuaEndpoint
from sip.rtpleg import RtpLeg
from sip.ua.config import SipConfig, Trunk
from sip.ua.message import Request, Response, parse, reply
from tests.sip.test_pjsua import HOST, Answerer, media, until
from tests.sip.test_rtpleg import FakeSink, Phone

pytestmark = pytest.mark.real
CHALLENGE = 'Digest realm="carrier", nonce="abc", qop="auth", algorithm=MD5'


class Carrier:
    """A scripted peer on a UDP socket."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((HOST, 0))
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]
        self.source: Any = None
        self.seen: set[tuple[str, str]] = set()

    async def receive(self, method: str) -> Request:
        """The next request of this method; repetitions and everything else are passed over."""
        async with asyncio.timeout(5):
            while True:
                data, self.source = await asyncio.get_running_loop().sock_recvfrom(self.sock, 8192)
                message = parse(data) if data.strip(b"\r\n\0") else None
                if not isinstance(message, Request) or message.method != method:
                    continue
                key = (method, message.headers.get("via") or "")
                if key not in self.seen:
                    self.seen.add(key)
                    return message

    def answer(self, request: Request, status: int, *headers: tuple[str, str], sdp: str = "") -> None:
        response = reply(request, status, tag="carrier")
        for name, value in (*headers, ("Contact", f"<sip:carrier@{HOST}:{self.port}>")):
            response.headers.add(name, value)
        if sdp:
            response.headers.add("Content-Type", "application/sdp")
            response.body = sdp.encode()
        self.send(response)

    def send(self, message: Request | Response) -> None:
        self.sock.sendto(bytes(message), self.source)


def description(port: int) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n"
        "a=rtpmap:101 telephone-event/8000\r\n"
    )


@asynccontextmanager
async def serving(*trunks: Trunk, answerer: Answerer | None = None) -> AsyncIterator[PjsuaEndpoint]:
    config = SipConfig(host=HOST, port=0, trunks=trunks, transfer_timeout_s=2)
    endpoint = PjsuaEndpoint(config, media())
    await endpoint.start(answerer or Answerer())
    try:
        yield endpoint
    finally:
        await endpoint.close()


def digest_is_right(request: Request, user: str, password: str) -> bool:
    text = request.headers.get("authorization") or ""
    fields = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', text)}

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    secret, what = md5(user, "carrier", password), md5(request.method, fields["uri"])
    return fields["response"] == md5(secret, "abc", fields["nc"], fields["cnonce"], "auth", what)


def test_it_registers_with_digest_takes_the_trunks_calls_and_unregisters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    async def register() -> None:
        carrier = Carrier()
        trunk = Trunk("carrier", f"{HOST}:{carrier.port}", "1234", "secret", expires_s=300)
        async with serving(trunk) as pjsua:
            first = await carrier.receive("REGISTER")
            carrier.answer(first, 401, ("WWW-Authenticate", CHALLENGE))
            second = await carrier.receive("REGISTER")
            assert digest_is_right(second, "1234", "secret")
            assert second.headers.get("expires") == "300"
            assert "sip:1234@" in (second.headers.get("to") or "")
            carrier.answer(second, 200, ("Expires", "300"))
            await until(lambda: "sip registered" in caplog.text)
            closing = asyncio.ensure_future(pjsua.close())
            last = await carrier.receive("REGISTER")
            assert last.headers.get("expires") == "0"
            carrier.answer(last, 200)
            await closing
            carrier.sock.close()

    asyncio.run(register())


def test_a_refused_registration_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def register() -> None:
        carrier = Carrier()
        async with serving(Trunk("carrier", f"{HOST}:{carrier.port}", "1234", "wrong")):
            carrier.answer(await carrier.receive("REGISTER"), 403)
            await until(lambda: "sip registration failed" in caplog.text)
            carrier.sock.close()

    asyncio.run(register())


async def dialled(pjsua: PjsuaEndpoint, carrier: Carrier, phone: Phone) -> tuple[RtpLeg, FakeSink, Request]:
    """A call that the carrier has answered."""
    placing = asyncio.ensure_future(pjsua.place(OutboundCall(f"sip:desk@{HOST}:{carrier.port}", "alice")))
    invite = await carrier.receive("INVITE")
    carrier.answer(invite, 200, sdp=description(phone.port))
    await carrier.receive("ACK")
    leg = await placing
    sink = FakeSink(leg)
    leg.start(sink)
    return leg, sink, invite


def test_a_call_to_a_trunk_answers_its_challenge() -> None:
    async def call() -> None:
        carrier, phone = Carrier(), Phone()
        async with serving(
            Trunk("carrier", f"{HOST}:{carrier.port}", "1234", "secret", register=False)
        ) as pjsua:
            placing = asyncio.ensure_future(pjsua.place(OutboundCall(f"sip:555@{HOST}:{carrier.port}")))
            invite = await carrier.receive("INVITE")
            assert "sip:1234@" in (invite.headers.get("from") or "")
            carrier.answer(invite, 401, ("WWW-Authenticate", CHALLENGE))
            again = await carrier.receive("INVITE")
            assert digest_is_right(again, "1234", "secret")
            carrier.answer(again, 200, sdp=description(phone.port))
            leg = await placing
            await leg.hangup(HangupCause.NORMAL)
            carrier.answer(await carrier.receive("BYE"), 200)
            carrier.sock.close()

    asyncio.run(call())


def test_early_media_are_reported() -> None:
    async def call() -> None:
        carrier, early = Carrier(), Phone()
        async with serving() as pjsua:
            progress: list[CallProgress] = []
            outbound = OutboundCall(f"sip:desk@{HOST}:{carrier.port}", "alice")
            placing = asyncio.ensure_future(pjsua.place(outbound, progress.append))
            invite = await carrier.receive("INVITE")
            assert "a=rtpmap:101 telephone-event/8000" in invite.body.decode()
            carrier.answer(invite, 183, sdp=description(early.port))
            await until(lambda: CallProgress.EARLY_MEDIA in progress)
            carrier.answer(invite, 200, sdp=description(early.port))
            leg = await placing
            assert leg.agreement is not None
            assert leg.agreement.port == early.port
            await leg.hangup(HangupCause.NORMAL)
            carrier.answer(await carrier.receive("BYE"), 200)
            carrier.sock.close()
            early.sock.close()

    asyncio.run(call())


@pytest.mark.parametrize("result", [200, 486])
def test_a_transfer_ends_with_what_the_target_said(result: int) -> None:
    async def call() -> None:
        carrier, phone = Carrier(), Phone()
        async with serving() as pjsua:
            leg, sink, invite = await dialled(pjsua, carrier, phone)
            transfer = asyncio.ensure_future(leg.transfer(Transfer("sip:nurse@example.org")))
            refer = await carrier.receive("REFER")
            assert refer.headers.get("refer-to") == "<sip:nurse@example.org>"
            carrier.answer(refer, 202)
            notify = (
                f"NOTIFY sip:x@{HOST} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {HOST}:{carrier.port};branch=z9hG4bKn{result}\r\n"
                f"From: {refer.headers.get('to')}\r\nTo: {refer.headers.get('from')}\r\nMax-Forwards: 70\r\n"
                f"Call-ID: {invite.call_id}\r\nCSeq: 7 NOTIFY\r\nEvent: refer\r\n"
                f"Contact: <sip:c@{HOST}:{carrier.port}>\r\n"
                "Subscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\n"
            )
            body = f"SIP/2.0 {result} Result\r\n"
            data = f"{notify}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            carrier.sock.sendto(data, carrier.source)
            if result == 200:
                await transfer
                carrier.answer(await carrier.receive("BYE"), 200)
                assert sink.closed == [HangupCause.NORMAL]
            else:
                with pytest.raises(TransferError, match="486"):
                    await transfer
                assert not sink.closed
                await leg.hangup(HangupCause.NORMAL)
                carrier.answer(await carrier.receive("BYE"), 200)
            carrier.sock.close()

    asyncio.run(call())


@pytest.mark.parametrize(
    "target, status", [("tel:123", 416), ("nonsense", 416), ("sip:x@no.such.host.invalid", 0)]
)
def test_a_target_that_cannot_be_called_fails_at_once(target: str, status: int) -> None:
    async def call() -> None:
        async with serving() as pjsua:
            with pytest.raises(CallFailed) as caught:
                await pjsua.place(OutboundCall(target))
            assert caught.value.status == status
            assert pjsua.calls == 0

    asyncio.run(call())


def test_sources_that_are_not_allowed_are_refused() -> None:
    async def call() -> None:
        carrier = Carrier()
        answerer = Answerer()
        async with serving(answerer=answerer) as pjsua:
            pjsua.sources.allows = lambda host: False  # type: ignore[method-assign]
            port = int(pjsua.uri.rpartition(":")[2])
            invite = (
                f"INVITE sip:bot@{HOST}:{port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {HOST}:{carrier.port};branch=z9hG4bK1\r\n"
                f"From: <sip:scanner@{HOST}>;tag=1\r\nTo: <sip:bot@{HOST}>\r\nCall-ID: scan\r\n"
                f"CSeq: 1 INVITE\r\nContact: <sip:s@{HOST}:{carrier.port}>\r\n"
                "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            carrier.sock.sendto(invite.encode(), (HOST, port))
            statuses = []
            while not statuses or statuses[-1] < 200:
                message = parse(await asyncio.get_running_loop().sock_recv(carrier.sock, 8192))
                assert isinstance(message, Response)
                statuses.append(message.status)
            assert statuses[-1] == 403
            assert answerer.calls == []
            carrier.sock.close()

    asyncio.run(call())
