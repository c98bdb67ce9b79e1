"""The user agent against sipp, which shares no code with it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from media.leg import HangupCause
from media.metronome import Metronome
from sip.endpoint import OutboundCall
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua.agent import UserAgent
from sip.ua.config import Reach, SipConfig, Trunk
from sip.ua.registration import RegistrationStatus
from tests.sip.ua.wire import Callee, Ear
from tests.tools import need

pytestmark = pytest.mark.real
SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.fixture(autouse=True)
def tool() -> None:
    need("sipp")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def agent_on(**config: object) -> UserAgent:
    media = RtpMedia(RtpConfig(host="127.0.0.1", first_port=0, last_port=0), Metronome())
    return UserAgent(SipConfig(host="127.0.0.1", port=0, **config), media)  # type: ignore[arg-type]


async def start_sipp(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """With `-p PORT` it is called: it listens there when this returns."""
    process = await asyncio.create_subprocess_exec(
        "sipp", *arguments, "-i", "127.0.0.1", "-nostdin", "-trace_err", "-timeout", "40", "-timeout_error",
        cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if "-p" in arguments:
        while not bound(int(arguments[arguments.index("-p") + 1])):
            assert process.returncode is None, complaints(folder)
            await asyncio.sleep(0.02)
    return process


def bound(port: int) -> bool:
    """Whether somebody on this machine listens there, on UDP or TCP."""
    udp, tcp = (Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("udp", "tcp"))
    listening = [line.split() for line in udp] + [line.split() for line in tcp if " 0A " in line]
    return any(int(fields[1].rpartition(":")[2], 16) == port for fields in listening)


async def finished(process: asyncio.subprocess.Process, folder: Path) -> None:
    """sipp found everything as its scenario wants it."""
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    assert code == 0, complaints(folder)


def complaints(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.glob("*_errors.log"))[-3000:]


async def sipp(folder: Path, agent: UserAgent, *arguments: str) -> None:
    port = agent.uri.rpartition(":")[2]
    await finished(await start_sipp(folder, f"127.0.0.1:{port}", *arguments), folder)


def inbound(
    folder: Path, *arguments: str, ring_s: float = 0.05, check: Callable[[UserAgent, Callee], None]
) -> None:
    """sipp calls; `check` sees what came of it."""

    async def test() -> None:
        agent, callee = agent_on(), Callee(ring_s)
        await agent.start(callee)
        await sipp(folder, agent, *arguments)
        await asyncio.sleep(ring_s + 0.2)
        check(agent, callee)
        assert agent.calls == 0 and agent.counters.errors == 0
        await agent.close()

    run(test)


def closed_once(callee: Callee, count: int) -> None:
    assert len(callee.calls) == len(callee.ears) == count
    assert all(ear.causes == [HangupCause.NORMAL] for ear in callee.ears)


def test_a_call(tmp_path: Path) -> None:
    inbound(tmp_path, "-sn", "uac", "-m", "1", "-d", "200", check=lambda _, callee: closed_once(callee, 1))


def test_calls_over_tcp(tmp_path: Path) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        closed_once(callee, 5)

    inbound(tmp_path, "-sn", "uac", "-t", "t1", "-m", "5", "-d", "200", check=check)


def test_every_call_is_good_though_one_message_in_twenty_is_lost(tmp_path: Path) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        assert len(callee.calls) == 100
        assert agent.counters.repeated + agent.counters.absorbed > 0  # there was something to repair

    # Calls long enough that a lost ACK is repaired before the BYE: sipp takes a repeated 200 to the
    # INVITE for that to the BYE.
    arguments = ("-sn", "uac", "-m", "100", "-r", "50", "-d", "1700", "-lost", "5")
    inbound(tmp_path, *arguments, check=check)


def test_a_hundred_calls_at_once(tmp_path: Path) -> None:
    peak = 0

    class Crowd(Callee):
        async def __call__(self, call) -> None:  # type: ignore[no-untyped-def]
            nonlocal peak
            await super().__call__(call)
            peak = max(peak, sum(not ear.causes for ear in self.ears))

    async def test() -> None:
        agent, callee = agent_on(), Crowd(0.05)
        await agent.start(callee)
        await sipp(tmp_path, agent, "-sn", "uac", "-m", "100", "-r", "100", "-l", "100", "-d", "3000")
        await asyncio.sleep(0.2)
        closed_once(callee, 100)
        assert peak == 100 and agent.counters.errors == 0
        await agent.close()

    run(test)


def test_a_repeated_invite_is_one_call(tmp_path: Path) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        closed_once(callee, 1)
        assert agent.counters.absorbed >= 3

    inbound(tmp_path, "-sf", str(SCENARIOS / "repeated_invite.xml"), "-m", "1", ring_s=0.3, check=check)


def test_a_caller_who_gives_up(tmp_path: Path) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        assert [f.cause for f in callee.failures] == [HangupCause.CANCELLED]  # type: ignore[attr-defined]

    inbound(tmp_path, "-sf", str(SCENARIOS / "cancel.xml"), "-m", "1", ring_s=0.6, check=check)


def test_hold_by_a_caller(tmp_path: Path) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        closed_once(callee, 1)

    inbound(tmp_path, "-sf", str(SCENARIOS / "hold.xml"), "-m", "1", check=check)


def test_keys_by_info(tmp_path: Path) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        closed_once(callee, 1)
        assert callee.ears[0].digits == "42#"

    inbound(tmp_path, "-sf", str(SCENARIOS / "keys.xml"), "-m", "1", check=check)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_calls_that_we_place(tmp_path: Path, transport: str) -> None:
    async def test() -> None:
        agent, port = agent_on(), free_port()
        await agent.start(Callee())
        process = await start_sipp(tmp_path, "-sn", "uas", "-p", str(port), "-t", transport, "-m", "10")
        suffix = ";transport=tcp" if transport == "t1" else ""
        for _ in range(10):
            ear = Ear(await agent.place(OutboundCall(f"sip:a@127.0.0.1:{port}{suffix}")))
            await ear.leg.hangup(HangupCause.NORMAL)
            assert ear.causes == [HangupCause.NORMAL]
        await finished(process, tmp_path)
        assert agent.calls == 0 and agent.counters.errors == 0
        await agent.close()

    run(test)


def test_registration_with_a_password_refresh_and_farewell(tmp_path: Path) -> None:
    async def test() -> None:
        port = free_port()
        scenario = str(SCENARIOS / "registrar.xml")
        process = await start_sipp(tmp_path, "-sf", scenario, "-p", str(port), "-m", "1")
        agent = agent_on(trunks=(Trunk("carrier", f"127.0.0.1:{port}", "user", "secret"),))
        await agent.start(Callee())
        await asyncio.sleep(2.5)
        state = agent.registrations["carrier"]
        assert (state.status, state.expires_s) == (RegistrationStatus.REGISTERED, 600), state
        await agent.close()
        await finished(process, tmp_path)

    run(test)


@pytest.mark.parametrize("scenario", ["prack", "session_timer"])
def test_extensions_that_a_caller_asks_for(tmp_path: Path, scenario: str) -> None:
    def check(agent: UserAgent, callee: Callee) -> None:
        closed_once(callee, 1)

    inbound(tmp_path, "-sf", str(SCENARIOS / f"{scenario}.xml"), "-m", "1", check=check)


def placed_to(folder: Path, scenario: str, call: Callable[[UserAgent, int], Awaitable[None]]) -> None:
    """sipp is called by this scenario; a second one, at the port that the first one names, just answers."""

    async def test() -> None:
        agent, port, other = agent_on(refer=Reach.SAME_HOST), free_port(), free_port()
        await agent.start(Callee())
        arguments = ("-sf", str(SCENARIOS / f"{scenario}.xml"), "-p", str(port), "-key", "target", str(other))
        processes = [await start_sipp(folder, *arguments, "-m", "1")]
        if scenario != "glare":
            processes.append(await start_sipp(folder, "-sn", "uas", "-p", str(other), "-m", "1"))
        await call(agent, port)
        for process in processes:
            await finished(process, folder)
        assert agent.calls == 0 and agent.counters.errors == 0
        await agent.close()

    run(test)


def test_a_redirect_is_followed(tmp_path: Path) -> None:
    async def call(agent: UserAgent, port: int) -> None:
        ear = Ear(await agent.place(OutboundCall(f"sip:a@127.0.0.1:{port}")))
        await ear.leg.hangup(HangupCause.NORMAL)

    placed_to(tmp_path, "redirect", call)


def test_a_hold_that_meets_another_change_is_tried_again(tmp_path: Path) -> None:
    async def call(agent: UserAgent, port: int) -> None:
        ear = Ear(await agent.place(OutboundCall(f"sip:a@127.0.0.1:{port}")))
        await agent.hold(ear.leg)  # type: ignore[arg-type]
        await ear.leg.hangup(HangupCause.NORMAL)

    placed_to(tmp_path, "glare", call)


def test_a_caller_who_sends_us_elsewhere(tmp_path: Path) -> None:
    async def test() -> None:
        agent, callee, other = agent_on(refer=Reach.SAME_HOST), Callee(0.05), free_port()
        await agent.start(callee)
        target = await start_sipp(tmp_path, "-sn", "uas", "-p", str(other), "-m", "1")
        arguments = ("-sf", str(SCENARIOS / "refer.xml"), "-key", "target", str(other), "-m", "1")
        await sipp(tmp_path, agent, *arguments)
        await asyncio.sleep(0.2)
        assert not callee.ears[0].causes, "it talks to the target now"
        await callee.ears[0].leg.hangup(HangupCause.NORMAL)
        await finished(target, tmp_path)
        await asyncio.sleep(0.2)
        assert agent.calls == 0 and agent.counters.errors == 0
        await agent.close()

    run(test)
