"""The worker processes together: who takes which utterance, and what becomes of it.

When a worker crashes or hangs, its utterances go to another one (or wait for the next life of the only
one), from the audio kept here. An utterance always gets its one final: if workers keep dying over it, or
the final is too late, an empty one. All state belongs to the event loop; nothing here blocks it.
"""

import asyncio
import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from dialog.turn import Transcript
from media.stt.sphinx.config import Config
from media.stt.sphinx.domains import Domains
from media.stt.sphinx.slot import Slot
from media.stt.sphinx.utterance import Expected, Final, Listener, Utterance
from media.stt.sphinx.wire import COUNT, Kind
from media.workers.lives import end_all

log = logging.getLogger(__name__)

_STOP_S = 2.0  # for a worker to finish its message and exit
_WATCH_S = 0.25


@dataclass(slots=True)
class Stats:
    """Counters since the start; gauges where said so."""

    workers: int = 0  # gauge: alive
    streams: int = 0  # gauge: calls
    open_utterances: int = 0  # gauge: finals owed now or later
    restarts: int = 0  # workers that died
    hung: int = 0  # of these, killed because they said nothing
    utterances: int = 0  # finals given
    rejected: int = 0
    empty: int = 0  # finals without text that were not rejected: clicks, silence
    replayed: int = 0  # utterances given to a further worker
    lost: int = 0  # finals given empty because nothing came in time
    errors: int = 0  # utterances that the recogniser failed on
    dropped_frames: int = 0  # packet times of 20 ms that nobody listened to
    cpu_s: float = 0.0  # in workers
    audio_s: float = 0.0  # listened to
    latency_s: float = 0.0  # sum, end of speech to final


