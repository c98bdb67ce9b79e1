"""Asterisk calls the clinic by its media sockets: it asks for the hours by voice, and hears the answer."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.e2e.asterisk import asterisk, need_asterisk
from tests.e2e.server import Server, serving

pytestmark = pytest.mark.real

SAID = Path(__file__).parent.parent.parent / "bench" / "speech" / "hours_what_are_your_openin.ulaw"
TALK = """
[voicegw]
exten => talk,1,Answer()
 same => n,MixMonitor({folder}/mixed.wav,r({folder}/bot.wav))
 same => n,Wait(4.5)
 same => n,Playback({said})
 same => n,Wait(6)
 same => n,Hangup()
"""
AUDIOSOCKET = """
exten => bot,1,Answer()
 same => n,Set(ID=${{CURL({url}audiosocket/call?uniqueid=17.1&caller=4915&callee=30&flow=clinic)}})
 same => n,AudioSocket(${{ID}},127.0.0.1:{port})
 same => n,Hangup()
"""

CHAN_WEBSOCKET = """
exten => bot,1,Answer()
 same => n,Dial(WebSocket/voicegw/c({format})f({messages})v(caller=4915,callee=30,flow=clinic),,g)
 same => n,Hangup()
"""
CLIENT = """
[voicegw]
type = websocket_client
connection_type = per_call_config
uri = {url}asterisk/media
protocols = media
username = voicegw
password = secret
"""


def free_port() -> int:
    """One that nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def loud_s(path: Path) -> float:
    """Seconds of sound in which somebody speaks."""
    sound, rate = soundfile.read(path)
    frames = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    return float((np.sqrt((frames**2).mean(axis=1)) > 0.005).sum() * 160 / rate)


def clinic_answers(server: Server, carrier: str) -> None:
    """One call has come, and its question was understood."""
    server.settled()
    (call,) = server.calls()
    assert (call["carrier"], call["from"], call["to"], call["flow"]) == (carrier, "4915", "30", "clinic")
    shown = server.command("calls", "show", call["id"], "--json")
    for words in ("what are your opening hours", "We are open from nine"):
        assert words in shown.stdout, shown.stdout
    assert call["cause"] == "normal" and not server.logged("error"), server.stderr[-3000:]


@pytest.mark.parametrize("messages", ["json", "plain-text"])
def test_asterisk_calls_by_chan_websocket(tmp_path: Path, messages: str) -> None:
    need_asterisk()
    said = shutil.copy(SAID, tmp_path / "hours.ulaw")
    with serving(tmp_path, VOICEGW_CARRIERS__ASTERISK__PASSWORD="secret") as made:  # noqa: S106
        place = {"folder": tmp_path, "said": said.with_suffix(""), "format": "slin16", "messages": messages}
        client = CLIENT.format(url=made.url.replace("http", "ws"))
        plan = (TALK + CHAN_WEBSOCKET).format(**place)
        with asterisk(tmp_path / "asterisk", plan, websocket_client=client) as pbx:
            pbx.cli("channel originate Local/bot@voicegw extension talk@voicegw")
            pbx.until_idle(30)
        clinic_answers(made, "asterisk")
    assert loud_s(tmp_path / "bot.wav") > 4, "Asterisk has heard the greeting and the answer"


def test_asterisk_calls_by_audiosocket(tmp_path: Path) -> None:
    need_asterisk()
    port = free_port()
    said = shutil.copy(SAID, tmp_path / "hours.ulaw")
    settings = {"ENABLED": "true", "PORT": str(port), "PASSES": "true"}
    with serving(tmp_path, **{f"VOICEGW_CARRIERS__AUDIOSOCKET__{n}": v for n, v in settings.items()}) as made:
        place = {"folder": tmp_path, "said": said.with_suffix(""), "url": made.url, "port": port}
        with asterisk(tmp_path / "asterisk", (TALK + AUDIOSOCKET).format(**place)) as pbx:
            pbx.cli("channel originate Local/bot@voicegw extension talk@voicegw")
            pbx.until_idle(30)
        clinic_answers(made, "audiosocket")
    assert loud_s(tmp_path / "bot.wav") > 4, "Asterisk has heard the greeting and the answer"
