"""SRTP on the wire: packets changed, repeated or of another key; legs that talk encrypted and re-key."""

import asyncio
import dataclasses
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import MissingExtra
from media.leg import CallInfo, HangupCause
from media.rtp import RtpSource
from sip import srtp
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.sdes import SUITES, SrtpKeys, SrtpPolicy
from sip.srtp import Srtp, SrtpStats
from tests.clock import run
from tests.sip.test_rtpleg import HOST, FakeSignalling, FakeSink, media

RTCP = bytes.fromhex("80c90001deadbeef")  # an empty receiver report


def keys(suite: str, seed: int = 0) -> tuple[SrtpKeys, SrtpKeys]:
    a, b = (bytes([seed + n]) * SUITES[suite] for n in (1, 2))
    return SrtpKeys(suite, a, b), SrtpKeys(suite, b, a)


def pair(suite: str = "AES_CM_128_HMAC_SHA1_80") -> tuple[Srtp, Srtp, SrtpStats]:
    stats = SrtpStats()
    ours, theirs = keys(suite)
    return Srtp(ours, SrtpStats()), Srtp(theirs, stats), stats


@pytest.mark.parametrize("suite, trailer, rtcp", [
    ("AES_CM_128_HMAC_SHA1_80", 10, 14), ("AES_CM_128_HMAC_SHA1_32", 4, 14),
    ("AEAD_AES_128_GCM", 16, 20), ("AEAD_AES_256_GCM", 16, 20),
])  # fmt: skip
def test_what_is_protected_comes_out_as_it_was(suite: str, trailer: int, rtcp: int) -> None:
    sender, receiver, stats = pair(suite)
    source = RtpSource(1, 65_500, 0)  # the sequence wraps around on the way
    for n in range(100):
        packet = source.packet(0, bytes([n]) * 160, 160)
        secret = sender.protect(packet)
        assert secret is not None and len(secret) == len(packet) + trailer and packet[12:] not in secret
        assert receiver.unprotect(secret) == packet
    report = sender.protect_report(RTCP)
    assert report is not None and len(report) == len(RTCP) + rtcp and RTCP[-4:] not in report[8:]
    assert receiver.unprotect_report(report) == RTCP
    assert stats == SrtpStats()


def test_packets_not_to_be_believed_are_counted() -> None:
    sender, receiver, stats = pair()
    source = RtpSource(1, 0, 0)
    packet = sender.protect(source.packet(0, bytes(160), 160))
    assert packet is not None
    changed = packet[:50] + bytes([packet[50] ^ 1]) + packet[51:]
    assert receiver.unprotect(changed) is None
    assert receiver.unprotect(packet) is not None
    assert receiver.unprotect(packet) is None
    assert receiver.unprotect(source.packet(0, bytes(160), 160)) is None  # not encrypted
    for _ in range(1100):
        newest = sender.protect(source.packet(0, b"x", 160))
    assert newest is not None and receiver.unprotect(newest) is not None
    assert receiver.unprotect(packet) is None  # too old to tell
    assert receiver.unprotect(b"") is receiver.unprotect(bytes(3000)) is None
    assert stats == SrtpStats(unauthentic=2, replayed=2, failed=2)
    assert sender.protect(bytes([0x80, 0]) + bytes(1400)) is None  # too long


def test_reports_not_to_be_believed_are_counted() -> None:
    sender, receiver, stats = pair()
    report = sender.protect_report(RTCP)
    assert report is not None
    changed = report[:9] + bytes([report[9] ^ 1]) + report[10:]
    assert receiver.unprotect_report(changed) is None
    assert receiver.unprotect(report) is None  # for RTP it has another key
    assert receiver.unprotect_report(report) == RTCP
    assert receiver.unprotect_report(report) is None
    assert receiver.unprotect_report(RTCP) is receiver.unprotect_report(b"") is None  # not encrypted
    assert receiver.unprotect_report(RTCP + bytes(3000)) is None
    assert stats == SrtpStats(unauthentic=2, replayed=1, failed=3)
    assert sender.protect_report(RTCP + bytes(1400)) is None  # too long


@given(st.binary(max_size=1600))
def test_any_datagram_is_believed_or_counted(data: bytes) -> None:
    _, receiver, stats = pair()
    assert receiver.unprotect(data) is receiver.unprotect_report(data) is None
    assert sum(dataclasses.astuple(stats)) == 2


def test_calls_of_two_threads_do_not_meet_in_one_room() -> None:
    def call(number: int) -> bool:
        sender, receiver, _ = pair()
        source = RtpSource(number, 0, 0)
        packets = [source.packet(0, bytes([number]) * 160, 160) for _ in range(2000)]
        return all(receiver.unprotect(sender.protect(packet) or b"") == packet for packet in packets)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, range(4))) == [True] * 4


