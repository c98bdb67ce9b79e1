"""`voicegw doctor` finds what is wrong, and says what to do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from sip.esl.client import EslConfig
from sip.freeswitch import FreeswitchConfig
from sip.rtpmedia import RtpConfig
from sip.twiliocarrier import TwilioConfig
from tests.sip.esl.switch import Switch, switching
from tests.voicegw.test_server import House
from voicegw.cli import app
from voicegw.config import Config
from voicegw.config.carriers import CarriersConfig
from voicegw.config.model import HttpConfig
from voicegw.doctor.carriers import carriers
from voicegw.doctor.finding import Finding, Level
from voicegw.doctor.machine import machine
from voicegw.doctor.server import server
from voicegw.doctor.switch import switch

PROFILE = "Name    internal\nURL    sip:mod_sofia@127.0.0.1:5070\n"
GATEWAY = "Name    trunk\nState   REGED\nStatus  UP (ping)\n"


def healthy(fake: Switch) -> None:
    fake.apis = {
        "version": lambda _, __: "FreeSWITCH Version 1.11.3\n",
        "strepoch": lambda _, __: str(int(__import__("time").time())),
        "module_exists": lambda _, __: "true",
        "show": lambda _, text: "codec,G.711 ulaw,CORE_PCM_MODULE\ncodec,G.711 alaw,CORE\n",
        "sofia": lambda _, text: GATEWAY if "gateway" in text else PROFILE,
    }


def asked(change: dict[str, Any], **config: Any) -> list[Finding]:
    async def main() -> list[Finding]:
        async with switching() as fake:
            healthy(fake)
            fake.apis |= change
            esl = EslConfig(port=fake.port, password="pw", connect_s=0.2)
            settings = {"esl": esl, "gateway": "trunk", "socket_port": fake.port, **config}
            return [finding async for finding in switch(FreeswitchConfig(**settings), fake.port)]

    return asyncio.run(main())


def wrong(findings: list[Finding]) -> list[str]:
    assert all(finding.advice for finding in findings if finding.level is not Level.GOOD)
    return [finding.what for finding in findings if finding.level is not Level.GOOD]


def test_a_switch_that_is_well() -> None:
    findings = asked({})
    assert not wrong(findings)
    assert "profile internal: sip:mod_sofia@127.0.0.1:5070" in [finding.what for finding in findings]


@pytest.mark.parametrize(
    "change, what",
    [
        ({"module_exists": lambda _, name: "false" if name == "mod_sofia" else "true"}, "mod_sofia"),
        ({"module_exists": lambda _, name: "false" if name == "mod_hash" else "true"}, "no limits"),
        ({"strepoch": lambda _, __: "1000"}, "off ours"),
        ({"show": lambda _, __: "type,name,ikey\ncodec,G.711 ulaw\n"}, "no alaw"),
        ({"sofia": lambda _, text: GATEWAY if "gateway" in text else "Invalid Profile!\n"}, "is not up"),
        ({"sofia": lambda _, text: "Invalid Gateway!" if "gateway" in text else PROFILE}, "does not exist"),
        ({"sofia": lambda _, text: "State\tFAIL_WAIT\n" if "gateway" in text else PROFILE}, "FAIL_WAIT"),
        ({"sofia": lambda _, text: "State\tNOREG\nStatus\tDOWN\n" if "gateway" in text else PROFILE}, "DOWN"),
    ],
)
def test_each_fault_is_named(change: dict[str, Any], what: str) -> None:
    assert any(what in text for text in wrong(asked(change)))


ODD = ["", "\n\n", "garbage", "-ERR no reply\n", "-USAGE: x\n", "nan", "inf", "1e999", "9" * 400, "-5",
       "\u0663", "State\nStatus\nURL\n", "\0\ufffd", "true true", "x" * 100_000]  # fmt: skip
ABOUT = {"version": "version", "strepoch": "clock", "module_exists": "module mod_sofia", "show": "codecs",
         "sofia": "profile internal"}  # fmt: skip


@pytest.mark.parametrize("command", ABOUT)
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_answer_is_a_finding_of_its_own(command: str, odd: str) -> None:
    findings = asked({command: lambda _, __: odd})
    about = [finding for finding in findings if finding.what.startswith(ABOUT[command])]
    assert [finding.level for finding in about] == [Level.BAD] and len(about[0].what) < 150
    for other in (
        "our SIP endpoint",
        "clock" if command == "show" else "codecs",
    ):  # all else is looked at as ever
        assert any(f.what.startswith(other) and f.level is Level.GOOD for f in findings)


def test_a_switch_that_ends_the_connection_while_it_is_asked() -> None:
    def crash(fake: Switch, _: str) -> str:
        for connection in list(fake.connections):
            connection.transport.abort()
        return "true"

    assert any(what.startswith("event socket: ") for what in wrong(asked({"module_exists": crash})))


@pytest.mark.parametrize(
    "config, what",
    [
        ({"profile": "a\nb"}, "profile a\nb"),
        ({"gateway": "x\n\nexit"}, "gateway x"),
        ({"media_address": "127.0.0.1:99999"}, "our SIP endpoint"),
        ({"media_address": "nothing"}, "our SIP endpoint"),
    ],
)
def test_names_that_cannot_be_are_found(config: dict[str, Any], what: str) -> None:
    assert any(text.startswith(what) for text in wrong(asked({}, **config)))


def test_a_switch_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.doctor.switch.CONNECT_S", 0.3)

    async def main() -> list[Finding]:
        config = FreeswitchConfig(esl=EslConfig(port=1, password="ClueCon"))
        return [finding async for finding in switch(config, 1)]

    texts = wrong(asyncio.run(main()))
    assert "everybody knows" in texts[0] and "event socket 127.0.0.1:1" in texts[1]


def test_this_machine(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path, rtp=RtpConfig(first_port=40000, last_port=40002))
    texts = wrong(list(machine(config)))
    assert any("room for 2 calls" in text for text in texts)


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "voicegw.yaml"
    file.write_text(f"data_dir: {tmp_path}\nhttp: {{port: 1}}\n")
    result = CliRunner().invoke(app, ["doctor", "-c", str(file)])
    assert result.exit_code == 0 and "stt: pocketsphinx" in result.output and "-> " in result.output


@pytest.mark.parametrize(
    "token, public, found",
    [
        ("", "", "auth_token is needed"),
        ("t", "", "http.public_url is empty"),
        ("t", "https://127.0.0.1:9", "cannot be reached"),
        ("t", "http://127.0.0.1:9", "is not https"),
    ],
)
def test_carriers_that_cannot_reach_us_are_found(token: str, public: str, found: str) -> None:
    twilio = TwilioConfig("AC1", token)
    config = Config(carriers=CarriersConfig(twilio=twilio), http=HttpConfig(public_url=public))

    async def main() -> list[Finding]:
        return [finding async for finding in carriers(config)]

    assert any(found in what for what in wrong(asyncio.run(main())))


def test_an_address_that_leads_here_is_good(tmp_path: Path) -> None:
    async def main() -> list[str]:
        house = House(tmp_path)
        await house.server.start()
        try:
            http = HttpConfig(public_url=house.server.url)
            config = Config(carriers=CarriersConfig(twilio=TwilioConfig("AC1", "t")), http=http)
            return [finding.what async for finding in carriers(config) if finding.level is Level.GOOD]
        finally:
            await house.server.close()

    assert asyncio.run(main())[-1].endswith("leads here")


@pytest.mark.parametrize(
    "host, warned",
    [
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("10.0.0.5", True),
        ("voice.lan", True),
    ],
)
def test_a_port_for_calls_that_others_reach_is_warned_of(
    host: str, *, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicegw.doctor.switch.CONNECT_S", 0.01)

    async def main() -> list[Finding]:
        config = FreeswitchConfig(esl=EslConfig(port=1, password="long and random"), socket_host=host)
        return [finding async for finding in switch(config, 1)]

    assert any("whoever reaches it" in what for what in wrong(asyncio.run(main()))) == warned


@pytest.mark.parametrize("token, warned", [("", False), ("hunter2", True), ("0123456789abcdef", False)])
def test_a_token_that_can_be_guessed_is_warned_of(token: str, *, warned: bool) -> None:
    async def main() -> list[Finding]:
        return [finding async for finding in server(Config(http=HttpConfig(port=1, token=token)))]

    texts = wrong(asyncio.run(main()))
    assert any("guesses are not slowed down" in text for text in texts) == warned
    assert "does not answer" in texts[-1]


@pytest.mark.parametrize("text", ["[]", "{}", '"ok"', "hello"])
def test_another_program_at_our_port_is_no_server(text: str) -> None:
    async def main() -> list[Finding]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=text)

        other = web.Application()
        other.router.add_get("/health", answer)
        runner = web.AppRunner(other)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            config = Config(http=HttpConfig(port=runner.addresses[0][1]))
            return [finding async for finding in server(config)]
        finally:
            await runner.cleanup()

    (found,) = wrong(asyncio.run(main()))
    assert "answered by another program" in found or "does not answer" in found
