"""What the world sends. Each costs a counter or a word in the log, and the call beside it notices nothing."""

import asyncio
import random
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.callers import speech
from tests.e2e.line import SILENCE, line, mu_law
from tests.e2e.server import COMMAND, Server, environment, events, serving
from tests.tools import need

pytestmark = pytest.mark.real

QUICK = {  # or callers who never speak would take 25 s
    "VOICEGW_TURN__NO_INPUT_MS": "[1500, 3500, 5500]",
    "VOICEGW_TURN__MAX_SPEECH_MS": "2000",
}
NOISE_S, BABBLE_S = 12, 20
GAP_S = 0.2  # between two packets; a caller's jitter buffer hides less, but this machine is busy


class Witness:
    """A good call for as long as the block lasts: books nothing, but keeps the bot talking by its keys,
    and counts what comes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.packets = 0
        self.lost = self.worst_gap_s = 0.0
        self.answers: list[float] = []

    async def __aenter__(self) -> "Witness":
        self._context = line(self._port, "witness")
        self.phone = await self._context.__aenter__()
        await self.phone.answered()
        self._task = asyncio.create_task(self._talk())
        return self

    async def _talk(self) -> None:
        """4 for the opening hours, 6 for the same again."""
        await self.phone.until(lambda: self.phone.speaking, 15)
        for key in "4" + 100 * "6":
            await self.phone.press(key)
            at = self.phone.now()
            await self.phone.until(lambda since=at: self.phone.heard_since(since + 0.3), 10)
            await asyncio.sleep(1.5)

    async def __aexit__(self, *error: object) -> None:
        assert not self._task.done(), "the bot has stopped answering"
        self._task.cancel()
        await self._context.__aexit__(None, None, None)
        packets = self.phone.log.packets
        self.packets = len(packets)
        pairs = list(zip(packets, packets[1:], strict=False))
        self.lost = sum((b.sequence - a.sequence - 1) & 0xFFFF for a, b in pairs)
        self.worst_gap_s = max(b.at - a.at for a, b in pairs)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("flite")
    with serving(tmp_path_factory.mktemp("bad"), **QUICK) as running:
        yield running
        assert running.health()["status"] == "ok"
        assert running.metric("voicegw_call_crashes_total") == 0
        assert not running.logged("error", "critical")


async def beside(server: Server, *mischief: object) -> Witness:
    """Run all of it at once, beside a good call."""
    async with Witness(server.sip_port) as witness:
        await asyncio.sleep(0.5)
        await asyncio.gather(*mischief)  # type: ignore[call-overload]
        await asyncio.sleep(0.5)
    return witness


def unmoved(witness: Witness) -> None:
    assert witness.packets > 40
    assert witness.lost == 0 and witness.worst_gap_s < GAP_S


@cache
def noise(seconds: float, level: float = 3000.0) -> bytes:
    samples = np.random.default_rng(1).standard_normal(int(8000 * seconds)) * level
    return mu_law(np.clip(samples, -32767, 32767).astype("<i2").tobytes())


@cache
def babble(seconds: float) -> bytes:
    """Somebody who talks without taking breath."""
    samples, rate = speech(
        "and then she said to me that you can never know what they will do next " * 3, "rms"
    )
    step = rate / 8000
    resampled = samples[(np.arange(int(len(samples) / step)) * step).astype(int)]
    loud = resampled[np.abs(resampled) > 300].astype("<i2")  # no pause is left
    return mu_law(np.tile(loud, int(seconds * 8000 / len(loud)) + 1)[: int(seconds * 8000)].tobytes())


# Callers


async def never_speaks(server: Server) -> None:
    async with line(server.sip_port, "silent") as phone:
        await phone.answered()
        await phone.ended(40)


async def sends_nothing(server: Server) -> None:
    """No RTP at all, as behind a firewall: he still hears the bot, and goodbye."""
    async with line(server.sip_port, "mute") as phone:
        phone.silent = True
        await phone.answered()
        await phone.ended(40)


async def never_stops(server: Server) -> None:
    async with line(server.sip_port, "babbler") as phone:
        await phone.answered()
        await phone.bots_turn()
        phone.play(babble(BABBLE_S))
        await phone.until(lambda: not phone.talking, 25)


async def only_noise(server: Server) -> None:
    async with line(server.sip_port, "noise") as phone:
        await phone.answered()
        phone.play(noise(NOISE_S))
        await phone.until(lambda: not phone.talking or phone.over, 20)


@pytest.fixture(scope="module")
def strange_callers(server: Server) -> Witness:
    """They all call at once."""
    noise(NOISE_S), babble(BABBLE_S)  # made before: it takes time
    witness = asyncio.run(
        beside(server, never_speaks(server), sends_nothing(server), never_stops(server), only_noise(server))
    )
    server.settled()
    return witness


def test_a_call_beside_them_notices_nothing(strange_callers: Witness) -> None:
    unmoved(strange_callers)


@pytest.mark.parametrize("name", ["silent", "mute"])
def test_who_never_speaks_is_asked_and_then_bid_goodbye(
    server: Server, strange_callers: Witness, name: str
) -> None:
    call = server.call_from(name)
    assert [event["count"] for event in events(call, "no_input")] == [1, 2, 3]
    assert "Are you still there?" in " ".join(turn["text"] for turn in call["turns"])
    assert "oodbye" in call["turns"][-1]["heard"]
    assert (call["cause"], {turn["role"] for turn in call["turns"]}) == ("normal", {"bot"})


def test_who_never_stops_is_answered_all_the_same(server: Server, strange_callers: Witness) -> None:
    call = server.call_from("babbler")
    turns = events(call, "turn")
    assert len(turns) >= 2, "max_speech_ms ends an utterance"
    assert any(turn["role"] == "bot" for turn in call["turns"][2:])
    assert call["cause"] == "normal" and not events(call, "error")


def test_noise_is_no_answer(server: Server, strange_callers: Witness) -> None:
    call = server.call_from("noise")
    assert not [turn for turn in events(call, "turn") if turn["text"]]
    assert not events(call, "error")


# Media


async def wrong_payload_types(server: Server) -> None:
    """What was never offered, and what has no meaning at all."""
    async with line(server.sip_port, "odd-types") as phone:
        await phone.answered()
        for number in range(50):
            phone.send(SILENCE, payload_type=(3, 9, 18, 34, 77, 127)[number % 6])
            await asyncio.sleep(0.01)
        await phone.until(lambda: phone.speaking, 15)
        await phone.press("4")
        await phone.bots_turn()


async def garbage_on_rtp(server: Server) -> None:
    """From its own port, and from a stranger's."""
    random.seed(1)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    async with line(server.sip_port, "garbage") as phone:
        await phone.answered()
        assert phone.remote is not None
        await asyncio.sleep(0.5)
        for size in (0, 1, 11, 12, 13, 172, 1400, 9000, 60000):
            for _ in range(10):
                data = random.randbytes(size)
                phone.rtp.sendto(data, phone.remote)
                stranger.sendto(data, phone.remote)
            await asyncio.sleep(0.01)
        stray = struct.pack("!BBHII", 0x80, 0, 1, 160, 99) + bytes(160)  # full scale, if it were played
        for _ in range(50):
            stranger.sendto(stray, phone.remote)
        await phone.press("4")
        await phone.bots_turn()
    stranger.close()


