"""What the legs of a call tell each other about its quality, and whom they believe."""

import asyncio
import socket

import pytest

from media.leg import HangupCause
from media.rtcp import Reception, RtcpSession, Sent
from media.rtp import is_rtcp, parse
from sip.rtpleg import RtpLeg
from tests.clock import run
from tests.sip.test_rtpleg import HOST, PHONES, Call, FakeSink, Phone, leg, media, phone_offer, with_phone


def test_two_legs_report_to_each_other_beside_the_audio() -> None:
    async def talk() -> None:
        async with Call() as call:
            assert call.near.agreement is not None and call.near.agreement.rtcp_mux
            await asyncio.sleep(20)
            quality = call.near.quality()
            assert quality.sent is not None and quality.round_trip_ms is not None
            assert quality.received.loss_percent == quality.sent.loss_percent == 0
            assert quality.sent.packets > 600
            assert quality.round_trip_ms < 50
            assert {"received_mos", "sent_mos", "round_trip_ms"} <= set(quality.fields())
            assert call.near.stats.received.rtcp >= 2 and call.near.stats.received.wrong_type == 0

    run(talk())


def test_loss_on_the_way_is_seen_by_both() -> None:
    async def talk() -> None:
        async with Call() as call:
            receiver = call.far._streams.receiver  # type: ignore[union-attr]
            real, count = receiver.datagram, 0

            def lossy(data: bytes, now: float) -> str | None:
                nonlocal count
                count += 1
                return None if count % 5 == 0 else real(data, now)

            receiver.datagram = lossy  # type: ignore[method-assign]
            await asyncio.sleep(20)
            far, near = call.far.quality(), call.near.quality()
            assert 19 < far.received.loss_percent < 21
            assert near.sent is not None and 19 < near.sent.loss_percent < 21
            assert near.mos_sent is not None and near.mos_received is not None
            assert near.mos_sent < 2.8 and near.mos_received > 4.2

    run(talk())