def test_the_binding_of_libsrtp_is_as_we_call_it() -> None:
    """It is not pylibsrtp's public interface: another version may need other calls in sip/srtp.py, which is
    why setup.cfg allows one only."""
    binding = srtp.library()._binding
    functions = [
        binding.ffi.typeof(getattr(binding.lib, name)).cname
        for name in ("srtp_protect", "srtp_protect_rtcp", "srtp_unprotect", "srtp_unprotect_rtcp")
    ]
    assert functions == ["srtp_err_status_t(*)(struct srtp_ctx_t_ *, void *, int *)"] * 4
    session = srtp.library().Session()._srtp
    assert binding.ffi.typeof(session).cname == "struct srtp_ctx_t_ * *"
    # libsrtp writes behind the packet: as much as pylibsrtp expects, at most.
    assert srtp.library().SRTP_MAX_SRTCP_TRAILER_LEN == srtp.TRAILER
    texts = list(enumerate(srtp.library().ERRORS))
    assert [n for n, text in texts if text == "authentication failure"] == [srtp.UNAUTHENTIC]
    assert tuple(n for n, text in texts if text.startswith(("replay", "packet index"))) == srtp.REPLAYED


def test_a_direction_whose_key_stays_goes_on_counting() -> None:
    sender, receiver, stats = pair()
    source = RtpSource(1, 65_530, 0)
    for _ in range(20):  # the roll-over counter is 1 now
        receiver.unprotect(sender.protect(source.packet(0, b"a", 160)) or b"")
    ours, theirs = keys("AES_CM_128_HMAC_SHA1_80")
    other = bytes([9]) * 30
    sender.rekey(SrtpKeys(ours.suite, ours.send, other))
    receiver.rekey(SrtpKeys(ours.suite, other, theirs.receive))
    assert receiver.unprotect(sender.protect(source.packet(0, b"a", 160)) or b"") is not None
    back = receiver.protect(RtpSource(2, 0, 0).packet(0, b"b", 160))
    assert back is not None and sender.unprotect(back) is not None
    assert stats == SrtpStats()


def secure_leg(shared: RtpMedia, policy: SrtpPolicy = SrtpPolicy.REQUIRED) -> RtpLeg:
    made = RtpLeg(shared, CallInfo("1", "", "", "sip"), FakeSignalling(), HOST)
    made.encrypt(policy)
    return made


def test_two_legs_talk_encrypted_and_a_stranger_is_not_heard() -> None:
    async def test() -> None:
        near, far = secure_leg(media()), secure_leg(media())
        near.accept(far.answer(near.offer()))
        sink, far_sink = FakeSink(near), FakeSink(far, talks=False)
        near.start(sink)
        far.start(far_sink)
        await asyncio.sleep(1)
        assert far_sink.loud(20) >= 18
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        source = RtpSource(77, 0, 0)
        for _ in range(10):
            stranger.sendto(source.packet(0, b"\0" * 160, 160), (HOST, far.port))
        await asyncio.sleep(0.5)
        stranger.close()
        assert far_sink.loud(20) >= 18
        fields = far.stats.fields()
        assert (fields["cipher"], fields["srtp_unauthentic"], fields["received_foreign"]) == (
            "AES_CM_128_HMAC_SHA1_80", 10, 0,
        )  # fmt: skip
        # A re-INVITE from either side, then a new party with keys of its own.
        far.accept(near.answer(far.offer()))
        await asyncio.sleep(0.5)
        assert far_sink.loud(20) >= 18
        third = secure_leg(media())
        third.accept(near.answer(third.offer()))
        third_sink = FakeSink(third, talks=False)
        third.start(third_sink)
        await asyncio.sleep(0.5)
        assert third_sink.loud(15) >= 13
        reports = third.stats.received.rtcp
        await near.hangup(HangupCause.NORMAL)
        await asyncio.sleep(0.1)
        assert third.stats.received.rtcp == reports + 1  # its goodbye, encrypted
        assert third.stats.srtp == SrtpStats()
        for leg in (near, far, third):
            await leg.hangup(HangupCause.NORMAL)

    run(test())


def test_what_is_not_installed_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibsrtp", None)
    srtp.library.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'voicegw\[srtp\]'"):
        media(srtp=SrtpPolicy.OPTIONAL)
    media()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="unknown cipher 'NULL'"):
        media(srtp_suites=("NULL",))
    assert RtpConfig().srtp is SrtpPolicy.OFF
