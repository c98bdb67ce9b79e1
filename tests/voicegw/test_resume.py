"""Conversations that outlive a crash of the server."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

from dialog.flow.engine import FlowEngine
from dialog.flow.load import parse_flow
from dialog.turn import TurnPolicy, TurnSource
from dialog.types import Act, DialogEngine, Note, Say, UserTurn
from media.leg import CallInfo
from tests.clock import run
from voicegw.config.model import Routing
from voicegw.resume import DialogStates, ResumableDialog, ResumingRouter
from voicegw.routing import Router

FLOW = """
flow: table
start: seats
nodes:
  seats: {ask: For how many?, slot: seats, capture: number, goto: who}
  who: {ask: And your name?, slot: who, phrases: [ann, bob], goto: bye}
  bye: {say: "{seats|number} for {who}.", hangup: done}
"""


class Disk:
    """The writer's thread, at once."""

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        work()
        return Future()


def states(folder: Path, now: float | None = None) -> DialogStates:
    when = datetime.now().timestamp() if now is None else now
    found = DialogStates(folder, Disk(), lambda: when)  # type: ignore[arg-type]
    found.channel_of = "channel of {}".format
    return found


def info(call_id: str, resumes: str = "", carrier: str = "freeswitch") -> CallInfo:
    headers = {"x-voicegw-resumes": resumes} if resumes else {}
    return CallInfo(call_id, "+491", "+492", carrier, headers=headers)


def dialog(folder: Path, call: CallInfo, kept: DialogStates | None = None) -> ResumableDialog:
    engine = FlowEngine(parse_flow(FLOW), TurnPolicy(), lambda: datetime(2026, 3, 9, 12))
    return ResumableDialog(engine, kept or states(folder), call, "Back again.")


async def take(engine: DialogEngine, text: str | None = None) -> list[Act]:
    if text is None:
        return [act async for act in engine.greet()]
    source = TurnSource.DTMF if text.isdigit() else TurnSource.SPEECH
    return [act async for act in engine.reply(UserTurn(text, 0, source))]


def said(acts: list[Act]) -> list[str]:
    return [act.text for act in acts if isinstance(act, Say)]


def test_a_conversation_goes_on_where_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        first = dialog(tmp_path, info("one"))
        await take(first)
        await take(first, "4")
        # the server dies; FreeSWITCH brings the call again
        second = dialog(tmp_path, info("two", "one"))
        acts = await take(second)
        assert said(acts) == ["Back again.", "And your name?"]
        assert acts[0] == Note("resumed", {"node": "who"})
        assert "bob" in said(await take(second, "bob"))[0].lower()

    run(test())
    (kept,) = tmp_path.iterdir()
    assert kept.name == "two.json"
    assert kept.stat().st_mode & 0o007 == 0, "what callers said is nobody else's business"


def test_what_was_left_cannot_be_had_by_a_header_of_a_stranger(tmp_path: Path) -> None:
    async def test() -> None:
        first = dialog(tmp_path, info("one"))
        await take(first)
        await take(first, "4")
        stranger = dialog(tmp_path, info("two", "one", carrier="sip"))
        assert said(await take(stranger)) == ["For how many?"]

    run(test())


def test_a_state_that_does_not_fit_begins_anew(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "one.json").write_text(json.dumps({"flow": "table", "node": "gone", "channel": "c"}))
        for name, text in {"bad": "{", "list": "[]", "nobody": '{"flow": "table"}'}.items():
            (tmp_path / f"{name}.json").write_text(text)
        assert said(await take(dialog(tmp_path, info("two", "one")))) == ["For how many?"]

    run(test())
    assert [path.name for path in tmp_path.iterdir()] == ["two.json"]  # what no call can read is gone


def test_a_call_that_is_brought_anew_goes_on_without_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        kept = states(tmp_path)
        first = dialog(tmp_path, info("one"), kept)
        await take(first)
        await take(first, "4")
        assert not kept.channels()
        kept.leave("one")
        assert kept.channels() == {"one": "channel of one"}
        await take(first, "5")  # late: it is another's now
        second = dialog(tmp_path, info("two", "one"), kept)
        assert said(await take(second)) == ["Back again.", "And your name?"]
        assert not kept.channels()
        kept.leave("never kept")
        assert not kept.channels()

    run(test())
    assert [path.name for path in tmp_path.iterdir()] == ["two.json"]


def test_what_a_crash_left_is_told_with_its_channel_and_can_be_forgotten(tmp_path: Path) -> None:
    async def test() -> None:
        await take(dialog(tmp_path, info("one")))
        (tmp_path / "half.part").touch()  # it died in the middle of writing
        kept = states(tmp_path)
        assert kept.channels() == {"one": "channel of one"}
        kept.forget("one")
        assert not kept.channels()

    run(test())
    assert not list(tmp_path.iterdir())


def test_calls_that_ended_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    async def test() -> None:
        await take(dialog(tmp_path, info("one")))
        assert (tmp_path / "one.json").exists()
        states(tmp_path).forget("one")
        assert not (tmp_path / "one.json").exists()
        await take(dialog(tmp_path, info("two")))
        states(tmp_path, datetime.now().timestamp() + 7200)
        assert not (tmp_path / "two.json").exists()

    run(test())


def test_a_call_that_goes_on_keeps_its_flow(tmp_path: Path) -> None:
    async def test() -> None:
        await take(dialog(tmp_path, info("one")))
        router = ResumingRouter(Router(Routing(default="other"), ["other", "table"]), states(tmp_path))
        assert router.flow_for(info("two", "one")) == "table"
        assert router.flow_for(info("three")) == "other"

    run(test())
