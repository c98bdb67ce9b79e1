"""TLS: real handshakes on this machine, on the standard loop and on uvloop; certificates made on the spot."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from media.leg import HangupCause
from media.metronome import Metronome
from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua import streams, transport
from sip.ua.agent import UserAgent
from sip.ua.certificate import SOON_S, validity
from sip.ua.config import SipConfig, TlsConfig, Trunk
from sip.ua.message import Response, parse
from sip.ua.tls import TlsContexts
from sip.ua.transport import NetworkTransport
from tests.sip.ua.test_transport import closed, message, options, port_of
from tests.sip.ua.wire import Callee, Ear
from tests.tools import need

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_on_loop(test: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return run_on_loop


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Files:
    """Certificates in a folder."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.folder, self._authority = folder, authority
        self.ca = self._write("ca.pem", authority.cert_pem.bytes())

    def _write(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)

    def issue(self, name: str, *identities: str, **options: datetime) -> TlsConfig:
        leaf = self._authority.issue_cert(*(identities or ("127.0.0.1", "localhost")), **options)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        certificate = self._write(f"{name}.pem", chain)
        return TlsConfig(
            0, certificate, self._write(f"{name}.key", leaf.private_key_pem.bytes()), "", self.ca
        )


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Files:
    return Files(tmp_path, authority)


def agent_with(
    tls: TlsConfig, transports: tuple[str, ...] = ("udp", "tcp", "tls"), **config: object
) -> UserAgent:
    media = RtpMedia(RtpConfig(host="127.0.0.1", first_port=0, last_port=0), Metronome())
    settings = SipConfig(host="127.0.0.1", port=0, transports=transports, tls=tls, **config)  # type: ignore[arg-type]
    return UserAgent(settings, media)


def network(agent: UserAgent) -> NetworkTransport:
    assert isinstance(agent._transport, NetworkTransport)
    return agent._transport


def tls_port(agent: UserAgent) -> int:
    return network(agent).port_of("TLS")


def client(ca: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.maximum_version = version
    return context


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_are_answered_on_the_connection(run: Run, files: Files, version: ssl.TLSVersion) -> None:
    async def test() -> None:
        agent = agent_with(files.issue("server"))
        await agent.start(Callee())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", tls_port(agent), ssl=client(files.ca, version)
        )
        # What the client sends with the end of its handshake belongs to the first message.
        writer.write(options("TLS", 1) + b"\r\n\r\n" + options("TLS", 2, 20_000))
        answer = await message(reader)
        assert (answer.status, answer.call_id) == (200, "c1")
        assert (
            answer.contact is not None
            and answer.contact.uri == f"sip:bot@127.0.0.1:{tls_port(agent)};transport=tls"
        )
        assert await reader.readexactly(2) == b"\r\n"
        assert (await message(reader)).call_id == "c2"
        writer.close()
        await agent.close()

    run(test)


@pytest.mark.parametrize("scheme", ["sip:b@localhost:{};transport=tls", "sips:b@localhost:{}"])
def test_a_call_over_one_verified_connection(run: Run, files: Files, scheme: str) -> None:
    async def test() -> None:
        tls = files.issue("both")
        alice, bob, callee = agent_with(tls), agent_with(tls), Callee(ring_s=0.05)
        await alice.start(Callee())
        await bob.start(callee)
        caller = Ear(await alice.place(OutboundCall(scheme.format(tls_port(bob)))))
        await callee.answered.wait()
        contact = callee.calls[0].info.headers["contact"]
        assert contact.startswith("<sips:") == scheme.startswith("sips:")
        assert str(tls_port(alice)) in contact and ("transport=tls" in contact) != scheme.startswith("sips:")
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        await caller.closed.wait()
        again = Ear(await alice.place(OutboundCall(scheme.format(tls_port(bob)))))
        await again.leg.hangup(HangupCause.NORMAL)
        await asyncio.sleep(0.05)
        assert (alice.calls, bob.calls) == (0, 0)
        assert len(network(alice).streams) == len(network(bob).streams) == 1
        await alice.close()
        await bob.close()

    run(test)


def test_a_server_for_another_name_or_of_an_unknown_authority_is_not_called(run: Run, files: Files) -> None:
    async def test() -> None:
        bob = agent_with(files.issue("bob", "sip.example.com"))
        await bob.start(Callee())
        target = OutboundCall(f"sip:b@127.0.0.1:{tls_port(bob)};transport=tls")
        for tls, word in (
            (files.issue("alice"), "IP address mismatch"),
            (TlsConfig(0), "unable to get local issuer"),
        ):
            alice = agent_with(tls, ("udp",))
            await alice.start(Callee())
            with pytest.raises(CallFailed, match=word):
                await alice.place(target)
            assert alice.counters.tls_failed == 1
            await alice.close()
        careless = agent_with(TlsConfig(0, verify_server=False), ("udp",))
        await careless.start(Callee())
        leg = await careless.place(target)
        await leg.hangup(HangupCause.NORMAL)
        await careless.close()
        assert bob.counters.tls_failed >= 1
        await bob.close()

    run(test)


