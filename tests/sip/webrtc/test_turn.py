"""A browser that may use nothing but a relay, by a real coturn with our time-limited credentials."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aioice import stun, turn
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from media.leg import HangupCause
from tests.sip.webrtc.peer import Peer, Sink, connect, loudest_hz, media, tone, until
from tests.tools import need
from voicegw.softphone.tokens import turn_credentials

SECRET = "shared with coturn"


@contextmanager
def coturn(folder: Path) -> Iterator[int]:
    """Yields its UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "turn.log").open("w")
    command = [
        "turnserver",
        *("-n", "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=test", "--no-cli"),
        *("--listening-ip=127.0.0.1", f"--listening-port={port}", "--relay-ip=127.0.0.1"),
        *("--allow-loopback-peers", "--no-tls", "--no-dtls", "--log-file=stdout", f"--pidfile={folder}/pid"),
        *(f"--userdb={folder}/db", "--min-port=45000", "--max-port=45999", "--no-multicast-peers"),
    ]
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        until_it_answers(port, process, folder / "turn.log")
        yield port
    finally:
        process.kill()
        process.wait(10)
        log.close()


def until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Binding requests (RFC 8489, section 5), four a second for half a minute."""
    request = bytes.fromhex("000100002112a442") + b"are you it? "
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.25)
        client.connect(("127.0.0.1", port))
        for _ in range(120):
            assert process.poll() is None, log.read_text()
            try:
                client.send(request)
                client.recv(1500)
                return
            except ConnectionRefusedError:
                time.sleep(0.25)
            except TimeoutError:
                pass
    raise AssertionError(log.read_text())


def relayed(port: int, name: str, word: str) -> Peer:
    peer = Peer(tone(400, 1))
    server = RTCIceServer(f"turn:127.0.0.1:{port}", name, word)
    track = peer.connection.getSenders()[0].track
    policy = RTCIceTransportPolicy.RELAY
    peer.connection = RTCPeerConnection(RTCConfiguration([server], iceTransportPolicy=policy))
    peer.connection.addTrack(track)
    peer.connection.on("track", peer._track)
    return peer


async def refused(port: int, name: str, word: str) -> None:
    with pytest.raises(stun.TransactionFailed) as failure:
        await turn.create_turn_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", port), username=name, password=word
        )
    assert failure.value.response.error_code == 401


@pytest.mark.real
def test_sound_goes_through_a_relay_with_credentials_that_have_not_ended(tmp_path: Path) -> None:
    need("turnserver")

    async def scenario(port: int) -> None:
        async with asyncio.timeout(20), media() as shared, asyncio.TaskGroup() as group:
            now = time.time()
            for bad in (turn_credentials(SECRET, "late", -60, now), turn_credentials("x", "anna", 60, now)):
                group.create_task(refused(port, *bad))
            peer = relayed(port, *turn_credentials(SECRET, "anna", 60, time.time()))
            leg, _ = await connect(shared, peer)
            candidates = [line for line in (await peer.offer()).splitlines() if line.startswith("a=cand")]
            assert candidates and all(" relay " in line for line in candidates)
            sink = Sink(leg, echo=True)
            leg.start(sink)
            await until(lambda: len(sink.frames) > 60 and len(peer.heard) > 30)
            assert loudest_hz(sink.heard(), 16000) == pytest.approx(400, abs=5)
            await leg.hangup(HangupCause.NORMAL)
            await peer.close()

    with coturn(tmp_path) as port:
        asyncio.run(scenario(port))
