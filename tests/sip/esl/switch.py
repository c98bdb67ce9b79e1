"""A scripted FreeSWITCH: its event socket, its channels, and its faults.

It answers as the real one does (tests/captures/esl): replies in order, events of 5 KB made from captured
ones, bare words where FreeSWITCH gives bare words. What a channel's `bridge` or an `originate` leads to is
the test's to say. Everything runs on the loop of the test.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.sip.esl import capture

GONE = "-ERR No such channel!\n"


def _templates() -> dict[str, dict[str, Any]]:
    """Captured events by name: what real ones carry."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("11", "12", "31", "24"):
        for record in capture.load(name):
            if record.received and b"text/event-json" in record.data[:200]:
                event = json.loads(record.data[record.data.index(b"\n\n") + 2 :])
                found.setdefault(event["Event-Name"], event)
    return found


TEMPLATES = _templates()


def frame(event: dict[str, Any]) -> bytes:
    body = json.dumps(event).encode()
    return f"Content-Length: {len(body)}\nContent-Type: text/event-json\n\n".encode() + body


def reply(text: str, **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items())
    return f"Content-Type: command/reply\nReply-Text: {text}\n{more}\n".encode()


@dataclass(eq=False)
class FakeChannel:
    """A call leg."""

    switch: "Switch"
    uuid: str
    variables: dict[str, str] = field(default_factory=dict)
    caller: str = "+15550100"
    callee: str = "7000"
    answered: bool = False
    up: bool = True
    application: str = "bridge"
    bridged: "str" = ""  # uuid of the other leg
    ran: list[tuple[str, str]] = field(default_factory=list)  # applications
    sockets: "list[Connection]" = field(default_factory=list)  # its outbound sockets: mostly one

    @property
    def socket(self) -> "Connection | None":
        """The newest."""
        return self.sockets[-1] if self.sockets else None

    def event(self, name: str, **more: str) -> dict[str, Any]:
        base = dict(TEMPLATES.get(name) or TEMPLATES["CHANNEL_ANSWER"])
        base.pop("_body", None)
        base.update({
            "Event-Name": name, "Unique-ID": self.uuid,
            "Answer-State": "answered" if self.answered else "ringing",
            "Caller-Caller-ID-Number": self.caller, "Caller-Destination-Number": self.callee,
            "variable_current_application": "socket",
            **{f"variable_{k}": v for k, v in self.variables.items()}, **more,
        })  # fmt: skip
        return base

    def fire(self, name: str, **more: str) -> None:
        """Tell everybody who listens."""
        event = self.event(name, **more)
        for connection in self.sockets:
            connection.event(event)
        for connection in self.switch.inbound:
            connection.event(event)

    def answer(self) -> None:
        if not self.answered:
            self.answered = True
            self.fire("CHANNEL_ANSWER")

    def bridge(self, other: str) -> None:
        self.bridged = other
        self.fire("CHANNEL_BRIDGE", **{"Other-Leg-Unique-ID": other, "Bridge-B-Unique-ID": other})

    def hangup(self, cause: str = "NORMAL_CLEARING", **more: str) -> None:
        if not self.up:
            return
        self.up = False
        del self.switch.channels[self.uuid]
        for name in ("CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"):
            self.fire(name, **{"Hangup-Cause": cause, **more})
        for connection in list(self.sockets):
            connection.ended(self)


Api = Callable[["Switch", str], Awaitable[str] | str]


