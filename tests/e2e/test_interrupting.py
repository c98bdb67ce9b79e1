"""What callers do to a bot that speaks, over SIP and RTP with the embedded engines: cough, interrupt, say
"okay", answer into its last word, let its voice come back. Each flow node has its own policy; all callers
at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tests.e2e.line import SILENCE, Line, line, mu_law
from tests.e2e.server import events, serving
from tests.tools import need

pytestmark = pytest.mark.real

SAID = "Our offices are open from monday to friday. You find us behind the old station, next to the church."
FLOW = f"""
flow: policies
start: welcome
nodes:
  welcome:
    menu: Hello.
    options:
      never: {{key: 1, phrases: [the first], goto: never}}
      words: {{key: 2, phrases: [the second], goto: words}}
      speech: {{key: 3, phrases: [the third], goto: speech}}
      both: {{key: 4, phrases: [the fourth], goto: both}}
      sure: {{key: 5, phrases: [the fifth], goto: sure}}
  never:
    menu: {SAID}
    turn: {{interrupt: never}}
    options: &answers
      stop: {{phrases: [stop it please], goto: bye}}
  words: {{menu: "{SAID}", turn: {{interrupt: words}}, options: *answers}}
  speech: {{menu: "{SAID}", turn: {{interrupt: speech}}, options: *answers}}
  both: {{menu: "{SAID}", turn: {{interrupt: both}}, options: *answers}}
  sure: {{ask: Would you like that?, slot: sure, capture: yes_no, goto: bye}}
  bye: {{say: Goodbye., hangup: done}}
"""

Part = Callable[[Line], Awaitable[None]]


def cough() -> bytes:
    """Half a second of it."""
    noise = np.convolve(np.random.default_rng(1).standard_normal(4000), np.ones(3) / 3, "same")
    burst = noise * np.exp(-np.linspace(0, 1.2, 4000))
    return mu_law((burst / np.abs(burst).max() * 14_000).astype("<i2").tobytes())


def over_bot(key: str, *sounds: bytes | str, wait_s: float = 1.2) -> Part:
    """Choose a node, and make these sounds over its words, two seconds apart."""

    async def play(phone: Line) -> None:
        await phone.press(key)
        await phone.until(lambda: phone.speaking, 15)
        for sound in sounds:
            await asyncio.sleep(wait_s)
            if isinstance(sound, str):
                phone.say(sound)
            else:
                phone.play(sound)
            await phone.until(lambda: not phone.talking, 15)
        await phone.until(lambda: phone.over or not phone.heard_since(phone.now() - 1.5), 20)

    return play


async def last_word(phone: Line) -> None:
    """ "Would you like that?" takes 0.9 s: the answer begins in its last word."""
    await phone.press("5")
    await phone.until(lambda: phone.speaking, 15)
    await asyncio.sleep(0.7)
    phone.say("yes")
    await phone.until(lambda: phone.over, 20)


async def echoing(phone: Line) -> None:
    """A line that gives back what it gets, 15 dB fainter and 100 ms later."""
    returned: deque[bytes] = deque([SILENCE] * 5)
    table = (np.arange(256) ^ 0xFF).astype(np.int32)
    steps = (((table & 15) << 3) + 132 << ((table >> 4) & 7)) - 132
    values = np.where(table & 128, steps, -steps) * 0.18 * -1

    def heard(payload: bytes) -> None:
        returned.append(mu_law(values[np.frombuffer(payload, np.uint8)].astype("<i2").tobytes()))

    phone.on_sound = heard
    phone.filler = lambda: returned.popleft() if len(returned) > 5 else SILENCE
    await over_bot("4")(phone)


CALLS: dict[str, Part] = {
    "never": over_bot("1", "stop it please"),
    "words": over_bot("2", cough(), "stop it please"),
    "cough": over_bot("3", cough()),
    "speech": over_bot("3", "stop it please"),
    "okay": over_bot("4", "okay"),
    "yes": last_word,
    "echo": echoing,
}


async def call_all(port: int) -> None:
    async def one(name: str, part: Part) -> None:
        async with line(port, name) as phone:
            await phone.answered()
            await phone.bots_turn()
            await part(phone)

    async with asyncio.TaskGroup() as group:
        for name, part in CALLS.items():
            group.create_task(one(name, part))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    need("flite")
    folder = tmp_path_factory.mktemp("interrupting")
    (folder / "policies.yaml").write_text(FLOW)
    with serving(folder, VOICEGW_FLOWS=f'["{folder / "policies.yaml"}"]') as server:
        asyncio.run(call_all(server.sip_port))
        server.settled()
        return {name: server.call_from(name) for name in CALLS}


def heard(call: dict[str, Any]) -> dict[str, Any]:
    """The announcement, as far as it was heard."""
    (found,) = (e for e in events(call, "heard") if e["said"] == SAID)
    return found


def test_a_node_that_may_not_be_interrupted_speaks_to_its_end(calls: dict[str, Any]) -> None:
    assert heard(calls["never"])["complete"]
    assert not events(calls["never"], "pause") and not events(calls["never"], "barge_in", dtmf=False)


def test_where_words_interrupt_a_cough_does_not(calls: dict[str, Any]) -> None:
    assert not events(calls["words"], "pause")
    (barge_in,) = events(calls["words"], "barge_in", dtmf=False)
    assert barge_in["words"] >= 1 and not heard(calls["words"])["complete"]
    assert "stop it please" in [turn["text"] for turn in calls["words"]["turns"]]


def test_a_cough_pauses_the_bot_which_goes_on(calls: dict[str, Any]) -> None:
    call = calls["cough"]
    assert len(events(call, "pause")) == len(events(call, "resume")) == 1
    assert heard(call)["complete"] and not events(call, "barge_in", dtmf=False)


def test_words_after_the_pause_interrupt(calls: dict[str, Any]) -> None:
    call = calls["speech"]
    assert events(call, "pause") and events(call, "barge_in", dtmf=False)
    (turn,) = (turn for turn in calls["speech"]["turns"] if turn["text"] == "stop it please")
    assert turn["interrupted"]


def test_an_okay_does_not_interrupt(calls: dict[str, Any]) -> None:
    call = calls["okay"]
    assert heard(call)["complete"] and not events(call, "barge_in", dtmf=False)
    assert [turn for turn in call["turns"] if turn["role"] == "caller" and turn["source"] == "speech"] == []


def test_a_yes_in_the_bots_last_word_is_heard(calls: dict[str, Any]) -> None:
    assert [turn["text"] for turn in calls["yes"]["turns"] if turn["source"] == "speech"] == ["yes"]
    assert calls["yes"]["cause"] == "normal"


def test_the_bots_own_voice_does_not_interrupt_it(calls: dict[str, Any]) -> None:
    call = calls["echo"]
    (echo,) = events(call, "echo")
    assert 60 <= echo["delay_ms"] <= 300 and -20 <= echo["gain_db"] <= -10
    assert heard(call)["complete"] and not events(call, "barge_in", dtmf=False)
