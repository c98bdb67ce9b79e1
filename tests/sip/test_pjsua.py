"""pjsua2 and our own user agent talk to each other: two independent stacks over loopback sockets."""

import asyncio
import ctypes
import gc
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pjsua2
import pytest

from dialog.types import Transfer
from media.errors import MissingExtra, TransferError
from media.leg import CallInfo, Direction, HangupCause
from media.metronome import Metronome
from sip.endpoint import CallProgress, IncomingCall, OutboundCall, SipEndpoint
from sip.errors import CallFailed, LocalProtocolError
from sip.pjsua import PjsuaEndpoint
from sip.pjsua.thread import PjsuaError, PjThread
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua import SipConfig, UserAgent
from tests.sip.test_rtpleg import FakeSink

pytestmark = pytest.mark.real
HOST = "127.0.0.1"


def media(*codecs: str) -> RtpMedia:
    chosen = {"codecs": codecs} if codecs else {}
    return RtpMedia(RtpConfig(host=HOST, first_port=0, last_port=0, **chosen), Metronome())


class Answerer:
    """Takes every call; remembers who called and what was heard."""

    def __init__(self) -> None:
        self.calls: list[IncomingCall] = []
        self.legs: list[RtpLeg] = []
        self.sinks: list[FakeSink] = []
        self.failures: list[CallFailed] = []
        self.decide: Callable[[IncomingCall], Coroutine[Any, Any, None]] = self.answer

    async def __call__(self, call: IncomingCall) -> None:
        self.calls.append(call)
        try:
            await self.decide(call)
        except CallFailed as e:
            self.failures.append(e)
            raise

    async def answer(self, call: IncomingCall) -> None:
        call.ring()
        await asyncio.sleep(0.05)
        leg = await call.answer()
        assert isinstance(leg, RtpLeg)
        sink = FakeSink(leg)
        leg.start(sink)
        self.legs.append(leg)
        self.sinks.append(sink)


class Stacks:
    def __init__(self, *codecs: str, **config: Any) -> None:
        self.own = UserAgent(SipConfig(host=HOST, port=0), media(*codecs))
        self.pjsua = PjsuaEndpoint(SipConfig(host=HOST, port=0, **config), media(*codecs))
        self.answerer = Answerer()

    def ways(self, name: str) -> tuple[SipEndpoint, SipEndpoint]:
        """Caller and callee."""
        return (self.pjsua, self.own) if name == "pjsua" else (self.own, self.pjsua)


@asynccontextmanager
async def stacks(*codecs: str, **config: Any) -> AsyncIterator[Stacks]:
    made = Stacks(*codecs, **config)
    await made.own.start(made.answerer)
    await made.pjsua.start(made.answerer)
    try:
        yield made
    finally:
        await made.pjsua.close()
        await made.own.close()
        gc.collect()  # what is left of the library's objects would abort the process


async def dial(caller: SipEndpoint, callee: SipEndpoint, **fields: Any) -> tuple[RtpLeg, FakeSink]:
    leg = await caller.place(OutboundCall(callee.uri, **fields))
    assert isinstance(leg, RtpLeg)
    sink = FakeSink(leg)
    leg.start(sink)
    return leg, sink


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("caller", ["pjsua", "own"])
@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722"])
def test_both_sides_hear_each_other(caller: str, name: str) -> None:
    async def call() -> None:
        async with stacks(name) as both:
            leg, sink = await dial(*both.ways(caller))
            await asyncio.sleep(0.6)
            far, far_sink = both.answerer.legs[0], both.answerer.sinks[0]
            assert (sink.loud(15), far_sink.loud(15)) == (15, 15)
            assert leg.agreement is not None
            assert leg.agreement.codec.name == name
            await leg.hangup(HangupCause.NORMAL)
            await until(lambda: far_sink.closed)
            assert sink.closed == far_sink.closed == [HangupCause.NORMAL]
            # The library's own media plane keeps quiet: nothing but our packets arrived.
            for stats in (leg.stats.received, far.stats.received):
                assert (stats.foreign, stats.garbage, stats.wrong_type, stats.lost) == (0, 0, 0, 0)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
