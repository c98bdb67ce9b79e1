"""What existing Python clients get wrong, each as a fact about ours: 26 failures that were seen in them."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time
from typing import Any

import pytest
import uvloop

from media.tasks import task_scope
from sip.errors import LocalProtocolError
from sip.esl.channel import Channel
from sip.esl.channels import EventQueue
from sip.esl.client import EslClient, EslConfig
from sip.esl.counters import EslCounters
from sip.esl.errors import ChannelGone, CommandRefused, LinkLost, NotConnected
from sip.esl.messages import Event
from sip.esl.protocol import EslProtocol, json_event
from sip.esl.server import EslServer, EslSession
from tests.sip.esl import capture
from tests.sip.esl.switch import TEMPLATES, Switch, frame, reply, switching

Test = Callable[[Switch, EslClient], Awaitable[None]]


@asynccontextmanager
async def client_of(switch: Switch, **config: Any) -> AsyncIterator[EslClient]:
    settings = {"port": switch.port, "password": "pw", "connect_s": 0.3, "retry_max_s": 0.1, **config}
    client = EslClient(EslConfig(**settings), EslCounters())
    async with task_scope() as start:
        start(client.run(), "client")
        yield client


def with_client(test: Test, **config: Any) -> None:
    async def main() -> None:
        async with switching() as switch, client_of(switch, **config) as client:
            async with asyncio.timeout(10):
                await client.connected.wait()
                await test(switch, client)

    run(main())


def run(main: Coroutine[Any, Any, None]) -> None:
    """On the loop that the server runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_01_a_command_that_waits_when_the_link_is_lost_is_told() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        switch.silent = True
        waiting = asyncio.gather(client.api("status"), client.job("originate", "x"), return_exceptions=True)
        await until(lambda: switch.received[-2:] == ["api status", "bgapi originate x"])
        for connection in list(switch.connections):
            connection.transport.abort()
        assert all(isinstance(error, LinkLost) for error in await waiting)

    with_client(test)


def test_02_a_cancelled_command_does_not_shift_the_replies() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        go, answered = asyncio.Event(), asyncio.Event()

        async def slow(_: Switch, text: str) -> str:
            await go.wait()
            answered.set()
            return text

        switch.apis = {"slow": slow, "echo": lambda _, text: text}
        first = asyncio.ensure_future(client.api("slow", "first"))
        await until(lambda: switch.received[-1] == "api slow first")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go.set()
        await answered.wait()  # the switch answers one after the other
        assert await client.api("echo", "second") == "second"

    with_client(test)


def test_03_bytes_that_are_no_text_stop_nothing() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        event = frame({"Event-Name": "HEARTBEAT", "X": "?"}).replace(b"?", b"\xff")
        for connection in switch.inbound:
            connection.write(event)
        await until(lambda: client.heartbeat)
        assert client.heartbeat is not None and client.heartbeat.get("X") == "\ufffd"
        assert await client.api("uuid_exists", "u") == "false"

    with_client(test)


def test_04_refusal_by_the_acl_is_said() -> None:
    async def main() -> None:
        async with switching() as switch:
            switch.greeting = capture.received("52")
            async with client_of(switch) as client:
                await until(lambda: client.fault and "ACL" in client.fault)
                with pytest.raises(NotConnected, match="ACL"):
                    await client.api("status")

    run(main())


def test_05_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    async def main() -> None:
        async with switching() as switch:
            switch.greets = False
            async with client_of(switch, connect_s=0.05) as client:
                await until(lambda: client.counters.lost)
                switch.greets = True
                await asyncio.wait_for(client.connected.wait(), 5)

    run(main())


def test_06_an_event_costs_little() -> None:
    """60 us are the promise (bench/esl.py measures it); here four times that, for busy machines."""
    data = frame(TEMPLATES["CHANNEL_ANSWER"])
    core, count = EslProtocol(), 500
    began = process_time()
    for _ in range(count):
        core.receive_data(data)
        assert len(list(core.messages())) == 1
    assert (process_time() - began) / count < 240e-6


def test_07_a_channels_reader_hides_no_event_from_its_state() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        fake = switch.channel("u1")
        with client.channel("u1") as channel:
            fake.answer()
            fake.hangup()
            names = [event.name async for event in channel.events]
            assert names[:2] == ["CHANNEL_CREATE", "CHANNEL_ANSWER"] and channel.answered

    with_client(test)


