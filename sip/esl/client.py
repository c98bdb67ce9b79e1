"""We connect to FreeSWITCH: commands, jobs, and the events of all channels that somebody follows.

    run -> connect both links -> authenticate -> subscribe -> resync -> watch ... lost -> wait -> again

Two connections: an api command that hangs holds up everything on its own connection, so events come on
another. Whatever may take time is a job (`bgapi`). After a reconnect, channels that are gone are told so.
"""

import asyncio
import json
import logging
import random
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from media.tasks import task_scope
from sip.errors import LocalProtocolError
from sip.esl.channel import Channel
from sip.esl.channels import EventRouter
from sip.esl.commands import word
from sip.esl.counters import EslCounters
from sip.esl.errors import AccessDenied, CommandRefused, CommandTimeout, EslError, LinkLost, NotConnected
from sip.esl.link import COMMAND_S, EslLink
from sip.esl.messages import Event, Notice, NoticeKind, Reply
from sip.esl.protocol import LIMITS, EslLimits

log = logging.getLogger(__name__)

CHANNEL_EVENTS = (
    "CHANNEL_CREATE", "CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_ANSWER", "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE", "CHANNEL_PARK", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY", "DTMF",
)  # fmt: skip
SWITCH_EVENTS = ("BACKGROUND_JOB", "HEARTBEAT", "SHUTDOWN")


@dataclass(frozen=True, slots=True)
class EslConfig:
    """How to reach a FreeSWITCH's event socket."""

    host: str = "127.0.0.1"
    """Where FreeSWITCH listens. Nothing is encrypted: keep it on this machine or in a private network."""
    port: int = 8021
    """Port of mod_event_socket."""
    password: str = ""
    """Of event_socket.conf.xml. Write ${NAME} to take it from the environment."""
    user: str = ""
    """user@domain of the directory, for an account with limited rights (`userauth`). Empty: `auth`."""
    connect_s: float = 5.0
    """For connecting and authenticating."""
    watchdog_s: float = 50.0
    """Silence after which the connection is given up: FreeSWITCH sends a HEARTBEAT every 20 s. 0: never."""
    retry_max_s: float = 15.0
    """Longest pause between attempts to connect; the first is half a second, with jitter."""