def test_who_calls_whom_and_how_it_goes_on_is_reported(caller: str) -> None:
    async def call() -> None:
        async with stacks() as both:
            progress: list[CallProgress] = []
            near, far = both.ways(caller)
            outbound = OutboundCall(far.uri, "alice", "Alice A", {"X-Tenant": "clinic"})
            leg = await near.place(outbound, progress.append)
            assert progress == [CallProgress.TRYING, CallProgress.RINGING, CallProgress.ANSWERED]
            info: CallInfo = both.answerer.calls[0].info
            assert (info.caller, info.callee, info.direction) == ("alice", "bot", Direction.INBOUND)
            assert info.headers["x-tenant"] == "clinic"
            assert "Alice A" in info.headers["from"]
            assert (leg.info.caller, leg.info.callee, leg.info.direction) == (
                "alice",
                "bot",
                Direction.OUTBOUND,
            )
            await leg.hangup(HangupCause.NORMAL)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
def test_keys_by_rtp_and_by_info_pass_both_ways(caller: str) -> None:
    async def call() -> None:
        async with stacks() as both:
            leg, sink = await dial(*both.ways(caller))
            await until(lambda: both.answerer.sinks)
            far, far_sink = both.answerer.legs[0], both.answerer.sinks[0]
            leg.send_dtmf("12#")
            far.send_dtmf("*0")
            await until(lambda: len(sink.digits + far_sink.digits) == 5)
            leg._signalling.send_info_dtmf("9", 100)
            far._signalling.send_info_dtmf("A", 100)
            await until(lambda: len(sink.digits + far_sink.digits) == 7)
            assert (sink.digits, far_sink.digits) == ("*0A", "12#9")
            await leg.hangup(HangupCause.NORMAL)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
def test_either_side_holds_and_resumes(caller: str) -> None:
    async def call() -> None:
        async with stacks() as both:
            near, far = both.ways(caller)
            leg, sink = await dial(near, far)
            await until(lambda: both.answerer.legs)
            other = both.answerer.legs[0]
            for holder, held_by, held in ((near, leg, other), (far, other, leg)):
                await holder.hold(held_by)  # type: ignore[attr-defined]
                assert held.agreement is not None
                assert held.agreement.direction == "recvonly"
                await holder.hold(held_by, on=False)  # type: ignore[attr-defined]
                assert held.agreement.direction == "sendrecv"
            await asyncio.sleep(0.4)
            assert (sink.loud(5), both.answerer.sinks[0].loud(5)) == (5, 5)
            await leg.hangup(HangupCause.NORMAL)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
def test_a_transfer_that_is_refused_leaves_the_call_alone(caller: str) -> None:
    async def call() -> None:
        async with stacks() as both:
            leg, sink = await dial(*both.ways(caller))
            with pytest.raises(TransferError, match="603"):
                await leg.transfer(Transfer("sip:desk@127.0.0.1:9"))
            assert not sink.closed
            await leg.hangup(HangupCause.NORMAL)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
@pytest.mark.parametrize("status, cause", [(486, HangupCause.BUSY), (404, HangupCause.UNALLOCATED)])
def test_a_refusal_keeps_its_status(caller: str, status: int, cause: HangupCause) -> None:
    async def refuse(call: IncomingCall) -> None:
        call.reject(status, retry_after_s=5)
        call.reject(500)

    async def call() -> None:
        async with stacks() as both:
            both.answerer.decide = refuse
            with pytest.raises(CallFailed) as caught:
                await dial(*both.ways(caller))
            assert (caught.value.status, caught.value.cause) == (status, cause)
            await until(lambda: both.pjsua.calls == both.own.calls == 0)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
def test_a_call_given_up_while_it_rings_is_cancelled(caller: str) -> None:
    async def ring(call: IncomingCall) -> None:
        call.ring()
        await asyncio.sleep(1)
        await call.answer()

    async def call() -> None:
        async with stacks() as both:
            both.answerer.decide = ring
            with pytest.raises(CallFailed) as caught:
                await dial(*both.ways(caller), ring_timeout_s=0.3)
            assert caught.value.status == 408
            await until(lambda: both.answerer.failures)
            assert both.answerer.failures[0].status == 487
            await until(lambda: both.pjsua.calls == both.own.calls == 0)

    asyncio.run(call())


