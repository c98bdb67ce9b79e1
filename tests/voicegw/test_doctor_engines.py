"""`voicegw doctor` loads the configured engines and asks each of them."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.dialog.llm.server import Status, serving
from tests.voicegw import faulty
from tests.voicegw.faulty import Faulty
from voicegw.cli import app
from voicegw.config import Config, load_config
from voicegw.config.model import Engine
from voicegw.doctor import engines as module
from voicegw.doctor.engines import engines
from voicegw.doctor.finding import Finding, Level

KINDS = ("stt", "tts", "vad", "eot", "denoise", "llm")


def one(how: str = "", *others: Engine) -> Engine:
    return Engine("tests.voicegw.faulty", faulty.Config(how), others)


def asked(**engines_of: Any) -> list[Finding]:
    """What is found; engines that are not named work."""
    found = {kind: one() for kind in KINDS} | engines_of

    async def main() -> list[Finding]:
        return [finding async for finding in engines(replace(Config(), **found))]

    return asyncio.run(main())


def of(kind: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.what.startswith(kind)]


def test_every_kind_is_asked_and_closed() -> None:
    before = Faulty.closed
    findings = asked(stt_by_language={"de": one()}, tts_by_language={"de": one()})
    assert {finding.level for finding in findings} == {Level.GOOD}
    names = [finding.what.split(":")[0] for finding in findings]
    assert names == ["tts", "tts for de", "stt", "stt for de", "vad", "eot", "denoise", "llm"]
    assert Faulty.closed - before == len(findings)


def test_what_is_not_configured_is_not_asked() -> None:
    findings = asked(denoise=None, llm=None, eot=Engine("off", None))
    assert [finding.what.split(":")[0] for finding in findings] == ["tts", "stt", "vad", "eot"]
    assert findings[-1].what == "eot: off"


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_that_cannot_be_made_keeps_the_server_from_starting(kind: str) -> None:
    (finding,) = of(kind, asked(**{kind: one("made")}))
    assert finding.level is Level.BAD and "it cannot be made" in finding.what
    assert f"see {kind}" in finding.advice and "does not start" in finding.advice


@pytest.mark.parametrize(
    "kind, said",
    [("stt", "ears"), ("tts", "voice"), ("vad", "frames"), ("denoise", "frames"), ("llm", "model")],
)
def test_one_that_fails_when_it_is_used_fails_calls(kind: str, said: str) -> None:
    (finding,) = of(kind, asked(**{kind: one("fails")}))
    assert finding.level is Level.BAD and f"{said} fail" in finding.what and finding.advice


@pytest.mark.parametrize(
    "kind, how, level, said",
    [
        ("stt", "silent", Level.BAD, "no answer within 0.2 s"),
        ("llm", "silent", Level.BAD, "no answer within 0.2 s"),
        ("tts", "silent", Level.BAD, "said nothing"),
        ("denoise", "odd", Level.BAD, "frames of another length"),
        ("eot", "silent", Level.WARNING, "says nothing of a pause"),
        ("eot", "odd", Level.WARNING, "says 7.0, not 0 to 1"),
        ("eot", "fails", Level.WARNING, "estimate fails"),
    ],
)
def test_what_does_not_answer_is_found(
    monkeypatch: pytest.MonkeyPatch, kind: str, how: str, level: Level, said: str
) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.2)
    monkeypatch.setattr("voicegw.doctor.asking.SCORE_S", 0.05)
    (finding,) = of(kind, asked(**{kind: one(how)}))
    assert finding.level is level and said in finding.what


def test_of_a_list_each_is_asked_and_one_that_works_keeps_calls_going() -> None:
    first, second = of("stt", asked(stt=one("fails", one())))
    assert first.level is Level.WARNING and "(1 of 2): ears fail" in first.what
    assert "another one of the list" in first.advice
    assert second.level is Level.GOOD and "(2 of 2)" in second.what
    assert {finding.level for finding in of("tts", asked(tts=one("fails", one("fails"))))} == {Level.BAD}
    made = of("llm", asked(llm=one("", one("made"))))
    assert [finding.level for finding in made] == [Level.GOOD, Level.BAD], "the server makes all at its start"


def test_a_model_is_really_asked(tmp_path: Path) -> None:
    async def main() -> list[Finding]:
        async with serving(Status(401, body="no, not with k-secret")) as server:
            file = tmp_path / "voicegw.yaml"
            options = f"base_url: '{server.url}/v1', api_key: k-secret, model: m"
            file.write_text(f"data_dir: {tmp_path}\nllm: {{engine: openai, {options}}}\n")
            config = load_config(file)
            return [finding async for finding in engines(config) if finding.what.startswith("llm")]

    (finding,) = asyncio.run(main())
    assert finding.level is Level.BAD and "HTTP 401: no, not with ***" in finding.what


@pytest.mark.parametrize("arguments, asked", [([], True), (["--no-engines"], False)])
def test_the_command_asks_engines_unless_it_is_told_not_to(
    tmp_path: Path, arguments: list[str], *, asked: bool
) -> None:
    file = tmp_path / "voicegw.yaml"
    file.write_text(f"data_dir: {tmp_path}\nhttp: {{port: 1}}\ndenoise: {{engine: spectral}}\n")
    result = CliRunner().invoke(app, ["doctor", "-c", str(file), *arguments])
    assert result.exit_code == 0
    for text in ("tts: espeak, speaks after", "stt: pocketsphinx, answers after", "eot: rules, judges after"):
        assert (text in result.output) is asked
    assert ("denoise: spectral, listens" in result.output) is asked