async def rtp_before_the_answer(server: Server) -> None:
    """To every port where the next call may be, before there is one; then a call."""
    early = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packet = struct.pack("!BBHII", 0x80, 0, 1, 160, 7) + SILENCE
    async with line(server.sip_port, "early") as phone:
        for _ in range(20):
            for port in range(20000, 20040, 2):
                early.sendto(packet, ("127.0.0.1", port))
            await asyncio.sleep(0)
        await phone.answered()
        await phone.bots_turn()
    early.close()


@pytest.fixture(scope="module")
def strange_media(server: Server) -> Witness:
    works = (wrong_payload_types(server), garbage_on_rtp(server), rtp_before_the_answer(server))
    witness = asyncio.run(beside(server, *works))
    server.settled()
    return witness


def test_a_call_beside_bad_media_notices_nothing(strange_media: Witness) -> None:
    unmoved(strange_media)


def test_wrong_payload_types_are_counted_and_not_played(server: Server, strange_media: Witness) -> None:
    call = server.call_from("odd-types")
    (media,) = events(call, "media")
    assert media["received_wrong_type"] >= 40
    assert [turn["text"] for turn in call["turns"] if turn["role"] == "caller"] == ["4"]


def test_garbage_and_strangers_are_counted_and_not_played(server: Server, strange_media: Witness) -> None:
    call = server.call_from("garbage")
    (media,) = events(call, "media")
    assert media["received_garbage"] > 0 and media["received_foreign"] > 50
    assert [turn["text"] for turn in call["turns"] if turn["role"] == "caller"] == ["4"]
    assert not events(call, "vad", speaking=True)


def test_early_media_harms_nobody(server: Server, strange_media: Witness) -> None:
    call = server.call_from("early")
    assert call["cause"] == "normal" and call["turns"][0]["heard"] == call["turns"][0]["text"]


# Signalling

INVITE = (
    b"INVITE sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n"
    b"From: <sip:x@127.0.0.1>;tag=1\r\nTo: <sip:bot@127.0.0.1>\r\nCall-ID: bad%d\r\nCSeq: 1 INVITE\r\n"
    b"Contact: <sip:x@127.0.0.1:9>\r\nMax-Forwards: 70\r\n"
)
SPLIT = INVITE.replace(b"1 INVITE", b"1 BYE")  # of two minds, or it would be a call
HUGE = SPLIT % 1 + b"X-Filler: " + b"a" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n"
MANY_HEADERS = SPLIT % 2 + b"Via: SIP/2.0/UDP 127.0.0.1\r\n" * 1500 + b"\r\n"
SDP = b"Content-Type: application/sdp\r\nContent-Length: "
TRUNCATED = INVITE % 3 + SDP + b"500\r\n\r\nv=0\r\no=- 1 1 IN"
NO_SDP_SENSE = INVITE % 4 + SDP + b"9\r\n\r\nnonsense\n"
HTTP = b"GET / HTTP/1.1\r\n\r\n"
GARBAGE = [HUGE, TRUNCATED, NO_SDP_SENSE, MANY_HEADERS, INVITE[:60], b"\r\n\r\n", b"\0" * 1000, HTTP]


