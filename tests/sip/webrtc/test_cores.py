"""Descriptions and DTLS without a network."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.errors import RemoteProtocolError
from sip.srtp import SrtpStats
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.dtls import MTU, Certificate, Dtls, make_certificate
from sip.webrtc.sdp import OurSide, answer, parse_offer

# From Chromium 140, shortened to what matters; addresses changed.
CHROMIUM = """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS a
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:0
a=recvonly
m=audio 41234 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 192.0.2.7
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2122260223 192.0.2.7 41234 typ host generation 0 network-id 1
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:1
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
"""
PRINT = ":".join(["AB"] * 32)
OFFER = CHROMIUM.format(fingerprint=PRINT)
OURS = OurSide(7, 1, "user", "p" * 22, "CD:EF", ["1 1 udp 1 192.0.2.1 9 typ host"], 4711)


def test_a_browsers_offer_is_understood() -> None:
    offer = parse_offer(OFFER)
    assert (offer.ufrag, offer.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert (offer.opus, offer.events, offer.mid, offer.index) == (111, 110, "1", 1)
    assert offer.fingerprint == ("sha-256", PRINT)
    assert offer.candidates == ("1 1 udp 2122260223 192.0.2.7 41234 typ host generation 0 network-id 1",)
    assert not offer.complete and not offer.active


def test_the_answer_takes_the_audio_and_refuses_the_rest() -> None:
    text = answer(parse_offer(OFFER), OURS)
    assert "\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\n" in text
    assert "\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 110\r\n" in text
    assert text.index("m=video") < text.index("m=audio")
    assert "a=group:BUNDLE 1\r\n" in text and "a=setup:active\r\n" in text
    assert "a=setup:passive" in answer(parse_offer(OFFER.replace("actpass", "active")), OURS)
    assert "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n" in text


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("m=audio", "m=text", "no audio"),
        ("opus/48000/2", "opus/16000", "no Opus"),
        ("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "a=ice-pwd:short", "ICE"),
        ("sha-256", "md5", "fingerprint"),
        ("a=mid:1", "a=mid:1 2", "token"),
        ("a=mid:1", "x" * 20_000, "20"),
    ],
)
def test_what_cannot_be_a_call_is_refused_by_name(old: str, new: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        parse_offer(OFFER.replace(old, new))


@pytest.mark.parametrize("number", ["128", "01000", "9" * 5000, "\u0661", "-1"])
def test_a_payload_type_that_fits_no_packet_is_none(number: str) -> None:
    with pytest.raises(RemoteProtocolError, match="no Opus"):
        parse_offer(OFFER.replace("rtpmap:111", f"rtpmap:{number}"))


@settings(deadline=None)
@given(st.data())
def test_any_offer_is_understood_or_refused(data: st.DataObject) -> None:
    text = OFFER
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=5)) + text[at + data.draw(st.integers(0, 40)) :]
    try:
        offer = parse_offer(text)
    except RemoteProtocolError:
        return
    for line in answer(offer, OURS).split("\r\n")[:-1]:
        assert line[1] == "=" and line.isprintable()


# DTLS


def made() -> Certificate:
    return make_certificate(datetime.now(UTC))


def shake(client: Dtls, server: Dtls, lose: int = -1) -> None:
    """Both cores talk to each other; the datagram of this number is lost."""
    client.start()
    number = 0
    for _ in range(20):
        for one, other in ((client, server), (server, client)):
            for datagram in one.datagrams():
                assert len(datagram) <= MTU
                if number != lose:
                    other.receive(datagram)
                number += 1


def test_two_sides_agree_on_keys_and_forgeries_and_repetitions_are_dropped() -> None:
    ours, theirs = made(), made()
    client = Dtls(ours, ("sha-256", theirs.fingerprint), SrtpStats(), client=True)
    server = Dtls(theirs, ("sha-256", ours.fingerprint), SrtpStats(), client=False)
    assert client.srtp is None
    shake(client, server)
    assert client.srtp is not None and server.srtp is not None
    packet = b"\x80\x6f\x00\x01" + bytes(8) + b"hello"
    for one, other in ((client.srtp, server.srtp), (server.srtp, client.srtp)):
        sealed = one.protect(packet)
        assert sealed is not None and packet[12:] not in sealed
        damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
        assert other.unprotect(damaged) is None
        assert other.unprotect(sealed) == packet
        assert other.unprotect(sealed) is None, "replayed"
    client.goodbye()
    for datagram in client.datagrams():
        server.receive(datagram)
    assert server.closed


def test_a_stranger_is_refused_on_both_sides() -> None:
    ours, theirs, stranger = made(), made(), made()
    client = Dtls(ours, ("sha-256", stranger.fingerprint), SrtpStats(), client=True)
    server = Dtls(theirs, ("sha-256", ours.fingerprint), SrtpStats(), client=False)
    with pytest.raises(RemoteProtocolError, match="certificate"):
        shake(client, server)
    assert client.srtp is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_rubbish_ends_a_handshake_or_is_ignored(data: bytes) -> None:
    ours = made()
    server = Dtls(ours, ("sha-256", ours.fingerprint), SrtpStats(), client=False)
    try:
        server.receive(b"\x16" + data)
        server.datagrams()
    except RemoteProtocolError:
        pass
    assert server.srtp is None


# Settings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"turn": ("turn:t.example",)}, "turn_secret"),
        ({"turn": ("stun:t.example",), "turn_secret": "x"}, "TURN"),
        ({"stun": ("http://x",)}, "STUN"),
        ({"origins": ("https://a.example/page",)}, "origin"),
        ({"relay_only": True}, "turn"),
        ({"first_port": 5000}, "range"),
        ({"resume_s": 0.5}, "resume_s"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WebRtcConfig(**settings)  # type: ignore[arg-type]
