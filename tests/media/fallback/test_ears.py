import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from dialog.breaker import BreakerConfig, Switched
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.fallback.config import EarsFallback
from media.fallback.ears import FallbackEars
from media.frames import AudioFormat, AudioFrame
from media.stt.base import SttStream
from tests import clock

DEAD = ProviderError("connection lost", retryable=True)
FORMAT, DOMAIN = AudioFormat(), Domain("test")


@dataclass(eq=False)
class Ears:
    """Its final is the numbers of the frames that it heard of the utterance. What happens at the end of an
    utterance is scripted: seconds until the final, or an error; the last entry again and again."""

    script: Sequence[float | ProviderError] = (0.05,)
    room: Sequence[bool | float] = (True,)
    begins: ProviderError | None = None  # raised at the beginning of an utterance
    heard: list[str] = field(default_factory=list)
    hints: list[Hints] = field(default_factory=list)
    lingers_s: float = 0.0  # before it is closed
    opened: int = 0
    open_now: int = 0
    listens: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self, domain: Domain) -> None:
        pass

    async def close(self) -> None:
        pass

    @asynccontextmanager
    async def stream(self, format: AudioFormat, domain: Domain) -> Any:
        room = self.room[min(self.opened, len(self.room) - 1)]
        self.opened += 1
        if room is False:
            raise ProviderError("no room", retryable=True)
        if room is not True:
            await asyncio.sleep(room)
        self.open_now += 1
        self.listens.set()
        stream = _Stream(self)
        try:
            yield stream
        finally:
            await asyncio.sleep(self.lingers_s)
            stream.close()
            await asyncio.sleep(0)  # connections are closed, workers told
            self.open_now -= 1


class _Stream:
    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._frames: list[int] | None = None
        self._recent: list[int] = []
        self._out: asyncio.Queue[Transcript | ProviderError | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._number = 0

    def push(self, frame: AudioFrame) -> None:
        self._recent = [*self._recent, frame.pts][-15:]
        if self._frames is not None:
            self._frames.append(frame.pts)

    def begin(self) -> None:
        if self._ears.begins is not None:
            self._out.put_nowait(self._ears.begins)
        self._frames = list(self._recent)

    def finish(self) -> None:
        frames, self._frames = self._frames or [], None
        what = self._ears.script[min(self._number, len(self._ears.script) - 1)]
        self._number += 1
        text = f"{frames[0]}-{frames[-1]}"
        if isinstance(what, ProviderError):
            self._out.put_nowait(what)
        else:
            self._loop.call_later(what, self._final, text)

    def _final(self, text: str) -> None:
        self._ears.heard.append(text)
        self._out.put_nowait(Transcript(text, final=True))

    def cancel(self) -> None:
        self._frames = None

    def close(self) -> None:
        self._out.put_nowait(None)

    def expect(self, hints: Hints) -> None:
        self._ears.hints.append(hints)

    def __aiter__(self) -> AsyncIterator[Transcript]:
        return self

    async def __anext__(self) -> Transcript:
        item = await self._out.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, ProviderError):
            raise item
        return item


class Call:
    """A call that speaks: frames are numbered from 0."""

    def __init__(self, stream: SttStream) -> None:
        self.stream, self.at = stream, 0

    async def sounds(self, frames: int) -> None:
        for _ in range(frames):
            self.stream.push(AudioFrame(b"\0\0" * 160, 8000, self.at))
            self.at += 1
            await asyncio.sleep(0.02)

    async def says(self, frames: int) -> None:
        """An utterance of so many frames, after a second of silence."""
        await self.sounds(50)
        self.stream.begin()
        await self.sounds(frames)
        self.stream.finish()

    async def next(self) -> Transcript | Switched:
        return await anext(aiter(self.stream))

    async def finals(self, count: int) -> tuple[list[str], list[Switched]]:
        texts, changes = [], []
        while len(texts) < count:
            match await self.next():
                case Switched() as change:
                    changes.append(change)
                case Transcript(text, True):
                    texts.append(text)
        return texts, changes


def pair(one: Ears, two: Ears, **config: Any) -> FallbackEars:
    return FallbackEars([("one", one), ("two", two)], EarsFallback(**config))