def test_08_the_events_of_a_channel_come_in_order() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        fakes = [switch.channel(f"u{n}") for n in range(3)]
        with client.channel("u0") as a, client.channel("u1") as b, client.channel("u2") as c:
            for number in range(100):
                for fake in fakes:
                    fake.fire("DTMF", **{"DTMF-Digit": str(number)})
            for fake in fakes:
                fake.hangup()
            for channel in (a, b, c):
                digits = [e.get("DTMF-Digit") async for e in channel.events if e.name == "DTMF"]
                assert digits == [str(number) for number in range(100)]

    with_client(test)


def test_09_a_slow_reader_costs_bounded_memory_and_no_other_call() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        slow, quick = switch.channel("slow"), switch.channel("quick")
        with client.channel("slow") as lazy, client.channel("quick") as other:
            for number in range(3000):
                slow.fire("CHANNEL_PROGRESS", **{"X-Number": str(number)})
            slow.hangup()
            quick.hangup()
            await asyncio.wait_for(other.ended, 10)
            await asyncio.wait_for(lazy.ended, 10)
            assert len(lazy.events) <= 1000 and client.counters.dropped >= 2000
            names = [event.name async for event in lazy.events]
            assert "CHANNEL_HANGUP_COMPLETE" in names  # what matters is not dropped

    with_client(test)


def test_10_an_originate_holds_up_nobody() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        picks_up = asyncio.Event()

        async def rings(channel: Any, _: str) -> str:
            await picks_up.wait()
            return f"+OK {channel.uuid}\n"

        switch.originate = rings
        job = asyncio.ensure_future(client.job("originate", "{origination_uuid=u9}sofia/gateway/g/1 &park"))
        await until(lambda: "u9" in switch.channels)
        assert await client.exists("u9") and not job.done()
        picks_up.set()
        assert await job == "+OK u9"

    with_client(test)


def test_11_an_empty_header_is_empty() -> None:
    core = EslProtocol()
    core.command("x")
    core.receive_data(b"Content-Type: command/reply\nReply-Text: +OK\nX-Empty: \nX-Last:\n\n")
    (message,) = core.messages()
    assert message.headers["X-Empty"] == "" and message.headers["X-Last"] == ""


def test_12_no_line_end_injects_a_header() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        fake = switch.channel("u1")
        with client.channel("u1") as channel:
            with pytest.raises(LocalProtocolError):
                await channel.start("set\nexecute-app-name: hangup", "x")
            await channel.execute("set", "a=b\n\ncall-command: hangup", timeout_s=2)
            assert fake.up and fake.ran == [("set", "a=b\n\ncall-command: hangup")]
        with pytest.raises(LocalProtocolError):
            await client.api("uuid_kill", "u1\n\nexit")

    with_client(test)


def test_13_the_server_stops_with_calls_up() -> None:
    async def main() -> None:
        async with switching() as switch, task_scope() as start:
            server = EslServer("127.0.0.1", 0, EslCounters())

            async def held(session: EslSession) -> None:
                await session.channel.ended

            await server.start(start, held)
            fake = await switch.call(server.port)
            await until(lambda: server.sessions)
            async with asyncio.timeout(3):
                await server.close()
            await until(lambda: switch.exits)
            assert fake.up and switch.exits == [(fake.uuid, True)]  # its dialplan goes on

    run(main())


def test_14_a_header_of_70_kb_is_taken() -> None:
    core = EslProtocol()
    core.command("x")
    core.receive_data(b"Content-Type: command/reply\nX-Long: " + b"y" * 70_000 + b"\nReply-Text: +OK\n\n")
    (message,) = core.messages()
    assert len(message.headers["X-Long"]) == 70_000


def test_15_the_end_in_the_middle_of_a_body_ends_the_link_without_a_busy_loop() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        for connection in switch.inbound:
            connection.write(frame(TEMPLATES["CHANNEL_ANSWER"])[:1000])
        connects = client.counters.connects
        for connection in list(switch.connections):
            connection.transport.close()
        began = process_time()
        await until(lambda: client.counters.connects > connects)
        assert process_time() - began < 0.5

    with_client(test)


