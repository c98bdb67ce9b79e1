"""A server as a user starts it, called over three carriers' sockets at once: the clinic tells its hours by
voice, is interrupted by a key, and keeps strangers out."""

import asyncio
import json
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSServerHandshakeError, web

from tests.contracts.carriers import Plivo, Telnyx, Twilio
from tests.contracts.doors import PUBLIC, FakeRest
from tests.contracts.farend import CarrierCase
from tests.e2e.server import Server, serving

pytestmark = pytest.mark.real

SAID = Path(__file__).parent.parent.parent / "bench" / "speech" / "hours_what_are_your_openin.ulaw"
QUIET = b"\xff" * 160


class Street:
    """Where carriers find the server; has what their cases ask of a door."""

    def __init__(self, server: Server, client: ClientSession, rest: FakeRest) -> None:
        self._url, self.client, self.rest = server.url, client, rest

    def local(self, public: str) -> str:
        return self._url + public.split("://", 1)[1].partition("/")[2]


class Phone:
    """One caller behind a carrier."""

    def __init__(self, case: CarrierCase, ws: ClientWebSocketResponse) -> None:
        self.case, self.ws = case, ws
        self.heard_until = 0.0  # when the bot's last audible sound will have been played
        self.heard = 0.0  # seconds of sound
        self.clears = 0
        self.frames = 0
        self.began = time.monotonic()

    async def listen(self) -> None:
        async for message in self.ws:
            said = self.case.understand(message.data)
            now = time.monotonic()
            if said.audio is not None and set(said.audio) - {0xFF, 0x7F}:
                self.heard_until = max(now, self.heard_until) + len(said.audio) / 8000
                self.heard += len(said.audio) / 8000
            elif said.mark is not None and (message := self.case.marked(said.mark)) is not None:
                await asyncio.sleep(max(0.0, self.heard_until - now))
                await self.ws.send_str(str(message))
            self.clears += said.clear

    async def send(self, sound: bytes) -> None:
        self.frames += 1
        await self.ws.send_str(str(self.case.media(sound, self.frames)))
        # By the clock, not frame by frame: on a busy machine speech would be torn.
        await asyncio.sleep(self.began + 0.02 * self.frames - time.monotonic())

    async def until(self, condition: Any, limit_s: float) -> None:
        """Line noise until something is so."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, self.case.name
            await self.send(QUIET)

    def silent(self, since: float) -> bool:
        """Whether the bot has spoken since, and has been silent for half a second."""
        return self.heard > since and time.monotonic() - self.heard_until > 0.5

    async def say(self, sound: bytes) -> None:
        for at in range(0, len(sound), 160):
            await self.send(sound[at : at + 160].ljust(160, b"\xff"))


async def ask(case: CarrierCase, street: Any) -> None:
    """Ask for the hours, interrupt the answer with a key, hang up."""
    ws = await connect(case, street, await case.announce(street))
    for message in case.start():
        await ws.send_str(str(message))
    phone = Phone(case, ws)
    listening = asyncio.ensure_future(phone.listen())
    await phone.until(lambda: phone.silent(0.0), 20)
    greeting = phone.heard
    await phone.say(SAID.read_bytes())
    await phone.until(lambda: phone.heard > greeting + 0.5, 20)
    assert not phone.clears
    await ws.send_str(str(case.press("9")))
    await phone.until(lambda: phone.clears, 15)
    listening.cancel()
    stop = case.stop()
    if stop is not None:
        await ws.send_str(str(stop))
    await ws.close()


async def connect(case: CarrierCase, street: Any, url: str) -> ClientWebSocketResponse:
    return await street.client.ws_connect(  # type: ignore[no-any-return]
        street.local(url), headers=case.socket_headers(url), protocols=case.subprotocols
    )


async def strangers(street: Any) -> None:
    """An altered webhook, a forged and a replayed pass, an unsigned socket."""
    case = Twilio()
    hook = case.incoming(street)
    altered = hook.body.replace(b"4915", b"4916")
    async with street.client.post(street.local(hook.url), data=altered, headers=hook.headers) as answer:
        assert answer.status == 403
    url = await case.announce(street)
    ws = await connect(case, street, url)
    for wrong in (url, url[:-1] + "x"):
        with pytest.raises(WSServerHandshakeError) as error:
            await connect(case, street, wrong)
        assert error.value.status == 403
    await ws.close()
    url = await case.announce(street)
    with pytest.raises(WSServerHandshakeError) as error:
        await street.client.ws_connect(street.local(url))
    assert error.value.status == 403


async def called(street: Any, server: Server) -> None:
    """We call somebody over Twilio; he hears the greeting, and is hung up on."""
    case, asked = Twilio(), len(street.rest.asked)
    street.rest.answer = lambda request: (201, {"sid": "call-1"})
    order = {"to": "+49 15", "flow": "clinic"}
    async with street.client.post(f"{server.url}api/calls", json=order) as answer:
        assert answer.status in {201, 202}, await answer.text()
        dial = await answer.json()
    request = (await street.rest.until(asked + 1))[-1]
    assert (request.fields["To"], request.fields["From"]) == ("+4915", "+4930")
    hook = case.incoming(street, url=request.fields["Url"])
    async with street.client.post(street.local(hook.url), data=hook.body, headers=hook.headers) as answer:
        url = fromstring(await answer.text()).find("Connect/Stream").attrib["url"]
    ws = await connect(case, street, url)
    for message in case.start():
        await ws.send_str(str(message))
    phone = Phone(case, ws)
    listening = asyncio.ensure_future(phone.listen())
    await phone.until(lambda: phone.heard > 1.0, 20)
    async with street.client.delete(f"{server.url}api/calls/{dial['id']}") as answer:
        assert answer.status < 300
    hung_up = (await street.rest.until(asked + 2))[-1]
    assert hung_up.path.endswith("/Calls/call-1.json") and hung_up.fields == {"Status": "completed"}
    await asyncio.wait_for(listening, 15)


async def scene(server: Server, rest: FakeRest, cases: list[CarrierCase]) -> None:
    async with ClientSession() as client:
        street = Street(server, client, rest)
        await asyncio.gather(*(ask(case, street) for case in cases))
        await strangers(street)
        await called(street, server)


def settings(url: str, telnyx: Telnyx) -> dict[str, str]:
    """All three carriers, their REST interfaces at `url`."""
    public_key = b64encode(telnyx.key.public_key().public_bytes_raw()).decode()
    return {
        "VOICEGW_HTTP__PUBLIC_URL": PUBLIC,
        "VOICEGW_CARRIERS__TWILIO__ACCOUNT_SID": "AC1",
        "VOICEGW_CARRIERS__TWILIO__AUTH_TOKEN": Twilio.token,
        "VOICEGW_CARRIERS__TWILIO__API_URL": url,
        "VOICEGW_CARRIERS__TWILIO__CALLER": "+4930",
        "VOICEGW_OUTBOUND__ROUTES": '[{"prefix": "+", "way": "twilio"}]',
        "VOICEGW_CARRIERS__TELNYX__API_KEY": "KEY1",
        "VOICEGW_CARRIERS__TELNYX__PUBLIC_KEY": public_key,
        "VOICEGW_CARRIERS__TELNYX__API_URL": url,
        "VOICEGW_CARRIERS__PLIVO__AUTH_ID": "MA1",
        "VOICEGW_CARRIERS__PLIVO__AUTH_TOKEN": Plivo.token,
        "VOICEGW_CARRIERS__PLIVO__API_URL": url,
    }


def test_three_carriers_call_the_clinic(tmp_path: Path) -> None:
    async def run() -> None:
        rest, telnyx = FakeRest(), Telnyx()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", rest.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        telnyx.stamp = int(time.time())
        with serving(tmp_path, **settings(url, telnyx)) as server:
            await scene(server, rest, [Twilio(), telnyx, Plivo()])
            await asyncio.to_thread(server.settled)
            seen = await asyncio.to_thread(server.calls)
            calls = {call["carrier"]: call for call in seen if call["direction"] == "inbound"}
            (placed,) = (call for call in seen if call["direction"] == "outbound")
            assert placed["carrier"] == "twilio" and placed["cause"] == "normal" and placed["answered_at"]
            assert set(calls) == {"twilio", "telnyx", "plivo"}
            for carrier, call in calls.items():
                shown = server.command("calls", "show", call["id"], "--json")
                turns = json.loads(shown.stdout)["turns"]
                asked = [turn["text"] for turn in turns if turn["role"] == "caller"]
                assert "opening hours" in asked[0] and asked[-1] == "9", (carrier, asked)
                assert call["cause"] == "normal" and call["carrier_id"] == "call-1"
            assert server.metric('voicegw_carrier_door_total{carrier="twilio",kind="sockets_refused"}') == 3
            assert not server.logged("error"), server.stderr[-3000:]
        await runner.cleanup()

    asyncio.run(run())
