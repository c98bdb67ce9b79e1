"""Everything that touches pjsua2, in the one thread that may: `PjThread`.

pjsip calls back in the thread that polls it, which is ours; media it has none (see the package). Rules that
keep it from taking the process down (each was seen to): only this thread calls it; a `Call` stays in
a table until pjsip reports its end, and is dropped right then: later its place may be another call's,
which the destructor would hang up; no exception leaves a callback, since its traceback would keep
objects alive; nothing is referenced any more when the library is destroyed. So the loop sees numbers
and strings only, never an object of the library.
"""

import asyncio
import atexit
import concurrent.futures
import ctypes
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pjsua2 as pj

from sip.errors import SipError
from sip.pjsua.calls import Account, Call, account_settings, options_of
from sip.ua.config import SipConfig, Trunk

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL_MS = 10  # how long a command may wait for pjsip's poll to end
ANSWER_S = 2.0  # the loop must say within this time what to put into a description
EXIT_S = 3.0  # for goodbyes when the process ends without `stop`
BRIDGE_RATE, BRIDGE_MS = 8000, 20  # of audio that nobody hears
FREE_PORTS = 10  # to try: one that UDP finds free may be taken on TCP
WANTED_CALLS = 512  # the library cuts this to what it was built for


_ONE = threading.Lock()  # held by the endpoint of this process


class PjsuaError(SipError):
    """pjsip refused a command."""


