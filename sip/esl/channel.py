"""One call leg of FreeSWITCH, under control: run applications on it, know its state, hear of its end.

The way to it may be its own outbound socket or an inbound connection; both send the same `sendmsg`.
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Protocol

from sip.esl import commands
from sip.esl.channels import EventQueue, Follower
from sip.esl.counters import EslCounters
from sip.esl.errors import ChannelGone, CommandRefused
from sip.esl.messages import Event, Reply

GONE = frozenset({"CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"})
EXECUTE_S = 3600.0  # an application that plays or bridges takes as long as the call


class Sender(Protocol):
    """Whatever carries commands."""

    async def demand(
        self, line: str, headers: Mapping[str, str] | None = None, body: str = "", timeout_s: float = 5.0
    ) -> Reply:
        """A command and its reply. Raises EslError."""


class Channel(Follower):
    """A call leg. Ends once: `ended` is then done, with the hang-up event; waiting commands are told."""

    def __init__(self, channel_uuid: str, sender: Sender, counters: EslCounters) -> None:
        self.uuid, self.sender = channel_uuid, sender
        self.events = EventQueue(counters)
        self.ended: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self.hung_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Earlier than `ended`: figures are not there yet."""
        self.answered = False
        self.bridged_to = ""  # the other leg while there is one
        self.cause = ""  # of the hang-up
        self._jobs: dict[str, asyncio.Future[Event]] = {}
        self._hangup: Event | None = None

    # Events

    def feed(self, event: Event) -> None:
        """The next event of this channel, in order."""
        match event.name:
            case "CHANNEL_ANSWER":
                self.answered = True
            case "CHANNEL_BRIDGE":
                self.bridged_to = event.get("Other-Leg-Unique-ID") or event.get("Bridge-B-Unique-ID")
            case "CHANNEL_UNBRIDGE":
                self.bridged_to = ""
            case "CHANNEL_EXECUTE_COMPLETE":
                job = self._jobs.get(event.get("Application-UUID"))
                if job is not None and not job.done():
                    job.set_result(event)
            case "CHANNEL_HANGUP":
                self._ending(event)
            case "CHANNEL_HANGUP_COMPLETE" | "CHANNEL_DESTROY":
                self._ending(event)
                self._end(event)
        self.events.put(event)
        if self.ended.done():
            self.events.close()

    def lost(self, reason: str) -> None:
        """The way to the channel is gone, and with it what could be known of it. Idempotent."""
        event = Event({"Event-Name": "CHANNEL_DESTROY", "Unique-ID": self.uuid, "Hangup-Cause": reason})
        if not self.ended.done():
            self.feed(self._hangup or event)
            self._end(self._hangup or event)
            self.events.close()

    @property
    def is_up(self) -> bool:
        """Whether commands make sense."""
        return not self.hung_up.done()

    def _ending(self, event: Event) -> None:
        self.cause = event.get("Hangup-Cause") or self.cause
        self._hangup = event
        self.bridged_to = ""
        if not self.hung_up.done():
            self.hung_up.set_result(None)
        for job in self._jobs.values():
            if not job.done():
                job.set_exception(ChannelGone(self.cause or "gone"))

    def _end(self, event: Event) -> None:
        if not self.ended.done():
            self.ended.set_result(event)

    # Commands

    async def start(self, application: str, argument: str = "") -> None:
        """Queue an application; returns when FreeSWITCH has taken it. Raises EslError."""
        await self._send(*commands.execute(application, argument, job=str(uuid.uuid4())))

    async def execute(
        self, application: str, argument: str = "", timeout_s: float = EXECUTE_S, *, lock: bool = True
    ) -> Event:
        """Run an application to its end; its CHANNEL_EXECUTE_COMPLETE. Without `lock` others may run inside
        it. Raises ChannelGone when the call ends first, TimeoutError, EslError."""
        job = str(uuid.uuid4())
        done: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieve)
        self._jobs[job] = done
        try:
            await self._send(*commands.execute(application, argument, job=job, lock=lock))
            async with asyncio.timeout(timeout_s):
                return await done
        finally:
            del self._jobs[job]

    async def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """Hang up at once, whatever the channel is doing. What has ended already is no error. Raises EslError
        where nothing could be sent."""
        if not self.is_up:
            return
        try:
            await self.sender.demand(f"api uuid_kill {commands.word(self.uuid)} {commands.name(cause)}")
        except CommandRefused:
            pass  # it has just ended

    async def _send(self, headers: Mapping[str, str], body: str = "") -> None:
        if not self.is_up:
            raise ChannelGone(self.cause or "gone")
        await self.sender.demand(f"sendmsg {commands.word(self.uuid)}", headers, body)


def _retrieve(future: "asyncio.Future[Event]") -> None:
    if not future.cancelled():
        future.exception()  # whoever was cancelled does not want to know
