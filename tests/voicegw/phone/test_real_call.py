"""The phone on real SIP and RTP: against a bot on our own stack, as a library and as a command."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from tests.voicegw.phone.answering import Answering, answering
from voicegw.phone.dial import Call, Terms, dial, prepare
from voicegw.phone.script import Expect, OverBot, Press, Say, Script
from voicegw.phone.stacks import phone_endpoint

pytestmark = pytest.mark.real

STACKS = ["own", "pjsua2"]
LATENCY_MS = 500  # the bot's
TRANSPORT_MS = 120  # jitter buffers and packet times on both sides, and a busy machine


def talk(stack: str, script: Script, prepare_bot: Callable[[Answering], None] = lambda bot: None) -> Call:
    async def scenario() -> Call:
        quick = replace(script, voice="espeak", turn_silence_ms=500, linger_ms=300, patience_ms=5000)
        async with answering() as far_end, phone_endpoint(stack) as phone:
            prepare_bot(far_end)
            done = await dial(phone, OutboundCall(far_end.uri), quick, await prepare(quick), Terms(30))
            done.record.dtmf = far_end.bots[0].keys  # what arrived there
            return done

    return asyncio.run(scenario())


@pytest.mark.parametrize("stack", STACKS)
def test_a_conversation_over_the_wire(stack: str) -> None:
    done = talk(stack, Script((Say("an appointment please"), Press("1#")), Expect(hangup="bot")))
    record = done.record
    assert record.problems == []
    assert (record.hangup, record.cause, record.dtmf) == ("bot", "NORMAL", "1#")
    assert len(record.utterances()) == 3
    voice, _ = record.latencies()
    assert voice is not None and LATENCY_MS - 40 <= voice <= LATENCY_MS + TRANSPORT_MS
    assert done.rate == 8000 and len(done.said) == len(done.heard) == record.total_ms * 8
    line, first = record.lines[0], record.bot[0]
    assert np.abs(done.said[line.start_ms * 8 : line.end_ms * 8].astype(int)).max() > 3000
    assert np.abs(done.heard[first.start_ms * 8 : first.end_ms * 8].astype(int)).max() > 3000
    assert np.abs(done.heard[line.start_ms * 8 : line.end_ms * 8].astype(int)).max() < 100  # no echo


@pytest.mark.parametrize("stack", STACKS)
def test_interrupting_over_the_wire(stack: str) -> None:
    def long_winded(bot: Answering) -> None:
        bot.answers = ["We are open on weekdays from nine to five, on Saturdays from ten to one.", "Yes?"]

    record = talk(stack, Script((Say("stop stop, wait a moment", OverBot(500)),)), long_winded).record
    (stopped,) = record.barge_ins()
    assert stopped is not None and 200 <= stopped <= 200 + 100 + TRANSPORT_MS


@pytest.mark.parametrize("stack", STACKS)
def test_a_call_that_nobody_takes(stack: str) -> None:
    def busy(bot: Answering) -> None:
        bot.status = 486

    with pytest.raises(CallFailed) as caught:
        talk(stack, Script(()), busy)
    assert caught.value.status == 486


def test_the_phone_can_call_other_machines() -> None:
    """Bound to 127.0.0.1 alone, nothing that it sends would leave this one."""

    async def scenario() -> None:
        async with phone_endpoint("own") as phone:
            port = int(phone.uri.rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.2", port)
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("stack", STACKS)
def test_a_call_that_takes_too_long_is_ended(stack: str) -> None:
    async def scenario() -> Call:
        async with answering() as far_end, phone_endpoint(stack) as phone:
            far_end.hangs_up = False
            return await dial(phone, OutboundCall(far_end.uri), Script(()), {}, Terms(1.5))

    record = asyncio.run(scenario()).record
    assert record.hangup == "timeout" and record.problems == ["the call was not over after 1.5 s"]


async def command(*args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from voicegw.cli import main; main()", "call", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def with_bot(act: Callable[[Answering], Awaitable[tuple[int, str, str]]]) -> tuple[int, str, str]:
    async def scenario() -> tuple[int, str, str]:
        async with answering() as far_end:
            return await act(far_end)

    return asyncio.run(scenario())


def test_the_command_prints_the_conversation_and_saves_it(tmp_path: Path) -> None:
    saved = tmp_path / "call.wav"

    def act(bot: Answering) -> Awaitable[tuple[int, str, str]]:
        lines = ("--dtmf", "7", "--say", "an appointment please")
        return command(bot.uri.removeprefix("sip:"), *lines, "--voice", "espeak", "--save", str(saved))

    code, out, err = with_bot(act)
    assert (code, err) == (0, "")
    spoken = [line.split(" s  ", 1)[1] for line in out.splitlines() if " s  " in line]
    assert [text.split()[0] for text in spoken] == ["bot", "you", "bot", "you", "bot", "end"]
    assert "[7]" in spoken[1] and "an appointment please" in spoken[3]  # in the order given
    assert "answered" in out and "the bot hung up" in out
    assert "bot spoke 3 times" in out and "answers after" in out
    data, rate = soundfile.read(str(saved), dtype="int16")
    assert rate == 8000 and data.shape[1] == 2 and np.abs(data.astype(int)).max(axis=0).min() > 3000


def test_a_script_that_is_not_met_exits_with_1_and_says_why_in_json(tmp_path: Path) -> None:
    script = tmp_path / "s.yaml"
    script.write_text(
        "voice: espeak\nlinger_ms: 200\ncaller:\n- say: hello\n- hangup\n"
        "expect:\n  latency_ms: 10\n  hangup: bot\n"
    )

    def act(bot: Answering) -> Awaitable[tuple[int, str, str]]:
        return command(bot.uri, "--script", str(script), "--json")

    code, out, err = with_bot(act)
    report = json.loads(out)
    assert code == 1
    assert report["hangup"] == "caller" and report["lines"][0]["text"] == "hello"
    assert report["failures"][-1] == "the call was ended by caller, expected bot"
    assert "calling sip:" in err and "hello" in err


@pytest.mark.parametrize("status", [486, 404])
def test_a_failed_call_exits_with_3_and_shows_the_answer(status: int) -> None:
    def act(bot: Answering) -> Awaitable[tuple[int, str, str]]:
        bot.status = status
        return command(bot.uri, "--json")

    code, out, err = with_bot(act)
    assert code == 3
    assert json.loads(out)["failed"]["status"] == status
    assert f"the call failed: {status}" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sip:"], "is no SIP URI"),
        ([], "Missing argument"),
        (["sip:a@127.0.0.1", "--dtmf", "x"], "keys are 0-9"),
        (["sip:a@127.0.0.1", "--say", "..."], "holds nothing to say"),
        (["sip:a@127.0.0.1", "--wav", "none.wav"], "there is no file none.wav"),
        (["sip:a@127.0.0.1", "--script", "none.yaml"], "none.yaml: cannot be read"),
        (["sip:a@127.0.0.1", "--stack", "mine"], "'mine' is not one of"),
    ],
)
def test_wrong_usage_exits_with_2(args: list[str], message: str) -> None:
    code, out, err = asyncio.run(command(*args))
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert out == ""


def test_help_has_examples() -> None:
    code, out, _ = asyncio.run(command("--help"))
    assert code == 0 and "voicegw call sip:bot@127.0.0.1:5060" in out and "--script" in out


def test_interrupting_the_command_hangs_up() -> None:
    import signal

    async def scenario() -> tuple[int, bool]:
        async with answering() as far_end:
            far_end.hangs_up = False
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from voicegw.cli import main; main()", "call", far_end.uri),
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            while b"bot" not in (await process.stdout.readline()).replace(b"sip:bot", b""):
                pass
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                await far_end.bots[0].closed.wait()
                return await process.wait(), True

    assert asyncio.run(scenario()) == (130, True)
