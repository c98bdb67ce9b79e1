from pathlib import Path

import pytest

from media.impairment import Impairment
from voicegw.errors import ConfigError
from voicegw.phone.load import load, load_all
from voicegw.phone.script import (
    Answer,
    Expect,
    HangUp,
    KeyWay,
    LineQuality,
    Noise,
    NoiseKind,
    Now,
    OnTurn,
    OverBot,
    Pause,
    Play,
    Press,
    Reply,
    Say,
    Script,
    ServerExpect,
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
  - answer:
      ask_day: next thursday
      2: [{when: {day: thursday}, say: yes please}, {say: no}]
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
            Answer(
                {
                    "ask_day": (Reply(Say("next thursday")),),
                    "2": (Reply(Say("yes please"), {"day": "thursday"}), Reply(Say("no"))),
                }
            ),
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
        ("caller:\n- answer: yes", 2, "caller[0].answer: must map nodes of the flow"),
        ("caller:\n- answer:\n    n: '.'", 3, "caller[0].answer.n: holds nothing to say: '.'"),
        ("caller:\n- answer:\n    n: [{sya: a}]", 3, "caller[0].answer.n[0].sya: unknown"),
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
        ("caller:\n- sya: hello", 2, 'this one has sya, did you mean "say"?'),
        (
            "caller:\n- dtmf: '1'\n  by: infos",
            3,
            'caller[0].by: must be one of rfc4733, .*, did you mean "info"?',
        ),
        ("caller: [hangup]\nexpect: {states: 3}", 2, "expect.states: must be text"),
        ("caller: [hangup]\nexpect: {slots: 3}", 2, "expect.slots: must be a mapping, not 3"),
        ("caller: [hangup]\nexpect: {status: 200}", 2, "expect.status: must be a whole number from 300"),
        ("caller: [hangup]\nline: {send: {loss: 101}}", 2, "line.send.loss: must be a number from 0 to 100"),
        ("caller: [hangup]\nline: {send: {los: 1}}", 2, 'line.send.los: unknown, did you mean "loss"?'),
        ("caller: [hangup]\nline: {noise: {kind: hum}}", 2, "line.noise: needs snr_db"),
        ("caller: [hangup]\nline: {noise: {snr_db: 3, kind: pnk}}", 2, 'did you mean "pink"?'),
        ("caller: [hangup]\nline: {noise: {snr_db: 3, file: x.wav}}", 2, "line.noise.file: there is no file"),
        ("caller: [hangup]\nmatrix: {voice: slt}", 2, "matrix: must map dotted settings to lists"),
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


SCENARIO = """
name: rain
from: "4420"
to: "100"
headers: {X-Tenant: riverside}
keys: info
give_up_after_ms: 5000
line:
  noise: {snr_db: 15, kind: babble}
  send: {loss: 2.5, burst: 3}
  receive: {jitter_ms: 40}
matrix:
  voice: [slt, rms]
  line.send.loss: [0, 5]
  caller.0.say: [yes, "no"]
caller:
  - say: hello
    voice: awb
  - dtmf: "1"
    by: inband
  - hangup: true
    over_bot_after_ms: 300
expect:
  status: 486
  dtmf: "12"
  states: [help, bye]
  heard: goodbye
  slots: {day: 3, name: null}
  notes: [booked, moved]
  errors: 0
"""


def test_a_scenario_holds_a_line_and_what_the_server_knows(tmp_path: Path) -> None:
    scripts = load_all(written(tmp_path, SCENARIO.replace("[yes,", '["yes",')))
    assert len(scripts) == 8
    script = scripts[-1]
    assert script.name == "rain[voice=rms,line.send.loss=5,caller.0.say=no]"
    assert (script.caller, script.callee, script.headers) == ("4420", "100", {"X-Tenant": "riverside"})
    assert (script.keys_by, script.give_up_after_ms, script.voice) == (KeyWay.INFO, 5000, "rms")
    send, receive = Impairment(loss=5, burst=3), Impairment(jitter_ms=40)
    assert script.line == LineQuality(Noise(15, NoiseKind.BABBLE), send, receive)
    hang_up = HangUp(OverBot(300))
    assert script.steps == (Say("no", voice="awb"), Press("1", by=KeyWay.INBAND), hang_up)
    assert (script.expect.status, script.expect.dtmf) == (486, "12")
    assert script.served == ServerExpect(
        states=("help", "bye"),
        heard=("goodbye",),
        slots={"day": 3, "name": None},
        notes={"booked": None, "moved": None},
        errors=0,
    )
    assert script.served.anything and not Script(()).served.anything


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
