"""Keys as tones, on a leg: heard where nothing better was agreed on, and never twice."""

import asyncio

import numpy as np

from media.codecs.g711 import PCMU
from media.dtmf import EventSender
from sip.rtpleg import RtpLeg
from tests.clock import run
from tests.media.test_inband import press
from tests.sip.test_rtpleg import HOST, PHONES, FakeSink, Phone, leg, media


async def dial(one: RtpLeg, sink: FakeSink, phone: Phone, keys: str, *, events: bool = False) -> None:
    """Tones of 100 ms, and telephone events with them."""
    sender, ended = EventSender(8000, 100, 100), False
    sound = np.concatenate([np.concatenate((press(k, 100, 8000), np.zeros(800))) for k in keys])
    pcm = np.concatenate((np.zeros(1600), sound, np.zeros(1600))).astype("<i2")
    if events:
        sender.press(keys)
    for n in range(len(pcm) // 160):
        payload = PCMU.encoder()(pcm[n * 160 : (n + 1) * 160].tobytes())
        stamp = phone.source.timestamp
        phone.sock.sendto(phone.source.packet(0, payload, 160), phone.to)
        ended = n < 10 or not sender.busy
        for event in [] if ended else sender.tick(stamp):
            packet = phone.source.event(101, event.payload, event.timestamp, marker=event.marker)
            phone.sock.sendto(packet, phone.to)
        await asyncio.sleep(0.02)


def with_keys(formats: str, keys: str, *, events: bool = False, info: str = "", **config: object) -> FakeSink:
    async def scene() -> FakeSink:
        phone, one = Phone(), leg(media(**config))
        rtpmap = "a=rtpmap:101 telephone-event/8000\r\n" if "101" in formats else ""
        one.answer(
            f"v=0\r\no=- 1 1 IN IP4 {PHONES}\r\ns=-\r\nc=IN IP4 {PHONES}\r\nt=0 0\r\n"
            f"m=audio {phone.port} RTP/AVP {formats}\r\n{rtpmap}"
        )
        phone.to = (HOST, one.port)
        sink = FakeSink(one, talks=False)
        one.start(sink)
        await dial(one, sink, phone, keys, events=events)
        for key in info:
            one.info_dtmf(key)
        one.discard()
        phone.sock.close()
        return sink

    return run(scene())


def test_tones_are_heard_where_no_events_were_agreed_on() -> None:
    sink = with_keys("0", "159#")
    assert sink.digits == "159#"
    loud = [n for n, f in enumerate(sink.frames) if np.abs(np.frombuffer(f.pcm, "<i2")).max() > 1000]
    assert len(loud) <= 4 * 3  # what was a key is not given to the ears, but for its first moments


def test_tones_are_left_alone_where_events_were_agreed_on_or_by_configuration() -> None:
    assert with_keys("0 101", "159").digits == ""
    assert with_keys("0", "159", inband_dtmf="off").digits == ""


def test_a_key_that_comes_by_all_three_ways_counts_once() -> None:
    assert with_keys("0 101", "1559", events=True, info="1559", inband_dtmf="on").digits == "1559"
