"""Engines that fail in the middle of a real call: the conversation goes on, and the timeline says so."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.server import serving
from tests.models.voice import make_voice

pytestmark = pytest.mark.real

FLOW = """\
flow: desk
start: ask
nodes:
  ask: {ask: "Do you want to hear our opening hours, or the address of the practice?", slot: a,
        phrases: [opening hours please, the address please], goto: tell}
  tell: {say: "Here it is, as you have asked for it in so many words.", goto: bye}
  bye: {hangup: done}
"""


def test_voices_that_break_give_way_and_recover(tmp_path: Path) -> None:
    """The preferred voice's workers are killed whenever they come back: espeak speaks instead."""
    (tmp_path / "desk.yaml").write_text(FLOW)
    voice = make_voice(tmp_path / "tones.onnx")
    broken = {"engine": "piper", "model": str(voice), "volume": 0.3, "pool": {"retries": 0}}
    tts = json.dumps([broken, "espeak"])
    settings = {"VOICEGW_FLOWS": '["desk.yaml"]', "VOICEGW_TTS": tts}
    fallback = '{"tts": {"first_ms": 700, "breaker": {"failures": 1, "cool_down_s": 30}}}'
    with serving(tmp_path, **settings, VOICEGW_FALLBACK=fallback) as server:
        say = ["--say", "opening hours please"]
        assert server.command("call", server.uri, "--from", "well", *say).returncode == 0
        for pid in workers(server.process.pid, "piper_worker"):
            os.kill(pid, signal.SIGSTOP)
        assert server.command("call", server.uri, "--from", "ill", *say).returncode == 0
        server.settled()
        assert "left alone: piper" in json.dumps(server.health())
        calls = [server.call_from(who) for who in ("well", "ill")]
        for pid in workers(server.process.pid, "piper_worker"):
            os.kill(pid, signal.SIGCONT)
    for call in calls:
        heard = [turn["heard"] for turn in call["turns"] if turn["role"] == "bot"]
        assert heard[0].startswith("Do you want to hear") and heard[-1].endswith("so many words.")
    switched = [[e["data"]["to"] for e in call["events"] if e.get("name") == "switched"] for call in calls]
    assert switched == [[], ["espeak"]]


def workers(parent: int, module: str) -> list[int]:
    """Process ids of a server's workers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                status = (folder / "status").read_text()
                command = (folder / "cmdline").read_bytes().decode()
            except OSError:
                continue
            if f"PPid:\t{parent}\n" in status and module in command:
                found.append(int(folder.name))
    return found
