"""Softphones with accounts: they register by password, call a flow, each other, and hand calls on."""

import json
import time
from pathlib import Path

import pytest

from tests.e2e.baresip import Baresip, baresip
from tests.e2e.server import Server, events, serving, wait_until
from tests.e2e.test_people import AGENT, CALLER, microphone, tones
from tests.tools import need

pytestmark = pytest.mark.real

ACCOUNTS = [
    {"user": "anna", "password": "secret", "extensions": ["101"]},
    {"user": "bert", "password": "hidden", "extensions": ["102"]},
]
SETTINGS = {
    "VOICEGW_FLOWS": '["desk.yaml"]',
    "VOICEGW_SIP__ACCOUNTS": json.dumps(ACCOUNTS),
    "VOICEGW_SIP__CHALLENGE": "everybody",
    "VOICEGW_SIP__REFER": "same_host",
}
SAYS = """\
flow: desk
start: desk
nodes:
  desk: {say: "Hello, this is a long greeting that goes on and on until somebody hangs up.", hangup: done}
"""


def test_softphones_register_call_each_other_and_hand_calls_on(tmp_path: Path) -> None:
    need("baresip")
    (tmp_path / "desk.yaml").write_text(SAYS)
    anna_folder = microphone(tmp_path / "anna", CALLER, "pcmu")
    bert_folder = microphone(tmp_path / "bert", AGENT, "pcmu")
    eve_folder = microphone(tmp_path / "eve", CALLER, "pcmu")
    with serving(tmp_path, **SETTINGS) as server:
        host = f"127.0.0.1:{server.sip_port}"
        with baresip(eve_folder, "anna", registers=(host, "wrong")):
            wait_until(lambda: "sip password refused" in server.stderr, 10)
        assert server.metric('voicegw_sip_total{kind="auth_failures"}') == 1, "she is told at once"
        assert "sip phone registered" not in server.stderr
        with baresip(bert_folder, "bert", registers=(host, "hidden"), answers=True) as bert:
            with baresip(anna_folder, "anna", registers=(host, "secret")) as anna:
                wait_until(lambda: server.stderr.count("sip phone registered") == 2, 10)
                anna.command("dial", f"sip:102@{host}")
                assert anna.wait(10, "CALL_ESTABLISHED"), server.stderr[-3000:]
                assert bert.wait(10, "CALL_ESTABLISHED"), server.stderr[-3000:]
                anna.wait(4)
                anna.command("hangup")
                assert bert.wait(10, "CALL_CLOSED"), server.stderr[-3000:]
                server.settled()
                call = server.call_from("101")
            time.sleep(0.5)  # baresip writes
            assert tones(anna.heard) == {AGENT} and tones(bert.heard) == {CALLER}
            assert (call["to"], call["flow"], call["cause"]) == ("102", "extension", "normal")
            handed_on(server, microphone(tmp_path / "anna2", CALLER, "pcmu"), bert)


def handed_on(server: Server, folder: Path, bert: Baresip) -> None:
    """Anna calls the bot, and sends it to bert (REFER)."""
    host = f"127.0.0.1:{server.sip_port}"
    bert.events.clear()
    with baresip(folder, "anna", registers=(host, "secret")) as anna:
        wait_until(lambda: server.stderr.count("sip phone registered") >= 3, 10)
        anna.command("dial", f"sip:bot@{host}")
        assert anna.wait(10, "CALL_ESTABLISHED"), server.stderr[-3000:]
        anna.wait(1)
        anna.command("transfer", f"sip:102@{host}")
        assert bert.wait(10, "CALL_ESTABLISHED"), server.stderr[-3000:]
        assert anna.wait(10, "CALL_CLOSED"), server.stderr[-3000:]
        assert bert.wait(20, "CALL_CLOSED"), "the bot has said goodbye to bert"
        server.settled()
        call = json.loads(server.command("calls", "show", "last", "--json", "--timeline").stdout)
    assert (call["from"], call["to"], call["cause"]) == ("101", "bot", "normal")
    (heard,) = events(call, "heard")
    assert heard["complete"], "the bot spoke on, to somebody else"
