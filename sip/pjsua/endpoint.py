"""The endpoint: sorts what pjsip reports to the calls, and places and takes them."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from media.codecs import Codec
from media.leg import CallInfo, Direction
from media.tasks import Start, task_scope
from sip.endpoint import CallProgress, OnCall, OnProgress, OutboundCall
from sip.errors import CallFailed, LocalProtocolError, RemoteProtocolError
from sip.pjsua.dialog import Dialog, Incoming
from sip.pjsua.thread import Outgoing, PjsuaError, PjThread
from sip.rtpleg import RtpLeg
from sip.rtpmedia import RtpMedia
from sip.sdes import SrtpPolicy
from sip.sdp import MediaDirection
from sip.ua import message
from sip.ua.config import SipConfig
from sip.ua.filter import SourceFilter
from sip.ua.grammar import Address, SipUri
from sip.ua.resolve import Resolver
from sip.ua.transport import route_host
from sip.ua.trunks import Trunks

log = logging.getLogger(__name__)

ANYWHERE = "192.0.2.1"  # RFC 5737: the route to it tells which of our addresses faces the world
GOODBYE_STATUS = 503


class PjsuaEndpoint:
    """Implements `sip.endpoint.SipEndpoint`. One a process: pjsip allows no second."""

    def __init__(self, config: SipConfig, media: RtpMedia) -> None:
        """Raises ValueError for a bad network, or TLS: the OpenSSL 1.0.2 of pjsua2's wheel is out of care."""
        if "tls" in {t.lower() for t in (*config.transports, *(trunk.transport for trunk in config.trunks))}:
            raise ValueError("transport tls needs sip_stack: own")
        if any(
            p not in (None, SrtpPolicy.OFF) for p in (media.config.srtp, *(t.srtp for t in config.trunks))
        ):
            raise ValueError("srtp needs sip_stack: own")
        self.config, self.media = config, media
        self.sources = SourceFilter(config.allow)
        self.trunks = Trunks(config.trunks)
        self._resolver = Resolver(
            config.dns, config.families, config.transports, lambda: asyncio.get_running_loop().time()
        )
        self._scope = AsyncExitStack()
        self._thread: PjThread | None = None
        self._on_call: OnCall | None = None
        self._dialogs: dict[int, Dialog] = {}
        self.codecs: tuple[Codec, ...] = ()
        """Those configured that this build of pjsip knows."""
        self.spawn: Start | None = None
        self.draining = False
        self._closed = False

    @property
    def uri(self) -> str:
        """Where we can be called."""
        host = self.config.public_host or self.local_host(ANYWHERE)
        host = f"[{host}]" if ":" in host else host
        return f"sip:{self.config.user}@{host}:{self.thread.port}"

    @property
    def thread(self) -> PjThread:
        """The library. Raises LocalProtocolError before `start` and after `close`."""
        if self._thread is None or self._closed:
            raise LocalProtocolError("the endpoint is not running")
        return self._thread

    @property
    def calls(self) -> int:
        """Calls alive, ringing ones included."""
        return len(self._dialogs)

    @property
    def max_calls(self) -> int:
        """Calls at once that this build of pjsip can hold."""
        return self.thread.max_calls

    def local_host(self, peer: str) -> str:
        """Our address as `peer` sees it."""
        return self.config.host if self.config.host not in {"0.0.0.0", "::"} else route_host(peer)

    async def start(self, on_call: OnCall) -> None:
        """Bind sockets and serve. Raises OSError if a port is taken."""
        if self._thread is not None:
            raise LocalProtocolError("started before")
        self._on_call = on_call
        self._thread = PjThread(self.config, self)
        try:
            await self._thread.start()
        except (OSError, PjsuaError):
            self._thread = None
            raise
        known = self._thread.codecs
        self.codecs = tuple(c for c in self.media.codecs if f"{c.name}/{c.rate}" in known)
        if not self.codecs:
            await self._thread.stop()
            self._thread = None
            raise PjsuaError(f"none of the codecs configured is in this build of pjsip: {sorted(known)}")
        self.spawn = await self._scope.enter_async_context(task_scope())
        if self.max_calls < self.config.max_calls:
            log.warning(
                "this build of pjsip holds few calls; more are answered 486",
                extra={"max_calls": self.max_calls, "configured": self.config.max_calls},
            )
        log.info("sip listening", extra={"uri": self.uri, "transports": self.config.transports})

    async def place(self, call: OutboundCall, on_progress: OnProgress | None = None) -> RtpLeg:
        """Call somebody. Returns when it is answered; cancelling sends CANCEL. Raises CallFailed."""
        thread = self.thread
        try:
            target = SipUri.parse(call.target)
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        if len(self._dialogs) >= thread.max_calls:
            raise CallFailed(503, f"pjsip holds {thread.max_calls} calls at most")
        trunk = self.trunks.named(call.trunk) if call.trunk else self.trunks.of_uri(target)
        try:
            flow = await self._resolver.resolve(trunk.hop if trunk is not None else target, "UDP")
        except RemoteProtocolError as e:
            raise CallFailed(e.status, str(e)) from e
        except OSError as e:
            raise CallFailed(0, f"cannot resolve {target.host}: {e}") from e
        dialog = Dialog(self, flow.host, on_progress)
        callee = target.user or target.host
        leg = dialog.open_leg(
            CallInfo(call.call_id or _call_id(), call.caller, callee, "sip", "", Direction.OUTBOUND)
        )
        local = f"sip:{call.caller}@{self.public_host(flow.host)}:{thread.port}"
        name = trunk.trunk.name if trunk is not None else ""
        sender = str(Address(local, call.display_name))
        self.sources.hold(flow.host)
        try:
            if on_progress is not None:
                on_progress(CallProgress.TRYING)
            await self._invite(dialog, Outgoing(call.target, sender, leg.offer(), name, call.headers))
            async with asyncio.timeout(call.ring_timeout_s):
                await dialog.answered
        except TimeoutError:
            dialog.give_up()
            raise CallFailed(408, f"no answer within {call.ring_timeout_s:g} s") from None
        except (CallFailed, asyncio.CancelledError):
            dialog.give_up()
            raise
        finally:
            self.sources.release(flow.host)
        return leg

    async def _invite(self, dialog: Dialog, call: Outgoing) -> None:
        thread = self.thread
        dialog.number = thread.number()
        self._dialogs[dialog.number] = dialog  # before pjsip can report anything
        try:
            await thread.run(lambda: thread.place(dialog.number, call))
        except PjsuaError as e:
            del self._dialogs[dialog.number]
            dialog.number = 0
            raise CallFailed(400, str(e)) from e

    async def hold(self, leg: RtpLeg, *, on: bool = True) -> None:
        """Put the far end of a call on hold, or take it back. Raises CallFailed."""
        dialog = next((d for d in self._dialogs.values() if d.leg is leg), None)
        if dialog is None:
            raise CallFailed(481, "no such call")
        await dialog.hold(MediaDirection.SENDONLY if on else MediaDirection.SENDRECV)

    async def close(self) -> None:
        """Hang up, unregister, free the library. Takes two seconds at most. Idempotent."""
        if self._thread is None or self._closed:
            return
        self.draining = True
        thread = self._thread
        for dialog in list(self._dialogs.values()):
            dialog.shut_down()
        await thread.stop()
        self._closed = True
        for dialog in list(self._dialogs.values()):
            dialog.over(0, "the endpoint was closed")
        self._dialogs.clear()
        await self._scope.aclose()

    # PjEvents

    def incoming(self, number: int, invite: str, source: str) -> None:
        host, _, _ = source.rpartition(":")
        if not self.sources.allows(host.strip("[]")):
            # pjsip cannot be made to say nothing at all.
            log.info("sip call from an unknown source refused", extra={"source": host})
            self.command(lambda thread: thread.hang_up(number, 403))
            return
        if self.draining:
            self.command(lambda thread: thread.hang_up(number, GOODBYE_STATUS, "", {"Retry-After": "10"}))
            return
        try:
            request = message.parse(invite.encode())
        except RemoteProtocolError as e:
            status = e.status
            self.command(lambda thread: thread.hang_up(number, status))
            return
        assert isinstance(request, message.Request)
        dialog = Dialog(self, host.strip("[]"))
        dialog.number = number
        self._dialogs[number] = dialog
        call = Incoming(self, dialog, request, _call_id())
        self.start_task(self._offer(call), f"sip call {call.info.call_id}")

    async def _offer(self, call: "Incoming") -> None:
        assert self._on_call is not None
        try:
            await self._on_call(call)
        except CallFailed as e:  # the caller gave up first: nobody's mistake
            log.info("sip call not answered", extra={"call_id": call.info.call_id, "error": str(e)})
        except Exception:
            log.exception("call handler failed", extra={"call_id": call.info.call_id})
            await call.fail()

    def state(self, number: int, state: str, status: int, reason: str) -> None:
        dialog = self._dialogs.get(number)
        if dialog is None:
            return
        if state == "disconnected":
            del self._dialogs[number]
            dialog.over(status, reason)
        else:
            dialog.progressed(state, status)

    def described(self, number: int, description: str) -> None:
        if number in self._dialogs:
            self._dialogs[number].described(description)

    def describe(self, number: int, offer: str) -> str | int:
        dialog = self._dialogs.get(number)
        return dialog.describe(offer) if dialog is not None else 481

    def key(self, number: int, digit: str) -> None:
        dialog = self._dialogs.get(number)
        if dialog is not None and dialog.leg is not None:
            dialog.leg.info_dtmf(digit)

    def transferred(self, number: int, status: int) -> None:
        if number in self._dialogs:
            self._dialogs[number].transferred(status)

    def registered(self, trunk: str, status: int, reason: str, expires_s: int) -> None:
        if status // 100 == 2:
            log.info("sip registered", extra={"trunk": trunk, "expires_s": expires_s})
        else:
            log.warning("sip registration failed", extra={"trunk": trunk, "status": status, "reason": reason})

    # For the calls

    def command(self, command: Callable[[PjThread], None]) -> None:
        """Run a command whose result matters to nobody; a refusal is logged. Nothing once closed."""
        thread = self._thread
        if thread is None or self._closed:
            return

        def done(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                log.info("pjsua command refused", extra={"error": str(error)})

        thread.run(lambda: command(thread)).add_done_callback(done)

    def start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task that ends with the endpoint."""
        assert self.spawn is not None
        self.spawn(work, name)

    def public_host(self, peer: str) -> str:
        """Our address for `peer`: the public one, except on this machine."""
        local = self.local_host(peer)
        return local if not self.config.public_host or local == peer else self.config.public_host


def _call_id() -> str:
    return secrets.token_hex(8)
