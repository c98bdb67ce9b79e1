"""Encrypted audio by policy: of the server, of a trunk, by the way of the signalling. In memory."""

import asyncio
import logging
from dataclasses import replace

import pytest

from media.leg import CallInfo
from media.metronome import Metronome
from sip.endpoint import OutboundCall
from sip.errors import CallFailed, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.sdes import SrtpPolicy
from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig, Trunk
from sip.ua.flow import Flow
from tests.sip.test_rtpleg import FakeSignalling
from tests.sip.ua.wire import HOST, PEER_PORT, UA_PORT, Callee, Peer, Wire, WireTransport, run, sdp
from tests.tools import need_module

KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
OFF, OPTIONAL, REQUIRED = SrtpPolicy.OFF, SrtpPolicy.OPTIONAL, SrtpPolicy.REQUIRED


def agent_on(
    wire: Wire, policy: SrtpPolicy, *, needs_tls: bool, trunk: SrtpPolicy | None = None
) -> UserAgent:
    media = RtpMedia(
        RtpConfig(HOST, 0, 0, inactivity_s=0, srtp=policy, srtp_needs_tls=needs_tls), Metronome()
    )
    trunks = (Trunk("t", f"{HOST}:{PEER_PORT}", register=False, srtp=trunk),)
    return UserAgent(
        SipConfig(HOST, UA_PORT, trunks=trunks),
        media,
        lambda config, sources, counters: WireTransport(wire, UA_PORT, sources, counters),
    )


def secure_sdp() -> bytes:
    text = sdp("0").decode().replace("RTP/AVP", "RTP/SAVP")
    return f"{text}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n".encode()


def test_keys_of_a_call_do_not_travel_in_the_clear_when_another_phone_takes_it_over() -> None:
    async def test() -> None:
        wire = Wire()
        agent, peer, third = agent_on(wire, OPTIONAL, needs_tls=False), Peer(wire), Peer(wire, 5080)
        third.call_id = "call-3"
        await agent.start(Callee(ring_s=0.1))
        await peer.ask(peer.request("INVITE", secure_sdp()), 200)
        assert agent._stack is not None
        agent._stack.media.config = replace(agent._stack.media.config, srtp_needs_tls=True)
        value = f"{peer.call_id};to-tag={peer.tag};from-tag=peer"
        await third.ask(third.request("INVITE", secure_sdp(), headers=(("Replaces", value),)), 488)
        await peer.ask(peer.request("BYE"), 200)
        await agent.close()

    run(test)


@pytest.mark.parametrize(
    "policy, needs_tls, body, status",
    [
        (OFF, False, secure_sdp(), 488),
        (OPTIONAL, True, secure_sdp(), 488),  # by UDP
        (OPTIONAL, True, sdp(), 200),
        (OPTIONAL, False, secure_sdp(), 200),
        (REQUIRED, False, secure_sdp(), 200),
        (REQUIRED, False, sdp(), 488),
        (REQUIRED, True, secure_sdp(), 488),
    ],
)
def test_calls_that_come_in(policy: SrtpPolicy, needs_tls: bool, body: bytes, status: int) -> None:
    async def test() -> None:
        wire = Wire()
        agent, peer = agent_on(wire, policy, needs_tls=needs_tls), Peer(wire)
        await agent.start(Callee(ring_s=0.1))
        response = await peer.ask(peer.request("INVITE", body), status)
        assert (b"a=crypto:1" in response.body) == (status == 200 and b"crypto" in body)
        assert (b"RTP/SAVP" in response.body) == (status == 200 and b"SAVP" in body)
        await agent.close()

    run(test)


@pytest.mark.parametrize(
    "server, trunk, needs_tls, protocol, keys",
    [
        (OFF, None, False, b"RTP/AVP", False),
        (OFF, REQUIRED, False, b"RTP/SAVP", True),
        (REQUIRED, OFF, True, b"RTP/AVP", False),
        (OPTIONAL, None, False, b"RTP/AVP", True),
        (OPTIONAL, None, True, b"RTP/AVP", False),
        (REQUIRED, None, True, b"", False),
    ],
)
def test_calls_that_we_place(
    server: SrtpPolicy, trunk: SrtpPolicy | None, needs_tls: bool, protocol: bytes, keys: bool
) -> None:
    async def test() -> None:
        wire = Wire()
        agent, peer = agent_on(wire, server, needs_tls=needs_tls, trunk=trunk), Peer(wire)
        await agent.start(Callee())
        placing = asyncio.ensure_future(agent.place(OutboundCall(f"sip:b@{HOST}:{PEER_PORT}")))
        if not protocol:
            with pytest.raises(CallFailed, match="do not travel by UDP") as failed:
                await placing
            assert failed.value.status == 488
        else:
            invite = await peer.receive("INVITE")
            assert protocol + b" " in invite.body and (b"a=crypto:" in invite.body) == keys
            peer.answer(invite, 486)
            with pytest.raises(CallFailed):
                await placing
        await agent.close()

    run(test)


def test_keys_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        wire = Wire()
        agent, peer = agent_on(wire, OPTIONAL, needs_tls=False), Peer(wire)
        await agent.start(Callee(ring_s=0.1))
        with caplog.at_level(logging.DEBUG):
            response = await peer.ask(peer.request("INVITE", secure_sdp()), 200)
        key = response.body.partition(b"inline:")[2].split()[0].decode()
        logged = " ".join(str(vars(record)) for record in caplog.records)
        assert "inline:***" in logged and KEY not in logged and key not in logged
        await agent.close()

    run(test)


def test_the_way_of_the_signalling_decides() -> None:
    async def test() -> None:
        agent = agent_on(Wire(), REQUIRED, needs_tls=True)
        await agent.start(Callee())
        stack = agent._stack
        assert stack is not None
        assert stack.encryption(Flow("TLS", "192.0.2.1", 5061), None) is REQUIRED
        await agent.close()

    run(test)


def test_a_call_that_is_encrypted_moves_to_no_way_that_shows_its_keys() -> None:
    async def test() -> None:
        media = RtpMedia(RtpConfig(HOST, 0, 0), Metronome())
        near, far = (RtpLeg(media, CallInfo("1", "", "", "sip"), FakeSignalling(), HOST) for _ in range(2))
        for leg in (near, far):
            leg.encrypt(OPTIONAL)
        near.accept(far.answer(near.offer()))
        near.encrypt(REQUIRED)  # over TLS: what was agreed stays
        with pytest.raises(RemoteProtocolError, match="do not travel"):
            near.encrypt(OFF)
        for leg in (near, far):
            leg.discard()

    run(test)


@pytest.mark.parametrize("trunk", [None, OPTIONAL])
def test_the_other_stack_says_that_it_does_not_encrypt(trunk: SrtpPolicy | None) -> None:
    need_module("pjsua2", "pip install 'voicegw[pjsua2]'")
    from sip.pjsua import PjsuaEndpoint

    media = RtpMedia(RtpConfig(srtp=OFF if trunk else REQUIRED), Metronome())
    with pytest.raises(ValueError, match="srtp needs sip_stack: own"):
        PjsuaEndpoint(SipConfig(trunks=(Trunk("t", HOST, srtp=trunk),)), media)
