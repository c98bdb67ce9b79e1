"""FreeSWITCH connects to us for each call: ``socket 127.0.0.1:8084 async full`` in its dialplan.

connect -> linger, myevents -> the call's handler -> exit

Leaving early is dangerous: whoever closes before `connect`, or right after it while the channel is not parked
yet, leaves the call ringing for ever. So every session stays a moment, and says `exit`: then FreeSWITCH goes
on with the dialplan's next action, which is also what happens to calls that we have no room for.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from media.tasks import Start
from sip.esl.channel import Channel
from sip.esl.counters import EslCounters
from sip.esl.errors import EslError, LinkLost
from sip.esl.link import EslLink
from sip.esl.messages import Event, Notice
from sip.esl.protocol import LIMITS, EslLimits

log = logging.getLogger(__name__)

SETTLE_S = 0.3  # from `connect` on; measured: closing within 20 ms strands the call, 1 s is safe
LINGER_S = 10  # the socket after the hang-up, for the last events and figures
CONNECT_S = 5.0
CLOSE_S = 2.0
# `myevents` leaves these out.
MORE_EVENTS = "PLAYBACK_START PLAYBACK_STOP RECORD_START RECORD_STOP"


@dataclass(frozen=True, slots=True)
class EslSession:
    """One call that FreeSWITCH has brought us: its channel, and what it was like when it came."""

    channel: Channel
    data: Event  # all variables: see `get`
    link: EslLink
    number: int = 0  # connections of this server in the order in which FreeSWITCH made them

    def get(self, name: str) -> str:
        """A header of the channel, or a variable as ``variable_NAME``; "" if absent."""
        return self.data.get(name)


OnSession = Callable[[EslSession], Awaitable[None]]


class EslServer:
    """Listens for FreeSWITCH. Belongs to one loop."""

    def __init__(self, host: str, port: int, counters: EslCounters, limits: EslLimits = LIMITS) -> None:
        self._host, self._port, self._counters, self._limits = host, port, counters, limits
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.full: Callable[[], bool] = lambda: False
        """Whether further calls are sent on in the dialplan."""
        self.adopt: Callable[[Channel], None] = lambda channel: channel.lost("the connection was lost")
        """What becomes of a call whose socket was lost while it is up: FreeSWITCH may still have it."""

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def sessions(self) -> int:
        """Calls that are connected now."""
        return len(self._tasks)

    async def start(self, spawn: Start, on_session: OnSession) -> None:
        """Listen. `on_session` runs as a task of its own for each call, until which the socket stays open.
        Raises OSError if the port is taken."""

        def made(link: EslLink, take: "_Inbox") -> None:
            self._counters.sessions += 1
            task = spawn(self._serve(link, take, self._counters.sessions, on_session), "esl session")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def protocol() -> EslLink:
            take = _Inbox()
            return EslLink(take, self._counters, self._limits, lambda link: made(link, take))

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, self._host, self._port, backlog=128)

    async def close(self) -> None:
        """Take no more calls, let go of those that are there: their dialplan goes on. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    async def _serve(self, link: EslLink, take: "_Inbox", number: int, on_session: OnSession) -> None:
        loop = asyncio.get_running_loop()
        channel: Channel | None = None
        connected_at = loop.time()
        try:
            channel, data = await self._begin(link, take)
            connected_at = loop.time()
            if self.full():
                self._counters.turned_away += 1
                log.warning("call sent on in the dialplan", extra={"channel": channel.uuid})
            else:
                await on_session(EslSession(channel, data, link, number))
        except EslError as error:
            log.warning("event socket session failed", extra={"peer": link.peer, "error": str(error)})
        finally:
            await self._leave(link, channel, connected_at)

    async def _begin(self, link: EslLink, take: "_Inbox") -> tuple[Channel, Event]:
        reply = await link.demand("connect", timeout_s=CONNECT_S)
        data = Event(reply.headers)
        if not data.channel:
            raise LinkLost("FreeSWITCH sent no channel in reply to `connect`")
        channel = Channel(data.channel, link, self._counters)
        channel.answered = data.get("Answer-State") == "answered"
        take.follow(channel)
        link.closed.add_done_callback(lambda _: self._socket_closed(channel))
        # Sent at once, in this order; `linger` needs a number, else the socket stays for ever.
        sent = (f"linger {LINGER_S}", "myevents json", f"event json {MORE_EVENTS}")
        await asyncio.gather(*(link.demand(line) for line in sent))
        return channel, data

    def _socket_closed(self, channel: Channel) -> None:
        if channel.ended.done():
            return
        if channel.is_up:
            self.adopt(channel)
        else:
            channel.lost(channel.cause)

    async def _leave(self, link: EslLink, channel: Channel | None, connected_at: float) -> None:
        """Let FreeSWITCH go on, not too early."""
        rest = connected_at + SETTLE_S - asyncio.get_running_loop().time()
        try:
            if link.is_open and rest > 0 and (channel is None or channel.is_up):
                await asyncio.sleep(rest)
            if link.is_open:
                await link.send("exit", timeout_s=1.0)
        except EslError:
            pass  # gone already
        finally:
            link.close()
            if channel is not None:
                channel.lost("the session was left")


class _Inbox:
    """Takes what comes on one session's socket."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._early: list[Event] = []

    def follow(self, channel: Channel) -> None:
        """Events go there from now on."""
        self._channel = channel
        for event in self._early:
            channel.feed(event)
        self._early.clear()

    def __call__(self, message: Event | Notice) -> None:
        if isinstance(message, Notice):
            return  # linger and disconnect: the channel's own events say more, `closed` the rest
        if self._channel is None:
            self._early.append(message)
        elif message.channel in ("", self._channel.uuid):
            self._channel.feed(message)
