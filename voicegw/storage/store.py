"""Writing calls: whatever happens is posted at once and written later, by one task.

    post(op) -> deque (bounded) -> writer: gather 200 ms, one transaction -> database
                                           cannot be reached or is locked: wait, again, in the same order

Nobody who posts ever waits or fails. A database that is away costs memory, then (beyond the backlog) the
changes that come last; both are counted. At the end everything that was posted is written, or it is said
what was not.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from media.tasks import task_scope
from recordings.paths import FILE_MODE, FOLDER_MODE
from voicegw.storage.engine import Config, StorageError, database_url, open_engine
from voicegw.storage.migrate import check, migrate
from voicegw.storage.ops import Op, Started, statements

log = logging.getLogger(__name__)

GATHER_S = 0.2  # what comes together is written together; a reader lags by no more
BATCH = 200  # changes in one transaction, which keeps its lock a few milliseconds
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # then always the last

Prepare = Callable[[AsyncConnection], Awaitable[Callable[[], None]]]
"""What is done first, in one transaction; what it returns is called once that is committed."""


@dataclass(slots=True)
class StoreCounters:
    """For metrics and /health."""

    written: int = 0  # changes
    failures: int = 0  # attempts that will be repeated
    lost: int = 0  # changes that never got into the database
    down: str = ""  # why the database cannot be used now; "" when it can


class CallStore:
    """Made by `open_store`."""

    def __init__(self, engine: AsyncEngine, config: Config, prepare: Prepare | None = None) -> None:
        self._engine, self._config, self._prepare = engine, config, prepare
        self._waiting: deque[Op] = deque()
        self._came = asyncio.Event()
        self._done = asyncio.Event()  # nothing waits and nothing is being written
        self._hurry = asyncio.Event()  # the end: gather no more
        self._ready = False  # the tables are there
        self.counters = StoreCounters()

    @property
    def backlog(self) -> int:
        """Changes that are not written yet."""
        return len(self._waiting)

    def post(self, op: Op) -> None:
        """Have it written. Never waits, never raises."""
        if len(self._waiting) >= self._config.backlog:
            if not self.counters.lost:
                log.error("database backlog is full: calls are lost to it", extra={"backlog": self.backlog})
            self.counters.lost += 1
            return
        self._waiting.append(op)
        self._done.clear()
        self._came.set()

    async def drain(self) -> None:
        """Wait until all that was posted is written, `flush_s` at most; what is not by then is lost."""
        self._hurry.set()
        try:
            async with asyncio.timeout(self._config.flush_s):
                await self._done.wait()
        except TimeoutError:
            self.counters.lost += self.backlog
            log.error("calls could not be written to the database", extra={"changes": self.backlog})

    async def prepare(self) -> bool:
        """Connect and bring the tables up to date; False, and a line in the log, if that fails. The
        writer tries again. Raises StorageError if it would never succeed."""
        try:
            await self._open()
        except (DBAPIError, OSError) as error:
            self._failed(error, 0.0)
            return False
        return True

    async def write(self) -> None:
        """The writer: runs until it is cancelled."""
        while True:
            if not self._waiting:
                self._done.set()
                self._came.clear()
                await self._came.wait()
            await self._pause(GATHER_S)
            batch = [self._waiting[n] for n in range(min(BATCH, len(self._waiting)))]
            await self._insist(batch)
            for _ in batch:
                self._waiting.popleft()

    async def _insist(self, batch: list[Op]) -> None:
        """Write, however often it takes."""
        attempt = 0
        while True:
            try:
                await self._open()
                await self._save(batch)
                return
            except (OperationalError, InterfaceError, OSError, StorageError) as error:
                wait = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                self._failed(error, wait)
                await self._pause(wait)
                attempt += 1
            except Exception:  # refused for good; a change that cannot be written must not end the server
                await self._one_by_one(batch)
                return

    async def _one_by_one(self, batch: list[Op]) -> None:
        """Something in the batch is refused: only that shall be lost."""
        for op in batch:
            try:
                await self._save([op])
            except (OperationalError, InterfaceError, OSError):
                await self._insist([op])
            except Exception as error:  # as above
                self.counters.lost += 1
                log.error(
                    "database refused a change",
                    extra={"change": type(op).__name__, "call_id": _call_id(op), "error": _reason(error)},
                )

    async def _save(self, batch: list[Op]) -> None:
        async with self._engine.begin() as connection:
            for op in batch:
                for statement, rows in statements(op):
                    await connection.execute(statement, rows or None)
        self.counters.written += len(batch)
        if self.counters.down:
            log.warning("database answers again", extra={"backlog": self.backlog})
            self.counters.down = ""

    async def _open(self) -> None:
        if self._ready:
            return
        file = self._engine.url.database
        if self._engine.dialect.name == "sqlite" and file:
            _make(file)
        await (migrate(self._engine) if self._config.migrate else check(self._engine))
        if self._prepare is not None:
            async with self._engine.begin() as connection:
                committed = await self._prepare(connection)
            committed()
        self._ready = True

    def _failed(self, error: Exception, wait_s: float) -> None:
        self.counters.failures += 1
        reason = _reason(error)
        if not self.counters.down:  # said once; `down` and `failures` tell the rest
            log.error("database cannot be written", extra={"error": reason, "next_try_s": wait_s})
        self.counters.down = reason

    async def _pause(self, seconds: float) -> None:
        """Wait, but at the end only a moment."""
        if self._hurry.is_set():
            await asyncio.sleep(min(seconds, 0.05) if seconds != GATHER_S else 0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass


def _make(database: str) -> None:
    """An empty file, for SQLite would let everybody read it; its other files follow this one."""
    file = Path(database)
    file.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if not database.startswith((":", "file:")):
        file.touch(FILE_MODE)


def _call_id(op: Op) -> str:
    return op.info.call_id if isinstance(op, Started) else op.call_id


def _reason(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)


@asynccontextmanager
async def open_store(
    config: Config, data_dir: Path, prepare: Prepare | None = None
) -> AsyncIterator[CallStore]:
    """A store with its writer; leaving the block writes what is left. `prepare` runs once, before the
    first change, on the finished tables. Raises StorageError if the database can never be used."""
    url = database_url(config, data_dir)
    engine = open_engine(url, busy_timeout_ms=config.busy_timeout_ms)
    store = CallStore(engine, config, prepare)
    try:
        await store.prepare()
        async with task_scope() as start:
            start(store.write(), "database")
            try:
                yield store
            finally:
                await store.drain()
    finally:
        await engine.dispose()
