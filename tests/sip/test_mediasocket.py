"""Sockets under media legs: a far end that reads no more costs no memory, and one that is gone no time."""

import asyncio
import os
import socket
from base64 import b64encode

import pytest

from media.leg import HangupCause
from sip.mediasocket import TcpChannel, header
from tests.contracts.carriers import Twilio
from tests.contracts.doors import door
from tests.contracts.streams import Sink


@pytest.mark.parametrize(
    "size, head",
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f" + (65536).to_bytes(8, "big")),
    ],
)
def test_the_head_of_a_frame(size: int, head: bytes) -> None:
    assert header(0x81, size) == head  # RFC 6455, section 5.2


def masked(text: str) -> bytes:
    """A text frame of a client, with a mask of zeros."""
    data = text.encode()
    assert len(data) < 65536
    size = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


def test_a_far_end_that_reads_no_more_is_not_waited_for() -> None:
    """By a client of our own: whoever uses a library reads all the time."""
    case = Twilio()

    async def scene() -> None:
        async with door(case.carrier) as d:
            url = await case.announce(d)
            host, port = d.url.removeprefix("http://").split(":")
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
            _, writer = await asyncio.open_connection(sock=sock, limit=1024)
            sign = case.socket_headers(url)["X-Twilio-Signature"]
            path = d.local(url).removeprefix(d.url)
            key = b64encode(os.urandom(16)).decode()
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            writer.write(f"{head}X-Twilio-Signature: {sign}\r\n\r\n".encode())
            writer.write(b"".join(masked(str(message)) for message in case.start()))
            taken = await d.call()
            assert isinstance(taken.sink, Sink)
            for _ in range(1000):  # 20 s of speech: 220 kB of base64
                taken.sink.say()
                if taken.sink.pts % 1600 == 0:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.1)
            for _ in range(1000):
                taken.sink.say()
            dropped = taken.leg.stats.sent_dropped  # type: ignore[attr-defined]
            assert dropped >= 900
            began = asyncio.get_running_loop().time()
            await taken.leg.hangup(HangupCause.NORMAL)
            assert asyncio.get_running_loop().time() - began < 1
            writer.close()

    asyncio.run(scene())


def test_a_tcp_channel_writes_bytes_and_nothing_after_the_end() -> None:
    async def scene() -> None:
        here, there = socket.socketpair()
        there.settimeout(2)
        _, writer = await asyncio.open_connection(sock=here)
        channel = TcpChannel(writer.transport)  # type: ignore[arg-type]
        channel.send(b"\x10\x00\x01x")
        channel.send("y")
        assert there.recv(10) == b"\x10\x00\x01xy" and channel.backlog == 0
        writer.close()
        channel.send(b"late")
        await asyncio.sleep(0.01)
        assert there.recv(10) == b""
        there.close()

    asyncio.run(scene())
