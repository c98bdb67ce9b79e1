"""Asterisk's chan_websocket: both kinds of control messages, and the dialplan. What all carriers share:
tests/contracts; the real one: tests/e2e/test_asterisk.py."""

import asyncio

import pytest

from dialog.types import Transfer
from media.leg import HangupCause
from sip.chanwebsocket import ChanWebSocket, ChanWebSocketConfig, WebSocketChannelCore
from sip.errors import RemoteProtocolError
from sip.mediacore import Digit, Failure, Held, Marked, Started
from tests.contracts.doors import door
from tests.contracts.softswitches import ChanWebSocket as Case

PLAIN = "MEDIA_START connection_id:voicegw channel:WebSocket/voicegw/0x1 channel_id:17.2 format:ulaw ptime:20"


def test_older_ones_speak_plain_text_and_are_answered_in_it() -> None:
    core = WebSocketChannelCore()
    (started,) = core.receive(PLAIN)
    assert isinstance(started, Started) and started.call_id == "17.2" and started.received.name == "PCMU"
    assert core.receive("DTMF_END digit:# channel_id:17.2") == [Digit("#")]
    assert core.receive("MEDIA_MARK_PROCESSED 0:160") == [Marked("0:160")]
    assert core.receive("MEDIA_XOFF") == [Held(True)] and core.receive("MEDIA_XON") == [Held(False)]
    assert core.mark("0:160") == "MARK_MEDIA 0:160" and core.clear() == "FLUSH_MEDIA"
    assert core.goodbye(HangupCause.NORMAL) == "HANGUP"


def test_a_full_queue_holds_us_and_complaints_are_told() -> None:
    case, core = Case(), WebSocketChannelCore()
    core.receive(case.start()[0])
    assert core.receive(case.event("MEDIA_XOFF")) == [Held(True)]
    assert core.receive(case.event("MEDIA_XON")) == [Held(False)]
    assert core.receive(case.event("ERROR", error_text="no")) == [Failure("no")]


@pytest.mark.parametrize("form", ["opus", "slin12", ""])
def test_a_format_that_we_do_not_speak_is_named(form: str) -> None:
    with pytest.raises(RemoteProtocolError, match="is none of ours: ulaw, alaw"):
        WebSocketChannelCore().receive(f"MEDIA_START channel_id:1 format:{form}")


def test_a_call_that_was_announced_comes_with_its_pass_and_goes_on_in_the_dialplan() -> None:
    async def scene() -> None:
        case = Case()
        async with door(lambda _: ChanWebSocket(ChanWebSocketConfig(case.password))) as d:
            base = "http://voice.example.com/asterisk"
            async with d.client.get(d.local(f"{base}/call?uniqueid=17.1&caller=4915&callee=30")) as answer:
                ticket = await answer.text()
            url = f"{base}/media?pass={ticket}"
            ws = await d.client.ws_connect(
                d.local(url), headers=case.socket_headers(url), protocols=("media",)
            )
            assert ws.protocol == "media"
            await ws.send_str(str(case.start()[0]))
            taken = await d.call()
            assert (taken.info.caller, taken.info.callee) == ("4915", "30")
            await taken.leg.transfer(Transfer("PJSIP/100"))
            assert await d.ended(taken) is HangupCause.NORMAL
            async with d.client.get(d.local(f"{base}/next?uniqueid=17.1")) as answer:
                assert await answer.text() == "PJSIP/100"

    asyncio.run(scene())