def test_16_a_hang_up_ends_whoever_waits_for_an_application() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        fake = switch.channel("u1")
        switch.bridge = lambda channel, where: None  # goes on until somebody hangs up
        with client.channel("u1") as channel:
            first = asyncio.ensure_future(channel.execute("bridge", "a"))
            second = asyncio.ensure_future(channel.execute("bridge", "b"))
            await until(lambda: len(fake.ran) == 2)
            fake.hangup("USER_BUSY")
            for waiting in (first, second):
                with pytest.raises(ChannelGone, match="USER_BUSY"):
                    await waiting
            with pytest.raises(ChannelGone):
                await channel.execute("answer")

    with_client(test)


def test_17_json_events_are_dispatched() -> None:
    event = json_event(json.dumps({"Event-Name": "CUSTOM", "Event-Subclass": "a::b", "_body": "x"}).encode())
    assert event is not None and (event.name, event.body) == ("a::b", "x")


def test_18_the_client_connects_again_and_tells_of_calls_that_vanished() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        stays, goes = switch.channel("stays"), switch.channel("goes")
        with client.channel("stays") as kept, client.channel("goes") as gone:
            await switch.stop()
            await until(lambda: not client.connected.is_set())
            del switch.channels["goes"]  # nobody heard it
            await until(lambda: client.counters.lost >= 2)  # it has tried in vain
            await switch.start()
            await asyncio.wait_for(client.connected.wait(), 5)
            ended = await asyncio.wait_for(gone.ended, 1)
            assert ended.get("Hangup-Cause") == "LOST" and not kept.ended.done()
            stays.fire("DTMF", **{"DTMF-Digit": "7"})  # the events are wanted again
            async for event in kept.events:
                if event.name == "DTMF":
                    break
            assert event.get("DTMF-Digit") == "7"
            assert client.counters.vanished == 1 and goes.up

    with_client(test)


def test_19_a_value_with_line_ends_is_one_value() -> None:
    core = EslProtocol()
    inner = b"Event-Name: X\nUnique-ID: good\nvariable_sdp: v=0%0AUnique-ID: evil%0D%0A%0A\n\n"
    core.receive_data(b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(inner) + inner)
    (event,) = core.messages()
    assert (
        isinstance(event, Event)
        and event.channel == "good"
        and "\nUnique-ID: evil" in event.get("variable_sdp")
    )


def test_20_a_jobs_result_is_its_body() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        switch.apis = {"long": lambda _, text: "a: b\n\nc\nü"}
        assert await client.job("long") == "a: b\n\nc\nü"

    with_client(test)


def test_21_many_channels_leave_nothing_behind() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        for number in range(100):
            with client.channel(f"u{number}"):
                pass
        assert not client.router.channels
        assert not [line for line in switch.received if line.startswith("filter")]

    with_client(test)


def test_22_an_originate_that_failed_is_an_error_with_its_cause() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        async def busy(*_: Any) -> str:
            return "-ERR USER_BUSY\n"

        switch.originate = busy
        with pytest.raises(CommandRefused) as refused:
            await client.job("originate", "sofia/gateway/g/1 &park")
        assert refused.value.reason == "USER_BUSY"

    with_client(test)


def test_23_waiting_for_the_hang_up_works() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def handler(session: EslSession) -> None:
            ended.append((await session.channel.ended).get("Hangup-Cause"))

        async with switching() as switch, task_scope() as start:
            server = EslServer("127.0.0.1", 0, EslCounters())
            await server.start(start, handler)
            fake = await switch.call(server.port)
            await until(lambda: fake.socket is not None and fake.socket.wants)
            fake.hangup("ORIGINATOR_CANCEL")
            await until(lambda: ended)
            assert ended == ["ORIGINATOR_CANCEL"]
            await server.close()

    run(main())


def test_24_a_reply_that_nobody_asked_for_is_counted() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        for connection in switch.inbound:
            connection.write(reply("+OK stray"))
        await until(lambda: client.counters.wire.stray == 2)
        assert await client.api("uuid_exists", "u") == "false" and client.connected.is_set()

    with_client(test)