@pytest.mark.parametrize("caller", ["pjsua", "own"])
def test_without_a_common_codec_there_is_no_call(caller: str) -> None:
    async def call() -> None:
        async with stacks("PCMU") as both:
            both.own._media.codecs = media("PCMA").codecs
            with pytest.raises(CallFailed) as caught:
                await dial(*both.ways(caller))
            assert caught.value.status == 488
            assert caught.value.cause is HangupCause.INCOMPATIBLE
            await until(lambda: both.pjsua.calls == both.own.calls == 0)

    asyncio.run(call())


def test_a_handler_that_fails_refuses_its_call() -> None:
    async def fail(call: IncomingCall) -> None:
        raise RuntimeError("a bug")

    async def call() -> None:
        async with stacks() as both:
            both.answerer.decide = fail
            with pytest.raises(CallFailed) as caught:
                await dial(both.own, both.pjsua)
            assert caught.value.status == 500

    asyncio.run(call())


def test_as_many_calls_as_the_build_holds_and_busy_beyond(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> None:
        async with stacks() as both:
            limit = both.pjsua.max_calls
            assert limit >= 1
            if limit > 8:
                pytest.skip(f"this build holds {limit} calls")
            legs = [(await dial(both.own, both.pjsua))[0] for _ in range(limit)]
            with pytest.raises(CallFailed) as caught:
                await dial(both.own, both.pjsua)
            assert caught.value.status == 486
            with pytest.raises(CallFailed, match=f"{limit} calls at most"):
                await dial(both.pjsua, both.own)
            await asyncio.sleep(0.4)
            assert [s.loud(5) for s in both.answerer.sinks] == [5] * limit
            for leg in legs:
                await leg.hangup(HangupCause.NORMAL)
            await until(lambda: both.pjsua.calls == 0)
            await (await dial(both.own, both.pjsua))[0].hangup(HangupCause.NORMAL)  # there is room again

    asyncio.run(call())
    assert "holds few calls" in caplog.text


def test_a_call_in_the_place_of_one_that_has_just_ended_lives() -> None:
    """More callers than places: each end of a call is followed by a new one at once."""

    async def storm() -> None:
        async with stacks() as both:
            statuses: set[int] = set()

            async def caller() -> None:
                for _ in range(20):
                    try:
                        leg, _ = await dial(both.own, both.pjsua)
                    except CallFailed as e:
                        statuses.add(e.status)
                    else:
                        await leg.hangup(HangupCause.NORMAL)

            await asyncio.gather(*(caller() for _ in range(8)))
            assert statuses <= {486}
            await until(lambda: both.pjsua.calls == both.own.calls == 0)

    asyncio.run(storm())


def test_nothing_of_a_call_is_left_in_the_librarys_media_plane() -> None:
    async def call() -> None:
        async with stacks() as both:
            for _ in range(3):
                leg, _ = await dial(both.own, both.pjsua)
                await leg.hangup(HangupCause.NORMAL)
            await until(lambda: both.pjsua.calls == 0)
            library = ctypes.CDLL(pjsua2._pjsua2.__file__)
            await asyncio.sleep(0.1)
            assert await both.pjsua.thread.run(library.pjsua_conf_get_active_ports) == 1  # its own

    asyncio.run(call())


def test_closing_hangs_up_what_is_left() -> None:
    async def call() -> None:
        async with stacks() as both:
            leg, sink = await dial(both.own, both.pjsua)
            await until(lambda: both.answerer.sinks)
            await both.pjsua.close()
            await both.pjsua.close()
            await until(lambda: sink.closed)
            assert both.answerer.sinks[0].closed == [HangupCause.NORMAL]
            with pytest.raises(LocalProtocolError):
                await dial(both.pjsua, both.own)

    asyncio.run(call())


def test_a_port_that_is_taken_is_an_error_of_the_system() -> None:
    async def start(port: int) -> None:
        endpoint = PjsuaEndpoint(SipConfig(host=HOST, port=port), media())
        with pytest.raises(OSError, match="use"):
            await endpoint.start(Answerer())

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        asyncio.run(start(taken.getsockname()[1]))


def test_a_free_port_is_one_that_is_free_on_all_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    """UDP finds one of which another program has the TCP half: the next one is taken."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listen = PjThread._listen

    def listens(self: PjThread, name: str) -> int:
        if name == "tcp" and taken.getsockname()[1] == 0:
            taken.bind((HOST, self.port))
            taken.listen()
        return listen(self, name)

    async def start() -> int:
        async with stacks() as both:
            await (await dial(both.own, both.pjsua))[0].hangup(HangupCause.NORMAL)
            return int(both.pjsua.uri.rpartition(":")[2])

    monkeypatch.setattr(PjThread, "_listen", listens)
    with taken:
        assert asyncio.run(start()) != taken.getsockname()[1] != 0


def test_a_description_in_the_ack_is_understood() -> None:
    """An INVITE without an offer: ours is in the 200, theirs in the ACK."""

    async def call() -> None:
        async with stacks() as both:
            port = int(both.pjsua.uri.rpartition(":")[2])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.bind((HOST, 0))
                phone.setblocking(False)
                await _late_offer(phone, port)
            await until(lambda: both.answerer.legs)
            agreement = both.answerer.legs[0].agreement
            assert agreement is not None
            assert (agreement.host, agreement.port, agreement.codec.name) == (HOST, 45678, "PCMA")
            assert agreement.dtmf_send_type == 101

    asyncio.run(call())


async def _late_offer(phone: socket.socket, port: int) -> None:
    loop = asyncio.get_running_loop()
    mine = phone.getsockname()[1]
    head = (
        f"Via: SIP/2.0/UDP {HOST}:{mine};branch=z9hG4bK{{branch}}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:late@{HOST}:{mine}>;tag=1\r\nCall-ID: late-offer\r\n"
        f"Contact: <sip:late@{HOST}:{mine}>\r\n"
    )
    to = f"To: <sip:bot@{HOST}:{port}>"
    invite = f"INVITE sip:bot@{HOST}:{port} SIP/2.0\r\n{head.format(branch=1)}{to}\r\nCSeq: 1 INVITE\r\n"
    await loop.sock_sendto(phone, f"{invite}Content-Length: 0\r\n\r\n".encode(), (HOST, port))
    while not (text := (await loop.sock_recv(phone, 4096)).decode()).startswith("SIP/2.0 200"):
        pass
    assert "m=audio" in text
    answered_to = next(line for line in text.split("\r\n") if line.startswith("To:"))
    sdp = (
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio 45678 RTP/AVP 8 101\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
    )
    ack = f"ACK sip:bot@{HOST}:{port} SIP/2.0\r\n{head.format(branch=2)}{answered_to}\r\nCSeq: 1 ACK\r\n"
    body = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
    await loop.sock_sendto(phone, (ack + body).encode(), (HOST, port))


def test_a_process_that_used_it_exits_cleanly() -> None:
    """Whatever of the library is referenced at exit aborts the process."""
    code = (
        "import asyncio\n"
        "from tests.sip.test_pjsua import dial, stacks\n"
        "async def main():\n"
        "    for _ in range(3):\n"
        "        async with stacks() as both:\n"
        "            await dial(both.pjsua, both.own)\n"
        "            await dial(both.own, both.pjsua)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()


def test_a_process_that_forgets_to_close_it_exits_cleanly_too() -> None:
    code = (
        "import asyncio\n"
        "from tests.sip.test_pjsua import Stacks, dial\n"
        "async def main():\n"
        "    both = Stacks()\n"
        "    await both.own.start(both.answerer)\n"
        "    await both.pjsua.start(both.answerer)\n"
        "    await dial(both.pjsua, both.own)\n"
        "asyncio.run(main())\n"
        "print('end')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"end\n"), done.stderr.decode()


def test_a_second_endpoint_in_the_process_is_refused_not_fatal() -> None:
    async def start() -> None:
        async with stacks():
            with pytest.raises(PjsuaError, match="one endpoint a process"):
                await PjsuaEndpoint(SipConfig(host=HOST, port=0), media()).start(Answerer())

    asyncio.run(start())


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['pjsua2'] = None\n"
        "from media.errors import MissingExtra\n"
        "try:\n"
        "    import sip.pjsua\n"
        "except MissingExtra as e:\n"
        "    print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False, text=True
    )
    assert "pip install 'voicegw[pjsua2]'" in done.stdout, done.stderr
    assert issubclass(MissingExtra, Exception)
