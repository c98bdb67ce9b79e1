"""Messages, the audio that is kept, and what the pool does with workers that die, hang or lag.

The workers are replaced by puppets, and the clock is virtual: what real ones do is in
test_pocketsphinx.py.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.stt.sphinx import slot as slot_module
from media.stt.sphinx.config import Config
from media.stt.sphinx.pool import Pool
from media.stt.sphinx.utterance import Expected, Final, Utterance
from media.stt.sphinx.wire import COUNT, Kind, domain_from_json, domain_to_json
from media.workers import lives as lives_module
from media.workers.process import Program
from media.workers.wire import Splitter
from tests.clock import run

DOMAIN = Domain("clinic", hints=(Hints(phrases=("yes", "no")),))
FRAME = b"\1\0" * 160

# Messages


@pytest.mark.parametrize(
    "domain",
    [
        Domain("empty"),
        Domain(
            "all", "en-GB", (Hints(("a", "b"), "#JSGF", ("c d",), (3, 4)), Hints(), Hints(sentences=("é",)))
        ),
    ],
)
def test_domains_travel_unchanged(domain: Domain) -> None:
    assert domain_from_json(domain_to_json(domain)) == domain


# The audio of one utterance

SMALL = replace(Config(), batch_ms=40, window_ms=100, queue_ms=200, max_utterance_ms=1000)


class Ear:
    """A listener."""

    def __init__(self) -> None:
        self.partials: list[str] = []
        self.finals: list[Final] = []

    def on_partial(self, utterance: Utterance, partial: Transcript) -> None:
        self.partials.append(partial.text)

    def on_final(self, utterance: Utterance, final: Final) -> None:
        self.finals.append(final)


def utterance(config: Config = SMALL) -> Utterance:
    return Utterance(1, Expected(1, 0, 8000), Ear(), config)


def ms(pcm: bytes) -> int:
    return len(pcm) // 16


def test_audio_goes_in_batches_within_the_window_and_the_rest_at_the_end() -> None:
    u = utterance()
    sent = []
    for _ in range(7):
        u.push(FRAME)
        sent.append(ms(u.next_audio()))
    assert sent == [0, 40, 0, 40, 0, 0, 0]  # the window of 100 ms has no room for a third batch
    u.taken(2 * 640)
    assert ms(u.next_audio()) == 60
    u.push(FRAME)
    assert u.next_audio() == b""
    u.finished_at = 1.0
    assert ms(u.next_audio()) == 20
    assert u.all_sent


def test_of_audio_that_waits_too_long_the_oldest_is_dropped() -> None:
    u = utterance()
    sent, dropped = b"", []
    for n in range(20):  # the worker takes nothing: 100 ms are sent, 200 ms may wait
        dropped.append(u.push(bytes([n, 0]) * 160) // 320)
        sent += u.next_audio()
    assert (ms(sent), sum(dropped)) == (80, 20 - 4 - 10)
    u.taken(len(sent))
    assert u.next_audio()[0] == 10  # frames 4..9 are gone


def test_beyond_the_longest_utterance_nobody_listens() -> None:
    u = utterance(replace(SMALL, queue_ms=10_000))
    assert [u.push(FRAME) for _ in range(52)] == [0] * 50 + [320, 320]


def test_a_replay_starts_from_the_first_sample() -> None:
    u = utterance()
    for _ in range(4):
        u.push(FRAME)
    first = u.next_audio()
    assert u.owed
    u.rewind()
    assert not u.owed
    assert u.next_audio() == first
    assert u.replays == 1


def test_a_replay_keeps_its_beginning_however_long_it_waits() -> None:
    u = utterance()
    sent = b""
    for n in range(20):  # the first worker takes all of it, 400 ms
        u.push(bytes([n, 0]) * 160)
        sent += u.next_audio()
        u.taken(len(sent))
    u.rewind()
    assert [u.push(bytes([20, 0]) * 160) for _ in range(12)] == [0] * 10 + [320, 320]
    assert u.next_audio()[0] == 0 and u.size == 30 * 320


# Workers that misbehave


class Puppet:
    """Stands for one life of a worker process: records what it gets, says what the test tells it."""

    lives: list["Puppet"] = []

    def __init__(
        self, program: Program, on_message: Callable[[int, int, bytes], None], on_dead: Callable[[str], None]
    ) -> None:
        assert program == slot_module.PROGRAM
        self.on_message, self.on_dead = on_message, on_dead
        self.pid = 1000 + len(Puppet.lives)
        self.reaped = self.killed = False
        self.got: list[tuple[Kind, int, bytes]] = []
        self._splitter = Splitter()
        Puppet.lives.append(self)

    def send(self, data: bytes) -> None:
        self.got += [(Kind(kind), number, payload) for kind, number, payload in self._splitter.feed(data)]

    def kill(self) -> None:
        self.killed = True
        self.die()

    def stop(self) -> None:
        self.reaped = True

    def die(self) -> None:
        self.reaped = True
        self.on_dead("exit status -9")

    def welcome(self) -> None:
        """Start up, and build what was asked."""
        self.on_message(Kind.READY, 0, b"")
        for kind, number, _ in list(self.got):
            if kind is Kind.PREPARE:
                self.on_message(Kind.PREPARED, number, b"")

    def kinds(self, number: int) -> list[Kind]:
        return [kind for kind, n, _ in self.got if n == number and kind not in (Kind.PREPARE, Kind.CONFIGURE)]

    def audio(self, number: int) -> bytes:
        return b"".join(payload for kind, n, payload in self.got if kind is Kind.AUDIO and n == number)

    def final(self, number: int, text: str) -> None:
        fields = {"text": text, "confidence": 0.9, "rejected": False, "mean": "1,2", "cpu_s": 0.1}
        self.on_message(Kind.FINAL, number, json.dumps(fields).encode())


Script = Callable[[Pool], Coroutine[Any, Any, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script, Config], None]:
    monkeypatch.setattr(lives_module, "WorkerProcess", Puppet)
    Puppet.lives = []

    def play(script: Script, config: Config) -> None:
        async def main() -> None:
            pool = Pool(config)
            pool.start()
            try:
                await script(pool)
            finally:
                await pool.close()

        run(main())

    return play


ONE, TWO = replace(Config(), workers=1), replace(Config(), workers=2)


async def next_life() -> None:
    """Wait for the worker that replaces a dead one."""
    for _ in range(2000):
        if not Puppet.lives[-1].reaped:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the worker is not replaced")


def speak(pool: Pool, key: int, frames: int = 10, beside: Utterance | None = None) -> tuple[Utterance, Ear]:
    ear = Ear()
    u = pool.begin(Expected(key, 0, 8000), ear, beside)
    for n in range(frames):
        pool.push(u, bytes([n, 0]) * 160)
    return u, ear


def test_utterances_go_to_the_least_busy_worker(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        a, b = Puppet.lives
        a.welcome()
        b.welcome()
        first, _ = speak(pool, key)
        second, _ = speak(pool, key)
        assert {len(a.kinds(first.number)) > 0, len(b.kinds(first.number)) > 0} == {True, False}
        assert (len(a.kinds(first.number)) > 0) == (len(b.kinds(second.number)) > 0)
        # The next utterance of a call whose final is owed stays where that is, so that order is kept.
        third, _ = speak(pool, key, beside=second)
        assert (len(b.kinds(third.number)) > 0) == (len(b.kinds(second.number)) > 0)

    play(script, TWO)


def test_speech_waits_for_the_first_worker_and_loses_nothing(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        u, ear = speak(pool, key)
        pool.finish(u)
        (worker,) = Puppet.lives
        assert worker.kinds(u.number) == []
        worker.welcome()
        assert worker.audio(u.number) == b"".join(bytes([n, 0]) * 160 for n in range(10))
        assert worker.kinds(u.number)[-1] is Kind.FINISH
        worker.final(u.number, "yes")
        assert [f.text for f in ear.finals] == ["yes"]
        assert pool.stats().utterances == 1

    play(script, ONE)


def test_a_dead_workers_utterance_is_replayed_by_the_other(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        for worker in Puppet.lives:
            worker.welcome()
        u, ear = speak(pool, key)
        first, second = sorted(Puppet.lives, key=lambda w: not w.kinds(u.number))
        first.die()
        assert second.audio(u.number)[: 320 * 10] == first.audio(u.number)
        pool.push(u, FRAME)
        pool.push(u, FRAME)
        pool.finish(u)
        assert second.kinds(u.number)[-1] is Kind.FINISH
        first.final(u.number, "from beyond the grave")
        second.final(u.number, "no")
        assert [f.text for f in ear.finals] == ["no"]
        stats = pool.stats()
        assert (stats.restarts, stats.replayed, stats.lost) == (1, 1, 0)

    play(script, TWO)


def test_a_worker_that_keeps_dying_is_restarted_ever_more_slowly(play: Any) -> None:
    async def script(pool: Pool) -> None:
        births = []
        for _ in range(9):
            await next_life()
            births.append(asyncio.get_running_loop().time())
            Puppet.lives[-1].die()
        pauses = [b - a for a, b in zip(births, births[1:], strict=False)]
        assert pauses == pytest.approx([0, 0.25, 0.5, 1, 2, 4, 8, 10], abs=0.03)

    play(script, ONE)


def test_a_worker_that_lived_long_is_replaced_at_once(play: Any) -> None:
    async def script(pool: Pool) -> None:
        for _ in range(4):
            await next_life()
            Puppet.lives[-1].welcome()
            await asyncio.sleep(31)
            died = asyncio.get_running_loop().time()
            Puppet.lives[-1].die()
            await asyncio.sleep(0.01)
            assert not Puppet.lives[-1].reaped
            assert asyncio.get_running_loop().time() - died < 0.02

    play(script, ONE)


def test_a_silent_worker_with_work_is_killed_and_an_idle_one_is_not(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        (worker,) = Puppet.lives
        worker.welcome()
        await asyncio.sleep(3600)
        assert not worker.killed
        u, _ = speak(pool, key)
        await asyncio.sleep(4.5)
        assert not worker.killed
        await asyncio.sleep(1)
        assert worker.killed
        await asyncio.sleep(0.01)
        Puppet.lives[-1].welcome()
        assert Puppet.lives[-1].audio(u.number) == worker.audio(u.number)
        assert pool.stats().hung == 1

    play(script, ONE)


def test_a_worker_that_answers_slowly_is_not_killed(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        (worker,) = Puppet.lives
        worker.welcome()
        u, _ = speak(pool, key)
        for n in range(1, 6):
            await asyncio.sleep(4)
            worker.on_message(Kind.TAKEN, u.number, COUNT.pack(n * 640))
        assert not worker.killed

    play(script, ONE)


def test_an_utterance_that_kills_workers_gets_an_empty_final(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        u, ear = speak(pool, key)
        for _ in range(3):
            await next_life()
            Puppet.lives[-1].welcome()
            assert Kind.BEGIN in Puppet.lives[-1].kinds(u.number)
            Puppet.lives[-1].die()
        assert ear.finals == []  # it is not over yet
        pool.push(u, FRAME)
        pool.finish(u)
        assert [f.text for f in ear.finals] == [""]
        assert pool.stats().lost == 1
        assert pool.stats().open_utterances == 0

    play(script, ONE)


def test_a_final_that_is_too_late_is_given_empty_once(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        (worker,) = Puppet.lives
        worker.welcome()
        u, ear = speak(pool, key)
        pool.finish(u)
        for _ in range(5):  # it lives, but does not come to the end
            await asyncio.sleep(1.1)
            worker.on_message(Kind.TAKEN, u.number, COUNT.pack(640))
        assert [(f.text, f.rejected) for f in ear.finals] == [("", False)]
        assert worker.kinds(u.number)[-1] is Kind.CANCEL
        worker.final(u.number, "yes")
        assert len(ear.finals) == 1

    play(script, ONE)


def test_a_cancelled_utterance_gets_no_final(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        (worker,) = Puppet.lives
        worker.welcome()
        u, ear = speak(pool, key)
        pool.cancel(u)
        assert worker.kinds(u.number)[-1] is Kind.CANCEL
        worker.final(u.number, "yes")
        assert ear.finals == []
        assert pool.stats().open_utterances == 0

    play(script, ONE)


def test_what_the_recogniser_fails_on_is_an_empty_final_and_counted(play: Any) -> None:
    async def script(pool: Pool) -> None:
        key = pool.domains.request(DOMAIN)
        (worker,) = Puppet.lives
        worker.welcome()
        u, ear = speak(pool, key)
        worker.on_message(Kind.FINAL, u.number, b'{"error": "Failed to process audio"}')
        pool.push(u, FRAME)
        pool.finish(u)
        assert [f.text for f in ear.finals] == [""]
        assert pool.stats().errors == 1

    play(script, ONE)


# Domains


def test_prepare_waits_for_all_workers_and_tells_why_a_domain_is_refused(play: Any) -> None:
    async def script(pool: Pool) -> None:
        preparing = asyncio.ensure_future(pool.domains.prepare(DOMAIN))
        await asyncio.sleep(0.01)
        Puppet.lives[0].welcome()
        await asyncio.sleep(0.01)
        assert not preparing.done()
        Puppet.lives[1].welcome()
        key = await preparing
        assert key in pool.domains
        assert await pool.domains.prepare(DOMAIN) == key

        bad = Domain("bad", hints=(Hints(phrases=("dial 911",)),))
        preparing = asyncio.ensure_future(pool.domains.prepare(bad))
        await asyncio.sleep(0.01)
        for worker in Puppet.lives:
            kind, number, _ = worker.got[-1]
            if kind is Kind.PREPARE:
                worker.on_message(Kind.FAILED, number, b"'dial 911': write the number in words")
        with pytest.raises(ProviderError, match="dial 911") as e:
            await preparing
        assert not e.value.retryable

    play(script, TWO)


def test_prepare_gives_up_when_no_worker_comes_up(play: Any) -> None:
    async def script(pool: Pool) -> None:
        with pytest.raises(ProviderError, match="no speech worker is ready") as e:
            await pool.domains.prepare(DOMAIN)
        assert e.value.retryable

    play(script, ONE)


def test_a_domain_that_kills_workers_is_refused_and_the_next_life_is_spared(play: Any) -> None:
    async def script(pool: Pool) -> None:
        preparing = asyncio.ensure_future(pool.domains.prepare(DOMAIN))
        await asyncio.sleep(0.01)
        for _ in range(3):
            await next_life()
            Puppet.lives[-1].on_message(Kind.READY, 0, b"")
            Puppet.lives[-1].die()
        with pytest.raises(ProviderError, match="3 speech workers died of it"):
            await preparing
        await next_life()
        assert [kind for kind, _, _ in Puppet.lives[-1].got] == [Kind.CONFIGURE]

    play(script, ONE)


def test_domains_used_longest_ago_are_forgotten_but_not_under_a_call(play: Any) -> None:
    async def script(pool: Pool) -> None:
        (worker,) = Puppet.lives
        worker.on_message(Kind.READY, 0, b"")
        keys = []
        for n in range(5):
            key = pool.domains.request(Domain(str(n)))
            worker.on_message(Kind.PREPARED, key, b"")
            if n == 0:
                pool.domains.use(key, 1)
            keys.append(key)
        assert [key in pool.domains for key in keys] == [True, False, False, True, True]
        assert [n for kind, n, _ in worker.got if kind is Kind.DROP] == keys[1:3]

    play(script, replace(ONE, max_domains=3))