def test_clients_must_show_a_certificate_where_that_is_wanted(run: Run, files: Files) -> None:
    async def test() -> None:
        tls = files.issue("server")
        agent = agent_with(TlsConfig(0, tls.certificate, tls.key, ca_file=files.ca, verify_client=True))
        await agent.start(Callee())
        known = client(files.ca)
        known.load_cert_chain(tls.certificate, tls.key)
        reader, writer = await asyncio.open_connection("127.0.0.1", tls_port(agent), ssl=known)
        writer.write(options("TLS"))
        assert (await message(reader)).status == 200
        writer.close()
        nobody = client(files.ca, ssl.TLSVersion.TLSv1_2)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", tls_port(agent), ssl=nobody)
        await asyncio.sleep(0.05)
        assert agent.counters.tls_failed == 1
        await agent.close()

    run(test)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_old_versions_plain_text_and_peers_that_leave_are_counted_and_harm_nothing(
    run: Run, files: Files
) -> None:
    async def test() -> None:
        agent = agent_with(files.issue("server"))
        await agent.start(Callee())
        old = client(files.ca)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", tls_port(agent), ssl=old)
        reader, writer = await asyncio.open_connection("127.0.0.1", tls_port(agent))
        writer.write(options("TLS"))
        try:
            await reader.read()
        except ConnectionError:
            pass
        _, writer = await asyncio.open_connection("127.0.0.1", tls_port(agent))
        writer.close()
        await asyncio.sleep(0.1)
        assert agent.counters.tls_failed == 3
        assert (agent.counters.received, len(network(agent).streams)) == (0, 0)
        await agent.close()

    run(test)


