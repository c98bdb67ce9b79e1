"""The leg against aiortc, over real sockets: both sides hear each other, and notice the other's end."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from media.leg import CallInfo, HangupCause
from sip.errors import CallFailed, RemoteProtocolError
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.leg import WebRtcLeg
from sip.webrtc.media import WebRtcMedia
from tests.sip.webrtc.peer import Peer, Sink, connect, loudest_hz, media, tone, until


def run(scenario: Callable[[WebRtcMedia], Awaitable[None]], config: WebRtcConfig | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), media(config) as shared:
            await scenario(shared)

    asyncio.run(main())


def test_both_sides_hear_each_other_and_a_second_call_does_not_disturb_the_first() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peers = [Peer(tone(hz, 1)) for hz in (400, 1000)]
        legs = [(await connect(shared, peer, number))[0] for number, peer in enumerate(peers)]
        sinks = [Sink(leg, echo=True) for leg in legs]
        for leg, sink in zip(legs, sinks, strict=True):
            leg.start(sink)
        await until(lambda: all(len(sink.frames) > 100 for sink in sinks))
        for hz, peer, sink, leg in zip((400, 1000), peers, sinks, legs, strict=True):
            assert loudest_hz(sink.heard(), 16000) == pytest.approx(hz, abs=5)
            assert loudest_hz(np.concatenate(peer.heard[-50:]), 48000) == pytest.approx(hz, abs=5)
            stats = leg.stats
            assert stats.received.lost + stats.received.garbage + stats.sent.dropped == 0
            assert [f.pts for f in sink.frames[:3]] == [0, 320, 640] and leg.flows
            quality = leg.quality()
            assert quality.sent is not None and quality.sent.lost == 0, "aiortc's reports came"
            assert quality.mos_received is not None and quality.mos_received > 4
            await leg.hangup(HangupCause.NORMAL)
            await leg.hangup(HangupCause.NORMAL)
            assert sink.closed is HangupCause.NORMAL
            await peer.close()

    run(scenario)


def test_hanging_up_waits_for_nothing_and_the_browser_is_told() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        leg, _ = await connect(shared, peer)
        sink = Sink(leg)
        leg.start(sink)
        with pytest.raises(StopIteration):
            leg.hangup(HangupCause.NORMAL).send(None)
        assert sink.closed is HangupCause.NORMAL
        await until(lambda: peer.connection.connectionState == "closed")
        await peer.close()

    run(scenario)


def test_the_call_ends_when_the_page_is_closed() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        leg, _ = await connect(shared, peer)
        sink = Sink(leg)
        leg.start(sink)
        await peer.close()
        await until(lambda: sink.closed is HangupCause.NORMAL)

    run(scenario)


def test_a_browser_that_falls_silent_is_waited_for_and_the_bot_rests() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        leg, states = await connect(shared, peer)
        sink = Sink(leg)
        leg.start(sink)
        await until(lambda: len(sink.frames) > 20)
        peer.connection.getSenders()[0].replaceTrack(None)
        await until(lambda: states[-1] == "interrupted")
        ticks, frames = sink.ticks, len(sink.frames)
        await asyncio.sleep(0.2)
        assert sink.ticks == ticks and len(sink.frames) > frames
        await until(lambda: sink.closed is HangupCause.MEDIA_TIMEOUT)
        await peer.close()

    run(scenario, WebRtcConfig(resume_s=2))


def test_a_browser_that_cannot_be_reached_fails_the_call_with_a_reason() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        states: list[str] = []
        leg = WebRtcLeg(shared, CallInfo("c", "anna", "bot", "webrtc"), states.append)
        offer = await peer.offer()
        lines = [line for line in offer.splitlines() if "candidate" not in line]
        await leg.negotiate("\r\n".join(lines))  # the peer never gets the answer
        await leg.candidate("1 1 udp 1 192.0.2.2 9 typ host")
        with pytest.raises(CallFailed, match="ICE") as failure:
            await leg.connected()
        assert failure.value.status == 408 and states[-1].startswith("failed: ")
        await leg.hangup(HangupCause.NORMAL)
        await peer.close()

    run(scenario, WebRtcConfig(connect_s=0.5))


def test_a_certificate_other_than_announced_is_refused() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        states: list[str] = []
        leg = WebRtcLeg(shared, CallInfo("c", "anna", "bot", "webrtc"), states.append)
        offer = await peer.offer()
        lines = [line for line in offer.splitlines() if "fingerprint" not in line]
        forged = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
        await peer.answered(await leg.negotiate("\r\n".join([*lines, forged])))
        with pytest.raises(CallFailed, match="certificate"):
            await leg.connected()
        await leg.hangup(HangupCause.NORMAL)
        await peer.close()

    run(scenario)


def test_an_offer_without_opus_and_a_flood_of_candidates_are_refused() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        leg = WebRtcLeg(shared, CallInfo("c", "anna", "bot", "webrtc"), lambda _: None)
        offer = await peer.offer()
        with pytest.raises(RemoteProtocolError, match="Opus") as refused:
            await leg.negotiate(offer.replace("opus/48000", "other/48000"))
        assert refused.value.status == 488
        await leg.negotiate(offer.replace("a=end-of-candidates", "a=x"))
        with pytest.raises(RemoteProtocolError, match="candidates"):
            for port in range(100):
                await leg.candidate(f"1 1 udp 1 192.0.2.2 {port + 1000} typ host")
        await leg.hangup(HangupCause.NORMAL)
        await peer.close()

    run(scenario)


def test_the_call_moves_to_a_new_path_when_the_page_restarts() -> None:
    async def scenario(shared: WebRtcMedia) -> None:
        peer = Peer(tone(400, 1))
        leg, states = await connect(shared, peer)
        sink = Sink(leg, echo=True)
        leg.start(sink)
        await until(lambda: len(sink.frames) > 50)
        other = Peer(tone(1000, 1))  # another network and another page: everything is new
        await other.answered(await leg.negotiate(await other.offer()))
        await leg.candidate(None)
        await until(lambda: len(other.heard) > 75)
        assert states.count("connected") == 2 and sink.closed is None
        assert loudest_hz(sink.heard(30), 16000) == pytest.approx(1000, abs=5)
        assert loudest_hz(np.concatenate(other.heard[-30:]), 48000) == pytest.approx(1000, abs=5)
        await leg.hangup(HangupCause.NORMAL)
        await peer.close()
        await other.close()

    run(scenario)
