"""Finding servers by NAPTR, SRV and address records: a real name server on this machine answers."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from sip.errors import RemoteProtocolError
from sip.ua.config import DnsConfig
from sip.ua.flow import Flow
from sip.ua.grammar import SipUri
from sip.ua.resolve import Resolver
from tests.sip.ua.nameserver import name_server

BOTH = (socket.AF_INET, socket.AF_INET6)
PROVIDER = {
    ("example.com", "NAPTR"): [
        '20 50 "s" "SIP+D2T" "" _sip._tcp.example.com.',
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
        '30 50 "s" "SIP+D2U" "" _sip._udp.example.com.',
        '5 50 "s" "SIP+D2W" "" _sip._ws.example.com.',
    ],
    ("_sips._tcp.example.com", "SRV"): ["1 0 5071 two.example.com.", "0 0 5061 one.example.com."],
    ("_sip._tcp.example.com", "SRV"): ["0 0 5060 one.example.com."],
    ("_sip._udp.example.com", "SRV"): ["0 0 5090 one.example.com."],
    ("one.example.com", "A"): ["192.0.2.1"],
    ("one.example.com", "AAAA"): ["2001:db8::1"],
    ("two.example.com", "A"): ["192.0.2.2"],
    ("plain.example", "A"): ["192.0.2.3", "192.0.2.4"],
    ("nothing.example", "NAPTR"): ['10 50 "u" "E2U+sip" "!^.*$!sip:a@b!" .'],
    ("_sip._udp.nothing.example", "SRV"): ["0 0 0 ."],
    ("nothing.example", "A"): ["192.0.2.5"],
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def resolver(server: str, families: tuple[socket.AddressFamily, ...] = BOTH[:1], **config: float) -> Resolver:
    made = DnsConfig(servers=(server,), **config)  # type: ignore[arg-type]
    return Resolver(made, families, ("udp", "tcp"), Clock())


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_on_loop(test: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return run_on_loop


Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.mark.parametrize(
    "uri, flows",
    [
        ("sip:example.com", ["TLS:192.0.2.1:5061", "TLS:192.0.2.2:5071"]),  # NAPTR's first choice of ours
        ("sips:example.com", ["TLS:192.0.2.1:5061", "TLS:192.0.2.2:5071"]),
        ("sip:example.com;transport=tcp", ["TCP:192.0.2.1:5060"]),
        ("sip:example.com;transport=udp", ["UDP:192.0.2.1:5090"]),
        ("sip:example.com:5060", []),  # with a port: the address, and there is none
        ("sip:one.example.com:5077", ["UDP:192.0.2.1:5077"]),
        ("sip:plain.example", ["UDP:192.0.2.3:5060", "UDP:192.0.2.4:5060"]),
        ("sip:plain.example;transport=tls", ["TLS:192.0.2.3:5061", "TLS:192.0.2.4:5061"]),
        ("sip:nothing.example", ["UDP:192.0.2.5:5060"]),
        ("sip:192.0.2.9", ["UDP:192.0.2.9:5060"]),
        ("sips:[2001:db8::9]", ["TLS:2001:db8::9:5061"]),
        ("sip:[2001:DB8:0:0::9]", ["UDP:2001:db8::9:5060"]),
    ],
)
def test_the_servers_of_an_address(run: Run, uri: str, flows: list[str]) -> None:
    async def test() -> None:
        async with name_server(PROVIDER) as (_, address):
            found = resolver(address)
            if not flows:
                with pytest.raises(OSError, match="has no address"):
                    await found.ways(SipUri.parse(uri))
                return
            ways = await found.ways(SipUri.parse(uri))
            found_flows = [str(way) for way in ways]
            # Name servers turn the order of address records.
            assert (sorted(found_flows) if "plain" in uri else found_flows) == flows
            for way in ways:  # whom the certificate has to be for: the domain, whatever SRV says
                assert way.name == (SipUri.parse(uri).host.strip("[]") if way.transport == "TLS" else "")

    run(test)


def test_what_is_no_name_has_no_address(run: Run) -> None:
    async def test() -> None:
        found = Resolver(DnsConfig(srv=False), BOTH[:1], ("udp",), Clock())
        with pytest.raises(OSError, match="has no address"):
            await found.ways(SipUri.parse("sip:a..b"))

    run(test)


def test_a_trunk_insists_on_its_transport(run: Run) -> None:
    async def test() -> None:
        async with name_server(PROVIDER) as (_, address):
            uri = SipUri.parse("sip:example.com")
            assert await resolver(address).ways(uri, "UDP") == [Flow("UDP", "192.0.2.1", 5090)]
            both = await resolver(address, BOTH).ways(uri, "TCP")
            assert [way.host for way in both] == ["192.0.2.1", "2001:db8::1"]
            six = await resolver(address, BOTH[1:]).ways(uri, "TCP")
            assert [way.host for way in six] == ["2001:db8::1"]
            with pytest.raises(RemoteProtocolError):
                await resolver(address).ways(SipUri.parse("sip:example.com;transport=sctp"))

    run(test)


def test_answers_are_kept_for_their_time_also_those_that_say_no(run: Run) -> None:
    async def test() -> None:
        async with name_server(PROVIDER) as (server, address):
            found = resolver(address)
            for uri in ("sip:example.com", "sip:plain.example") * 3:
                await found.ways(SipUri.parse(uri))
            assert max(server.asked.values()) == 1
        async with name_server(PROVIDER, ttl=0) as (server, address):
            found = resolver(address)
            for _ in range(2):
                await found.ways(SipUri.parse("sip:example.com"))
            assert server.asked["example.com", "NAPTR"] == 2

    run(test)


def test_weights_are_chances(run: Run) -> None:
    records = {
        ("_sip._udp.heavy.example", "SRV"): ["1 90 5060 a.heavy.example.", "1 10 5060 b.heavy.example."],
        ("a.heavy.example", "A"): ["192.0.2.1"],
        ("b.heavy.example", "A"): ["192.0.2.2"],
    }

    async def test() -> None:
        async with name_server(records) as (_, address):
            found = resolver(address)
            uri = SipUri.parse("sip:heavy.example;transport=udp")
            first = Counter([(await found.ways(uri))[0].host for _ in range(300)])
            assert 200 < first["192.0.2.1"] < 298 and len(first) == 2

    run(test)


def test_who_does_not_answer_stands_behind_for_a_while(run: Run) -> None:
    async def test() -> None:
        async with name_server(PROVIDER) as (_, address):
            found = resolver(address, dead_s=60)
            clock = found._now
            assert isinstance(clock, Clock)
            one, two = await found.ways(SipUri.parse("sips:example.com"))
            found.failed(one)
            assert await found.ways(SipUri.parse("sips:example.com")) == [two, one]
            found.failed(two)  # both: the order of the records again
            assert await found.ways(SipUri.parse("sips:example.com")) == [one, two]
            found.worked(two)
            assert await found.ways(SipUri.parse("sips:example.com")) == [two, one]
            clock.now = 61
            assert await found.ways(SipUri.parse("sips:example.com")) == [one, two]

    run(test)


def test_a_silent_name_server_costs_one_time_out(run: Run) -> None:
    async def test() -> None:
        async with name_server({}) as (server, address):
            server.silent = True
            found = resolver(address, timeout_s=0.2)
            loop = asyncio.get_running_loop()
            before = loop.time()
            with pytest.raises(OSError):
                await found.ways(SipUri.parse("sip:silent.invalid"))
            assert loop.time() - before < 5 and server.asked["silent.invalid", "NAPTR"] == 1
            assert ("_sip._udp.silent.invalid", "SRV") not in server.asked

    run(test)


def test_name_servers_are_addresses() -> None:
    for good in ("10.0.0.2", "10.0.0.2:5353", "2001:db8::1", "[2001:db8::1]:5353"):
        resolver(good)
    for bad in ("ns.example.com", "10.0.0.2:x", ""):
        with pytest.raises(ValueError, match="no address of a name server"):
            resolver(bad)
