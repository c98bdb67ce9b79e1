"""Offer and answer: two of our cores agree, and what others offer is answered as RFC 3264 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import codec
from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.offer import OfferAnswer
from sip.sdp import MediaDirection, parse

ALL = ("PCMU", "PCMA", "G722", "L16/16000", "L16/8000")


def side(*names: str, host: str = "192.0.2.10", port: int = 4000) -> OfferAnswer:
    return OfferAnswer(host, port, [codec(n) for n in names or ALL], 1)


def offer(media: str = "m=audio 5004 RTP/AVP 0 8 101", *attributes: str, host: str = "192.0.2.1") -> str:
    lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", media]
    lines += [f"a={a}" for a in ("rtpmap:101 telephone-event/8000", *attributes)]
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize("name", ALL)
def test_two_of_us_agree_on_every_codec(name: str) -> None:
    caller, callee = side(port=4000), side(name, host="192.0.2.20", port=6000)
    answer = callee.answer(caller.offer())
    caller.accept(answer)
    ours, theirs = caller.agreement, callee.agreement
    assert ours is not None
    assert theirs is not None
    assert ours.codec is theirs.codec is codec(name)
    assert (ours.host, ours.port) == ("192.0.2.20", 6000)
    assert (theirs.host, theirs.port) == ("192.0.2.10", 4000)
    assert ours.send_type in theirs.receive_types
    assert theirs.send_type in ours.receive_types
    assert ours.dtmf_send_type in theirs.dtmf_receive_types
    assert ours.dtmf_clock == theirs.dtmf_clock == codec(name).clock
    assert ours.direction is theirs.direction is MediaDirection.SENDRECV


def test_payload_types_of_an_offer_are_all_different() -> None:
    formats = parse(side().offer()).media[0].formats
    assert len(set(formats)) == len(formats) == 7  # five codecs, events at 8 and at 16 kHz


def test_the_operators_order_decides() -> None:
    them = offer("m=audio 5004 RTP/AVP 0 9 8 101")
    us = side("PCMA", "PCMU")
    us.answer(them)
    assert us.agreement is not None
    assert us.agreement.codec.name == "PCMA"


def test_unwanted_media_are_refused_in_place() -> None:
    text = offer("m=video 6000 RTP/AVP 31\r\nm=audio 5004 RTP/AVP 0 101\r\nm=image 7000 udptl t38")
    answer = parse(side().answer(text))
    assert [(m.kind, m.port, m.protocol) for m in answer.media] == [
        ("video", 0, "RTP/AVP"),
        ("audio", 4000, "RTP/AVP"),
        ("image", 0, "UDPTL"),
    ]


@pytest.mark.parametrize(
    "text, complaint",
    [
        (offer("m=audio 5004 RTP/AVP 18 101"), "no common codec: they offer G729/8000"),
        (offer("m=audio 5004 RTP/SAVP 0"), "plain RTP"),
        (offer("m=audio 0 RTP/AVP 0"), "plain RTP"),
        (offer("m=video 5004 RTP/AVP 31"), "plain RTP"),
        (offer("m=audio 5004 RTP/AVP 96", "rtpmap:96 PCMU/16000"), "no common codec"),
        (offer("m=audio 5004 RTP/AVP 96", "rtpmap:96 L16/8000/2"), "no common codec"),
        (offer().replace("c=IN IP4 192.0.2.1", "c=IN IP6 2001:db8::1"), "IP version"),
    ],
)
def test_what_we_cannot_take_gets_488(text: str, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint) as caught:
        side().answer(text)
    assert caught.value.status == 488


def test_a_missing_address_is_a_bad_request() -> None:
    with pytest.raises(RemoteProtocolError, match="c= is missing") as caught:
        side().answer(offer().replace("c=IN IP4 192.0.2.1\r\n", ""))
    assert caught.value.status == 400


def test_a_refused_description_changes_nothing() -> None:
    us = side()
    us.answer(offer())
    before = us.agreement
    with pytest.raises(RemoteProtocolError):
        us.answer(offer("m=audio 5004 RTP/AVP 18"))
    assert us.agreement is before


@pytest.mark.parametrize(
    "theirs, ours",
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_the_direction_is_mirrored(theirs: str, ours: str) -> None:
    us = side()
    answer = us.answer(offer("m=audio 5004 RTP/AVP 0", theirs))
    assert us.agreement is not None
    assert us.agreement.direction == ours
    assert us.agreement.on_hold is (theirs != "sendrecv")
    assert f"a={ours}\r\n" in answer


def test_the_old_way_to_hold_is_understood() -> None:
    us = side()
    us.answer(offer())
    us.answer(offer(host="0.0.0.0"))
    assert us.agreement is not None
    assert us.agreement.on_hold
    assert not us.agreement.direction.sends


@pytest.mark.parametrize(
    "attributes, ptime_ms",
    [
        ((), 20),
        (("ptime:30",), 30),
        (("ptime:60", "maxptime:40"), 40),
        (("maxptime:10",), 10),
        (("ptime:25",), 20),
        (("ptime:5",), 20),
        (("ptime:500",), 120),
        (("ptime:x",), 20),
    ],
)
def test_the_far_ends_packet_time_is_honoured(attributes: tuple[str, ...], ptime_ms: int) -> None:
    us = side()
    answer = us.answer(offer("m=audio 5004 RTP/AVP 0", *attributes))
    assert us.agreement is not None
    assert us.agreement.ptime_ms == ptime_ms
    assert f"a=ptime:{ptime_ms}\r\n" in answer


def test_without_telephone_events_there_are_none() -> None:
    us = side()
    answer = us.answer(offer("m=audio 5004 RTP/AVP 0"))
    assert us.agreement is not None
    assert us.agreement.dtmf_send_type is None
    assert "telephone-event" not in answer


def test_events_of_another_clock_are_better_than_none() -> None:
    us = side("L16/16000")
    us.answer(offer("m=audio 5004 RTP/AVP 97 101", "rtpmap:97 L16/16000"))
    assert us.agreement is not None
    assert (us.agreement.dtmf_send_type, us.agreement.dtmf_clock) == (101, 8000)


def test_the_version_counts_changes_only() -> None:
    us = side()
    versions = [
        parse(us.answer(o)).version for o in (offer(), offer(), offer("m=audio 5004 RTP/AVP 0", "sendonly"))
    ]
    assert versions == [1, 1, 2]


def test_an_answer_with_numbers_of_its_own_is_still_heard() -> None:
    us = side("L16/16000")
    us.offer()
    us.accept(offer("m=audio 5004 RTP/AVP 110", "rtpmap:110 L16/16000"))
    assert us.agreement is not None
    assert us.agreement.send_type == 110
    assert us.agreement.receive_types == {96, 110}


def test_the_answer_of_a_200_replaces_that_of_a_183() -> None:
    us = side()
    us.offer()
    us.accept(offer("m=audio 5004 RTP/AVP 0"))
    us.accept(offer("m=audio 6006 RTP/AVP 8"))
    assert us.agreement is not None
    assert (us.agreement.port, us.agreement.codec.name) == (6006, "PCMA")


@pytest.mark.parametrize("text", [offer("m=audio 0 RTP/AVP 0"), offer("m=video 5004 RTP/AVP 0")])
def test_an_answer_without_audio_is_refused(text: str) -> None:
    us = side()
    us.offer()
    with pytest.raises(RemoteProtocolError, match="refuses audio"):
        us.accept(text)


def test_an_answer_needs_an_offer() -> None:
    with pytest.raises(LocalProtocolError):
        side().accept(offer())
    us = side()
    us.offer()
    us.abandon()
    with pytest.raises(LocalProtocolError):
        us.accept(offer())


def test_later_descriptions_keep_the_audio_rate() -> None:
    us = side()
    us.answer(offer("m=audio 5004 RTP/AVP 8"))
    us.restrict(codec("PCMA"))
    us.answer(offer("m=audio 5004 RTP/AVP 0 8 9"))
    assert us.agreement is not None
    assert us.agreement.codec.name == "PCMA"
    with pytest.raises(RemoteProtocolError) as caught:
        us.answer(offer("m=audio 5004 RTP/AVP 9"))
    assert caught.value.status == 488


@given(st.integers(0, 300), st.integers(0, 300), st.text(max_size=6))
def test_any_damage_to_an_offer_is_answered_or_refused(start: int, end: int, patch: str) -> None:
    text = offer("m=audio 5004 RTP/AVP 0 8 96 101", "rtpmap:96 L16/16000", "ptime:20", "sendrecv")
    us = side()
    try:
        answer = us.answer(text[:start] + patch + text[end:])
    except RemoteProtocolError as e:
        assert e.status in {400, 488}
        assert us.agreement is None
    else:
        parse(answer)


@pytest.mark.parametrize(
    "port, attribute, rtcp_port",
    [(5004, "ptime:20", 5005), (5004, "rtcp:53020 IN IP4 192.0.2.9", 53020), (65535, "ptime:20", 0)]
    + [(5004, f"rtcp:{bad}", 5005) for bad in ("0", "65536", "000123456", "x", "")],
)
def test_reports_go_to_a_port_that_there_is(port: int, attribute: str, rtcp_port: int) -> None:
    ours = side("PCMU")
    ours.answer(offer(f"m=audio {port} RTP/AVP 0", attribute))
    assert ours.agreement is not None and ours.agreement.rtcp_port == rtcp_port
