"""A call that Whisper listens to, whose worker is killed in the middle of it."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.server import serving
from tests.e2e.test_fallback import workers

pytestmark = pytest.mark.real

FLOW = """\
flow: desk
start: ask
nodes:
  ask: {menu: "How can I help you?", options: {
          book: {phrases: [i want to book a table], goto: name},
          hours: {phrases: [what are your opening hours], goto: bye}}}
  name: {ask: "What is your name?", slot: who, phrases: [my name is john smith], goto: bye}
  bye: {say: "Thank you. Goodbye.", hangup: done}
"""


def test_a_call_by_whisper_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(FLOW)
    model = Path(__file__).parents[1] / "models" / "whisper"
    stt = json.dumps({"engine": "whisper", "model": str(model), "hotwords": False})
    with serving(tmp_path, VOICEGW_FLOWS='["desk.yaml"]', VOICEGW_STT=stt) as server:
        for pid in workers(server.process.pid, "whisper_worker"):
            os.kill(pid, signal.SIGKILL)
        say = ["--say", "i want to book a table", "--say", "my name is john smith"]
        done = server.command("call", server.uri, "--from", "anna", *say)
        assert done.returncode == 0, done
        server.settled()
        call = server.call_from("anna")
        assert server.metric('voicegw_stt_events_total{kind="restarts"}') == 1
    said = [turn["text"] for turn in call["turns"] if turn["role"] == "caller"]
    assert said == ["i want to book a table", "my name is john smith"] and call["cause"] == "normal"
