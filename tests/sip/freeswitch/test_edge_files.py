"""config/freeswitch: well-formed, complete, and in step with voicegw's defaults."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sip.freeswitch import FreeswitchConfig

FOLDER = Path(__file__).parent.parent.parent.parent / "config" / "freeswitch"
FILES = sorted(FOLDER.rglob("*.xml"))
OF_FREESWITCH = {"local_ip_v4", "sounds_dir"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_files_are_xml(file: Path) -> None:
    text = file.read_text()
    body = text.removeprefix('<?xml version="1.0"?>')
    ElementTree.fromstring("<all>" + body + "</all>")


def test_every_variable_is_set_and_every_setting_used() -> None:
    used = {name for file in FILES for name in re.findall(r"\$\$\{(\w+)\}", file.read_text())}
    named = set(re.findall(r'cmd="set" data="(\w+)=', (FOLDER / "vars.xml").read_text()))
    assert used - named <= OF_FREESWITCH
    assert named - used <= {"default_language"}


def test_it_fits_our_defaults() -> None:
    config, variables = FreeswitchConfig(), (FOLDER / "vars.xml").read_text()
    assert f"bot_socket={config.socket_host}:{config.socket_port}" in variables
    assert f"esl_port={config.esl.port}" in variables
    for profile in (config.profile, config.external_profile):
        assert f'<profile name="{profile}">' in (FOLDER / "sip_profiles" / f"{profile}.xml").read_text()
    assert config.hold_music.removeprefix("local_stream://") == "moh"


def test_the_event_socket_is_for_this_machine_and_has_no_known_password() -> None:
    text = (FOLDER / "autoload_configs" / "event_socket.conf.xml").read_text()
    assert 'name="listen-ip" value="127.0.0.1"' in text and "ClueCon" not in text
    assert "loopback.auto" in text


def test_no_caller_waits_for_ever_for_a_server_that_hangs() -> None:
    actions = ElementTree.fromstring(
        "<all>" + (FOLDER / "dialplan" / "trunk.xml").read_text() + "</all>"
    ).findall(".//action")
    names = [action.get("application") for action in actions]
    (at,) = [index for index, name in enumerate(names) if name == "socket"]
    assert names[at - 1] == "sched_transfer" and names[at + 2] == "transfer"
    assert "sched_del" in str(actions[at + 1].get("data"))