class Connection(asyncio.Protocol):
    """One event socket connection; `channel` is set on an outbound one."""

    def __init__(self, switch: "Switch", channel: FakeChannel | None = None) -> None:
        self.switch, self.channel = switch, channel
        self.buffer, self.wants, self.authorized = b"", False, channel is not None
        self.lingers, self.connected = False, False
        self.transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.switch.connections.append(self)
        if self.channel is None and self.switch.greets:
            self.write(self.switch.greeting)
            if b"rude" in self.switch.greeting:
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.switch.connections.remove(self)
        if self.channel is not None:
            self.channel.sockets.remove(self)
            self.switch.left(self.channel, self.connected)

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def event(self, event: dict[str, Any]) -> None:
        if self.wants:
            self.switch.emit(self, frame(event))

    def ended(self, channel: FakeChannel) -> None:
        """The call is over: the notices, and the end of the connection."""
        head = f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {channel.uuid}\n"
        if self.lingers:
            self.write(f"{head}Content-Disposition: linger\nLinger-Time: 10\nContent-Length: 0\n\n".encode())
        else:
            self.write(f"{head}Content-Disposition: disconnect\nContent-Length: 0\n\n".encode())
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\n\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\n\n")
            lines = head.decode().lstrip("\n").split("\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            size = int(headers.get("content-length", 0))
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            self.switch.received.append(lines[0])
            if not self.switch.silent:
                self.command(lines[0], headers, rest[:size].decode())

    def command(self, line: str, headers: dict[str, str], body: str) -> None:
        word, _, rest = line.partition(" ")
        switch = self.switch
        if not self.authorized:
            self.authorized = rest in (switch.password, f"user@x:{switch.password}")
            self.write(reply("+OK accepted" if self.authorized else "-ERR invalid"))
            return
        match word:
            case "connect" if self.channel is not None:
                self.connected = True
                fields = {**self.channel.event("CHANNEL_DATA"), "Event-Name": "CHANNEL_DATA"}
                text = "".join(f"{k}: {_quote(v)}\n" for k, v in fields.items() if isinstance(v, str))
                end = (
                    "Content-Type: command/reply\nReply-Text: %2BOK%0A\nSocket-Mode: async\nControl: full\n\n"
                )
                text = text.replace("Content-Length", "X-Length")
                self.write((text + end).encode())
            case "event" | "myevents":
                self.wants = True
                self.write(reply("+OK event listener enabled json"))
            case "linger":
                self.lingers = True
                self.write(reply(f"+OK will linger {rest} seconds"))
            case "nolinger":
                self.lingers = False
                self.write(reply("+OK will not linger"))
            case "exit":
                self.write(reply("+OK bye"))
                self.transport.close()
            case "sendmsg":
                self.write(switch.sendmsg(rest or (self.channel.uuid if self.channel else ""), headers, body))
            case "api":
                switch.spawn(self.answer(rest))
            case "bgapi":
                job = headers.get("job-uuid") or str(uuid.uuid4())
                switch.spawn(self.job(job, rest))
                self.write(reply(f"+OK Job-UUID: {job}", Job_UUID=job))
            case _:
                self.write(reply("-ERR command not found"))

    async def answer(self, command: str) -> None:
        text = await self.switch.api(command)
        data = (text or "-ERR no reply\n").encode()
        self.write(b"Content-Type: api/response\nContent-Length: %d\n\n" % len(data) + data)

    async def job(self, job: str, command: str) -> None:
        text = await self.switch.api(command)
        event = {**TEMPLATES.get("HEARTBEAT", {}), "Event-Name": "BACKGROUND_JOB", "Job-UUID": job,
                 "Core-UUID": "c", "Content-Length": str(len(text.encode())), "_body": text}  # fmt: skip
        for connection in self.switch.inbound:
            connection.event(event)


def _quote(value: str) -> str:
    from urllib.parse import quote

    return quote(value, safe=",/:")


class Switch:
    """The whole of it. `bridge` and `originate` are replaced by tests that need them."""

    def __init__(self) -> None:
        self.password, self.greets, self.silent = "pw", True, False
        self.greeting = b"Content-Type: auth/request\n\n"
        self.channels: dict[str, FakeChannel] = {}
        self.connections: list[Connection] = []
        self.received: list[str] = []
        self.apis: dict[str, Api] = {}
        self.exits: list[tuple[str, bool]] = []  # channels whose socket was left, and whether after `connect`
        self.port = 0
        self.bridge: Callable[[FakeChannel, str], None] = lambda channel, where: None
        self.originate: Callable[[FakeChannel, str], Awaitable[str]] = self._answers
        self.emit: Callable[[Connection, bytes], None] = lambda connection, data: connection.write(data)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def inbound(self) -> list[Connection]:
        return [c for c in self.connections if c.channel is None]

    def spawn(self, coro: Any) -> None:
        task = asyncio.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port or self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a crash: all connections end."""
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)

    async def call(self, port: int, callee: str = "7000", **variables: str) -> FakeChannel:
        """A call comes in, and its dialplan runs ``socket 127.0.0.1:port async full``."""
        channel = self.channel(str(uuid.uuid4()), variables)
        channel.callee = callee
        await self.socket(channel, port)
        return channel

    def channel(self, channel_uuid: str, variables: dict[str, str] | None = None) -> FakeChannel:
        channel = FakeChannel(self, channel_uuid, dict(variables or {}))
        self.channels[channel_uuid] = channel
        channel.fire("CHANNEL_CREATE")
        return channel

    async def socket(self, channel: FakeChannel, port: int) -> None:
        """The application of that name."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Connection(self, channel), "127.0.0.1", port)
        channel.sockets.append(made)

    def left(self, channel: FakeChannel, connected: bool) -> None:
        """A channel's socket has gone; its dialplan goes on."""
        if channel.up:
            self.exits.append((channel.uuid, connected))

    def sendmsg(self, channel_uuid: str, headers: dict[str, str], body: str) -> bytes:
        channel = self.channels.get(channel_uuid)
        if channel is None:
            return reply(f"-ERR invalid session id [{channel_uuid}]")
        if headers["call-command"] == "hangup":
            self._soon(channel.hangup, headers["hangup-cause"])
        else:
            application = headers["execute-app-name"]
            self._soon(self.run, channel, application, body or headers.get("execute-app-arg", ""), headers)
        return reply("+OK")

    def run(self, channel: FakeChannel, application: str, argument: str, headers: dict[str, str]) -> None:
        if not channel.up:
            return
        channel.ran.append((application, argument))
        more = {"Application": application, "Application-UUID": headers.get("event-uuid", "")}
        if application == "bridge":
            self.bridge(channel, argument)
            return
        if application == "answer":
            channel.answer()
        elif application == "set":
            name, _, value = argument.partition("=")
            channel.variables[name] = value
        elif application == "respond":
            channel.hangup("CALL_REJECTED")
        channel.fire("CHANNEL_EXECUTE_COMPLETE", **more)

    def _soon(self, function: Any, *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(0.001, function, *arguments)

    async def api(self, line: str) -> str:
        command, _, arguments = line.partition(" ")
        if command in self.apis:
            result = self.apis[command](self, arguments)
            return result if isinstance(result, str) else await result
        words = arguments.split()
        channel = self.channels.get(words[0]) if words else None
        match command:
            case "sched_del":
                return "+OK Deleted: 1\n"
            case "uuid_exists":
                return "true" if channel else "false"
            case "show":
                state = {"state": "CS_EXECUTE", "callstate": "ACTIVE"}
                rows = [{"uuid": c.uuid, "application": c.application, **state}
                        for c in self.channels.values()]  # fmt: skip
                return json.dumps({"row_count": len(rows), "rows": rows})
            case "uuid_kill" if channel:
                channel.hangup(words[1] if len(words) > 1 else "NORMAL_CLEARING")
                return "+OK\n"
            case "uuid_getvar" if channel:
                return channel.variables.get(words[1]) or "_undef_"
            case "uuid_setvar" if channel:
                channel.variables[words[1]] = words[2] if len(words) > 2 else ""
                return "+OK\n"
            case "uuid_setvar_multi" if channel:
                pairs = (pair.partition("=") for pair in arguments.partition(" ")[2].split(";"))
                channel.variables.update({name: value for name, _, value in pairs})
                return "+OK\n"
            case "uuid_bridge" if channel and words[1] in self.channels:
                channel.bridge(words[1])
                self.channels[words[1]].bridge(channel.uuid)
                return f"+OK {words[1]}\n"
            case "uuid_broadcast" | "uuid_break" | "uuid_transfer" | "uuid_park" | "uuid_deflect" if channel:
                return "+OK Message sent\n"
            case "originate":
                return await self._originate(arguments)
        return GONE if command.startswith("uuid_") else f"-ERR {command} Command not found!\n"

    async def _originate(self, arguments: str) -> str:
        text, _, rest = arguments.removeprefix("{").partition("}")
        values = dict(pair.split("=", 1) for pair in text.replace("\\,", "\0").split(",") if "=" in pair)
        channel = self.channel(values.get("origination_uuid") or str(uuid.uuid4()), values)
        result = await self.originate(channel, rest)
        if result.startswith("-ERR"):
            channel.hangup(result.removeprefix("-ERR").strip())
        return result

    async def _answers(self, channel: FakeChannel, where: str) -> str:
        channel.answer()
        return f"+OK {channel.uuid}\n"


@asynccontextmanager
async def switching() -> Any:
    """A switch that listens."""
    switch = Switch()
    await switch.start()
    try:
        yield switch
    finally:
        await switch.stop()
