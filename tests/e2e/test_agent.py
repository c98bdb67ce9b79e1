"""An agent on the phone: a real server and a real call; only the language model is a script over HTTP."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dialog.llm.base import Finished, StopReason, Text, ToolCall
from tests.dialog.llm.server import Answer, LlmServer, Status, Stream
from tests.dialog.llm.server import serving as llm_serving
from tests.e2e.server import serving
from tests.tools import need_module

pytestmark = pytest.mark.real

AGENT = """\
agent: desk
instructions: Answer briefly.
greeting: Hello, how can I help you?
hints: [when are you open, thank you goodbye]
limits: {filler_ms: 700}
tools:
  hours: {description: Opening hours, parameters: {}, python: "tests.e2e.test_agent:hours"}
"""
OPEN = [Text("We are open "), Text("from nine to five. "), Text("Anything else?"), Finished()]


async def hours() -> str:
    await asyncio.sleep(1.5)
    return "nine to five"


@contextmanager
def language_model(*answers: Answer) -> Iterator[LlmServer]:
    """A server of language models in a thread."""
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), list[LlmServer]()
    stop = asyncio.Event()

    async def run() -> None:
        async with llm_serving(*answers) as server:
            found.append(server)
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


def test_a_call_with_an_agent_its_tool_and_a_broken_model(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT)
    ask = Stream([ToolCall("c1", "hours", "{}"), Finished(StopReason.TOOLS)])
    bye = Stream([Text("Goodbye then."), ToolCall("c2", "end_call", "{}"), Finished(StopReason.TOOLS)])
    with language_model(Status(503)) as broken, language_model(ask, Stream(OPEN), bye) as well:
        llm = f"""[{{"engine": "openai", "base_url": "{broken.url}/v1", "patience": {{"retries": 0}}}},
                   {{"engine": "anthropic", "base_url": "{well.url}"}}]"""
        settings = {"VOICEGW_FLOWS": '["desk.yaml"]', "VOICEGW_LLM": llm, "PYTHONPATH": str(Path.cwd())}
        with serving(tmp_path, **settings) as server:
            say = ["--say", "when are you open", "--say", "thank you goodbye"]
            done = server.command("call", server.uri, "--from", "anna", *say)
            assert done.returncode == 0, done
            server.settled()
            call = server.call_from("anna")
            switched = server.metric(
                'voicegw_provider_switched_total{failed="openai:gpt-4o-mini",kind="llm"}'
            )
    turns = [(turn["role"], turn["heard"]) for turn in call["turns"] if turn["heard"]]
    assert turns == [
        ("bot", "Hello, how can I help you?"),
        ("caller", "when are you open"),
        ("bot", "One moment, please. We are open from nine to five. Anything else?"),
        ("caller", "thank you goodbye"),
        ("bot", "Goodbye then."),
    ]
    assert call["cause"] == "normal" and switched == 3
    notes = {event["name"]: event["data"] for event in call["events"] if event["event"] == "note"}
    assert notes["tool"]["result"] == "nine to five" and notes["tool"]["took_ms"] >= 1400
    assert notes["switched"]["failed"] == "openai:gpt-4o-mini" and "HTTP 503" in notes["switched"]["reason"]
    told = [str(message["content"]) for message in well.bodies[-1]["messages"]]
    assert any("We are open from nine to five." in text for text in told)
    assert not any("One moment" in text for text in told)


def test_a_call_on_a_language_model_of_our_own(tmp_path: Path) -> None:
    need_module("llama_cpp", "pip install 'voicegw[llamacpp]'")
    hints = "[I want to book a table, for two people, tomorrow at eight, thank you]"
    agent = f"agent: desk\ninstructions: You are a phone agent.\ngreeting: Hello.\nhints: {hints}\n"
    (tmp_path / "desk.yaml").write_text(f"{agent}end_call: false\nlimits: {{filler_ms: 0}}\n")
    model = Path(__file__).parents[1] / "models" / "dialog.gguf"
    llm = f'{{"engine": "llamacpp", "model": "{model}", "temperature": 0, "context": 1024}}'
    with serving(tmp_path, VOICEGW_FLOWS='["desk.yaml"]', VOICEGW_LLM=llm) as server:
        lines = ("I want to book a table", "for two people", "tomorrow at eight")
        say = [word for line in lines for word in ("--say", line)]
        done = server.command("call", server.uri, "--from", "anna", *say)
        assert done.returncode == 0, done
        server.settled()
        turns = [(turn["role"], turn["heard"]) for turn in server.call_from("anna")["turns"]]
    assert turns[1:] == [
        ("caller", "i want to book a table"),
        ("bot", "For how many people?"),
        ("caller", "for two people"),
        ("bot", "At what time?"),
        ("caller", "tomorrow at eight"),
        ("bot", "Done. A table for two tomorrow at eight."),
    ]
