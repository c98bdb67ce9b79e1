"""FreeSWITCH's media bugs: what goes by its event socket. What all carriers share: tests/contracts."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dialog.types import Transfer
from media.errors import TransferError, Unsupported
from media.leg import HangupCause
from sip.audiofork import StreamCore
from sip.esl.client import EslConfig
from sip.esl.errors import CommandRefused, EslError, NotConnected
from sip.freeswitchfork import AudioFork, AudioStream, ForkConfig
from sip.mediacore import Ignored
from tests.contracts.doors import Door, Taken, door
from tests.contracts.softswitches import AudioFork as Case


class Switch:
    """The event socket's commands, remembered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: EslError | None = None

    async def api(self, command: str, arguments: str = "") -> str:
        self.asked.append(f"{command} {arguments}")
        if self.error is not None:
            raise self.error
        return "+OK"


def visit(scenario: Callable[[Door, Taken, Switch], Awaitable[None]], password: str = "ClueCon") -> None:
    async def scene() -> None:
        case, switch = Case(), Switch()
        fork = AudioFork(ForkConfig(case.password, esl=EslConfig(password=password)))
        if fork.esl is not None:
            fork.esl = switch  # type: ignore[assignment]
        async with door(lambda url: fork) as d:
            url = "wss://voice.example.com/audiofork/media?callee=31"
            ws = await d.client.ws_connect(d.local(url), headers=case.socket_headers(url))
            d.sockets.append(ws)
            await ws.send_str(str(case.start()[0]))
            await scenario(d, await d.call(), switch)

    asyncio.run(scene())


def test_the_address_and_the_metadata_say_who_calls() -> None:
    async def scenario(d: Door, taken: Taken, switch: Switch) -> None:
        assert (taken.info.caller, taken.info.callee) == ("+4915", "31")
        assert taken.info.headers == {"tenant": "acme"}

    visit(scenario)


def test_a_call_is_ended_by_the_event_socket() -> None:
    async def scenario(d: Door, taken: Taken, switch: Switch) -> None:
        taken.leg.send_dtmf("12")
        await asyncio.sleep(0)
        await taken.leg.hangup(HangupCause.NORMAL)
        assert switch.asked == ["uuid_send_dtmf call-1 12", "uuid_kill call-1"]

    visit(scenario)


@pytest.mark.parametrize("error", [CommandRefused("-ERR No such channel!"), NotConnected("down")])
def test_a_channel_that_is_gone_or_a_switch_that_is_away_ends_the_call_all_the_same(error: EslError) -> None:
    async def scenario(d: Door, taken: Taken, switch: Switch) -> None:
        switch.error = error
        with pytest.raises(TransferError, match="did not transfer"):
            await taken.leg.transfer(Transfer("100"))
        assert not taken.sink.causes, "still with the bot"
        await taken.leg.hangup(HangupCause.NORMAL)
        assert taken.sink.causes == [HangupCause.NORMAL]

    visit(scenario)


@pytest.mark.parametrize(
    "target, asked",
    [
        ("+4940", "uuid_transfer call-1 +4940 XML default"),
        ("sip:anna@example.com", "uuid_transfer call-1 bridge:sofia/external/anna@example.com inline"),
    ],
)
def test_a_transfer_goes_to_the_dialplan_or_to_an_address(target: str, asked: str) -> None:
    async def scenario(d: Door, taken: Taken, switch: Switch) -> None:
        await taken.leg.transfer(Transfer(target))
        assert switch.asked == [asked] and await d.ended(taken) is HangupCause.NORMAL

    visit(scenario)


@pytest.mark.parametrize("target", ["100 XML default", "sip:a b", "1\n2", ""])
def test_a_target_that_would_be_two_arguments_is_refused(target: str) -> None:
    async def scenario(d: Door, taken: Taken, switch: Switch) -> None:
        with pytest.raises(TransferError):
            await taken.leg.transfer(Transfer(target))
        assert not switch.asked

    visit(scenario)


def test_without_an_event_socket_calls_can_only_be_left() -> None:
    async def scenario(d: Door, taken: Taken, switch: Switch) -> None:
        with pytest.raises(Unsupported, match=r"without carriers.audiofork.esl.password"):
            await taken.leg.transfer(Transfer("100"))
        await taken.leg.hangup(HangupCause.NORMAL)
        while not d.sockets[0].closed:
            await d.sockets[0].receive(timeout=5)

    visit(scenario, password="")


def test_mod_audio_stream_sends_little_ahead_because_nothing_can_be_taken_back() -> None:
    core = AudioStream(ForkConfig("x")).core()
    assert isinstance(core, StreamCore) and core.lead_ms == 40
    assert core.clear() is None and core.mark("0:1") is None
    core.receive('{"uuid":"call-1"}')
    assert core.receive('{"event":"dtmf","dtmf":"1"}') == [Ignored("text")]