async def garbage_on_udp(server: Server) -> None:
    random.seed(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        for data in GARBAGE + [random.randbytes(random.randrange(2000)) for _ in range(300)]:
            sock.sendto(data, ("127.0.0.1", server.sip_port))
            await asyncio.sleep(0.002)


async def garbage_on_tcp(server: Server) -> None:
    """Whole, byte by byte, and never ending."""
    random.seed(3)
    endless = SPLIT % 5 + b"X: " + b"b" * 300_000
    for data in [*GARBAGE, random.randbytes(5000), endless]:
        _, writer = await asyncio.open_connection("127.0.0.1", server.sip_port)
        try:
            for at in range(0, min(len(data), 200), 7):
                writer.write(data[at : at + 7])
            writer.write(data[200:])
            await asyncio.wait_for(writer.drain(), 2)
            await asyncio.sleep(0.05)
        except (ConnectionError, TimeoutError):
            pass  # hanging up on us is a good answer
        finally:
            writer.close()
    idle = [await asyncio.open_connection("127.0.0.1", server.sip_port) for _ in range(20)]
    await asyncio.sleep(0.5)
    for _, writer in idle:
        writer.close()


def test_garbage_on_the_sip_port(server: Server) -> None:
    server.settled()
    before = len(server.calls())
    witness = asyncio.run(beside(server, garbage_on_udp(server), garbage_on_tcp(server)))
    unmoved(witness)
    server.settled()
    assert server.metric('voicegw_sip_total{kind="unparsable"}') >= 300
    assert [call["from"] for call in server.calls()[before:] if call["answered_at"]] == ["witness"]


def test_the_good_calls_were_good_to_the_end(
    server: Server, strange_callers: Witness, strange_media: Witness
) -> None:
    calls = [call for call in server.calls() if call["from"] == "witness"]
    assert len(calls) >= 2
    assert {(call["cause"], call["recording_state"]) for call in calls} == {("normal", "complete")}


# The disk


def test_recordings_that_cannot_be_written_cost_no_call(tmp_path: Path) -> None:
    """One alarm for the disk, a word for each file. /sys lets nobody make a folder, not even root."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "calls").symlink_to("/sys/kernel")

    async def two_calls(server: Server) -> None:
        for name in ("one", "two"):
            async with line(server.sip_port, name) as phone:
                await phone.answered()
                await phone.until(lambda: phone.speaking, 15)
                await phone.press("4")
                await phone.bots_turn()

    with serving(tmp_path) as server:
        asyncio.run(two_calls(server))
        server.settled()
        calls = [server.call_from(name) for name in ("one", "two")]
        assert [call["cause"] for call in calls] == ["normal", "normal"]
        assert {call["recording_state"] for call in calls} == {"failed"}
        for call in calls:
            assert [turn["text"] for turn in call["turns"] if turn["role"] == "caller"] == ["4"]
        alarms = [record["message"] for record in server.logged("error")]
        assert alarms == ["the disk refuses: calls go on unrecorded"]
        said = {(record["message"], record.get("call_id")) for record in server.logged("warning")}
        failed = ("timeline cannot be written; its lines wait", "recording failed; the call goes on without")
        assert {(text, call["id"]) for text in failed for call in calls} <= said
        assert server.health()["status"] != "ok"


# Flows

LOOP = """\
flow: circle
start: a
nodes:
  a: {set: {n: "1"}, goto: b}
  b: {set: {n: "2"}, goto: a}
"""
CONDITIONAL = """\
flow: circle
start: hello
variables: {n: 0}
nodes:
  hello: {say: Hello there., goto: ask}
  ask: {ask: Shall I?, slot: ok, capture: yes_no, goto: turn}
  turn:
    branch:
      - {when: n > 5, goto: ask}
    else: again
  again: {set: {n: n * 1}, goto: turn}
"""


TRANSFERS = """\
flow: circle
start: a
nodes:
  a: {say: Hello., goto: b}
  b: {transfer: "sip:x@127.0.0.1:9", on_failed: b}
"""


@pytest.mark.parametrize("flow, at", [(LOOP, 4), (CONDITIONAL, 7), (TRANSFERS, 5)])
def test_an_endless_loop_is_refused_before_the_start(flow: str, at: int, tmp_path: Path) -> None:
    """Whatever its conditions: a circle in which nobody listens cannot be loaded, so no call can meet it."""
    (tmp_path / "flow.yaml").write_text(flow)
    (tmp_path / "voicegw.yaml").write_text("flows: [flow.yaml]\n")
    for command in ("check-config", "run"):
        done = subprocess.run(
            [*COMMAND, command, "voicegw.yaml"],
            env=environment(tmp_path / "data"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2 and not done.stdout, done
        assert f"flow.yaml:{at}: " in done.stderr and "endless loop" in done.stderr, done.stderr
