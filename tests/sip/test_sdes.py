"""Keys in the SDP: what is understood, what is agreed on, by policy. Two sides negotiate without a socket."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import codec
from sip.errors import RemoteProtocolError
from sip.offer import OfferAnswer
from sip.sdes import SUITES, Crypto, Sdes, SrtpKeys, SrtpPolicy, cryptos
from sip.sdp import MediaDescription, parse

OFF, OPTIONAL, REQUIRED = SrtpPolicy.OFF, SrtpPolicy.OPTIONAL, SrtpPolicy.REQUIRED
KEY = base64.b64encode(bytes(range(30))).decode()
SHA1_80, SHA1_32, GCM_256 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_256_GCM"


def line(*attributes: str, protocol: str = "RTP/SAVP") -> MediaDescription:
    return MediaDescription("audio", 9, protocol, ("0",), "192.0.2.1", attributes)


def side(policy: SrtpPolicy, *suites: str) -> OfferAnswer:
    ours = OfferAnswer("127.0.0.1", 4000, (codec("PCMU"), codec("PCMA")), 7)
    ours.encryption = Sdes(policy, suites or tuple(SUITES))
    return ours


def offered(protocol: str = "RTP/SAVP", *attributes: str, more: str = "") -> str:
    lines = "".join(f"a={a}\r\n" for a in attributes)
    return f"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 {protocol} 0\r\n{lines}{more}"


@pytest.mark.parametrize(
    "text, tag",
    [
        (f"crypto:1 {SHA1_80} inline:{KEY}", 1),
        (f"crypto:23 {SHA1_80.lower()}  inline:{KEY}|2^31", 23),
        (f"crypto:1 {SHA1_80} inline:{KEY}|1000000 WSH=64", 1),
        (f"crypto:1 {SHA1_80} inline:{KEY} -FOO=1", 1),
        (f"crypto:1 {SHA1_80} inline:{KEY}|2^20|1:4", None),  # MKI
        (f"crypto:1 {SHA1_80} inline:{KEY}|1:4", None),
        (f"crypto:1 {SHA1_80} inline:{KEY};inline:{KEY}", None),  # two keys
        (f"crypto:1 {SHA1_80} inline:{KEY} UNENCRYPTED_SRTP", None),
        (f"crypto:1 {SHA1_80} inline:{KEY} KDR=1", None),
        (f"crypto:1 {SHA1_80} inline:{KEY[:-4]}", None),  # too short
        (f"crypto:1 {GCM_256} inline:{KEY}", None),
        (f"crypto:1 {SHA1_80} inline:!!!", None),
        (f"crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}", None),
        (f"crypto:x {SHA1_80} inline:{KEY}", None),
        ("crypto:", None),
    ],
)
def test_only_lines_that_we_can_keep_to_are_understood(text: str, tag: int | None) -> None:
    found = cryptos(line(text))
    assert [c.tag for c in found] == ([tag] if tag is not None else [])
    assert all(c.key == bytes(range(30)) and c.suite == SHA1_80 for c in found)


def test_keys_are_in_no_repr() -> None:
    key = bytes(range(30))
    text = f"{Crypto(1, SHA1_80, key)!r} {SrtpKeys(SHA1_80, key, key)!r}"
    assert "x01" not in text and KEY not in text


@given(st.text(max_size=80), st.integers(0, 90))
def test_any_line_is_understood_or_left_out(text: str, at: int) -> None:
    good = f"crypto:1 {SHA1_80} inline:{KEY}|2^20 WSH=64"
    damaged = good[:at] + text + good[at:]
    for crypto in cryptos(line(f"crypto:{text}", damaged)):
        assert len(crypto.key) == SUITES[crypto.suite]


@pytest.mark.parametrize(
    "caller, callee, protocol, encrypted",
    [
        (OFF, OFF, "RTP/AVP", False),
        (OFF, OPTIONAL, "RTP/AVP", False),
        (OPTIONAL, OFF, "RTP/AVP", False),
        (OPTIONAL, OPTIONAL, "RTP/AVP", True),  # RFC 8643
        (OPTIONAL, REQUIRED, "RTP/AVP", True),
        (REQUIRED, OPTIONAL, "RTP/SAVP", True),
        (REQUIRED, REQUIRED, "RTP/SAVP", True),
        (OFF, REQUIRED, "RTP/AVP", None),
        (REQUIRED, OFF, "RTP/SAVP", None),
    ],
)
def test_policies_meet(caller: SrtpPolicy, callee: SrtpPolicy, protocol: str, encrypted: bool | None) -> None:
    alice, bob = side(caller), side(callee)
    offer = alice.offer()
    assert parse(offer).media[0].protocol == protocol
    if encrypted is None:
        with pytest.raises(RemoteProtocolError) as refused:
            bob.answer(offer)
        assert refused.value.status == 488
        return
    answer = bob.answer(offer)
    assert parse(answer).media[0].protocol == protocol
    ours = alice.accept(answer).srtp
    theirs = bob.agreement.srtp if bob.agreement is not None else None
    if not encrypted:
        assert ours is theirs is None and "crypto" not in answer
        return
    assert ours is not None and theirs is not None
    assert (ours.send, ours.receive, ours.suite) == (theirs.receive, theirs.send, theirs.suite)
    assert ours.send != ours.receive
    # Whoever offers next, neither profile nor keys change.
    again = bob.offer()
    assert parse(again).media[0].protocol == protocol
    assert bob.accept(alice.answer(again)).srtp == theirs
    assert alice.agreement is not None and alice.agreement.srtp == ours


def test_the_callers_order_of_ciphers_counts_and_its_tag_comes_back() -> None:
    lines = [f"crypto:{tag} {suite} inline:{KEY}" for tag, suite in ((7, SHA1_32), (8, SHA1_80))]
    text = offered("RTP/SAVP", "crypto:4 F8 inline:x", *lines)
    bob = side(OPTIONAL)
    answer = bob.answer(text)
    assert re.search(rf"a=crypto:7 {SHA1_32} inline:\S{{40}}\r\n", answer) and answer.count("crypto") == 1
    assert side(OPTIONAL, SHA1_80).answer(text).count(f"crypto:8 {SHA1_80}") == 1
    with pytest.raises(RemoteProtocolError):
        side(OPTIONAL, GCM_256).answer(text)


def test_of_two_audio_lines_the_encrypted_one_is_taken() -> None:
    text = offered("RTP/AVP", more=f"m=audio 4002 RTP/SAVP 0\r\na=crypto:1 {SHA1_80} inline:{KEY}\r\n")
    answer = parse(side(OPTIONAL).answer(text))
    assert [(m.port != 0, m.protocol) for m in answer.media] == [(False, "RTP/AVP"), (True, "RTP/SAVP")]
    answer = parse(side(OFF).answer(text))
    assert [m.port != 0 for m in answer.media] == [True, False]


def test_a_new_key_of_theirs_brings_a_new_one_of_ours() -> None:
    bob = side(OPTIONAL)
    offer = offered("RTP/SAVP", f"crypto:1 {SHA1_80} inline:{KEY}")
    bob.answer(offer)
    first = bob.agreement.srtp if bob.agreement else None
    bob.answer(offer)
    assert bob.agreement is not None and bob.agreement.srtp == first
    bob.answer(offered("RTP/SAVP", f"crypto:1 {SHA1_80} inline:{base64.b64encode(bytes(30)).decode()}"))
    second = bob.agreement.srtp
    assert first is not None and second is not None
    assert second.send != first.send and second.receive == bytes(30)


@pytest.mark.parametrize(
    "policy, protocol, attribute",
    [
        (REQUIRED, "RTP/SAVP", ""),
        (REQUIRED, "RTP/AVP", ""),
        (REQUIRED, "RTP/SAVP", f"crypto:9 {SHA1_80} inline:{KEY}"),  # a tag that we have not offered
        (OPTIONAL, "RTP/SAVP", ""),
    ],
)
def test_an_answer_without_the_key_is_refused(policy: SrtpPolicy, protocol: str, attribute: str) -> None:
    alice = side(policy)
    alice.offer()
    with pytest.raises(RemoteProtocolError, match="no key") as refused:
        alice.accept(offered(protocol, *([attribute] if attribute else [])))
    assert refused.value.status == 488 and alice.agreement is None


def test_long_packets_are_shortened_to_what_can_be_encrypted() -> None:
    wide = OfferAnswer("127.0.0.1", 4000, (codec("L16/16000"),), 7)
    wide.encryption = Sdes(OPTIONAL)
    text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 {} 96\r\na=rtpmap:96 L16/16000\r\na=ptime:100\r\n{}"
    wide.answer(text.format("RTP/AVP", ""))
    assert wide.agreement is not None and wide.agreement.ptime_ms == 100
    wide.answer(text.format("RTP/SAVP", f"a=crypto:1 {SHA1_80} inline:{KEY}\r\n"))
    assert wide.agreement.ptime_ms == 40
