"""A caller, an agent and a supervisor on three real telephones with three codecs, in one call of ours."""

import json
import time
import urllib.request
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.baresip import Baresip, baresip
from tests.e2e.server import Server, events, serving, wait_until
from tests.e2e.sipp import Scenario, sipp
from tests.tools import need

pytestmark = pytest.mark.real

CALLER, AGENT, BOSS = 500, 900, 1400  # Hz: what each of them "says"
RATES = {"pcmu": (8000, 1), "g722/16000/1": (16000, 1), "opus/48000/2": (48000, 2)}
SETTINGS = {
    "VOICEGW_FLOWS": '["desk.yaml"]',
    "VOICEGW_OUTBOUND__ROUTES": '[{"prefix": "sip:"}]',
}
FLOW = """\
flow: desk
start: desk
nodes:
  desk: {{say: One moment., transfer: "{agent}", on_failed: sorry}}
  sorry: {{say: Sorry., hangup: failed}}
"""


def microphone(folder: Path, hertz: int, codec: str) -> Path:
    """A folder for a baresip that says a tone."""
    folder.mkdir()
    rate, channels = RATES[codec]
    tone = (np.sin(2 * np.pi * hertz * np.arange(rate * 40) / rate) * 4000).astype("<i2")
    for name, sound in (("said.wav", tone), ("alert.wav", tone[:0])):
        with wave.open(str(folder / name), "wb") as wav:
            wav.setparams((channels, 2, rate, 0, "NONE", ""))
            wav.writeframes(np.repeat(sound, channels).tobytes())
    return folder


def tones(path: Path, last_s: float = 2.0) -> set[int]:
    """Which of the three are to be heard at the end of a recording."""
    with wave.open(str(path)) as wav:
        rate, channels = wav.getframerate(), wav.getnchannels()
        sound = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")[::channels].astype(float)
    end = sound[-int(last_s * rate) - rate // 5 : -rate // 5]
    power = np.abs(np.fft.rfft(end * np.hanning(len(end)))) / len(end)
    at = {hertz: round(hertz * len(end) / rate) for hertz in (CALLER, AGENT, BOSS)}
    return {hertz for hertz, n in at.items() if power[n - 3 : n + 4].max() > 200}


def post(server: Server, path: str, **body: object) -> None:
    request = urllib.request.Request(
        f"{server.url}api/calls/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def parties(server: Server, call_id: str) -> list[tuple[str, str]]:
    found = json.loads(server.get(f"api/calls/{call_id}/parties"))["parties"]
    return [(p["name"], p["role"]) for p in found]


def talking(server: Server, caller: Baresip, agent: Baresip) -> str:
    """The caller's call, once he talks with the agent."""
    caller.command("dial", server.uri)
    assert caller.wait(10, "CALL_ESTABLISHED")
    assert agent.wait(15, "CALL_ESTABLISHED"), server.stderr[-3000:]
    (call,) = server.calls()
    wait_until(lambda: parties(server, call["id"]) == [("agent", "agent")], 15)
    return str(call["id"])


def test_three_telephones_with_three_codecs_in_one_call(tmp_path: Path) -> None:
    need("baresip")
    agent_folder = microphone(tmp_path / "agent", AGENT, "opus/48000/2")
    boss_folder = microphone(tmp_path / "boss", BOSS, "g722/16000/1")
    caller_folder = microphone(tmp_path / "caller", CALLER, "pcmu")
    with (
        baresip(agent_folder, "agent", codec="opus/48000/2", answers=True) as agent,
        baresip(boss_folder, "boss", codec="g722/16000/1", answers=True) as boss,
        baresip(caller_folder, "carol") as caller,
    ):
        (tmp_path / "desk.yaml").write_text(FLOW.format(agent=agent.uri))
        settings = {"VOICEGW_SESSION__TRANSFER__HOW": "bridge"}
        settings["VOICEGW_RTP__CODECS"] = '["opus", "G722", "PCMU"]'
        with serving(tmp_path, **SETTINGS, **settings) as server:
            call_id = talking(server, caller, agent)
            caller.wait(3)
            post(server, f"{call_id}/listen", to=boss.uri)
            assert boss.wait(10, "CALL_ESTABLISHED"), server.stderr[-3000:]
            boss.wait(3)
            post(server, f"{call_id}/barge", to="")
            for one, other in ((caller, agent), (agent, caller)):
                one.command("sndcode", "7")
                assert other.wait(10, "CALL_DTMF_START"), other.events
            wait_until(lambda: ("supervisor", "barge") in parties(server, call_id), 15)
            caller.wait(4)
            caller.command("hangup")
            assert agent.wait(10, "CALL_CLOSED") and boss.wait(10, "CALL_CLOSED")
            server.settled()
            call = server.call_from("carol")
    time.sleep(0.5)  # baresip writes
    assert tones(caller.heard) == {AGENT, BOSS}
    assert tones(agent.heard) == {CALLER, BOSS}
    assert tones(boss.heard) == {CALLER, AGENT}
    assert call["cause"] == "normal" and call["recording_state"] == "complete"
    joined = [e["role"] for e in events(call, "party", state="joined")]
    assert joined == ["agent", "listen", "barge"]
    (media,) = events(call, "media", final=True)
    assert media["received_mos"] > 4


def test_a_caller_whose_side_refuses_to_refer_is_connected_here(tmp_path: Path) -> None:
    """sipp answers the REFER with 603; the agent is called instead, and left when sipp hangs up."""
    need("baresip", "sipp")
    agent_folder = microphone(tmp_path / "agent", AGENT, "pcmu")
    with baresip(agent_folder, "agent", answers=True) as agent:
        (tmp_path / "desk.yaml").write_text(FLOW.format(agent=agent.uri))
        with serving(tmp_path, **SETTINGS) as server:
            scenario = Scenario("sam").call().declines("REFER", 603, 10_000).pause(2500).bye()
            with sipp(tmp_path / "sipp", scenario, f"127.0.0.1:{server.sip_port}", "-m", "1") as caller:
                assert agent.wait(15, "CALL_ESTABLISHED"), server.stderr[-3000:]
                caller.finished(15)
            assert agent.wait(15, "CALL_CLOSED")
            server.settled()
            call = server.call_from("sam")
    assert [e["state"] for e in events(call, "party", name="agent")] == ["joined", "left"]
    assert call["cause"] == "normal" and not events(call, "error")


def test_the_caller_is_back_with_the_bot_when_nobody_is_there(tmp_path: Path) -> None:
    need("baresip")
    caller_folder = microphone(tmp_path / "caller", CALLER, "pcmu")
    with baresip(caller_folder, "carol") as caller:
        (tmp_path / "desk.yaml").write_text(FLOW.format(agent="sip:agent@127.0.0.1:9"))
        how = {"VOICEGW_SESSION__TRANSFER": '{"how": "bridge", "timeout_s": 3, "music": "ringing"}'}
        with serving(tmp_path, **SETTINGS, **how) as server:
            caller.command("dial", server.uri)
            assert caller.wait(25, "CALL_CLOSED"), server.stderr[-3000:]
            server.settled()
            call = server.call_from("carol")
    assert [turn["heard"] for turn in call["turns"] if turn["role"] == "bot"] == ["One moment.", "Sorry."]
    assert events(call, "error", where="transfer")