def test_a_handshake_under_way_takes_a_connections_place_and_ends_in_time(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HANDSHAKE_S", 0.5)

    async def test() -> None:
        agent = agent_with(files.issue("server"), max_connections=2)
        await agent.start(Callee())
        silent = [await asyncio.open_connection("127.0.0.1", tls_port(agent)) for _ in range(2)]
        plain = [await asyncio.open_connection("127.0.0.1", port_of(agent)) for _ in range(2)]
        async with asyncio.timeout(0.3):
            for reader, _ in silent:  # the one after the other gave way
                await closed(reader)
        assert agent.counters.tls_failed == 2
        late, late_writer = await asyncio.open_connection("127.0.0.1", tls_port(agent))
        async with asyncio.timeout(0.3):
            await closed(late)
        for _, writer in plain:
            writer.close()
        await until(lambda: len(network(agent).streams) == 0)
        reader, alone = await asyncio.open_connection("127.0.0.1", tls_port(agent))
        await closed(reader)  # nothing was said
        assert agent.counters.tls_failed == 3
        for _, writer in (*silent, (late, late_writer), (reader, alone)):
            writer.close()
        await agent.close()

    run(test)


def test_peers_that_connect_and_say_nothing_shut_nobody_out(run: Run, files: Files) -> None:
    async def test() -> None:
        agent = agent_with(files.issue("server"), max_connections=2)
        await agent.start(Callee())
        good, silent = [], []
        for n in range(2):  # the last place can be taken too
            silent += [await asyncio.open_connection("127.0.0.1", tls_port(agent)) for _ in range(3)]
            reader, writer = await asyncio.open_connection("127.0.0.1", tls_port(agent), ssl=client(files.ca))
            writer.write(options("TLS", n))
            assert (await message(reader)).status == 200
            good.append(writer)
        reader, refused = await asyncio.open_connection("127.0.0.1", tls_port(agent))
        await closed(reader)
        assert len(network(agent).streams) == 2 and agent.counters.tls_failed == 6
        for writer in (*good, *(w for _, w in silent), refused):
            writer.close()
        await until(lambda: len(network(agent).streams) == 0)
        await agent.close()

    run(test)


def test_strangers_are_turned_away_before_the_handshake(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr("sip.ua.filter.SourceFilter._judge", lambda self, host: False)
        agent = agent_with(files.issue("server"))
        await agent.start(Callee())
        reader, writer = await asyncio.open_connection("127.0.0.1", tls_port(agent))
        await closed(reader)
        writer.close()
        assert (agent.counters.refused_source, agent.counters.tls_failed) == (1, 0)
        await agent.close()

    run(test)


def test_a_renewed_certificate_is_used_without_a_restart(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(transport, "RENEWAL_S", 0.02)
        agent = agent_with(files.issue("server", "old.example.com"))
        await agent.start(Callee())

        async def works_for(name: str) -> bool:
            try:
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", tls_port(agent), ssl=client(files.ca), server_hostname=name
                )
            except ssl.SSLCertVerificationError:
                return False
            writer.close()
            return True

        assert await works_for("old.example.com")
        first = network(agent).tls.server
        files.issue("server", "new.example.com")
        await until(lambda: network(agent).tls.server is not first)
        assert await works_for("new.example.com") and not await works_for("old.example.com")
        (files.folder / "server.key").write_text("half a fi")
        now = datetime.now(UTC).timestamp()
        tls = network(agent).tls
        await until(lambda: "no usable key" in (tls.fault(now) or ""))
        assert await works_for("new.example.com")
        await agent.close()

    run(test)


def test_a_trunk_by_tls_is_reached_by_name_and_again_after_the_connection_broke(
    run: Run, files: Files
) -> None:
    async def test() -> None:
        registered = asyncio.Event()

        peers: list[asyncio.StreamWriter] = []

        async def registrar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer)
            while data := await reader.readuntil(b"\r\n\r\n"):
                answer(data, writer)

        def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
            request = parse(data)
            assert request.via.transport == "TLS"
            assert request.contact is not None and request.contact.uri.endswith(";transport=tls")
            headers = [
                (n, v) for n, v in request.headers if n in ("via", "from", "to", "call-id", "cseq", "contact")
            ]
            response = Response(status=200, reason="OK")
            for name, value in headers:
                response.headers.add(name, value)
            writer.write(bytes(response))
            registered.set()

        tls = files.issue("server")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls.certificate, tls.key)
        server = await asyncio.start_server(registrar, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        trunk = Trunk("provider", f"localhost:{port}", "me", transport="tls")
        agent = agent_with(TlsConfig(ca_file=files.ca), ("udp",), trunks=(trunk,))
        await agent.start(Callee())
        await registered.wait()
        await until(lambda: agent.registrations["provider"].status.value == "registered")
        registered.clear()
        peers.pop().close()  # the provider's server restarts: calls would come no more
        await registered.wait()
        await agent.close()
        server.close()

    run(test)


# Files


def test_files_that_are_no_good_say_what_is_wrong(files: Files) -> None:
    good, other = files.issue("good"), files.issue("other")
    empty = files._write("empty.pem", b"nothing")
    for config, words in (
        (
            TlsConfig(certificate="/nowhere/cert.pem"),
            "tls.certificate: cannot read /nowhere/cert.pem: No such",
        ),
        (TlsConfig(certificate=good.certificate, key="/nowhere"), "tls.key: cannot read /nowhere: No such"),
        (TlsConfig(certificate=good.certificate, key=other.key), "does not belong to the certificate"),
        (TlsConfig(certificate=good.certificate), "tls.key: no usable key in"),
        (TlsConfig(certificate=empty, key=good.key), "empty.pem: no certificate in PEM form"),
        (TlsConfig(ca_file=empty), "tls.ca_file: no certificates in"),
        (TlsConfig(ca_file="/nowhere"), "tls.ca_file: cannot read /nowhere"),
        (TlsConfig(certificate=good.certificate, key=good.key, verify_client=True), "needs tls.ca_file"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            TlsContexts(config)
    with pytest.raises(ValueError, match="set tls.certificate"):
        SipConfig(transports=("udp", "tls"))
    with pytest.raises(ValueError, match="udp, tcp or tls, not 'sctp'"):
        SipConfig(transports=("sctp",))


def test_validity_is_told_in_time(files: Files) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for days, word in ((30, None), (3, "expires on"), (-1, "has expired on")):
        end = now + timedelta(days=days)
        tls = TlsContexts(files.issue("dated", not_before=now - timedelta(days=90), not_after=end))
        fault = tls.fault(now.timestamp())
        assert fault is None if word is None else word in (fault or "")
        assert tls.validity is not None and tls.validity.not_after == end.timestamp()
        assert "only from" in (tls.fault((now - timedelta(days=91)).timestamp()) or "")
    assert SOON_S == 7 * 86_400


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_file_gives_dates_or_an_error(data: bytes, at: int) -> None:
    pem = trustme_pem()
    damaged = pem[:at] + data + pem[at + len(data) :]
    for content in (data, damaged, b"-----BEGIN CERTIFICATE-----\n" + data + b"-----END CERTIFICATE-----"):
        try:
            validity(content)
        except ValueError:
            pass


PEM: list[bytes] = []


def trustme_pem() -> bytes:
    if not PEM:
        PEM.append(trustme.CA().cert_pem.bytes())
    return PEM[0]


@pytest.mark.real
@pytest.mark.parametrize("option, words", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3"), ("-tls1_1", "")])
def test_openssl_agrees_on_the_version(files: Files, option: str, words: str) -> None:
    need("openssl")

    async def test() -> None:
        agent = agent_with(files.issue("server"))
        await agent.start(Callee())
        command = ["openssl", "s_client", "-brief", "-verify_return_error", "-CAfile", files.ca, option]
        process = await asyncio.create_subprocess_exec(
            shutil.which("openssl") or "",
            *command[1:],
            "-connect",
            f"127.0.0.1:{tls_port(agent)}",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ,
        )
        output = (await process.communicate())[0].decode()
        if words:
            assert words in output and "Verification: OK" in output, output
        else:
            assert process.returncode != 0 and "Verification: OK" not in output, output
        await agent.close()

    asyncio.run(test())