def test_25_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test(switch: Switch, client: EslClient) -> None:
        await client.job("originate", "{sip_auth_password=topsecret}sofia/gateway/g/+4930999 &park")
        with client.channel("u") as channel, pytest.raises(CommandRefused):
            await channel.start("set", "topsecret=1")

    with_client(test)
    said = "".join(json.dumps(record.__dict__, default=str) for record in caplog.records)
    assert "bgapi originate" in said
    assert "topsecret" not in said and '"pw"' not in said and "auth pw" not in said and "4930999" not in said


def test_26_nothing_but_the_standard_library_is_needed() -> None:
    folder = Path(__file__).parent.parent.parent.parent / "sip" / "esl"
    words = [line.split()[1] for path in folder.glob("*.py") for line in path.read_text().splitlines()
             if line.startswith(("import ", "from "))]  # fmt: skip
    roots = {word.split(".")[0] for word in words}
    assert roots <= set(sys.stdlib_module_names) | {"sip", "media"}


# What the table does not name


def test_a_wrong_password_is_said_and_tried_slowly(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with switching() as switch, client_of(switch, password="wrong", retry_max_s=10) as client:
            await until(lambda: client.fault and "password" in client.fault)
            (record,) = [r for r in caplog.records if r.message == "no connection to FreeSWITCH"]
            assert record.__dict__["retry_s"] >= 4
            assert len([line for line in switch.received if line.startswith("auth")]) == 1
            with pytest.raises(NotConnected):
                await client.api("status")

    run(main())


def test_a_user_with_limited_rights_can_log_in() -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        assert switch.received[0] == "userauth user@x:pw"

    with_client(test, user="user@x")


def test_a_silent_connection_is_given_up_and_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def test(switch: Switch, client: EslClient) -> None:
        await until(lambda: client.counters.connects >= 2)
        record = next(r for r in caplog.records if r.message == "no connection to FreeSWITCH")
        assert record.__dict__["error"].startswith("silent for ")

    with_client(test, watchdog_s=0.1)


def test_a_flood_of_events_is_survived() -> None:
    """100 000 events that FreeSWITCH has queued come at once."""

    async def test(switch: Switch, client: EslClient) -> None:
        switch.channel("u1")
        small = frame({"Event-Name": "CHANNEL_PROGRESS", "Unique-ID": "u1", "Core-UUID": "c"})
        with client.channel("u1") as channel:
            switch.inbound[-1].write(small * 100_000)
            assert await client.api("uuid_exists", "u1", timeout_s=20) == "true"
            await until(lambda: client.counters.wire.events > 90_000)
            assert len(channel.events) <= 1000

    with_client(test)


def test_queues_keep_what_is_vital() -> None:
    async def main() -> None:
        counters = EslCounters()
        queue = EventQueue(counters, limit=2)
        for name in ("CODEC", "CODEC", "CODEC", "DTMF", "CHANNEL_HANGUP", "DTMF"):
            queue.put(Event({"Event-Name": name}))
        queue.close()
        assert [e.name async for e in queue] == ["CODEC", "CODEC", "DTMF", "CHANNEL_HANGUP"]
        assert counters.dropped == 2

    run(main())


def test_a_full_server_lets_the_dialplan_go_on_but_not_too_early() -> None:
    async def main() -> None:
        async with switching() as switch, task_scope() as start:
            server = EslServer("127.0.0.1", 0, EslCounters())
            server.full = lambda: True
            called: list[EslSession] = []

            async def handler(session: EslSession) -> None:
                called.append(session)

            await server.start(start, handler)
            loop = asyncio.get_running_loop()
            began = loop.time()
            await switch.call(server.port)
            await until(lambda: switch.exits)
            assert switch.exits[0][1] and loop.time() - began >= 0.25 and not called
            await server.close()

    run(main())


def test_a_call_whose_socket_is_lost_is_adopted() -> None:
    async def main() -> None:
        adopted: list[Channel] = []
        async with switching() as switch, task_scope() as start:
            server = EslServer("127.0.0.1", 0, EslCounters())
            server.adopt = adopted.append

            async def handler(session: EslSession) -> None:
                await session.channel.ended

            await server.start(start, handler)
            fake = await switch.call(server.port)
            await until(lambda: fake.socket is not None and fake.socket.wants)
            assert fake.socket is not None
            fake.socket.transport.abort()
            await until(lambda: adopted)
            assert adopted[0].uuid == fake.uuid and adopted[0].is_up
            await server.close()

    run(main())