class EslClient:
    """Belongs to one loop. `run` in a task; all else raises NotConnected while there is no connection."""

    def __init__(self, config: EslConfig, counters: EslCounters, limits: EslLimits = LIMITS) -> None:
        self._config, self._limits = config, limits
        self.counters = counters
        self.router = EventRouter(counters)
        self.connected = asyncio.Event()
        self.fault: str | None = "not connected yet"  # why there is no connection
        self.heartbeat: Event | None = None  # FreeSWITCH's latest: sessions, load
        self._commands: EslLink | None = None
        self._jobs: dict[str, asyncio.Future[str]] = {}

    # Commands

    async def demand(
        self,
        line: str,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        timeout_s: float = COMMAND_S,
    ) -> Reply:
        """A raw command. Raises CommandRefused, CommandTimeout, LinkLost, NotConnected."""
        if self._commands is None:
            raise NotConnected(f"no connection to FreeSWITCH: {self.fault}")
        return await self._commands.demand(line, headers, body, timeout_s)

    async def api(self, command: str, arguments: str = "", timeout_s: float = COMMAND_S) -> str:
        """A command that answers at once; its text. For what may take time: `job`. Raises as `demand`."""
        return (await self.demand(f"api {word(command)} {arguments}".rstrip(), timeout_s=timeout_s)).text

    async def job(self, command: str, arguments: str = "", timeout_s: float = 60.0) -> str:
        """A command that may take time, in the background; its result. Cancelling does not stop it: end what
        it began (for `originate`: kill the channel). Raises as `demand`."""
        job = str(uuid.uuid4())
        result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        result.add_done_callback(_retrieve)
        self._jobs[job] = result  # before the command: its result may overtake the reply
        self.counters.jobs += 1
        try:
            await self.demand(f"bgapi {word(command)} {arguments}".rstrip(), {"Job-UUID": job})
            async with asyncio.timeout(timeout_s):
                text = (await result).strip()
        except TimeoutError:
            self.counters.timeouts += 1
            raise CommandTimeout(f"{command}: no result within {timeout_s:g} s") from None
        finally:
            del self._jobs[job]
        if text.startswith(("-ERR", "-USAGE")):
            self.counters.refused += 1
            raise CommandRefused(text)
        return text

    async def exists(self, channel: str) -> bool:
        """Whether a channel lives; exact, unlike `show channels`."""
        return await self.api("uuid_exists", word(channel)) == "true"

    async def channels(self) -> list[dict[str, Any]]:
        """Rows of ``show channels``: a little behind the truth."""
        text = await self.api("show", "channels as json")
        try:
            rows = json.loads(text).get("rows", [])
        except (ValueError, AttributeError):
            raise CommandRefused(f"show channels: {text[:80]}") from None
        return [row for row in rows if isinstance(row, dict)]

    @contextmanager
    def channel(self, channel_uuid: str) -> Any:
        """Follow and control a channel of this switch, also one that is not there yet."""
        channel = Channel(channel_uuid, self, self.counters)
        with self.router.following(channel_uuid, channel):
            yield channel

    # The connection

    async def run(self) -> None:
        """Keep the connection up for ever."""
        attempt = 0
        while True:
            reason = "closed"
            try:
                async with self._connected() as links:
                    attempt = 0
                    reason = await self._watch(links)
            except AccessDenied as error:
                reason = str(error)
                attempt = max(attempt, 4)  # a wrong password does not get right by haste
            except (OSError, EslError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            self.fault = reason
            self.counters.lost += 1
            pause = min(self._config.retry_max_s, 0.5 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)
            attempt += 1
            extra = {"host": self._config.host, "error": reason, "retry_s": round(pause, 1)}
            log.warning("no connection to FreeSWITCH", extra=extra)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[EslLink, EslLink]]:
        async with AsyncExitStack() as stack:
            commands, events = await self._open(stack), await self._open(stack)
            await events.demand("event json " + " ".join((*SWITCH_EVENTS, *CHANNEL_EVENTS)))
            self._commands = commands
            try:
                await self._resync()
                self.fault = None
                self.counters.connects += 1
                self.connected.set()
                log.info("connected to FreeSWITCH", extra={"host": self._config.host})
                yield commands, events
            finally:
                self._commands = None
                self.connected.clear()
                for job in self._jobs.values():
                    if not job.done():
                        job.set_exception(LinkLost("the connection to FreeSWITCH was lost"))

    async def _open(self, stack: AsyncExitStack) -> EslLink:
        """Connect and authenticate. Raises OSError, AccessDenied, TimeoutError, EslError."""
        config = self._config
        greeting: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()

        def take(message: Event | Notice) -> None:
            if isinstance(message, Event):
                self._event(message)
            elif message.kind in (NoticeKind.AUTH, NoticeKind.DENIED) and not greeting.done():
                greeting.set_result(message)

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(config.connect_s):
            _, link = await loop.create_connection(
                lambda: EslLink(take, self.counters, self._limits), config.host, config.port
            )
            stack.callback(link.close)
            # Whoever accepts and says nothing must not hold us: the greeting has its time too.
            ends: set[asyncio.Future[Any]] = {greeting, link.closed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not greeting.done():
                raise LinkLost(link.closed.result())
            if greeting.result().kind is NoticeKind.DENIED:
                raise AccessDenied(f"FreeSWITCH's ACL refuses us: {greeting.result().text}")
            try:
                if config.user:
                    await link.demand(f"userauth {config.user}:{config.password}")
                else:
                    await link.demand(f"auth {config.password}")
            except CommandRefused:
                raise AccessDenied("FreeSWITCH refuses our password (event_socket.conf.xml)") from None
            except LocalProtocolError:
                raise AccessDenied("the password of the event socket holds a line end") from None
        return link

    async def _resync(self) -> None:
        """Channels may have ended while nobody listened: tell those who follow them."""
        for channel_uuid, follower in list(self.router.channels.items()):
            if isinstance(follower, Channel) and not await self.exists(channel_uuid):
                self.counters.vanished += 1
                log.warning("channel vanished while we were not connected", extra={"channel": channel_uuid})
                follower.lost("LOST")

    async def _watch(self, links: tuple[EslLink, EslLink]) -> str:
        """Until a connection is lost, or silent for too long; the reason."""
        async with task_scope() as start:
            start(self._watchdog(links[1]), "esl watchdog")
            await asyncio.wait({link.closed for link in links}, return_when=asyncio.FIRST_COMPLETED)
        return next(link.closed.result() for link in links if link.closed.done())

    async def _watchdog(self, events: EslLink) -> None:
        limit = self._config.watchdog_s
        while limit:
            quiet = asyncio.get_running_loop().time() - events.last_data_at
            if quiet >= limit:
                events.abort(f"silent for {quiet:.0f} s")
                return
            await asyncio.sleep(limit - quiet)

    def _event(self, event: Event) -> None:
        match event.name:
            case "BACKGROUND_JOB":
                job = self._jobs.get(event.get("Job-UUID"))
                if job is not None and not job.done():
                    job.set_result(event.body)
            case "HEARTBEAT":
                self.heartbeat = event
        self.router.dispatch(event)


def _retrieve(future: "asyncio.Future[str]") -> None:
    if not future.cancelled():
        future.exception()  # whoever was cancelled does not want to know
