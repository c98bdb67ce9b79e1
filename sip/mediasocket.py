"""Sockets under media legs: a WebSocket that a carrier has opened to us, or a TCP connection.

Frames are written straight to the transport, so that nothing waits between a beat and the wire: no task, no
queue. A server's frames are not masked (RFC 6455, section 5.1) and we agree to no extension, so a header and
the payload are all there is; aiohttp reads, and answers pings and closes.
"""

import asyncio
import contextlib
import socket

from aiohttp import WSMsgType, web

from sip.mediacore import Message
from sip.mediastream import MediaStreamLeg

LARGEST = 262_144  # bytes of a message; Exotel's largest is 100 000 of sound, in base64
UNSENT = 4096  # bytes that the kernel may hold back: else it hides seconds of a slow far end from us
CLOSE_S = 2.0  # for the far end to say goodbye
_TEXT, _BINARY = 0x81, 0x82  # RFC 6455, section 5.2: FIN, and the opcode


def header(opcode: int, size: int) -> bytes:
    """The head of an unmasked frame of `size` bytes."""
    if size < 126:
        return bytes((opcode, size))
    if size < 65536:
        return bytes((opcode, 126)) + size.to_bytes(2, "big")
    return bytes((opcode, 127)) + size.to_bytes(8, "big")


def eager(transport: asyncio.BaseTransport) -> None:
    """Send small messages at once, and know early when they are not taken."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux, macOS
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


class TcpChannel:
    """Sends bytes on a TCP connection. Implements `sip.medialine.Channel`."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        eager(transport)

    @property
    def backlog(self) -> int:
        """Bytes that the network has not taken yet."""
        return self._transport.get_write_buffer_size()

    def send(self, message: Message) -> None:
        """Write it."""
        if not self._transport.is_closing():
            self._transport.write(message.encode() if isinstance(message, str) else message)


class WebSocketChannel(TcpChannel):
    """Sends messages on a WebSocket."""

    def send(self, message: Message) -> None:
        """Write one frame."""
        opcode, data = (_TEXT, message.encode()) if isinstance(message, str) else (_BINARY, message)
        super().send(header(opcode, len(data)) + data)


async def open_socket(
    request: web.Request, protocols: tuple[str, ...]
) -> tuple[web.WebSocketResponse, WebSocketChannel]:
    """Take the upgrade. Raises web.HTTPException for what is no WebSocket."""
    ws = web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=LARGEST, timeout=CLOSE_S, writer_limit=2**30
    )
    await ws.prepare(request)
    assert request.transport is not None
    return ws, WebSocketChannel(request.transport)


async def read_socket(ws: web.WebSocketResponse, leg: MediaStreamLeg) -> None:
    """Give the leg what comes, until the far end has closed."""
    clean = False
    try:
        async for message in ws:
            if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                leg.receive(message.data)
        clean = ws.close_code not in {None, 1006}  # RFC 6455, section 7.4.1: 1006 is no close, but a loss
    except Exception as error:  # a bug behind one carrier's message ends that call
        leg.failed(error)
    leg.disconnected(clean=clean)


async def read_stream(reader: asyncio.StreamReader, leg: MediaStreamLeg) -> None:
    """Give the leg the bytes that come, until the far end has closed."""
    clean = False
    try:
        while data := await reader.read(LARGEST):
            leg.receive(data)
        clean = True
    except OSError:
        pass
    except Exception as error:  # as above
        leg.failed(error)
    leg.disconnected(clean=clean)


async def close_socket(ws: web.WebSocketResponse, request: web.Request) -> None:
    """Say goodbye; cut off whoever does not answer."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(2 * CLOSE_S):
            await ws.close()
            return
    if request.transport is not None:
        request.transport.abort()
