"""SignalWire: where it differs from Twilio. The rest is Twilio's code and tests, and tests/contracts."""

import asyncio
from xml.etree.ElementTree import fromstring

import pytest

from media.leg import HangupCause
from sip.signalwire import SignalWire, SignalWireConfig
from tests.contracts.carriers import SignalWire as Case
from tests.contracts.doors import door


def test_the_document_names_the_codec_and_requests_go_to_the_space_with_the_api_token() -> None:
    async def scene() -> None:
        case = Case()
        async with door(case.carrier) as d:
            hook = case.incoming(d)
            async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
                stream = fromstring(await answer.text()).find("Connect/Stream")
            assert stream is not None and stream.attrib["codec"] == "L16@16000h"
            assert stream.attrib["url"].startswith("wss://voice.example.com/signalwire/media/")
            ws = await d.client.ws_connect(d.local(stream.attrib["url"]))
            for message in case.start():
                await ws.send_str(str(message))
            taken = await d.call()
            assert taken.leg.format.rate == 16000
            d.rest.answer = lambda _: (401, {"code": "20003", "message": "no"})
            await taken.leg.hangup(HangupCause.NORMAL)
            asked = (await d.rest.until(1))[0]
            assert asked.path == "/api/laml/2010-04-01/Accounts/AC1/Calls/call-1.json"
            assert asked.headers["Authorization"] == "Basic QUMxOmFwaS10b2tlbg==", "AC1:api-token"

    asyncio.run(scene())


def test_settings_that_cannot_work() -> None:
    for config, words in (
        (SignalWireConfig("P1"), "signing_key is needed"),
        (SignalWireConfig("P1", signing_key="k"), "api_token is needed"),
        (SignalWireConfig("P1", signing_key="k", api_token="t"), "space is needed"),
    ):
        with pytest.raises(ValueError, match=words):
            SignalWire(config)
    with pytest.raises(ValueError, match="codec must be one of"):
        SignalWireConfig(codec="OPUS")
