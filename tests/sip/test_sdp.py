"""The grammar of session descriptions: real ones are read, mangled ones refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import RemoteProtocolError
from sip.sdp import MAX_MEDIA, MediaDirection, RtpMap, parse

PHONE = """v=0\r
o=alice 2890844526 3 IN IP4 192.0.2.1\r
s=Talk\r
c=IN IP4 192.0.2.1\r
b=AS:84\r
t=0 0\r
a=recvonly\r
m=audio 49172 RTP/AVP 0 96 101\r
a=rtpmap:0 PCMU/8000\r
a=rtpmap:96 opus/48000/2\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-16\r
a=ptime:30\r
m=video 0 RTP/AVP 31\r
c=IN IP6 2001:db8:0::1\r
a=sendrecv\r
"""


def changed(old: str, new: str) -> str:
    assert old in PHONE
    return PHONE.replace(old, new)


def test_a_phones_description_is_read() -> None:
    session = parse(PHONE.encode())
    audio, video = session.media
    assert (session.host, session.session_id, session.version) == ("192.0.2.1", 2890844526, 3)
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == (
        "audio",
        49172,
        "RTP/AVP",
        ("0", "96", "101"),
    )
    assert audio.maps() == (
        RtpMap(0, "PCMU", 8000),
        RtpMap(96, "opus", 48000, 2),
        RtpMap(101, "telephone-event", 8000),
    )
    assert audio.milliseconds("ptime") == 30
    assert audio.attribute("fmtp") == "101 0-16"
    assert (audio.host, audio.direction) == ("192.0.2.1", MediaDirection.RECVONLY)  # from the session
    assert (video.host, video.port, video.direction) == ("2001:db8::1", 0, MediaDirection.SENDRECV)


def test_static_types_need_no_rtpmap() -> None:
    session = parse("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 8 18 9 77\n")
    assert [m.name for m in session.media[0].maps()] == ["PCMA", "G729", "G722"]


@pytest.mark.parametrize(
    "text",
    [
        PHONE.replace("\r\n", "\n"),
        PHONE.replace("\r\n", "\r"),
        PHONE + "\r\n\r\n",
        PHONE + "x=unknown\r\n",
        PHONE.replace("s=Talk\r\n", "").replace("t=0 0\r\n", ""),
        PHONE.replace("o=alice 2890844526 3 IN IP4 192.0.2.1", "o=broken"),
        PHONE.replace("s=Talk", "s=\xff\xfe"),
        PHONE.replace("a=ptime:30", "a=ptime:30.0"),
        PHONE.replace("a=fmtp:101 0-16", "a=fmtp"),
    ],
)
def test_what_the_field_sends_is_forgiven(text: str) -> None:
    audio = parse(text).media[0]
    assert (audio.port, audio.host, audio.milliseconds("ptime")) == (49172, "192.0.2.1", 30)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "v= is missing"),
        ("garbage", "not a line"),
        (changed("v=0", "v=1"), "version"),
        (changed("c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.999"), "address"),
        (changed("c=IN IP4 192.0.2.1", "c=IN IP4 phone.example"), "address"),
        (changed("c=IN IP4 192.0.2.1", "c=IN IP4 224.1.2.3"), "multicast"),
        (changed("c=IN IP4 192.0.2.1", "c=IN"), "connection"),
        (changed("m=audio 49172", "m=audio 99999"), "port"),
        (changed("m=audio 49172", "m=audio -1"), "port"),
        (changed("m=audio 49172", "m=audio \u0663"), "port"),
        (changed("m=video 0 RTP/AVP 31", "m=video"), "media line"),
        ("v=0\n" + "m=audio 1 RTP/AVP 0\n" * (MAX_MEDIA + 1), "media lines"),
        ("v=0\n" + "a=x\n" * 10_000, "bytes"),
    ],
)
def test_what_would_send_audio_astray_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        parse(text)


@pytest.mark.parametrize("value", ["", "abc", "0", "-20", "99999", "1e400"])
def test_a_senseless_packet_time_is_not_said(value: str) -> None:
    assert parse(changed("a=ptime:30", f"a=ptime:{value}")).media[0].milliseconds("ptime") is None


def test_what_is_written_can_be_read() -> None:
    session = parse(PHONE)
    again = parse(str(session))
    assert [(m.kind, m.port, m.formats, m.host, m.maps()) for m in again.media] == [
        (m.kind, m.port, m.formats, m.host, m.maps()) for m in session.media
    ]
    assert again.media[0].direction is MediaDirection.RECVONLY


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except RemoteProtocolError as e:
        assert 400 <= e.status < 500


@given(st.integers(0, len(PHONE)), st.integers(0, len(PHONE)), st.text(max_size=8))
def test_any_damage_is_survived(start: int, end: int, patch: str) -> None:
    text = PHONE[:start] + patch + PHONE[end:]
    try:
        session = parse(text)
    except RemoteProtocolError:
        return
    for media in session.media:
        media.maps()
        media.milliseconds("ptime")


def test_every_cut_is_survived() -> None:
    for n in range(len(PHONE)):
        try:
            parse(PHONE[:n].encode())
        except RemoteProtocolError:
            continue
