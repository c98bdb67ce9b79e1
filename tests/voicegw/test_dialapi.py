"""Placing calls over HTTP, and the status callbacks that follow, with real HTTP on the loopback interface."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from media.tasks import task_scope
from tests.voicegw.test_calls import House
from tests.voicegw.test_outbound import HOUSES, FakeWay, Office
from tests.voicegw.test_server import House as WebHouse
from voicegw import callbacks as module
from voicegw.callbacks import Callbacks, signature
from voicegw.config.model import HttpConfig
from voicegw.config.outbound import CallbackConfig
from voicegw.dialapi import DialApi, live_view
from voicegw.server import HttpServer, WebParts

Test = Callable[[ClientSession, str, Office], Awaitable[None]]


def served(folder: Path, way: FakeWay, test: Test) -> Office:
    """Runs a test against a server whose dialer uses `way`."""

    async def scenario() -> Office:
        house, web_house = House(hang_up=True), WebHouse(folder)
        HOUSES.append(house)
        async with task_scope() as start, ClientSession() as client:
            office = Office(house, way, start)
            parts = WebParts(
                web_house.health,
                house.metrics,
                house.manager.live,
                web_house.archive,  # type: ignore[arg-type]
                lambda: "sip:bot@127.0.0.1",
                lambda call_id, call: live_view(office.dialer, call_id, call),
            )
            server = HttpServer(HttpConfig(port=0), parts, [DialApi(office.dialer)])
            await server.start()
            try:
                await test(client, server.url, office)
            finally:
                await server.close()
        return office

    return asyncio.run(scenario())


def test_a_call_is_placed_watched_and_hung_up(tmp_path: Path) -> None:
    async def test(client: ClientSession, url: str, office: Office) -> None:
        body = {"to": "sip:anna@host", "flow": "demo", "headers": {"X-Campaign": "7"}, "callback": url}
        async with client.post(f"{url}api/calls", json=body) as answer:
            assert answer.status == 202
            call = await answer.json()
            assert answer.headers["Location"] == f"/api/calls/{call['id']}"
        await office.until("ringing")
        async with client.get(f"{url}api/calls/{call['id']}") as answer:
            shown = await answer.json()
        assert (shown["state"], shown["outbound"]["state"]) == ("ringing", "ringing")
        async with client.delete(f"{url}api/calls/{call['id']}") as answer:
            assert answer.status == 202
        await office.until("ended")
        async with client.get(f"{url}api/calls/{call['id']}") as answer:
            shown = await answer.json()
        assert (shown["outbound"]["state"], shown["outbound"]["cause"]) == ("ended", "cancelled")
        async with client.post(f"{url}api/calls/{call['id']}/hangup") as answer:
            assert answer.status == 404, "it is over"

    office = served(tmp_path, FakeWay(200, ring_s=30), test)
    assert office.way.given_up == 1
    assert office.way.calls[0].headers == {"X-Campaign": "7"}


@pytest.mark.parametrize(
    "body, message",
    [
        ({}, "to: Field required"),
        ({"to": 5}, "to: Input should be a valid string"),
        ({"to": "sip:a@b", "flwo": "demo"}, "unknown: flwo"),
        ({"to": "sip:a@b", "headers": {"Via": "x"}}, "only X-... may be set"),
        ({"to": "sip:a@b", "headers": {"X-A": "1\r\nVia: x"}}, "no control characters"),
        ({"to": "sip:a@b", "display_name": "a\nb"}, "no control characters"),
        ({"to": "sip:a@b", "caller": "a b"}, "a number or a user name"),
        ({"to": "sip:a@b", "callback": "file:///etc/passwd"}, "an http or https URL"),
        ({"to": "sip:a@b", "ring_timeout_s": 9999}, "1 to 600 seconds"),
        ({"to": "sip:a@b", "retry": {"causes": ["bussy"]}}, "no cause 'bussy'"),
        ({"to": "sip:a@b", "retry": {"attemps": 3}}, "retry: unknown: attemps; known: attempts"),
        ({"to": "sip:a@b", "retry": {"wait_s": -1}}, "greater than or equal to 0"),
        ({"to": "sip:a@b", "retry": {"factor": 1e300}}, "less than or equal to 100"),
        ({"to": "0301"}, "no prefix in outbound.routes fits"),
    ],
)
def test_a_bad_order_is_told_what_is_wrong(tmp_path: Path, body: dict[str, Any], message: str) -> None:
    async def test(client: ClientSession, url: str, office: Office) -> None:
        async with client.post(f"{url}api/calls", json=body) as answer:
            assert answer.status == 400
            assert message in (await answer.json())["error"]

    assert served(tmp_path, FakeWay(), test).way.calls == []


def test_pages_of_other_sites_place_no_calls(tmp_path: Path) -> None:
    async def test(client: ClientSession, url: str, office: Office) -> None:
        order = {"to": "sip:anna@host"}
        evil = {"Origin": "https://evil.example"}
        async with client.post(f"{url}api/calls", json=order, headers=evil) as answer:
            assert answer.status == 403
        async with client.post(f"{url}api/calls", data=json.dumps(order)) as answer:
            assert answer.status == 415, "what a form can send"
        async with client.post(f"{url}api/calls", json=order, headers={"Origin": url.rstrip("/")}) as answer:
            assert answer.status == 202

    assert len(served(tmp_path, FakeWay(486, ring_s=0), test).way.calls) == 1


class Receiver:
    """Takes callbacks: answers with the next of `statuses`, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, Any], str, bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append((json.loads(body), request.headers.get("X-Voicegw-Signature", ""), body))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


def told(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, count: int = 3, **config: Any) -> Callbacks:
    """Reports `count` changes to the receiver and waits until all is delivered or lost."""
    monkeypatch.setattr(module, "RETRY_S", 0.01)

    async def scenario() -> Callbacks:
        app = web.Application()
        app.router.add_post("/hook", receiver.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with task_scope() as start:
            callbacks = Callbacks(CallbackConfig(**config), start)
            for number in range(count):
                callbacks.report(f"http://127.0.0.1:{port}/hook?key=secret", {"state": str(number)})
            await callbacks.close()
        await runner.cleanup()
        return callbacks

    return asyncio.run(scenario())


def test_callbacks_arrive_signed_and_in_order_though_the_receiver_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver = Receiver(500, 429)
    callbacks = told(receiver, monkeypatch, secret="key")

    assert [change["state"] for change, _, _ in receiver.got] == ["0", "0", "0", "1", "2"]
    assert (callbacks.counters.delivered, callbacks.counters.retried, callbacks.counters.lost) == (3, 2, 0)
    for _, header, body in receiver.got:
        at_s = int(header.partition(",")[0].removeprefix("t="))
        assert header == signature("key", body, at_s)


def test_a_callback_that_is_refused_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver(404, 302)
    callbacks = told(receiver, monkeypatch)
    assert [change["state"] for change, _, _ in receiver.got] == ["0", "1", "2"]
    assert (callbacks.counters.delivered, callbacks.counters.lost) == (1, 2)


def test_callbacks_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks = told(Receiver(), monkeypatch, count=5, max_waiting=2)
    assert (callbacks.counters.delivered, callbacks.counters.lost) == (2, 3)
