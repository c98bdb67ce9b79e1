"""What is killed from outside: workers of the recogniser while somebody speaks, and the server itself."""

import asyncio
import io
import json
import os
import signal
from pathlib import Path

import pytest
import soundfile

from tests.e2e.line import Line, line
from tests.e2e.server import Server, children, events, serving, wait_until
from tests.tools import need

pytestmark = pytest.mark.real

SENTENCE = "i would like to book an appointment"
LATE_MS = 3_000  # the end of a recording lags two seconds behind the call


def workers(server: Server) -> list[int]:
    """Process ids of the recogniser's workers."""
    found = children(server.process.pid)
    return [child for child in found if b"sphinx" in Path(f"/proc/{child}/cmdline").read_bytes()]


async def say_while_workers_suffer(server: Server) -> None:
    """One is killed and one stopped, in mid-sentence: whoever listens is one of them."""
    async with line(server.sip_port, "alice") as phone:
        await phone.answered()
        await phone.bots_turn()
        phone.say(SENTENCE)
        await asyncio.sleep(0.8)
        assert phone.talking
        for pid, number in zip(workers(server), (signal.SIGKILL, signal.SIGSTOP), strict=True):
            os.kill(pid, number)
        await phone.until(lambda: not phone.talking, 10)
        await phone.bots_turn()


def test_no_utterance_is_lost_with_the_worker_that_heard_it(tmp_path: Path) -> None:
    need("flite")
    settings = {
        "VOICEGW_STT": json.dumps({"engine": "pocketsphinx", "workers": 2, "hang_ms": 2500}),
        "VOICEGW_TURN__FINAL_TIMEOUT_MS": "12000",  # a new worker must build the flow's graphs first
    }
    with serving(tmp_path, **settings) as server:
        asyncio.run(say_while_workers_suffer(server))
        wait_until(lambda: server.metric("voicegw_stt_workers") == 2, 30)
        assert server.metric('voicegw_stt_events_total{kind="lost"}') == 0
        assert server.metric('voicegw_stt_events_total{kind="restarts"}') >= 1
        server.settled()
        call = server.call_from("alice")
        assert [turn["text"] for turn in events(call, "turn")] == [SENTENCE]
        assert events(call, "note", name="node", data={"id": "ask_service"})


async def talk_until_killed(server: Server) -> None:
    async def one(name: str, seconds: float) -> None:
        async with line(server.sip_port, name) as phone:
            await phone.answered()
            await phone.until(lambda: phone.speaking, 10)
            await asyncio.sleep(seconds)
            phone.over = True  # nobody is left to say goodbye to
            phones.append(phone)

    phones: list[Line] = []
    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(one(f"early{n}", 4.5))
        await asyncio.sleep(3.6)
        group.create_task(one("late", 0.1))  # moments before
        await asyncio.sleep(0.9)
        server.process.send_signal(signal.SIGKILL)


def test_what_a_killed_server_leaves_is_closed_at_the_next_start(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        asyncio.run(talk_until_killed(server))
        server.process.wait(30)
    with serving(tmp_path) as server:
        calls = server.calls()
        assert sorted(call["from"] for call in calls) == ["early0", "early1", "early2", "late"]
        for call in calls:
            assert (call["state"], call["cause"]) == ("ended", "crashed"), call
            assert call["recording_state"] == "partial" and call["ended_at"]
            timeline = [json.loads(text) for text in server.get(call["timeline"][1:]).splitlines()]
            assert (timeline[0]["state"], timeline[-1]["cause"]) == ("ringing", "crashed")
            recording, _ = soundfile.read(io.BytesIO(server.get(call["recording"][1:])))
            length_ms = len(recording) / 8
            assert call["duration_ms"] - LATE_MS <= length_ms <= call["duration_ms"] + 200, call
            assert (call["from"] == "late") == (length_ms < 1500)
        assert not list((server.data / "calls" / "open").iterdir())
