"""A call with a hosted voice that takes its time: fixed prompts start at once, markup is not transcribed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, serving
from tests.media.tts.services import serving_aside

pytestmark = pytest.mark.real

FLOW = """\
flow: desk
start: ask
nodes:
  ask: {menu: "How can I help you?", options: {
          bye: {phrases: [no thank you], goto: bye},
          hours: {phrases: [what are your opening hours], goto: hours}}}
  hours: {say: "We open <break time='200ms'/>at nine & close at <say-as interpret-as='time'>17:30</say-as>.",
          goto: bye}
  bye: {say: "Thank you. Goodbye.", hangup: done}
"""
SLOW_S = 0.2  # before each piece of audio


def timeline(server: Server, call: dict[str, Any], event: str) -> list[dict[str, Any]]:
    (file,) = server.data.rglob(f"{call['id']}.jsonl")
    events = [json.loads(line) for line in file.read_text().splitlines()]
    return [one for one in events if one["event"] == event]


def test_fixed_prompts_of_a_slow_hosted_voice_start_at_once(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(FLOW)
    with serving_aside() as service:
        service.slow_s = SLOW_S
        hosted = {"engine": "openai", "base_url": f"http://{service.url}/openai", "voice": "x"}
        tts = json.dumps([hosted, {"engine": "espeak"}])
        settings = {"VOICEGW_FLOWS": '["desk.yaml"]', "VOICEGW_TTS": tts}
        say = ["--say", "what are your opening hours"]
        with serving(tmp_path, **settings) as server:
            done = server.command("call", server.uri, "--from", "anna", *say)
            assert done.returncode == 0, done
            server.settled()
            call = server.call_from("anna")
            assert server.metric('voicegw_tts_cache_total{kind="ahead"}') >= 2
            latencies = [one["tts_ms"] for one in timeline(server, call, "latency")]
    said = [turn["text"].strip() for turn in call["turns"] if turn["role"] == "bot"]
    assert "We open at nine & close at 17:30. Thank you. Goodbye." in " ".join(said)
    assert latencies and max(latencies) < 1000 * SLOW_S  # what is not kept takes that long at least
    assert call["cause"] == "normal"