class PjEvents(Protocol):
    """What the thread tells the loop. Runs on the loop; `describe` is waited for."""

    def incoming(self, number: int, invite: str, source: str) -> None:
        """A call came in. `source` is "host:port"."""

    def state(self, number: int, state: str, status: int, reason: str) -> None:
        """`state` is early, confirmed or disconnected."""

    def described(self, number: int, description: str) -> None:
        """An answer to our offer has come."""

    def describe(self, number: int, offer: str) -> str | int:
        """Our answer to a new offer ("" asks for an offer of ours), or the status to refuse it by."""

    def key(self, number: int, digit: str) -> None:
        """A key by INFO."""

    def transferred(self, number: int, status: int) -> None:
        """The transfer has ended with this status."""

    def registered(self, trunk: str, status: int, reason: str, expires_s: int) -> None:
        """The registrar has answered, or has not (status 408)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A call to place."""

    target: str
    local: str  # From, as name-addr
    offer: str  # our description
    trunk: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class PjThread:
    """The library, its thread and its calls."""

    def __init__(self, config: SipConfig, events: PjEvents) -> None:
        self.config, self.events = config, events
        self.loop = asyncio.get_running_loop()
        self.max_calls = 0
        """Calls at once that this build of the library can hold; known once started."""
        self.codecs: frozenset[str] = frozenset()
        """Codecs that this build knows, as NAME/audio rate: it refuses descriptions with others."""
        self.port = 0
        self.calls: dict[int, Call] = {}
        self._used = False  # a call has ended since the bridge turned
        self._accounts: dict[str, Account] = {}  # by trunk; "" for calls of no trunk
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._run, name="pjsua", daemon=True)
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._endpoint: Any = None
        self._bridge: _Bridge | None = None

    async def start(self) -> None:
        """Raises OSError if the port is taken, PjsuaError for anything else."""
        if not _ONE.acquire(blocking=False):  # a second one would abort the process
            raise PjsuaError("pjsip allows one endpoint a process, and there is one")
        atexit.register(self._at_exit)
        self._thread.start()
        try:
            await asyncio.wrap_future(self._started)
        except (OSError, PjsuaError, RuntimeError):
            await asyncio.to_thread(self._thread.join)  # so that the next one can start at once
            raise

    def run(self, command: Callable[[], T]) -> asyncio.Future[T]:
        """Run a command in the thread. The future raises PjsuaError if pjsip refuses."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def execute() -> None:
            try:
                done.set_result(command())
            except pj.Error as e:
                done.set_exception(PjsuaError(e.reason or e.info()))
            except KeyError:
                done.set_exception(PjsuaError("the call is over"))

        self._commands.put(execute)
        return asyncio.wrap_future(done)

    async def stop(self) -> None:
        """End calls and registrations, free the library. Once."""
        self._commands.put(None)
        await asyncio.to_thread(self._thread.join)

    def number(self) -> int:
        """A number for a new call."""
        return next(self._numbers)

    # Commands: run in the thread, through `run`

    def place(self, number: int, call: Outgoing) -> None:
        """Start a call under a number from `number`."""
        made = Call(self, self._accounts[call.trunk], number)
        made.local = call.offer
        options = options_of(headers=call.headers)
        options.opt.audioCount, options.opt.videoCount = 1, 0
        if not call.trunk:
            options.txOption.localUri = call.local
        self.calls[number] = made
        try:
            made.makeCall(call.target, options)
        except pj.Error:
            del self.calls[number]
            raise

    def hang_up(
        self, number: int, status: int = 0, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """End or refuse a call; nothing if it is over."""
        call = self.calls.get(number)
        if call is not None:
            call.hangup(options_of(status, reason, headers))

    def call(self, number: int) -> Call:
        """The call, for a command to work on; not to be kept."""
        return self.calls[number]

    # The thread

    def _at_exit(self) -> None:
        """Nobody has closed us: leaving the library alive would abort the process."""
        self._commands.put(None)
        self._thread.join(EXIT_S)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            atexit.unregister(self._at_exit)
            _ONE.release()

    def _serve(self) -> None:
        try:
            self._open()
        except Exception as e:  # whatever it is, whoever waits for the start must hear of it
            failure: Exception = RuntimeError(repr(e))
            if isinstance(e, pj.Error):
                taken = "in use" in e.reason.lower()
                failure = OSError(e.reason) if taken else PjsuaError(e.info())
            e.__traceback__ = None  # it would keep the library's objects
            self._destroy()
            self._started.set_exception(failure)
            return
        self._started.set_result(None)
        while self._work():
            self._poll()
        self._close()

    def _poll(self) -> None:
        self._endpoint.libHandleEvents(POLL_MS)
        if self._used and self._bridge is not None:
            self._used = False
            self._bridge.turn()

    def _work(self) -> bool:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return True
            if command is None:
                return False
            command()

    def _open(self) -> None:
        config = self.config
        library = ctypes.CDLL(pj._pjsua2.__file__)
        library.pj_log_set_level(0)  # it would print to stdout until the settings are read
        self._endpoint = endpoint = pj.Endpoint()
        endpoint.libCreate()
        settings = pj.EpConfig()
        settings.logConfig.level = settings.logConfig.consoleLevel = 0
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.maxCalls = min(config.max_calls, WANTED_CALLS)
        settings.uaConfig.userAgent = config.user_agent
        settings.medConfig.clockRate, settings.medConfig.audioFramePtime = BRIDGE_RATE, BRIDGE_MS
        endpoint.libInit(settings)
        _listen_all(self)
        self._bridge = _Bridge(library)
        endpoint.libStart()
        self.max_calls = int(library.pjsua_call_get_max_count())
        self.codecs = frozenset(c.codecId.upper().rpartition("/")[0] for c in endpoint.codecEnum2())
        self._add_account("", None)
        for trunk in config.trunks:
            self._add_account(trunk.name, trunk)

    def _listen(self, name: str) -> int:
        """Returns pjsip's number of the transport."""
        settings = pj.TransportConfig()
        settings.port = self.port or self.config.port
        if self.config.host not in {"0.0.0.0", "::"}:
            settings.boundAddress = self.config.host
        settings.publicAddress = self.config.public_host
        kind = pj.PJSIP_TRANSPORT_UDP if name == "udp" else pj.PJSIP_TRANSPORT_TCP
        opened = int(self._endpoint.transportCreate(kind, settings))
        if not self.port:
            self.port = int(self._endpoint.transportGetInfo(opened).localAddress.rpartition(":")[2])
        return opened

    def _add_account(self, name: str, trunk: Trunk | None) -> None:
        account = Account(self, name)
        account.create(account_settings(self.config, self.port, trunk))
        self._accounts[name] = account

    def _close(self) -> None:
        self._say_goodbye()
        for _ in range(1000 // POLL_MS):
            if not self.calls and not any(a.registered for a in self._accounts.values()):
                break
            self._poll()
        self._destroy()
        self._drop_commands()

    def _say_goodbye(self) -> None:
        for call in tuple(self.calls.values()):
            call.hang_up_quietly()
        for account in self._accounts.values():
            account.unregister_quietly()

    def _drop_commands(self) -> None:
        while not self._commands.empty():
            command = self._commands.get_nowait()
            if command is not None:
                command()  # fails: the calls are gone

    def _destroy(self) -> None:
        """Free the library; until then nothing of it may be referenced, not even by a local variable."""
        self.calls.clear()
        self._shut_accounts()
        self._accounts.clear()
        self._bridge = None
        if self._endpoint is not None:
            # Goodbyes are said; without the flag the library waits a second for them.
            self._endpoint.libDestroy(pj.PJSUA_DESTROY_NO_RX_MSG)
            self._endpoint = None

    def _shut_accounts(self) -> None:
        for account in self._accounts.values():
            account.shutdown()

    # For calls and accounts, in their callbacks

    def tell(self, event: Callable[..., None], *values: object) -> None:
        """Report to the loop; nothing once that is closed."""
        try:
            self.loop.call_soon_threadsafe(event, *values)
        except RuntimeError:
            return  # closed: nobody listens any more

    def ask(self, number: int, offer: str) -> str | int:
        """What the loop says to an offer."""
        said: concurrent.futures.Future[str | int] = concurrent.futures.Future()

        def answer() -> None:
            said.set_result(self.events.describe(number, offer))

        self.tell(answer)
        try:
            return said.result(ANSWER_S)
        except TimeoutError:
            return 500

    def came_in(self, account: "Account", call_id: int, invite: str, source: str) -> None:
        call = Call(self, account, self.number(), call_id)
        self.calls[call.number] = call
        self.tell(self.events.incoming, call.number, invite, source)

    def ended(self, number: int) -> None:
        self.calls.pop(number, None)
        self._used = True


def _listen_all(thread: PjThread) -> None:
    """All transports on one port. If any port will do, one whose other half is taken is given back."""
    for tries_left in reversed(range(FREE_PORTS)):
        opened: list[int] = []
        try:
            for name in thread.config.transports:
                opened.append(thread._listen(name))  # noqa: PERF401 - if one fails, the others are known
        except pj.Error as e:
            if thread.config.port or not opened or not tries_left or "in use" not in e.reason.lower():
                raise
            for transport in opened:
                thread._endpoint.transportClose(transport)
            thread.port = 0
        else:
            return


class _Frame(ctypes.Structure):
    """pjmedia_frame."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("timestamp", ctypes.c_uint64),
        ("bit_info", ctypes.c_uint32),
    )


class _Bridge:
    """pjsip's conference bridge without a sound device: no clock and no media thread, the RTP is ours.

    Each call adds a port to it all the same, and ports are only removed when somebody asks the bridge
    for audio: without that, the 254th call is the last.
    """

    def __init__(self, library: Any) -> None:
        library.pjsua_set_no_snd_dev.restype = ctypes.c_void_p
        self._get_frame = library.pjmedia_port_get_frame
        self._port = ctypes.c_void_p(library.pjsua_set_no_snd_dev())
        self._buffer = ctypes.create_string_buffer(2 * BRIDGE_RATE * BRIDGE_MS // 1000)

    def turn(self) -> None:
        """Take a frame and throw it away."""
        frame = _Frame(0, ctypes.addressof(self._buffer), len(self._buffer), 0, 0)
        self._get_frame(self._port, ctypes.byref(frame))
