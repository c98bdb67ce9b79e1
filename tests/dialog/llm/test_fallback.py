import asyncio
from contextlib import aclosing

import pytest

from dialog.breaker import BreakerConfig, Switched
from dialog.llm.base import Finished, LlmError, LlmRequest, Message, Role, Text
from dialog.llm.fallback import GO_ON, FallbackConfig, FallbackModel
from tests import clock
from tests.dialog.llm.models import Scripted, Step, words

ASK = LlmRequest([Message(Role.USER, "How are you?")])
DOWN = LlmError("down", retryable=True)
SWITCHED: list[Switched] = []  # in the last answer


async def answer(model: FallbackModel) -> tuple[str, float]:
    """What is said, and when its first word came."""
    loop = asyncio.get_running_loop()
    start, first, said, last = loop.time(), -1.0, "", None
    SWITCHED.clear()
    async with aclosing(model.generate(ASK)) as chunks:
        async for last in chunks:
            if isinstance(last, Switched):
                SWITCHED.append(last)
            if isinstance(last, Text):
                first = loop.time() - start if first < 0 else first
                said += last.text
    assert isinstance(last, Finished)
    return said.strip(), first


def pair(
    first: list[list[Step]], second: list[list[Step]], config: FallbackConfig = FallbackConfig()
) -> tuple[Scripted, Scripted, FallbackModel, list[Switched]]:
    one, two = Scripted(first, "one"), Scripted(second, "two")
    return one, two, FallbackModel([one, two], config), SWITCHED


def test_the_first_answers_while_it_is_well() -> None:
    one, two, model, switched = pair([words("fine thanks")], [words("me too")])
    assert clock.run(answer(model)) == ("fine thanks", 0)
    assert len(one.requests) == 1 and not two.requests and not switched


def test_the_next_one_answers_when_the_first_fails_before_a_word() -> None:
    _, two, model, switched = pair([[DOWN]], [words("me too")])
    assert clock.run(answer(model))[0] == "me too"
    assert two.requests == [ASK]
    assert switched == [Switched("one", "two", "down")]


def test_the_next_one_goes_on_behind_the_words_that_were_said() -> None:
    _, two, model, _ = pair([[Text("You owe "), DOWN]], [words("ten euros")])
    assert clock.run(answer(model))[0] == "You owe ten euros"
    assert list(two.requests[0].messages)[-2:] == [
        Message(Role.ASSISTANT, "You owe "),
        Message(Role.USER, GO_ON),
    ]


def test_a_silent_one_is_given_up_and_stopped() -> None:
    one, _, model, switched = pair([[60.0, *words("late")]], [words("me too")], FallbackConfig(first_ms=1500))
    assert clock.run(answer(model)) == ("me too", 1.5)
    assert one.stopped == 1 and "nothing came for 1.5 s" in switched[0].reason


@pytest.mark.parametrize(
    "first_s, second_s, said, after_s",
    [(0.2, 0.0, "one", 0.2), (2.0, 0.1, "two", 0.6), (0.55, 0.1, "one", 0.55)],
)
def test_hedged_whoever_speaks_first_answers(
    first_s: float, second_s: float, said: str, after_s: float
) -> None:
    config = FallbackConfig(hedge_ms=500)
    one, two, model, switched = pair([[first_s, *words("one")]], [[second_s, *words("two")]], config)
    heard, first = clock.run(answer(model))
    assert (heard, round(first, 3)) == (said, after_s)
    assert len(two.requests) == (after_s > 0.5)
    assert (one.stopped, two.stopped) == (said == "two", said == "one" and after_s > 0.5)
    assert not switched, "the slower one has not failed"


def test_who_keeps_failing_is_left_alone_and_tried_again_later() -> None:
    config = FallbackConfig(breaker=BreakerConfig(failures=2, cool_down_s=5))
    one, _, model, switched = pair([[DOWN], [DOWN], words("back")], [words("me too")], config)

    async def scenario() -> list[str]:
        said = [(await answer(model))[0] for _ in range(4)]
        await asyncio.sleep(5)
        return [*said, (await answer(model))[0], (await answer(model))[0]]

    assert clock.run(scenario()) == ["me too"] * 4 + ["back"] * 2
    assert len(one.requests) == 4 and not switched


def test_all_down_is_the_last_ones_error_and_everybody_was_asked() -> None:
    one, two, model, switched = pair([[DOWN]], [[LlmError("no key")]])
    with pytest.raises(LlmError, match="no key"):
        clock.run(answer(model))
    assert len(one.requests) == len(two.requests) == 1
    assert (model.members[0].failures, model.members[1].failures) == (1, 1) and not switched


def test_though_all_are_left_alone_a_caller_gets_one_more_try() -> None:
    config = FallbackConfig(breaker=BreakerConfig(failures=1))
    _, _, model, _ = pair([[DOWN], words("back")], [[DOWN]], config)

    async def scenario() -> str:
        with pytest.raises(LlmError):
            await answer(model)
        return (await answer(model))[0]

    assert clock.run(scenario()) == "back"


def test_an_answer_closed_early_stops_its_engine_and_counts_for_nothing() -> None:
    one, _, model, switched = pair([words("a long answer", pause_s=1.0)], [words("no")])

    async def scenario() -> int:
        async with aclosing(model.generate(ASK)) as chunks:
            async for _ in chunks:
                break
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert clock.run(scenario()) == 1
    assert one.stopped == 1 and not switched and model.members[0].failures == 0


def test_a_bug_in_an_engine_is_not_swallowed() -> None:
    _, _, model, _ = pair([[ZeroDivisionError("bug")]], [words("no")])
    with pytest.raises(ZeroDivisionError):
        clock.run(answer(model))