def test_a_far_end_that_shares_no_port_gets_reports_on_the_next() -> None:
    """And one that names another port (RFC 3605) there."""

    async def scene() -> None:
        phone, reports = Phone(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        reports.bind((PHONES, 0))
        reports.setblocking(False)
        one = leg(media(first_port=23_000, last_port=23_990))
        port = reports.getsockname()[1]
        answer = one.answer(phone_offer(phone.port, f"rtcp:{port} IN IP4 {PHONES}"))
        assert "rtcp-mux" not in answer
        phone.to = (HOST, one.port)
        one.start(FakeSink(one))
        for _ in range(450):
            phone.audio()
            await asyncio.sleep(0.02)
        assert is_rtcp(reports.recv(2048))
        reports.sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x07", (HOST, one.port + 1))
        await asyncio.sleep(0.1)
        assert one.stats.received.rtcp == 1
        await one.hangup(HangupCause.NORMAL)
        last = b""
        try:
            while True:
                last = reports.recv(2048)
        except BlockingIOError:
            pass
        assert last[-8:-6] == b"\x81\xcb"  # BYE
        reports.close()
        phone.sock.close()

    run(scene())


def test_a_far_end_that_shares_the_port_later_gets_reports_there() -> None:
    """Its place may have been taken by another: reports from the old port would be a stranger's."""

    async def scene() -> None:
        phone = Phone()
        one = leg(media(first_port=23_000, last_port=23_990))
        one.answer(phone_offer(phone.port))
        phone.to = (HOST, one.port)
        one.start(FakeSink(one))
        assert "rtcp-mux" in one.answer(phone_offer(phone.port, "rtcp-mux"))
        phone.received()
        await one.hangup(HangupCause.NORMAL)
        bye, source = phone.sock.recvfrom(2048)
        while not is_rtcp(bye):
            bye, source = phone.sock.recvfrom(2048)
        assert source == (HOST, one.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((HOST, one.port + 1))
        phone.sock.close()

    run(scene())


@pytest.mark.parametrize("shared", [True, False])
def test_nothing_is_sent_to_a_far_end_that_holds_by_an_address_that_is_none(shared: bool) -> None:
    """RFC 2543's hold, c=0.0.0.0: which a system takes for itself, so whoever listens here would get it."""

    async def scene() -> None:
        phone, reports = Phone(), Phone()
        beside = ("rtcp-mux",) if shared else (f"rtcp:{reports.port}",)
        one = leg(media(first_port=23_000, last_port=23_990))
        one.answer(phone_offer(phone.port, *beside))
        one.start(FakeSink(one))
        await asyncio.sleep(0.1)
        one.answer(phone_offer(phone.port, *beside, host="0.0.0.0"))
        phone.received()
        one.send_dtmf("1")
        await asyncio.sleep(20)
        assert phone.received() == reports.received() == []
        one.answer(phone_offer(phone.port, *beside))
        taken = []
        for _ in range(20):  # a socket has room for some 250 packets
            await asyncio.sleep(1)
            taken += phone.received()
        assert taken and (taken if shared else reports.received())
        assert any(map(is_rtcp, taken)) is shared
        one.answer(phone_offer(phone.port, *beside, host="0.0.0.0"))
        await one.hangup(HangupCause.NORMAL)
        assert phone.received() == reports.received() == []
        assert one.stats.sent.errors == 0
        phone.sock.close()
        reports.sock.close()

    run(scene())


def test_reports_after_a_change_of_codec_count_in_its_clock() -> None:
    """G.722 says 8000 Hz, L16 of the same sound 16000."""

    async def scene() -> None:
        phone = Phone()
        one = leg(media())
        one.answer(phone_offer(phone.port, "rtcp-mux", formats="9"))
        phone.to = (HOST, one.port)
        one.start(FakeSink(one))
        await asyncio.sleep(0.1)
        one.answer(phone_offer(phone.port, "rtcp-mux", "rtpmap:96 L16/16000", formats="96"))
        theirs = RtcpSession(7, 0, "phone", 16000)
        seen = Reception()
        seen.arrived(one._source.sequence)
        phone.sock.sendto(phone.source.packet(96, bytes(640), 320), phone.to)
        await asyncio.sleep(0.02)
        report = theirs.report(1.0, Sent(1, 640, 0), one._source.ssrc, seen, 320.0)
        phone.sock.sendto(report, phone.to)
        await asyncio.sleep(0.1)
        quality = one.quality()
        assert quality.sent is not None and quality.sent.jitter_ms == 20.0
        await one.hangup(HangupCause.NORMAL)
        phone.sock.close()

    run(scene())


def test_spraying_packets_over_our_ports_gets_nothing() -> None:
    """The "RTP bleed" attack: a stranger sends good audio to a call in progress, all the time."""

    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        stranger = Phone("127.0.0.99")
        stranger.to = (HOST, one.port)
        stranger.audio()  # first of all
        await asyncio.sleep(0.1)
        for n in range(600):
            phone.audio()
            if n > 300 and n % 50 == 0:
                phone.source.sequence += 1
            stranger.audio()
            await asyncio.sleep(0.02)
        await asyncio.sleep(5)  # even when the phone is silent
        stranger.audio()
        await asyncio.sleep(0.1)
        assert stranger.received() == []
        assert one.stats.received.foreign == 602
        assert one.stats.received.received == 600
        stranger.sock.close()

    with_phone(scene)


def test_after_a_transfer_the_audio_of_whoever_signals_now_is_believed() -> None:
    async def talk() -> None:
        old, new = Phone(), Phone("127.0.0.2")  # both behind NAT
        one = leg(media(), peer=HOST)
        for phone in (old, new):
            one.answer(phone_offer(9, host="192.0.2.77"))
            phone.to = (HOST, one.port)
        one.latch.signalling_host = "127.0.0.2"
        one.start(FakeSink(one))
        old.audio()
        await asyncio.sleep(0.1)
        new.audio()
        await asyncio.sleep(0.1)
        assert old.received() == [] and len(new.received()) >= 4
        assert one.stats.received.foreign == 1
        await one.hangup(HangupCause.NORMAL)
        old.sock.close()
        new.sock.close()

    run(talk())


def test_a_phone_behind_a_nat_that_binds_anew_is_followed() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        for _ in range(100):
            phone.audio()
            await asyncio.sleep(0.02)
        moved = Phone()
        moved.source, moved.to = phone.source, phone.to
        await asyncio.sleep(3)
        for _ in range(50):
            moved.audio()
            await asyncio.sleep(0.02)
        assert len([p for p in moved.received() if parse(p)]) > 40
        assert one.stats.received.foreign == 0
        moved.sock.close()

    with_phone(scene)


def test_comfort_noise_and_reports_keep_a_silent_call_alive() -> None:
    async def scene(one: RtpLeg, sink: FakeSink, phone: Phone) -> None:
        for _ in range(20):
            phone.audio()
            await asyncio.sleep(0.02)
        noise = phone.source.event(13, b"\x40", phone.source.timestamp, marker=False)
        phone.sock.sendto(noise, phone.to)
        await asyncio.sleep(5)  # patience is 2 s, but not now
        assert sink.closed == []
        for _ in range(20):
            phone.audio()
            await asyncio.sleep(0.02)
        for _ in range(5):
            await asyncio.sleep(1.5)
            phone.sock.sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x07", phone.to)
        assert sink.closed == []
        await asyncio.sleep(3)
        assert sink.closed == [HangupCause.MEDIA_TIMEOUT]

    with_phone(scene, inactivity_s=2.0, quiet_s=30.0)


def test_two_legs_that_agree_on_it_send_comfort_noise_instead_of_silence() -> None:
    async def talk() -> None:
        async with Call(dtx=True) as call:
            assert (
                call.near.agreement is not None and not call.near.agreement.comfort_noise
            )  # the other has none
        one, other = leg(media(dtx=True)), leg(media(dtx=True))
        one.accept(other.answer(one.offer()))
        sink, listener = FakeSink(one, talks=False), FakeSink(other, talks=False)
        one.start(sink), other.start(listener)
        await asyncio.sleep(5)
        assert 4 <= one.stats.sent.packets <= 7
        assert other.stats.received.noise > 200 and listener.closed == []
        sink.talks = True
        await asyncio.sleep(1)
        assert listener.loud(20) == 20 and other.stats.received.lost == 0
        await one.hangup(HangupCause.NORMAL)
        await other.hangup(HangupCause.NORMAL)

    run(talk())
