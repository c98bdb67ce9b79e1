"""The configuration: what is right, and every way to be wrong, with the place where it is written."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialog.turn import Interrupt
from media.providers import UnknownProvider, known, load
from tests.voicegw import deaf
from voicegw.config import load_config, reference
from voicegw.config.check import build, is_secret
from voicegw.config.model import Config, LogLevel
from voicegw.config.source import read
from voicegw.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
NO_ENGINE = "stt: tests.voicegw.deaf\n"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "voicegw.yaml"
    file.write_text(text)
    return file


def errors(tmp_path: Path, text: str, **environ: str) -> list[str]:
    """What is wrong, one line each, the folder left out."""
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text), environ)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]


def test_nothing_is_needed() -> None:
    config = load_config(None, {})
    assert config.sip.port == 5060
    assert config.flows == (ROOT / "config" / "flows",)


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    text = """
sip:
  port: 5070
turn: {interrupt: never, no_input_ms: [1000, 2000]}
flows: [mine.yaml]
log: {level: debug, levels: {sip: warning}}
http:
"""
    config = load_config(written(tmp_path, text), {})
    assert config.sip.port == 5070
    assert config.turn.interrupt is Interrupt.NEVER
    assert config.turn.no_input_ms == (1000, 2000)
    assert config.log.levels == {"sip": LogLevel.WARNING}
    assert config.http == Config().http, "an empty section is all defaults"
    assert config.flows == (tmp_path / "mine.yaml",), "relative to the file"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("sipp: {}\n", ["voicegw.yaml:1: sipp: unknown setting; did you mean 'sip'?"]),
        (
            "sip:\n  host: 127.0.0.1\n  prot: 5\n",
            ["voicegw.yaml:3: sip.prot: unknown setting; did you mean 'port'?"],
        ),
        (
            "routing:\n  zzz: 1\n",
            [
                "voicegw.yaml:2: routing.zzz: unknown setting; "
                "known here: header, headers, numbers, default, early_media"
            ],
        ),
        ("sip: {port: abc}\n", ["voicegw.yaml:1: sip.port: must be a valid integer, not 'abc'"]),
        ("sip: {port: 70000}\n", ["voicegw.yaml:1: sip.port: must be a port, 0 to 65535, but is 70000"]),
        (
            "turn:\n  end_silence_ms: -1\n",
            ["voicegw.yaml:2: turn.end_silence_ms: must not be negative, but is -1"],
        ),
        (
            "turn:\n  no_input_ms: [1, -2]\n",
            ["voicegw.yaml:2: turn.no_input_ms[1]: must not be negative, but is -2"],
        ),
        (
            "turn:\n  interrupt: sometimes\n",
            ["voicegw.yaml:2: turn.interrupt: must be 'never', 'speech', 'words' or 'both', not 'sometimes'"],
        ),
        (
            "outbound: {callback: {timeout_s: 0}}\n",
            ["voicegw.yaml:1: outbound.callback.timeout_s: must be greater than 0, not 0"],
        ),
        (
            "outbound: {callback: {timeout_s: .inf}}\n",
            ["voicegw.yaml:1: outbound.callback.timeout_s: must be less than or equal to 60, not inf"],
        ),
        (
            "carriers: {telnyx: {api_key: k, rest: {timeout_s: 0}}}\n",
            ["voicegw.yaml:1: carriers.telnyx.rest: timeout_s must be above 0 and 60 at most, not 0"],
        ),
        ("sip: 5060\n", ["voicegw.yaml:1: sip: must be a dictionary or an instance of SipConfig, not 5060"]),
        (
            "routing:\n  numbers:\n    '100': 5\n",
            ["voicegw.yaml:3: routing.numbers.100: must be a valid string, not 5; put it in quotes"],
        ),
        ("http: {token: 1234}\n", ["voicegw.yaml:1: http.token: must be a valid string"]),
        (
            "timezone: Mars/Olympus\n",
            ["voicegw.yaml:1: timezone: there is no time zone 'Mars/Olympus'; names look like Europe/Berlin"],
        ),
        ("session: {policy: {}}\n", None),
        (
            "sip:\n  trunks:\n    - {name: a, registrar: b}\n    - {nam: c, registrar: d}\n",
            [
                "voicegw.yaml:4: sip.trunks[1].nam: unknown setting; did you mean 'name'?",
                "voicegw.yaml:4: sip.trunks[1].name: is required",
            ],
        ),
        (
            "limits: {max_calls: 0}\n",
            ["voicegw.yaml:1: limits.max_calls: must be greater than or equal to 1, not 0"],
        ),
        (
            "tts: {engine: tests.voicegw.fakes}\n",
            None,
        ),
        ("sip: ${MISSING}\n", None),
        (
            "data_dir: ${GONE}/data\n",
            ["voicegw.yaml:1: data_dir: environment variable GONE is not set (a default: ${GONE:-value})"],
        ),
        (
            "a: 1\na: 2\n",
            ['voicegw.yaml:2: not YAML: found duplicate key "a" with value "2" (original value: "1")'],
        ),
        ("sip: [\n", None),
        ("- 1\n", ["voicegw.yaml:1: must be a mapping of settings, `key: value`"]),
        ("sip: {port: 1}\nhttp: {prt: 2}\nlog: {level: loud}\n", None),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    found = errors(tmp_path, text)
    if expected is not None:
        assert found == expected
    assert all(line.startswith("voicegw.yaml:") for line in found), found


def test_all_errors_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = errors(tmp_path, "log: {level: loud}\nhttp:\n  prt: 2\n  port: x\n", VOICEGW_SIP__PRT="1")
    assert [line.split(" ")[0] for line in found] == [
        "VOICEGW_SIP__PRT:",
        "voicegw.yaml:1:",
        "voicegw.yaml:3:",
        "voicegw.yaml:4:",
    ]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"data_dir: \xe4\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: is not UTF-8"):
        load_config(tmp_path / "latin.yaml", {})


# Environment


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, NO_ENGINE + "sip: {port: 1, user: x}\n")
    environ = {
        "VOICEGW_SIP__PORT": "5070",
        "VOICEGW_HTTP__PORT": "0",
        "VOICEGW_DATA_DIR": "/tmp/x",
        "VOICEGW_SIP__ALLOW": '["10.0.0.0/8"]',
        "VOICEGW_ROUTING__NUMBERS": '{"100": "demo"}',
        "VOICEGW_STT__ROOM": "3",
        "VOICEGW_LOG__SHOW_PII": "yes",
        "VOICEGW_FLOWS": '["f.yaml"]',
        "OTHER": "1",
    }
    config = load_config(file, environ)
    assert (config.sip.port, config.sip.user, config.http.port) == (5070, "x", 0)
    assert config.data_dir == Path("/tmp/x")
    assert config.sip.allow == ("10.0.0.0/8",)
    assert config.routing.numbers == {"100": "demo"}
    assert config.stt.options.room == 3
    assert config.log.show_pii is True
    assert config.flows == (Path("f.yaml").absolute(),), "what is written outside means the working directory"


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("VOICEGW_SIP__PORT", "abc", "VOICEGW_SIP__PORT: sip.port: must be a valid integer, not 'abc'"),
        ("VOICEGW_SIP__PROT", "1", "VOICEGW_SIP__PROT: sip.prot: unknown setting; did you mean 'port'?"),
        ("VOICEGW_NONSENSE", "1", "VOICEGW_NONSENSE: nonsense: unknown setting; known here: data_dir, "),
        (
            "VOICEGW_SIP__ALLOW",
            "[1",
            "VOICEGW_SIP__ALLOW: sip.allow: is not JSON, as a list or mapping must be",
        ),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    (found,) = errors(tmp_path, "sip: {port: 1}\n", **{name: value})
    assert found.startswith(message)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = written(tmp_path, "sip: {port: 7}\n")
    assert load_config(None, {"VOICEGW_CONFIG": str(file)}).sip.port == 7


def test_values_are_taken_from_variables(tmp_path: Path) -> None:
    text = 'sip: {user: "${USER_PART:-desk}", port: "${PORT}", user_agent: "$${x} costs 5$$"}\n'
    config = load_config(written(tmp_path, text), {"PORT": "99"})
    assert (config.sip.user, config.sip.port, config.sip.user_agent) == ("desk", 99, "${x} costs 5$")


# Engines


def test_an_engine_has_its_own_options(tmp_path: Path) -> None:
    config = load_config(
        written(tmp_path, "stt: {engine: tests.voicegw.deaf, room: 2}\nvad: {mode: 3}\n"), {}
    )
    assert config.stt.options == deaf.Config(room=2)
    assert (config.vad.engine, config.vad.options.mode) == ("webrtc", 3)
    assert load_config(written(tmp_path, NO_ENGINE), {}).stt.engine == "tests.voicegw.deaf"


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "tts: {engine: espaek}",
            "tts.engine: there is no tts engine 'espaek'; did you mean 'espeak'? (known: ",
        ),
        (
            "stt: {engine: tests.voicegw.nothing}",
            "stt.engine: there is no stt engine 'tests.voicegw.nothing' (known:",
        ),
        ("vad: {engine: tests.voicegw.fakes}", "vad.engine: tests.voicegw.fakes is no vad engine: it lacks"),
        ("vad: {engine: ''}", "vad.engine: there is no vad engine ''"),
        ("stt: {engine: tests.voicegw.deaf, rom: 2}", "stt.rom: unknown setting; did you mean 'room'?"),
        ("vad: [1]", "vad[0]: must be an engine's name, a mapping"),
        ("vad: [webrtc, webrtc]", "vad: takes one engine"),
        ("stt: []", "stt: names no engine"),
        (
            "llm: [openai, {engine: anthropik}]",
            "llm[1].engine: there is no llm engine 'anthropik'; did you mean",
        ),
        (
            "llm: [openai, {engine: anthropic, modell: x}]",
            "llm[1].modell: unknown setting; did you mean 'model'?",
        ),
    ],
)
def test_a_wrong_engine_is_named_with_those_there_are(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = errors(tmp_path, text)
    assert found.startswith(f"voicegw.yaml:1: {expected}"), found


def test_several_engines_stand_in_order_and_are_shown_so(tmp_path: Path) -> None:
    text = """llm:
  - {engine: openai, base_url: "http://127.0.0.1:1/v1", api_key: k-1}
  - anthropic
