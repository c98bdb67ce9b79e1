"""The leg behind every SIP call: two of them over loopback sockets, on a virtual clock."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from dialog.types import Transfer
from media.errors import TransferError
from media.frames import AudioFormat, AudioFrame
from media.leg import CallInfo, CallLeg, HangupCause
from media.metronome import Metronome
from media.rtp import RtpSource, parse
from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.rtpleg import OUTBOX, RtpLeg
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.rtpports import PortsExhausted
from tests.clock import run

HOST = "127.0.0.1"
# Bare sockets have an address of this test process: reports go to the port above a phone's, which may else be
# the port of a phone in another process.
PHONES = f"127.0.1.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"


class FakeSignalling:
    def __init__(self) -> None:
        self.hangups: list[HangupCause] = []
        self.transferred: list[str] = []
        self.refuse = False
        self.info = ""

    def hangup(self, cause: HangupCause) -> None:
        self.hangups.append(cause)

    async def transfer(self, target: str) -> None:
        if self.refuse:
            raise TransferError("603 Decline")
        self.transferred.append(target)

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        self.info += digit


class FakeSink:
    """Plays a tone when asked to; remembers the rest."""

    def __init__(self, leg: RtpLeg, *, talks: bool = True) -> None:
        self.leg, self.talks = leg, talks
        self.frames: list[AudioFrame] = []
        self.digits = ""
        self.closed: list[HangupCause] = []
        self.ticks = 0
        self.on_frame: Callable[[], None] | None = None

    def on_audio(self, frame: AudioFrame) -> None:
        assert not self.closed
        self.frames.append(frame)
        if self.on_frame is not None:
            self.on_frame()

    def on_tick(self) -> None:
        assert not self.closed
        if self.talks:
            n = self.leg.format.samples
            t = np.arange(n) + self.ticks * n
            pcm = (np.sin(t * 2 * np.pi * 440 / self.leg.format.rate) * 8000).astype("<i2").tobytes()
            self.leg.send(AudioFrame(pcm, self.leg.format.rate, self.ticks * n))
        self.ticks += 1

    def on_dtmf(self, digit: str) -> None:
        assert not self.closed
        self.digits += digit

    def on_played(self, pts: int) -> None: ...

    def on_closed(self, cause: HangupCause) -> None:
        self.closed.append(cause)

    def loud(self, last: int) -> int:
        """How many of the last frames are no silence."""
        return sum(max(np.frombuffer(f.pcm, "<i2")) > 1000 for f in self.frames[-last:])


class Call:
    """Two legs that have agreed, both started."""

    def __init__(self, **config: Any) -> None:
        self.media = media(**config)
        self.signalling, self.far_signalling = FakeSignalling(), FakeSignalling()
        self.near, self.far = (
            leg(self.media, self.signalling),
            leg(media(codecs=config.get("codecs", RtpConfig().codecs)), self.far_signalling),
        )
        self.near.accept(self.far.answer(self.near.offer()))
        self.sink, self.far_sink = FakeSink(self.near), FakeSink(self.far)
        self.near.start(self.sink)
        self.far.start(self.far_sink)

    async def __aenter__(self) -> "Call":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.near.hangup(HangupCause.NORMAL)
        await self.far.hangup(HangupCause.NORMAL)


def media(**config: Any) -> RtpMedia:
    return RtpMedia(RtpConfig(**{"host": HOST, "first_port": 0, "last_port": 0, **config}), Metronome())


def leg(shared: RtpMedia, signalling: FakeSignalling | None = None, peer: str = "") -> RtpLeg:
    info = CallInfo("c1", "alice", "bot", "sip")
    return RtpLeg(shared, info, signalling or FakeSignalling(), HOST, peer)


def phone_offer(port: int, *lines: str, host: str = PHONES, formats: str = "0 101") -> str:
    extra = "".join(f"a={line}\r\n" for line in lines)
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\n{extra}"
    )


class Phone:
    """A bare socket, to send what no leg of ours would."""

    def __init__(self, host: str = PHONES) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.source = RtpSource(7, 1, 0)
        self.to = ("", 0)

    def audio(self, ticks: int = 160) -> None:
        self.sock.sendto(self.source.packet(0, b"\x80" * ticks, ticks), self.to)

    def received(self) -> list[bytes]:
        packets = []
        while True:
            try:
                packets.append(self.sock.recv(2048))
            except BlockingIOError:
                return packets


def with_phone(
    scene: Callable[[RtpLeg, FakeSink, Phone], Awaitable[None]], *lines: str, **config: Any
) -> None:
    """Play `scene` on a leg that answered the offer of a bare socket."""

    async def play() -> None:
        phone = Phone()
        one = leg(media(**config))
        one.answer(phone_offer(phone.port, *lines))
        phone.to = (HOST, one.port)
        sink = FakeSink(one)
        one.start(sink)
        try:
            await scene(one, sink, phone)
        finally:
            await one.hangup(HangupCause.NORMAL)
            phone.sock.close()

    run(play())


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "L16/16000", "L16/8000", "opus"])
def test_two_legs_hear_each_other_without_loss(name: str) -> None:
    async def talk() -> None:
        async with Call(codecs=(name,)) as call:
            await asyncio.sleep(3)
            for sink, one in ((call.sink, call.near), (call.far_sink, call.far)):
                assert len(sink.frames) in {149, 150, 151}
                assert sink.loud(140) == 140
                assert [f.pts for f in sink.frames] == [
                    n * one.format.samples for n in range(len(sink.frames))
                ]
                assert {len(f.pcm) for f in sink.frames} == {one.format.size}
                stats = one.stats.received
                assert (stats.lost, stats.late, stats.duplicate, stats.discarded, stats.garbage) == (0,) * 5
            assert call.near.format == AudioFormat(
                16000 if "16000" in name or name in {"G722", "opus"} else 8000, 20
            )

    run(talk())


def test_a_leg_is_a_call_leg() -> None:
    async def make() -> None:
        one = leg(media())
        as_port: CallLeg = one
        assert as_port.lead_ms == 0
        one.discard()

    run(make())


def test_the_stream_never_stops_when_the_bot_is_silent() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        sink.talks = False
        await asyncio.sleep(1)
        packets = [parse(p) for p in phone.received()]
        assert len(packets) in {49, 50, 51}
        assert {p[5] for p in packets if p} == {b"\xff" * 160}
        assert [p[1] for p in packets if p] == [True] + [False] * (len(packets) - 1)
        assert one.stats.sent.silent == len(packets)

    with_phone(scene)


@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
def test_packets_have_the_length_that_the_far_end_wants(ptime_ms: int) -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        await asyncio.sleep(1.205)
        packets = [parse(p) for p in phone.received()]
        assert {len(p[5]) for p in packets if p} == {8 * ptime_ms}
        assert len(packets) == pytest.approx(1200 / ptime_ms, abs=2)

    with_phone(scene, f"ptime:{ptime_ms}")


def test_keys_pass_both_ways_and_the_sink_rests_meanwhile() -> None:
    async def talk() -> None:
        async with Call() as call:
            await asyncio.sleep(0.5)
            before = call.sink.ticks
            call.near.send_dtmf("12#")
            await asyncio.sleep(0.54)
            assert call.sink.ticks - before <= 2
            call.far.send_dtmf("*A")
            await asyncio.sleep(1)
            assert (call.far_sink.digits, call.sink.digits) == ("12#", "*A")
            assert call.sink.loud(10) == 10
            assert call.far.stats.received.lost == 0

    run(talk())


def test_keys_go_by_info_to_a_far_end_without_events() -> None:
    async def talk() -> None:
        signalling = FakeSignalling()
        one = leg(media(), signalling)
        one.answer(phone_offer(4000, formats="0"))
        one.start(FakeSink(one))
        one.send_dtmf("5#")
        assert signalling.info == "5#"
        with pytest.raises(ValueError, match="Z"):
            one.send_dtmf("Z")
        await one.hangup(HangupCause.NORMAL)

    run(talk())


def test_a_key_by_rtp_and_info_is_one_key() -> None:
    async def talk() -> None:
        async with Call() as call:
            call.near.send_dtmf("7")
            call.far.info_dtmf("7")
            await asyncio.sleep(2)
            call.far.info_dtmf("8")
            assert call.far_sink.digits == "78"

    run(talk())


def test_hold_silences_both_ways_and_resume_brings_them_back() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        for _ in range(25):
            phone.audio()
            await asyncio.sleep(0.02)
        assert sink.loud(10) == 10
        answer = one.answer(phone_offer(phone.port, "sendonly"))
        assert "a=recvonly" in answer
        phone.received()
        ticks = sink.ticks
        for _ in range(25):
            phone.audio()  # music on hold
            await asyncio.sleep(0.02)
        assert (sink.loud(20), sink.ticks) == (0, ticks)
        assert phone.received() == []
        await asyncio.sleep(120)  # far longer than the inactivity limit
        assert not sink.closed
        one.answer(phone_offer(phone.port))
        for _ in range(25):
            phone.audio()
            await asyncio.sleep(0.02)
        assert sink.loud(10) == 10
        packets = [parse(p) for p in phone.received()]
        assert packets[0] is not None
        assert packets[0][1]  # the first after a pause is marked
        assert one.stats.received.lost == 0

    with_phone(scene)


def test_nobody_stays_on_hold_for_ever() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        one.answer(phone_offer(phone.port, "inactive"))
        await asyncio.sleep(59)
        assert not sink.closed
        await asyncio.sleep(2)
        assert sink.closed == [HangupCause.MEDIA_TIMEOUT]

    with_phone(scene, hold_s=60)


def test_a_line_without_any_rtp_is_hung_up() -> None:
    async def talk() -> None:
        signalling = FakeSignalling()
        one = leg(media(), signalling)
        one.answer(phone_offer(4000))
        sink = FakeSink(one)
        one.start(sink)
        await asyncio.sleep(29.5)
        assert not sink.closed
        await asyncio.sleep(1)
        assert sink.closed == signalling.hangups == [HangupCause.MEDIA_TIMEOUT]

    run(talk())


def test_any_packet_of_the_call_keeps_it_alive() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        for _ in range(4):
            await asyncio.sleep(25)
            phone.audio()
        assert not sink.closed

    with_phone(scene)


def test_rtp_before_the_answer_and_before_the_start_is_ignored() -> None:
    async def talk() -> None:
        phone = Phone()
        one = leg(media())
        phone.to = (HOST, one.port)
        phone.audio()
        await asyncio.sleep(0.01)
        one.answer(phone_offer(phone.port))
        phone.audio()
        await asyncio.sleep(0.01)
        sink = FakeSink(one)
        one.start(sink)
        await asyncio.sleep(0.1)
        assert (one.stats.early, one.stats.received.received) == (2, 0)
        assert sink.loud(5) == 0
        await one.hangup(HangupCause.NORMAL)

    run(talk())


def test_strangers_garbage_and_wrong_types_are_counted_and_nobody_notices() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        stranger = Phone("127.0.0.2")
        stranger.to = phone.to
        phone.audio()
        await asyncio.sleep(0.02)
        stranger.audio()
        for data in (b"", b"INVITE sip:x SIP/2.0\r\n\r\n", bytes(1500), phone.source.packet(33, b"x", 1)):
            phone.sock.sendto(data, phone.to)
        phone.sock.sendto(struct.pack("!BBHI", 0x80, 201, 1, 1), phone.to)
        await asyncio.sleep(0.05)
        stats = one.stats.received
        assert (stats.foreign, stats.garbage, stats.wrong_type, stats.rtcp) == (1, 3, 1, 1)
        assert not sink.closed
        stranger.sock.close()

    with_phone(scene)


def test_the_answer_goes_to_where_the_packets_come_from() -> None:
    async def talk() -> None:
        phone = Phone()  # behind NAT: its offer names an address that leads nowhere
        one = leg(media(), peer=PHONES)
        one.answer(phone_offer(9, host="192.0.2.77"))
        phone.to = (HOST, one.port)
        one.start(FakeSink(one))
        await asyncio.sleep(0.1)
        assert phone.received() == []
        phone.audio()
        await asyncio.sleep(0.1)
        assert len(phone.received()) >= 4
        await one.hangup(HangupCause.NORMAL)
        phone.sock.close()

    run(talk())


def test_an_unreachable_far_end_costs_packets_not_the_call() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        one.answer(phone_offer(4000, host="255.255.255.255"))  # needs a right that we do not have
        await asyncio.sleep(0.1)
        assert one.stats.sent.errors >= 4
        assert not sink.closed

    with_phone(scene)


def test_a_refused_new_description_leaves_the_call_as_it_was() -> None:
    async def talk() -> None:
        async with Call() as call:
            await asyncio.sleep(0.2)
            with pytest.raises(RemoteProtocolError):
                call.near.answer(phone_offer(4000, formats="9"))  # 16 kHz: the session has set up for 8
            await asyncio.sleep(0.3)
            assert call.sink.loud(10) == 10

    run(talk())


def test_a_codec_may_change_in_mid_call_if_the_rate_stays() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        one.answer(phone_offer(phone.port, formats="8"))
        phone.received()
        for _ in range(10):
            phone.sock.sendto(phone.source.packet(8, b"\x2a" * 160, 160), phone.to)
            await asyncio.sleep(0.02)
        assert min(np.frombuffer(sink.frames[-1].pcm, "<i2")) == -32256
        assert {p[0] for d in phone.received() if (p := parse(d))} == {8}

    with_phone(scene)


def test_more_frames_than_time_are_dropped_and_counted() -> None:
    async def talk() -> None:
        async with Call() as call:
            call.sink.talks = False
            frame = AudioFrame(bytes(320), 8000, 0)
            for _ in range(OUTBOX + 3):
                call.near.send(frame)
            call.near.send(AudioFrame(bytes(100), 8000, 0))
            assert call.near.stats.sent.dropped == 4
            call.near.clear()
            await asyncio.sleep(0.1)
            assert call.near.stats.sent.silent >= 4

    run(talk())


def test_the_end_is_told_once_and_last_whoever_hangs_up() -> None:
    async def talk() -> None:
        async with Call() as call:
            await asyncio.sleep(0.1)
            await call.near.hangup(HangupCause.NORMAL)
            await call.near.hangup(HangupCause.BUSY)
            call.near.ended(HangupCause.NETWORK)
            call.far.ended(HangupCause.NORMAL)
            await call.far.hangup(HangupCause.NORMAL)
            call.far.info_dtmf("1")
            await asyncio.sleep(1)
            assert call.sink.closed == call.far_sink.closed == [HangupCause.NORMAL]
            assert (call.signalling.hangups, call.far_signalling.hangups) == ([HangupCause.NORMAL], [])
            assert call.media.metronome.calls == 0

    run(talk())


@pytest.mark.parametrize("plane", ["on_audio", "on_tick", "on_dtmf"])
def test_a_sink_may_hang_up_from_anywhere(plane: str) -> None:
    async def talk() -> None:
        async with Call() as call:
            original = getattr(call.sink, plane)

            def end(*args: Any) -> None:
                original(*args)
                call.near.ended(HangupCause.NORMAL)

            setattr(call.sink, plane, end)
            call.far.send_dtmf("1")
            await asyncio.sleep(0.5)
            assert call.sink.closed == [HangupCause.NORMAL]

    run(talk())


def test_a_leg_that_ended_before_its_start_says_so() -> None:
    async def talk() -> None:
        one = leg(media())
        one.answer(phone_offer(4000))
        one.ended(HangupCause.CANCELLED)
        sink = FakeSink(one)
        one.start(sink)
        await asyncio.sleep(0)
        assert sink.closed == [HangupCause.CANCELLED]
        with pytest.raises(LocalProtocolError):
            one.start(sink)

    run(talk())


def test_a_bug_in_one_call_ends_that_call_alone() -> None:
    async def talk() -> None:
        shared = media()
        signalling = FakeSignalling()
        bad, good = leg(shared, signalling), leg(shared)
        sinks = [FakeSink(bad), FakeSink(good)]
        for one, sink in zip((bad, good), sinks, strict=True):
            one.answer(phone_offer(4000))
            one.start(sink)

        def fail() -> None:
            raise RuntimeError("a bug")

        sinks[0].on_frame = fail
        await asyncio.sleep(1)
        assert sinks[0].closed == signalling.hangups == [HangupCause.INTERNAL]
        assert len(sinks[1].frames) >= 49
        assert not sinks[1].closed
        await good.hangup(HangupCause.NORMAL)

    run(talk())


def test_transfer_leaves_when_accepted_and_stays_when_refused() -> None:
    async def talk() -> None:
        async with Call() as call:
            call.signalling.refuse = True
            with pytest.raises(TransferError):
                await call.near.transfer(Transfer("sip:desk@example.org"))
            assert not call.sink.closed
            call.signalling.refuse = False
            await call.near.transfer(Transfer("sip:desk@example.org"))
            assert call.signalling.transferred == ["sip:desk@example.org"]
            assert call.sink.closed == [HangupCause.NORMAL]

    run(talk())


def test_ports_run_out_and_come_back() -> None:
    async def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1] // 2 * 2
        shared = media(first_port=port, last_port=port + 1)
        one = leg(shared)
        with pytest.raises(PortsExhausted):
            leg(shared)
        one.discard()
        leg(shared).discard()

    run(talk())


def test_after_a_stall_nothing_is_lost_and_the_delay_is_short_again() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        loop: Any = asyncio.get_running_loop()
        for _ in range(20):
            phone.audio()
            await asyncio.sleep(0.02)
        for _ in range(7):  # the process stands still for 140 ms; the network does not
            phone.audio()
        loop._jump.now += 0.14
        for _ in range(20):
            phone.audio()
            await asyncio.sleep(0.02)
        stats = one.stats.received
        assert (stats.lost, stats.late, stats.discarded) == (0, 0, 0)
        assert sink.loud(40) == 40

    with_phone(scene)


def test_after_a_long_stall_timestamps_are_where_the_clock_is() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        loop: Any = asyncio.get_running_loop()
        await asyncio.sleep(0.1)
        loop._jump.now += 1.0  # of which the metronome makes up 200 ms
        await asyncio.sleep(0.5)
        received = phone.received()
        first, last = parse(received[0]), parse(received[-1])
        assert first is not None and last is not None
        assert (last[3] - first[3]) % 2**32 == pytest.approx(1.6 * 8000, abs=320)
        assert len(received) < 50

    with_phone(scene)


@pytest.mark.parametrize("codecs", [("G729",), ("PCMU", "nonsense")])
def test_an_unknown_codec_in_the_configuration_is_named(codecs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=codecs[-1]):
        media(codecs=codecs)


def test_the_statistics_are_flat_for_the_timeline() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        phone.audio()
        await asyncio.sleep(0.1)
        fields = one.stats.fields()
        assert fields["received_received"] == 1
        assert {"sent_packets", "received_lost", "received_jitter_ms", "early"} <= fields.keys()

    with_phone(scene)
