"""IPv6 from end to end, media included, and both IP versions at once. Real sockets; needs ::1."""

import asyncio
import socket
from pathlib import Path

import pytest
import trustme

from media.leg import HangupCause
from media.metronome import Metronome
from sip.endpoint import OutboundCall
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.rtpports import RtpPorts
from sip.sdp import parse as parse_sdp
from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig, TlsConfig
from sip.ua.message import Response, parse
from tests.sip.ua.test_transport import Datagrams, options
from tests.sip.ua.wire import Callee, Ear, Peer, Wire, run, sdp, user_agent
from tests.tools import LACKS


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_ipv6(), reason=f"{LACKS}IPv6 (::1)")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert("::1", "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    return TlsConfig(0, str(folder / "both.pem"), ca_file=str(folder / "ca.pem"))


def agent_on(host: str, tls: TlsConfig) -> UserAgent:
    media = RtpMedia(RtpConfig(first_port=0, last_port=0), Metronome())  # as by default: all of IPv4
    return UserAgent(SipConfig(host, 0, ("udp", "tcp", "tls"), tls), media)


async def talk(alice: UserAgent, callee: Callee, target: str) -> RtpLeg:
    """A call with packets both ways, hung up by the callee."""
    callee.answered.clear()
    leg = await alice.place(OutboundCall(target))
    caller = Ear(leg)
    await callee.answered.wait()
    other = callee.ears[-1].leg
    assert isinstance(other, RtpLeg)
    while leg.stats.received.received < 5 or other.stats.received.received < 5:  # noqa: ASYNC110 - counters
        await asyncio.sleep(0.02)
    await other.hangup(HangupCause.NORMAL)
    await caller.closed.wait()
    return leg


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_call_over_ipv6(transport: str, tls: TlsConfig) -> None:
    async def test() -> None:
        async with asyncio.timeout(10):
            alice, bob, callee = agent_on("::1", tls), agent_on("::1", tls), Callee(ring_s=0.05)
            await alice.start(Callee())
            await bob.start(callee)
            port = bob._transport.port_of("TLS" if transport == "tls" else "UDP")
            leg = await talk(alice, callee, f"sip:b@[::1]:{port};transport={transport}")
            assert leg.agreement is not None and leg.agreement.host == "::1"
            assert "[::1]" in callee.calls[0].info.headers["contact"]
            await alice.close()
            await bob.close()

    asyncio.run(test())


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_one_agent_takes_and_places_calls_of_both_versions(transport: str, tls: TlsConfig) -> None:
    async def test() -> None:
        async with asyncio.timeout(15):
            both, callee = agent_on("::", tls), Callee(ring_s=0.05)
            await both.start(callee)
            port = both._transport.port_of("TLS" if transport == "tls" else "UDP")
            for host, literal in (("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")):
                other, theirs = agent_on(host, tls), Callee(ring_s=0.05)
                await other.start(theirs)
                leg = await talk(other, callee, f"sip:b@{literal}:{port};transport={transport}")
                assert leg.agreement is not None and leg.agreement.host == host
                back = other._transport.port_of("TLS" if transport == "tls" else "UDP")
                await talk(both, theirs, f"sip:o@{literal}:{back};transport={transport}")
                await other.close()
            await both.close()

    asyncio.run(test())


def test_the_source_is_noted_as_the_rfcs_want_it(tls: TlsConfig) -> None:
    """RFC 3581: received and rport; an address of IPv6 in `received` has no brackets."""

    async def test() -> None:
        async with asyncio.timeout(5):
            agent = agent_on("::", tls)
            await agent.start(Callee())
            loop = asyncio.get_running_loop()
            for host in ("::1", "127.0.0.1"):
                transport, peer = await loop.create_datagram_endpoint(
                    Datagrams, remote_addr=(host, agent._transport.port)
                )
                transport.sendto(options("UDP", via="[2001:db8::9]:9" if ":" in host else "10.9.8.7:9"))
                response = parse(await peer.received.get())
                assert isinstance(response, Response) and response.status == 200
                own = transport.get_extra_info("sockname")
                assert (response.via.params["received"], response.via.params["rport"]) == (host, str(own[1]))
                transport.close()
            await agent.close()

    asyncio.run(test())


def test_signalled_by_one_version_and_talked_by_the_other() -> None:
    """As Linphone does where it has both: INVITE by IPv4, media address of IPv6."""

    async def test() -> None:
        wire = Wire()
        agent, peer = user_agent(wire), Peer(wire)
        # All addresses, as by default: a socket bound to one of IPv4 could not do it.
        agent._media.ports = RtpPorts("0.0.0.0", 0, 0)
        await agent.start(Callee(ring_s=0.1))
        offer = sdp().replace(b"IN IP4 127.0.0.1", b"IN IP6 ::1")
        answer = parse_sdp((await peer.ask(peer.request("INVITE", offer), 200)).body)
        assert answer.media[0].port and answer.host == "::1"
        await agent.close()

    run(test)
