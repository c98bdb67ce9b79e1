"""Calls that we place: what is said to a person, a machine, an assistant; and when."""

import asyncio
from datetime import datetime

import pytest

from dialog.errors import FlowError
from dialog.flow.engine import FlowEngine
from dialog.flow.load import parse_flow
from dialog.turn import SpeechStarted, SpeechStopped, Transcript, TurnPolicy, TurnSource
from dialog.types import Act, AnsweredBy, Hangup, Note, Say, UserTurn
from media.amd import AnswerDetector, Config
from media.callconfig import Engines
from media.frames import AudioFrame
from media.leg import CallInfo, Direction
from tests.clock import run
from tests.fakes import FakeVad
from voicegw.whoanswers import Listener, ListeningEars, ScreenedDialog, screened

FLOW = """
flow: reminder
start: hello
answered_by: {machine: message, screening: assistant}
nodes:
  hello: {menu: Hello this is the clinic., options: {yes: {key: "1", goto: bye}}}
  message: {say: Please call us back., goto: bye}
  assistant: {say: This is the clinic about an appointment., goto: hello}
  bye: {say: Goodbye., hangup: done}
"""


def noon() -> datetime:
    return datetime(2026, 3, 9, 12)


def engine(text: str = FLOW) -> FlowEngine:
    return FlowEngine(parse_flow(text), TurnPolicy(), noon)


class Phone:
    """Whoever answers, frame by frame."""

    def __init__(self) -> None:
        self.listener = Listener(AnswerDetector(Config(), 8000))
        self.dialog = ScreenedDialog(engine(), self.listener)

    def audio(self, ms: int, event: SpeechStarted | SpeechStopped | None = None) -> None:
        for number in range(ms // 20):
            self.listener.frame(AudioFrame(bytes(320), 8000, 0), event if number == 0 else None)

    async def opening(self) -> list[Act]:
        return [act async for act in self.dialog.greet()]


def said(acts: list[Act]) -> list[str]:
    return [act.text for act in acts if isinstance(act, Say)]


def test_a_person_is_greeted_once_it_is_known() -> None:
    async def test() -> None:
        phone = Phone()
        opening = asyncio.ensure_future(phone.opening())
        phone.audio(500, SpeechStarted())
        await asyncio.sleep(0)
        assert not opening.done()
        phone.audio(700, SpeechStopped())
        assert said(await opening) == ["Hello this is the clinic."]

    run(test())


def test_a_machine_gets_its_message_after_the_beep() -> None:
    async def test() -> None:
        phone = Phone()
        opening = asyncio.ensure_future(phone.opening())
        phone.audio(3000, SpeechStarted())
        await asyncio.sleep(0)
        assert not opening.done()  # it is still talking
        phone.audio(2600, SpeechStopped())  # no beep: after the silence
        acts = await opening
        assert said(acts) == ["Please call us back.", "Goodbye."]
        (note,) = [act for act in acts if isinstance(act, Note) and act.name == "answered_by"]
        assert note.data["who"] == "machine" and isinstance(acts[-1], Hangup)

    run(test())


def test_an_assistant_is_told_who_calls() -> None:
    async def test() -> None:
        phone = Phone()
        phone.audio(1000, SpeechStarted())
        phone.listener.text("please state your name and the reason for your call")
        phone.audio(700, SpeechStopped())
        assert said(await phone.opening())[0] == "This is the clinic about an appointment."

    run(test())


def test_hello_before_it_is_known_begins_the_dialog_and_is_no_answer() -> None:
    async def test() -> None:
        phone = Phone()
        phone.audio(500, SpeechStarted())
        phone.audio(700, SpeechStopped())
        acts = [act async for act in phone.dialog.reply(UserTurn("hello", 900))]
        assert said(acts) == ["Hello this is the clinic."]
        acts = [act async for act in phone.dialog.reply(UserTurn("1", 2000, TurnSource.DTMF))]
        assert said(acts) == ["Goodbye."]

    run(test())


def test_a_machine_found_out_late_gets_its_message_all_the_same() -> None:
    async def test() -> None:
        phone = Phone()
        phone.audio(400, SpeechStarted())
        phone.audio(800, SpeechStopped())
        await phone.opening()
        phone.audio(1000, SpeechStarted())
        phone.listener.text("leave a message after the tone")
        reply = asyncio.ensure_future(_reply(phone))
        await asyncio.sleep(0)
        assert not reply.done()
        phone.audio(3000, SpeechStopped())
        assert said(await reply)[0] == "Please call us back."

    run(test())


async def _reply(phone: Phone) -> list[Act]:
    return [act async for act in phone.dialog.reply(UserTurn("leave a message after the tone", 3000))]


def test_ears_are_read_along() -> None:
    async def test() -> None:
        phone = Phone()

        class Ears:
            push = begin = finish = cancel = expect = lambda self, *_: None

            async def __aiter__(self):  # type: ignore[no-untyped-def]
                yield Transcript("you have reached ann", final=False)

        ears = ListeningEars(Ears(), phone.listener)  # type: ignore[arg-type]
        assert [t async for t in ears]
        verdict = phone.listener.detector.verdict
        assert verdict is not None and verdict.by is AnsweredBy.MACHINE

    run(test())


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("tells", [True, False])
def test_it_is_found_out_only_where_it_matters(direction: Direction, tells: bool) -> None:
    async def test() -> None:
        text = FLOW if tells else FLOW.replace("answered_by: {machine: message, screening: assistant}", "")
        text = text if tells else "\n".join(line for line in text.splitlines() if "message" not in line)
        text = text if tells else "\n".join(line for line in text.splitlines() if "assistant" not in line)
        dialog = engine(text)
        engines = Engines(FakeVad(), None, None)  # type: ignore[arg-type]
        info = CallInfo("c", "a", "b", "sip", direction=direction)
        try:
            found, _ = screened(dialog, engines, Config(), info, 8000)
        except AttributeError:  # ears of None: it wants to listen
            found = None
        assert (found is dialog) is not (tells and direction is Direction.OUTBOUND)

    run(test())


def test_without_a_message_a_machine_is_hung_up_on() -> None:
    flow = FLOW.replace("machine: message, ", "").replace(
        "  message: {say: Please call us back., goto: bye}\n", ""
    )

    async def test() -> None:
        from dialog.types import Answered

        acts = [act async for act in engine(flow).reply(Answered(AnsweredBy.MACHINE))]
        assert not said(acts) and acts[-1] == Hangup("machine")

    run(test())


def test_answered_by_names_nodes() -> None:
    with pytest.raises(FlowError, match="nowhere"):
        parse_flow(FLOW.replace("machine: message", "machine: nowhere"))
    with pytest.raises(FlowError, match="robot"):
        parse_flow(FLOW.replace("machine: message", "robot: message"))
