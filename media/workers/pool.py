"""Requests for worker processes: one at a time a worker, the others wait, nothing is lost with a worker.

A request whose worker dies or hangs before the first piece of its answer goes to another worker; later, it
fails: whoever reads has acted on what came. Cancelling (closing the stream) reaches a worker between two
pieces. All state belongs to the event loop; nothing here blocks it.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from media.errors import ProviderError
from media.workers.child import Kind
from media.workers.lives import Lives, Patience, end_all
from media.workers.process import Program, WorkerProcess

log = logging.getLogger(__name__)

_STOP_S = 2.0  # for a worker to finish its piece and exit
_WATCH_S = 0.25


class WorkerError(ProviderError):
    """A request failed: its worker died, it cannot be given to any, or the engine raised."""


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Workers of one engine."""

    workers: int = 1
    """Processes; each loads the model. Requests beyond as many wait."""
    threads: int = 0
    """Threads that numeric libraries (OpenMP, BLAS) may use in each worker. 0: as many as they like."""
    nice: int = 5
    """Niceness, 0..19: the 20 ms audio ticks of the parent go first."""
    start_s: float = 120.0
    """A worker that takes longer to load its model is killed and started again."""
    hang_s: float = 30.0
    """A worker that has a request and says nothing for so long is killed. Longer than the longest wait for
    a piece of an answer."""
    restart_max_s: float = 30.0
    """A dead worker is replaced at once; one that keeps dying after 0.25, 0.5, 1 ... up to so many s."""
    retries: int = 1
    """A request whose worker died before its answer began is given to so many further ones."""
    queue: int = 100
    """Requests that may wait for a worker; beyond, they are refused at once."""
    wait_s: float = 20.0
    """A request that has waited so long for a worker fails: nobody stays on the line for its answer."""


@dataclass(slots=True)
class PoolStats:
    """Counters since the start; gauges where said so."""

    workers: int = 0  # gauge: ready
    busy: int = 0  # gauge: requests in work
    waiting: int = 0  # gauge: requests that wait for a worker
    requests: int = 0  # begun
    answered: int = 0  # to the end
    cancelled: int = 0
    failed: int = 0
    refused: int = 0  # the queue was full
    retried: int = 0
    restarts: int = 0  # workers that died
    hung: int = 0  # of these, killed because they said nothing
    busy_s: float = 0.0  # time of workers
    wait_s: float = 0.0  # time of requests in the queue


@dataclass(slots=True, eq=False)
class _Job:
    """One request."""

    number: int
    request: bytes
    asked_at: float  # loop time
    pieces: "asyncio.Queue[bytes | WorkerError | None]"  # None: the end
    deaths: int = 0
    begun: bool = False  # the first piece has come
    cancelled: bool = False


class _Worker:
    """Implements `media.workers.lives.Owner`: one place for a worker, and the job it has."""

    def __init__(self, index: int, program: Program, pool: "WorkerPool") -> None:
        config = pool.config
        self._pool = pool
        patience = Patience(config.hang_s, config.start_s, config.restart_max_s)
        self.lives = Lives(index, program, patience, self)
        self.ready = False
        self.unfit = ""  # why it could not make its engine
        self.job: _Job | None = None
        self._since = 0.0  # loop time

    @property
    def owes(self) -> bool:
        """Its start, or an answer."""
        return not self.ready or self.job is not None

    @property
    def slow(self) -> bool:
        """While it loads its model."""
        return not self.ready

    def give(self, job: _Job, now: float) -> None:
        """It is idle: this is its next request."""
        self.lives.touch()
        self.job, self._since = job, now
        self.lives.send(Kind.REQUEST, job.number, job.request)

    def take(self, now: float) -> _Job | None:
        """What it was at; it is idle now."""
        job, self.job = self.job, None
        if job is not None:
            self._pool.counters.busy_s += now - self._since
        return job

    def on_born(self) -> None:
        """Configure it."""
        self.unfit = ""
        self.lives.send(Kind.CONFIGURE, 0, self._pool.first_words)

    def on_message(self, kind: int, number: int, payload: bytes) -> None:
        """It says something."""
        match kind:
            case Kind.READY:
                self.ready = self.lives.reached = True
                self._pool.on_ready(self)
            case Kind.UNFIT:
                self.unfit = payload.decode()
            case _ if self.job is not None and number == self.job.number:
                self._pool.on_answer(self, self.job, Kind(kind), payload)

    def on_death(self, reason: str, *, hung: bool, again_s: float) -> None:
        """It died."""
        self.ready = False
        self._pool.on_death(self, self.unfit or reason, hung=hung, again_s=again_s)


