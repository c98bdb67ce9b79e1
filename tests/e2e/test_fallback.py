"""Engines that fail in the middle of a real call: the conversation goes on, and the timeline says so."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.server import serving
from tests.media.stt.services import Faults, Service
from tests.media.stt.services import serving as recognisers
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
    settings["VOICEGW_PROMPTS__ENABLED"] = "false"  # what the first call made would do for the second
    fallback = '{"tts": {"first_ms": 700, "breaker": {"failures": 1, "cool_down_s": 300, "longest_s": 300}}}'
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


@contextmanager
def hosted() -> Iterator[Service]:
    """The hosted recognisers, in a thread."""
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), list[Service]()
    stop = asyncio.Event()

    async def run() -> None:
        async with recognisers() as service:
            found.append(service)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


TROUBLE = {  # the others end as these do, and are tested one by one in tests/media/stt/test_hosted.py
    "refused": Faults(times=99, status=401),
    "cut": Faults(times=99, drop_after=4),
    "silent": Faults(times=99, silent=True),
}
QUESTION = """\
flow: desk
start: ask
nodes:
  ask: {ask: "Yes?", slot: a, phrases: [i want to book a table, yes please], goto: bye}
  bye: {say: "Goodbye.", hangup: done}
"""


def test_a_hosted_recogniser_in_any_trouble_costs_no_utterance(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(QUESTION)
    with hosted() as service:
        remote = {
            "engine": "deepgram",
            "api_key": "k-1",
            "url": f"ws://{service.url}/deepgram",
            "socket": {"retries": 1, "back_off_s": 0.05, "connect_s": 1},
        }
        settings = {
            "VOICEGW_FLOWS": '["desk.yaml"]',
            "VOICEGW_STT": json.dumps([remote, "pocketsphinx"]),
            "VOICEGW_FALLBACK": '{"stt": {"final_ms": 900, "breaker": {"failures": 1000}}}',
        }
        with serving(tmp_path, **settings) as server:
            say = ["--say", "i want to book a table"]
            calls = {}
            for name, faults in {"well": Faults(), **TROUBLE}.items():
                service.faults, service.connections = faults, 0
                done = server.command("call", server.uri, "--from", name, *say)
                assert done.returncode == 0, (name, done)
                server.settled()
                calls[name] = server.call_from(name)
            logged = server.stderr
    for name, call in calls.items():
        said = [turn["text"] for turn in call["turns"] if turn["role"] == "caller"]
        assert said == ["i want to book a table"], name
        switched = [event["data"]["to"] for event in call["events"] if event.get("name") == "switched"]
        assert switched == ([] if name == "well" else ["pocketsphinx"]), name
    assert "k-1" not in logged