def test_the_preferred_one_listens_while_it_is_well() -> None:
    one, two = Ears(), Ears()

    async def scenario() -> None:
        async with pair(one, two).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            stream.expect(Hints(phrases=("yes",)))
            await call.says(30)
            assert await call.finals(1) == (["35-79"], [])
        assert one.open_now == 0 and two.opened == 0

    clock.run(scenario())


@pytest.mark.parametrize("fails", [DEAD, 60.0], ids=["an error", "silence"])
def test_the_next_one_hears_the_utterance_again(fails: float | ProviderError) -> None:
    one, two = Ears([fails]), Ears()
    hints = Hints(phrases=("yes",))

    async def scenario() -> float:
        async with pair(one, two, final_ms=800).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            stream.expect(hints)
            await call.says(30)
            ended = asyncio.get_running_loop().time()
            texts, (change,) = await call.finals(1)
            took = asyncio.get_running_loop().time() - ended
            assert texts == ["35-79"], "the same audio, with what came before it"
            assert (change.failed, change.to) == ("one", "two")
            assert two.hints == [hints]
            await call.says(10)
            assert (await call.finals(1))[0] == ["115-139"], "and the call stays with it"
            assert one.opened == 1 and one.open_now == 0
            return took

    assert clock.run(scenario()) == pytest.approx(0.05 if fails is DEAD else 0.85, abs=0.01)


def test_a_failure_in_mid_utterance_loses_nothing_of_it() -> None:
    one, two = Ears(begins=DEAD), Ears(room=[0.3])

    async def scenario() -> None:
        async with pair(one, two).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(40)  # the next one takes 300 ms to be there: the utterance goes on meanwhile
            texts, changes = await call.finals(1)
            assert texts == ["35-89"] and len(changes) == 1

    clock.run(scenario())


def test_what_is_owed_and_what_is_open_are_both_heard_again_in_order() -> None:
    one, two = Ears([60.0]), Ears()

    async def scenario() -> None:
        async with pair(one, two, final_ms=700).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            await call.sounds(10)
            stream.begin()
            await call.sounds(40)  # the switch happens in here
            stream.finish()
            texts, changes = await call.finals(2)
            assert texts == ["35-79", "75-129"] and len(changes) == 1

    clock.run(scenario())


def test_what_was_cancelled_is_not_heard_again() -> None:
    one, two = Ears([60.0]), Ears()

    async def scenario() -> None:
        async with pair(one, two, final_ms=700).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            stream.cancel()
            await call.sounds(100)
            assert two.opened == 0, "nobody owes anything"

    clock.run(scenario())


def test_what_is_cancelled_while_it_is_heard_again_is_not_finished() -> None:
    """The second engine hears 4 s of speech in bursts, and lets the call's own steps in between."""
    one, two = Ears([DEAD]), Ears()

    async def scenario() -> None:
        async with pair(one, two).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(200)
            await two.listens.wait()
            stream.cancel()
            await call.says(30)
            assert (await call.finals(1))[0] == [f"{call.at - 45}-{call.at - 1}"]

    clock.run(scenario())
    assert len(two.heard) == 1


def test_a_call_that_ends_while_an_engine_is_tried_again_does_not_shut_it_out() -> None:
    one, two = Ears([DEAD, 0.05]), Ears()
    ears = pair(one, two, breaker=BreakerConfig(failures=1, cool_down_s=5), open_ms=5000)

    async def scenario() -> None:
        async with ears.stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            await call.finals(1)
        await asyncio.sleep(5)
        one.room = [2.0]
        trial = asyncio.create_task(opened(ears))
        await asyncio.sleep(0.1)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        one.room = [True]
        await asyncio.sleep(5)
        await opened(ears)

    clock.run(scenario())
    assert (one.opened, two.opened) == (3, 1)


@pytest.mark.parametrize("room", [False, 30.0], ids=["full", "slow"])
def test_a_call_that_the_preferred_one_does_not_take_goes_to_the_next(room: bool | float) -> None:
    one, two = Ears(room=[room]), Ears()

    async def scenario() -> None:
        ears = pair(one, two, open_ms=500)
        async with ears.stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            assert (await call.finals(1))[0] == ["35-79"]
        assert ears.stats().failed == 1

    clock.run(scenario())