class WorkerPool:
    """The workers of one engine. `start`, and in the end `close`."""

    def __init__(
        self, module: str, settings: Mapping[str, Any], config: PoolConfig = PoolConfig(), *, name: str
    ) -> None:
        """`module` is imported in the workers alone: its `create(settings)` gives the engine
        (media/workers/child.py). `settings` must be JSON. Belongs to the running loop."""
        self.config, self.name = config, name
        self.counters = PoolStats()
        self.first_words = json.dumps({"nice": config.nice, "settings": dict(settings)}).encode()
        self._loop = asyncio.get_running_loop()
        threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
        environ = dict.fromkeys(threads, str(config.threads)) if config.threads else {}
        program = Program(name, "media.workers.child", (module,), environ)
        self._workers = [_Worker(index, program, self) for index in range(max(1, config.workers))]
        self._waiting: deque[_Job] = deque()
        self._last_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()  # a worker became ready, or died
        self._reason = ""  # of the last death
        self._closed = False
        self._fit = False  # a worker was ready once

    async def start(self) -> None:
        """Start the workers, and wait until one is ready; the others follow. Raises WorkerError when the
        first to try has failed for good (its engine cannot be made) or none is ready in time. Cancelled, it
        may be called again, and waits on."""
        if self._timer is None:
            for worker in self._workers:
                worker.lives.start()
            self._watch()
        try:
            async with asyncio.timeout(self.config.start_s):
                while not self._fit:
                    if self._closed:
                        raise WorkerError(f"{self.name}: the pool is closed")
                    if self._reason:
                        raise WorkerError(f"{self.name}: {self._reason}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise WorkerError(f"{self.name}: no worker is ready", retryable=True) from None

    async def close(self) -> None:
        """Stop the workers; no zombie stays. What is asked or waits fails. Idempotent."""
        self._closed = True
        self._changed.set()
        if self._timer is not None:
            self._timer.cancel()
        for job in [job for worker in self._workers if (job := worker.take(self._loop.time()))]:
            self._fail(job, "the pool is closed")
        while self._waiting:
            self._fail(self._waiting.popleft(), "the pool is closed")
        stopped: list[WorkerProcess | None] = [worker.lives.stop() for worker in self._workers]
        await end_all([process for process in stopped if process is not None], _STOP_S)

    async def request(self, request: bytes) -> bytes:
        """The answer as a whole. Raises WorkerError. Cancelling it cancels the request."""
        async with aclosing(self.stream(request)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def stream(self, request: bytes) -> AsyncGenerator[bytes, None]:
        """The pieces of the answer as they come. Raises WorkerError. Close it (`aclosing`) to cancel."""
        job = self._begin(request)
        try:
            while (piece := await job.pieces.get()) is not None:
                if isinstance(piece, WorkerError):
                    raise piece
                yield piece
        finally:
            self._leave(job)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return [worker.lives.process.pid for worker in self._workers if worker.lives.process is not None]

    def stats(self) -> PoolStats:
        """A copy."""
        ready = sum(worker.ready for worker in self._workers)
        busy = sum(worker.job is not None for worker in self._workers)
        return replace(self.counters, workers=ready, busy=busy, waiting=len(self._waiting))

    def fault(self) -> str | None:
        """For /health: why requests are not answered now; None when they are."""
        if any(worker.ready for worker in self._workers):
            return None
        return f"no {self.name} worker is ready" + (f": {self._reason}" if self._reason else "")

    # The workers

    def on_ready(self, worker: _Worker) -> None:
        """A worker is there."""
        log.info("worker ready", extra={"worker": self._who(worker), "took_ms": worker.lives.age_ms})
        self._fit = True
        self._changed.set()
        self._next(worker)

    def on_answer(self, worker: _Worker, job: _Job, kind: Kind, payload: bytes) -> None:
        """A worker says something of its job."""
        if kind is Kind.PIECE:
            job.begun = True
            job.pieces.put_nowait(payload)
            return
        worker.take(self._loop.time())
        if kind is Kind.FAILED:
            error = payload.decode(errors="replace")
            log.error("worker failed at a request", extra={"worker": self._who(worker), "error": error})
            self._fail(job, error)
        elif not job.cancelled:
            self.counters.answered += 1
            job.pieces.put_nowait(None)
        self._next(worker)

    def on_death(self, worker: _Worker, reason: str, *, hung: bool, again_s: float) -> None:
        """A worker died; another life of it begins after `again_s`."""
        self.counters.restarts += 1
        self.counters.hung += hung
        self._reason = reason
        job = worker.take(self._loop.time())
        fields = {"worker": self._who(worker), "reason": reason, "again_s": again_s}
        log.error("worker died", extra=fields | {"had_request": job is not None})
        self._changed.set()
        if job is None or job.cancelled:
            return
        job.deaths += 1
        if job.begun or job.deaths > self.config.retries:
            self._fail(job, f"its worker {'hung' if hung else 'died'}: {reason}", retryable=True)
            return
        self.counters.retried += 1
        job.asked_at = self._loop.time()
        self._waiting.appendleft(job)
        self._hand_out()

    # Jobs

    def _begin(self, request: bytes) -> _Job:
        if self._closed:
            raise WorkerError(f"{self.name}: the pool is closed")
        if len(self._waiting) >= self.config.queue:
            self.counters.refused += 1
            raise WorkerError(f"{self.name}: too many requests wait", retryable=True)
        self.counters.requests += 1
        self._last_number = (self._last_number + 1) & 0xFFFFFFFF
        job = _Job(self._last_number, request, self._loop.time(), asyncio.Queue())
        self._waiting.append(job)
        self._hand_out()
        return job

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.ready and worker.job is None:
                self._next(worker)

    def _next(self, worker: _Worker) -> None:
        if self._waiting and worker.ready and worker.job is None:
            job, now = self._waiting.popleft(), self._loop.time()
            self.counters.wait_s += now - job.asked_at
            worker.give(job, now)

    def _leave(self, job: _Job) -> None:
        """Nobody reads it any more. If it is still in work, its worker is told to stop, and is free when
        it has."""
        if job in self._waiting:
            self._waiting.remove(job)
            self.counters.cancelled += 1
        for worker in self._workers:
            if worker.job is job:
                job.cancelled = True
                self.counters.cancelled += 1
                worker.lives.send(Kind.CANCEL, job.number)

    def _fail(self, job: _Job, why: str, *, retryable: bool = False) -> None:
        self.counters.failed += 1
        job.pieces.put_nowait(WorkerError(f"{self.name}: {why}", retryable=retryable))

    def _who(self, worker: _Worker) -> str:
        return f"{self.name} {worker.lives.index}"

    def _watch(self) -> None:
        now = self._loop.time()
        for worker in self._workers:
            worker.lives.check(now)
        while self._waiting and now - self._waiting[0].asked_at > self.config.wait_s:
            self._fail(self._waiting.popleft(), self.fault() or "no worker is free", retryable=True)
        self._timer = self._loop.call_later(_WATCH_S, self._watch)