"""
    file = tmp_path / "voicegw.yaml"
    file.write_text(text)
    config = load_config(file)
    assert config.llm is not None and config.llm.options.base_url == "http://127.0.0.1:1/v1"
    assert [one.engine for one in config.llm.others] == ["anthropic"]
    shown = reference.effective(config)
    assert "  - engine: openai\n    base_url:" in shown and "  - engine: anthropic\n" in shown
    assert "k-1" not in shown


def test_engines_are_found_without_importing_them() -> None:
    assert "espeak" in known("tts") and "webrtc" in known("vad")
    assert not {"base", "sentences", "text"} & set(known("tts"))
    assert load("stt", "tests.voicegw.deaf").config is deaf.Config
    with pytest.raises(UnknownProvider):
        load("stt", "base")


# The reference


def test_the_printed_defaults_are_the_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, reference.defaults())
    assert build(read(file, {})) == Config()
    assert read(file, {}).data.keys() == reference.plain(Config()).keys()


def test_the_file_in_the_repository_is_what_is_printed() -> None:
    assert (ROOT / "config" / "voicegw.yaml").read_text() == reference.defaults(), (
        "voicegw config --defaults > config/voicegw.yaml"
    )


def test_every_setting_is_documented() -> None:
    silent = []

    def look(value: object, path: str) -> None:
        docs = reference.field_docs(type(value))
        for name in type(value).__dataclass_fields__:
            item = getattr(value, name)
            if hasattr(type(item), "__dataclass_fields__"):
                look(item, f"{path}{name}.")
            elif not docs.get(name) and name not in {"engine", "others"}:
                silent.append(path + name)

    look(Config(), "")
    assert not silent


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    text = """
http: {token: topsecret}
stt: {engine: tests.voicegw.deaf, api_key: topsecret}
sip: {trunks: [{name: a, registrar: b, username: visible, password: topsecret}]}
"""
    shown = reference.effective(load_config(written(tmp_path, text), {}))
    assert "topsecret" not in shown
    assert "visible" in shown
    assert "  token: ********\n" in shown and "  api_key: ********\n" in shown


def names_of_settings(value: object) -> Iterator[str]:
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        yield field.name
        yield from names_of_settings(getattr(value, field.name))


def test_what_is_called_like_a_secret_is_masked() -> None:
    open_ones = {"key", "public_key"}  # sip.tls.key: a file's name
    named = {n for n in names_of_settings(Config()) if re.search(r"(key|secret|token|password)$", n)}
    assert "private_key" in named and [name for name in named - open_ones if not is_secret(name)] == []
