"""`voicegw simulate` as a user runs it, against a bot on real SIP."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.voicegw.phone.answering import Answering, answering

pytestmark = pytest.mark.real

POLITE = """\
voice: espeak
turn_silence_ms: 300
linger_ms: 200
patience_ms: 3000
caller:
  - say: hello
  - dtmf: "7"
expect:
  hangup: bot
"""


async def command(*args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from voicegw.cli import main; main()", "simulate", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def with_bot(
    act: Callable[[Answering], Awaitable[tuple[int, str, str]]],
) -> tuple[tuple[int, str, str], list]:  # type: ignore[type-arg]
    async def scenario() -> tuple[tuple[int, str, str], list]:  # type: ignore[type-arg]
        async with answering() as far_end:
            return await act(far_end), far_end.bots

    return asyncio.run(scenario())


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_many_calls_at_a_time_are_judged_one_by_one(tmp_path: Path) -> None:
    good = written(tmp_path, "good.yaml", POLITE + "matrix:\n  keys: [rfc4733, info]\n")
    bad = written(tmp_path, "bad.yaml", POLITE + "  latency_ms: 1\n")
    report = tmp_path / "report.xml"

    def act(bot: Answering) -> Awaitable[tuple[int, str, str]]:
        options = (
            "--parallel",
            "6",
            "--repeat",
            "2",
            "--junit",
            str(report),
            "--json",
            "--save",
            str(tmp_path),
        )
        return command(good, bad, "--target", bot.uri, *options)

    (code, out, err), bots = with_bot(act)
    assert code == 1, err
    results = json.loads(out)
    names = ["good[keys=rfc4733]", "good[keys=info]", "bad"]
    assert [result["name"] for result in results] == names + [f"{name}#2" for name in names]
    assert [result["good"] for result in results] == [True, True, False] * 2, err
    assert {result["seed"] for result in results} == {1, 2}
    assert "the answer to 'hello' took" in results[2]["failures"][0]
    assert [bot.keys for bot in bots] == ["7"] * 6
    assert "6 calls in" in err and "4 good, 2 failed" in err
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("6", "2")
    assert len(list(suite.iter("failure"))) == 2
    assert len(list(tmp_path.glob("*.wav"))) == 6


def test_a_refusal_can_be_what_is_expected(tmp_path: Path) -> None:
    refused = written(tmp_path, "refused.yaml", "caller: [hangup]\nexpect: {status: 486}\n")
    answered = written(tmp_path, "answered.yaml", "caller: [hangup]\n")

    def act(bot: Answering) -> Awaitable[tuple[int, str, str]]:
        bot.status = 486
        return command(refused, answered, "--target", bot.uri)

    (code, out, _), _ = with_bot(act)
    assert code == 1
    assert "ok     refused" in out and "refused with 486" in out
    assert "FAILED answered" in out and "the call failed: 486" in out


def test_of_a_refused_call_too_the_server_is_asked(tmp_path: Path) -> None:
    text = "caller: [hangup]\nexpect: {status: 486, cause: busy}\n"
    refused = written(tmp_path, "refused.yaml", text)

    def act(bot: Answering) -> Awaitable[tuple[int, str, str]]:
        bot.status = 486
        return command(refused, "--target", bot.uri, "--api", "http://127.0.0.1:1")

    (code, out, _), _ = with_bot(act)
    assert code == 1 and "the server's HTTP interface cannot be asked" in out


def test_a_call_that_cannot_be_placed_does_not_end_the_others(tmp_path: Path) -> None:
    wrong = written(tmp_path, "wrong.yaml", "caller: [hangup]\nheaders: {Via: mine}\n")
    good = written(tmp_path, "good.yaml", "caller: [hangup]\n")
    (code, out, err), _ = with_bot(lambda bot: command(wrong, good, "--target", bot.uri))
    assert code == 1 and "Traceback" not in err
    assert "FAILED wrong" in out and "these headers are the user agent's" in out and "ok     good" in out


def test_losing_every_packet_is_heard(tmp_path: Path) -> None:
    text = POLITE.replace("patience_ms: 3000", "patience_ms: 500") + "line: {receive: {loss: 100}}\n"
    deaf = written(tmp_path, "deaf.yaml", text.replace("  hangup: bot\n", "  bot_utterances: 1\n"))
    (code, out, _), _ = with_bot(lambda bot: command(deaf, "--target", bot.uri))
    assert code == 1 and "the bot spoke 0 times" in out


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("caller:\n- sya: hello\n", ["--target", "sip:a@127.0.0.1"], "s.yaml:2: caller[0]: a step does one"),
        ("caller: [hangup]\n", [], "give either --target or --serve"),
        ("caller: [hangup]\n", ["--target", "sip:"], "is no SIP URI"),
        (
            "caller: [hangup]\nexpect: {cause: normal}\n",
            ["--target", "sip:a@127.0.0.1"],
            "only the server knows",
        ),
    ],
)
def test_mistakes_are_named_before_any_call(tmp_path: Path, text: str, args: list[str], message: str) -> None:
    code, out, err = asyncio.run(command(written(tmp_path, "s.yaml", text), *args))
    assert code == 2, out
    assert message in " ".join(err.replace("│", " ").split())


def test_a_folder_without_scenarios(tmp_path: Path) -> None:
    code, _, err = asyncio.run(command(str(tmp_path), "--serve"))
    assert code == 2 and "there is no scenario" in err