def test_when_nobody_is_left_the_call_is_told() -> None:
    one, two = Ears([DEAD]), Ears([ProviderError("no credit")])

    async def scenario() -> None:
        ears = pair(one, two)
        async with ears.stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            with pytest.raises(ProviderError, match="no credit"):
                await call.finals(1)
            await call.says(30)  # nobody minds
        assert ears.stats().lost == 1 and one.open_now == two.open_now == 0

    clock.run(scenario())
    with pytest.raises(ProviderError, match="no room"):
        clock.run(opened(pair(Ears(room=[False]), Ears(room=[False]))))


def test_after_all_have_failed_the_next_utterance_is_tried_anew() -> None:
    one, two = Ears([DEAD]), Ears([ProviderError("no credit")])

    async def scenario() -> None:
        async with pair(one, two).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            with pytest.raises(ProviderError, match="no credit") as lost:
                await call.finals(1)
            assert lost.value.retryable
            one.script = [0.05]
            await call.says(30)
            assert (await call.finals(1))[0] == ["115-159"], "and nothing of what was lost"

    clock.run(scenario())


def test_engines_that_fail_once_an_hour_never_leave_a_call_deaf() -> None:
    one, two = Ears([0.05, DEAD]), Ears([0.05, 0.05, DEAD])

    async def scenario() -> None:
        async with pair(one, two).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            served = []
            for _ in range(7):
                await call.says(30)
                _, changes = await call.finals(1)
                served += [change.to for change in changes]
            assert served == ["two", "one", "two", "one"]

    clock.run(scenario())


def test_the_late_final_of_an_engine_that_was_given_up_is_not_a_second_one() -> None:
    one, two = Ears([1.0]), Ears([0.5])

    async def scenario() -> None:
        async with pair(one, two, final_ms=800).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            await asyncio.sleep(0.9)
            await call.says(30)
            texts, _ = await call.finals(2)
            assert texts == ["35-79", "115-159"]

    one.lingers_s = 10.0
    clock.run(scenario())


def test_an_engine_that_fails_while_it_catches_up_gives_way_to_the_next() -> None:
    one, two, three = Ears([DEAD]), Ears(begins=DEAD), Ears()
    ears = FallbackEars([("one", one), ("two", two), ("three", three)])

    async def scenario() -> None:
        async with ears.stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(200)
            assert (await call.finals(1))[0] == ["35-249"]
            await call.says(30)
            assert (await call.finals(1))[0] == ["285-329"]

    clock.run(scenario())
    assert ears.stats().lost == 0


def test_the_end_of_a_call_is_no_failure() -> None:
    one, two = Ears(), Ears()
    ears = pair(one, two)
    clock.run(opened(ears))
    assert ears.stats().failed == 0 and two.opened == 0


async def opened(ears: FallbackEars) -> None:
    async with ears.stream(FORMAT, DOMAIN):
        pass


def test_new_calls_find_the_preferred_one_again_when_it_is_well() -> None:
    one, two = Ears([DEAD], room=[True]), Ears()
    ears = pair(one, two, breaker=BreakerConfig(failures=1, cool_down_s=5))

    async def call(expected: str) -> None:
        async with ears.stream(FORMAT, DOMAIN) as stream:
            talk = Call(stream)
            await talk.says(30)
            await talk.finals(1)
            assert (one.heard, two.heard)[expected == "two"][-1] == "35-79"

    async def scenario() -> None:
        await call("two")
        assert ears.members.fault() == "left alone: one"
        one.script = [0.05]
        await call("two")
        assert one.opened == 1
        await asyncio.sleep(5)
        await call("one")
        assert ears.members.fault() is None

    clock.run(scenario())


def test_a_call_that_ends_in_the_middle_leaves_nothing_behind() -> None:
    one, two = Ears([60.0]), Ears(room=[2.0])

    async def scenario() -> int:
        async with pair(one, two, final_ms=300, open_ms=5000).stream(FORMAT, DOMAIN) as stream:
            call = Call(stream)
            await call.says(30)
            await call.sounds(30)  # the switch is under way
        assert one.open_now == two.open_now == 0
        return len(asyncio.all_tasks())

    assert clock.run(scenario()) == 1