class Pool:
    """Implements Owner. `start`, and in the end `close`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        count = config.workers or len(os.sched_getaffinity(0))
        self._slots = [Slot(i, config, self) for i in range(count)]
        self._where: dict[int, Slot | None] = {}  # by number of the utterance; None: waits for a worker
        self._utterances: dict[int, Utterance] = {}
        self._last_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._counters = Stats()
        self.domains = Domains(config, self._slots)

    def start(self) -> None:
        """Start the workers and the watch over them."""
        for slot in self._slots:
            slot.start()
        self._watch()

    async def close(self) -> None:
        """Stop the workers; no zombie stays. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        processes = [process for slot in self._slots if (process := slot.stop()) is not None]
        await end_all(processes, _STOP_S)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def stats(self, streams: int = 0) -> Stats:
        """A copy."""
        return replace(
            self._counters, workers=len(self.pids), streams=streams, open_utterances=len(self._utterances)
        )

    def begin(self, expected: Expected, listener: Listener, beside: Utterance | None) -> Utterance:
        """A new utterance; `beside` is one of the same call whose final is still owed."""
        self._last_number = (self._last_number + 1) & 0xFFFFFFFF
        utterance = Utterance(self._last_number, expected, listener, self._config)
        self._utterances[utterance.number] = utterance
        self._place(utterance, self._where.get(beside.number) if beside is not None else None)
        return utterance

    def push(self, utterance: Utterance, pcm: bytes) -> None:
        """More audio."""
        dropped = utterance.push(pcm)
        if dropped:
            self._counters.dropped_frames += -(-dropped // (utterance.expected.rate // 25))
        self._pump(utterance)

    def finish(self, utterance: Utterance) -> None:
        """No more audio; its listener gets the final."""
        utterance.finished_at = self._loop.time()
        if utterance.failed:
            self._fail(utterance)
        self._pump(utterance)

    def cancel(self, utterance: Utterance) -> None:
        """Its listener gets nothing more."""
        slot = self._release(utterance)
        if slot is not None:
            slot.send(Kind.CANCEL, utterance.number)

    def settle(self, utterance: Utterance, final: Final) -> None:
        """Count and hand out a final. Called by the engine too, for what no worker need hear."""
        counters = self._counters
        counters.utterances += 1
        counters.rejected += final.rejected
        counters.empty += not final.text and not final.rejected
        counters.cpu_s += final.cpu_s
        counters.audio_s += utterance.seconds
        counters.latency_s += final.latency_s
        utterance.listener.on_final(utterance, final)

    # Owner of the slots

    def on_started(self, slot: Slot) -> None:
        self.domains.tell(slot)

    def on_ready(self, slot: Slot) -> None:
        for number, at in list(self._where.items()):
            if at is None:
                self._place(self._utterances[number])

    def on_message(self, slot: Slot, kind: Kind, number: int, payload: bytes) -> None:
        if kind in (Kind.PREPARED, Kind.FAILED):
            self.domains.on_answer(slot, number, payload.decode())
            return
        utterance = slot.utterances.get(number)
        if utterance is None:
            return  # cancelled or given up meanwhile
        if kind is Kind.TAKEN:
            utterance.taken(COUNT.unpack(payload)[0])
            self._pump(utterance)
        elif kind is Kind.PARTIAL and utterance.finished_at is None:
            utterance.listener.on_partial(utterance, Transcript(final=False, **json.loads(payload)))
        elif kind is Kind.FINAL:
            self._on_final(utterance, **json.loads(payload))

    def on_death(self, slot: Slot, *, hung: bool) -> None:
        self._counters.restarts += 1
        self._counters.hung += hung
        self.domains.on_death(slot)
        orphans = list(slot.utterances.values())
        slot.utterances.clear()
        for utterance in orphans:
            self._where[utterance.number] = None
            utterance.rewind()
            if utterance.replays > self._config.max_replays:
                self._give_up(utterance, "workers die over it")
            else:
                self._counters.replayed += 1
                self._place(utterance)

    # Utterances

    def _place(self, utterance: Utterance, same: Slot | None = None) -> None:
        ready = [slot for slot in self._slots if slot.ready]
        if not ready:
            self._where[utterance.number] = None
            return
        # With the same worker the finals of one call come in order; else the least busy one.
        slot = same if same in ready else min(ready, key=lambda s: len(s.utterances))
        slot.touch()
        slot.utterances[utterance.number] = utterance
        self._where[utterance.number] = slot
        slot.send(Kind.BEGIN, utterance.number, json.dumps(asdict(utterance.expected)).encode())
        self._pump(utterance)

    def _pump(self, utterance: Utterance) -> None:
        slot = self._where.get(utterance.number)
        if slot is None:
            return
        while piece := utterance.next_audio():
            slot.touch()
            slot.send(Kind.AUDIO, utterance.number, piece)
        if utterance.finished_at is not None and utterance.all_sent and not utterance.finish_sent:
            slot.touch()
            utterance.finish_sent = True
            slot.send(Kind.FINISH, utterance.number)

    def _release(self, utterance: Utterance) -> Slot | None:
        self._utterances.pop(utterance.number, None)
        slot = self._where.pop(utterance.number, None)
        if slot is not None:
            del slot.utterances[utterance.number]
        return slot

    def _on_final(self, utterance: Utterance, error: str = "", **fields: Any) -> None:
        if error:
            self._counters.errors += 1
            log.error("speech recogniser failed", extra={"problem": error})
        if utterance.finished_at is None:
            self._fail(utterance)
            return
        self._release(utterance)
        self.settle(utterance, Final(**fields, latency_s=self._loop.time() - utterance.finished_at))

    def _give_up(self, utterance: Utterance, why: str) -> None:
        self._counters.lost += 1
        log.error("utterance given up", extra={"why": why, "replays": utterance.replays})
        self._fail(utterance)

    def _fail(self, utterance: Utterance) -> None:
        """Its final is empty: now if the speech has ended, else then."""
        slot = self._release(utterance)
        if slot is not None:
            slot.send(Kind.CANCEL, utterance.number)
        utterance.failed = True
        if utterance.finished_at is not None:
            self.settle(utterance, Final(latency_s=self._loop.time() - utterance.finished_at))

    def _watch(self) -> None:
        self._timer = self._loop.call_later(_WATCH_S, self._watch)
        now = self._loop.time()
        for slot in self._slots:
            slot.check(now)
        late = self._config.final_timeout_ms / 1000
        for utterance in list(self._utterances.values()):
            if utterance.finished_at is not None and now - utterance.finished_at > late:
                self._give_up(utterance, "its final is late")
