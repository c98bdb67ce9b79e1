from pathlib import Path

import pytest

from voicegw.errors import ConfigError
from voicegw.phone.load import load
from voicegw.phone.script import (
    Expect,
    HangUp,
    Now,
    OnTurn,
    OverBot,
    Pause,
    Play,
    Press,
    Say,
    Script,
    WaitBot,
    WaitSilence,
)

SCENARIOS = Path(__file__).parents[3] / "config" / "scenarios"

WHOLE = """
voice: slt
turn_silence_ms: 800
caller:
  - say: I want to book an appointment
  - say: stop
    over_bot_after_ms: 800
  - dtmf: "1#a"
    after_silence_ms: 300
  - wav: answer.wav
    now: true
  - wait_silence_ms: 1500
  - pause_ms: 500
  - wait_bot
  - wait_bot: true
  - say: bye
    now: false
  - hangup
expect:
  bot_utterances: 3
  latency_ms: 1500
  barge_in_ms: 700
  total_s: 60
  hangup: bot
"""


def written(folder: Path, text: str) -> Path:
    (folder / "answer.wav").write_bytes(b"RIFF")
    file = folder / "scenario.yaml"
    file.write_text(text)
    return file


def test_every_step_is_read(tmp_path: Path) -> None:
    assert load(written(tmp_path, WHOLE)) == Script(
        steps=(
            Say("I want to book an appointment", OnTurn()),
            Say("stop", OverBot(800)),
            Press("1#A", OnTurn(300)),
            Play(tmp_path / "answer.wav", Now()),
            WaitSilence(1500),
            Pause(500),
            WaitBot(),
            WaitBot(),
            Say("bye", OnTurn()),
            HangUp(),
        ),
        expect=Expect(3, 1500, 700, 60, "bot"),
        voice="slt",
        turn_silence_ms=800,
        name="scenario",
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("caller: []", 1, "caller: must be a list of at least one step"),
        ("expect: {}", 0, "caller: must be a list of at least one step"),
        ("caller:\n- sai: hello", 2, "caller[0]: a step does one thing of say, .*; this one has sai"),
        ("caller:\n- say: a\n  wav: b", 2, "caller[0]: .*; this one has say and wav"),
        ("caller:\n- {}", 2, "caller[0]: .*; this one has nothing"),
        ("caller:\n- hello", 2, "caller[0]: is no step"),
        ("caller:\n- say: ''", 2, "caller[0].say: must be text, not ''"),
        ("caller:\n- say: '... !'", 2, "caller[0].say: holds nothing to say: '... !'"),
        ("caller:\n- dtmf: 12", 2, 'caller[0].dtmf: must be text, not 12; quote it: "12"'),
        ("caller:\n- dtmf: 1x#!", 2, "caller[0].dtmf: 'x!' is on no phone"),
        ("caller:\n- wav: none.wav", 2, "caller[0].wav: there is no file .*none.wav"),
        (
            "caller:\n- say: a\n  nows: 1",
            3,
            'caller[0].nows: unknown, did you mean "now"?; there are say, over_bot_after_ms',
        ),
        ("caller:\n- pause_ms: 1\n  now: true", 3, "caller[0].now: unknown; there are pause_ms"),
        (
            "caller:\n- pause_ms: soon",
            2,
            "caller[0].pause_ms: must be a whole number from 20 to 600000, not 'soon'",
        ),
        ("caller:\n- pause_ms: true", 2, "caller[0].pause_ms: must be a whole number"),
        ("caller:\n- say: a\n  now: 3", 3, "caller[0].now: must be true or false"),
        (
            "caller:\n- say: a\n  now: true\n  over_bot_after_ms: 1",
            2,
            "caller[0]: over_bot_after_ms and now exclude",
        ),
        ("caller:\n- hangup: false", 2, "caller[0].hangup: takes no value but true"),
        (
            "caller:\n- hangup\nexpects: 1",
            3,
            "expects: unknown, did you mean .*expect.*; there are caller, expect",
        ),
        (
            "caller:\n- hangup\nexpect:\n  latency: 3",
            4,
            "expect.latency: unknown, did you mean .*latency_ms.*; there are bot_utterances",
        ),
        ("caller:\n- hangup\nexpect:\n  hangup: me", 4, "expect.hangup: must be bot or caller, not 'me'"),
        ("caller:\n- hangup\nexpect:\n  total_s: -1", 4, "expect.total_s: must be a whole number"),
        ("caller:\n- hangup\nexpect: 3", 3, "expect: must be a mapping"),
        ("caller:\n- hangup\nvoice: 3", 3, "voice: must be the name of a voice"),
        ("caller:\n- hangup\nlinger_ms: 3", 3, "linger_ms: must be a whole number from 100"),
        ("- hangup", 1, "must be a mapping"),
        ("caller: [", 1, "not YAML"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    where = rf"scenario.yaml:{line}: " if line else "scenario.yaml: "
    assert where in str(caught.value)
    for part in message.split(".*"):
        assert part in str(caught.value)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "caller:\n- dtmf: 1\n- foo: 2\nx: 3\n"))
    assert len(caught.value.problems) == 3


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_scenarios_that_come_along_are_right(file: Path) -> None:
    assert load(file).steps


def test_there_are_scenarios() -> None:
    assert list(SCENARIOS.glob("*.yaml"))
