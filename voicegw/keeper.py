"""What remains of calls, behind one door: timeline, recording, database, metrics.

    CallSession -- event --> KeptCall -+-> CallLog   (recordings/, disk thread) -> YYYY/MM/DD/<id>.jsonl
                                       +-> Conversation -> CallStore (storage/) -> voicegw.db
                                       '-> listeners (metrics), and who watches this call (its page)
                -- audio --> Recorder  (recordings/, disk thread) -------------> YYYY/MM/DD/<id>.wav

A broken disk or database costs what they would have kept, and is said once; no call notices.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from media.leg import CallInfo, HangupCause
from media.observe import CallTap, EventName
from recordings.calllog import CallLog
from recordings.calllog import Config as TimelineConfig
from recordings.paths import CallFiles
from recordings.recorder import Config as RecordingConfig
from recordings.recorder import Recorder, Recording
from recordings.recover import recover
from recordings.space import DiskSpace
from recordings.timeline import Conversation
from recordings.writer import Counters, DiskWriter
from voicegw import clock
from voicegw.storage.crash import close_crashed
from voicegw.storage.engine import Config as StorageConfig
from voicegw.storage.ops import Answered, Ended, Recorded, Spoken, Started
from voicegw.storage.store import CallStore, open_store

log = logging.getLogger(__name__)

CLOSE_S = 5.0  # for a recording's end to reach the disk; later it is noted without the call
JOIN_S = 10.0  # the same for all of them when the server stops

Listener = Callable[[EventName, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class KeeperConfig:
    """What is kept, and where."""

    data_dir: Path
    recording: RecordingConfig = RecordingConfig()
    timeline: TimelineConfig = TimelineConfig()
    storage: StorageConfig = StorageConfig()

    @property
    def calls_dir(self) -> Path:
        """Recordings and timelines."""
        return self.data_dir / "calls"


class KeptCall:
    """One call's journal (voicegw/journal.py). Nothing here raises into the call."""

    def __init__(self, keeper: "CallKeeper", info: CallInfo, flow: str) -> None:
        self._keeper, self._info = keeper, info
        self._loop = asyncio.get_running_loop()
        self._started_at = keeper.now()
        self._files = CallFiles(keeper.config.calls_dir, info.call_id, self._started_at)
        self._conversation = Conversation()
        self._log: CallLog | None = None
        self._recorder: Recorder | None = None
        self._cause: tuple[HangupCause, int | None] | None = None
        self._answered_ms: float | None = None  # call time
        self._broken = False
        self.epoch = self._loop.time()
        if keeper.config.timeline.enabled:
            self._log = CallLog(self._files, self._loop.time, keeper.writer, keeper.config.timeline)
            self.epoch = self._log.epoch
        timeline = self._relative(self._files.timeline) if self._log is not None else None
        keeper.store.post(Started(info, flow, self._started_at, keeper.server, timeline))
        parties = {"from": info.caller, "to": info.callee, "direction": info.direction.value, "flow": flow}
        if info.retry_of:
            parties |= {"attempt": str(info.attempt), "retry_of": info.retry_of}
        self.event("call", state="ringing", carrier=info.carrier, carrier_id=info.carrier_id, **parties)

    @property
    def tap(self) -> CallTap | None:
        """Where the call's audio goes; None: it is not recorded, or not yet answered."""
        return self._recorder

    @property
    def recorder(self) -> Recorder | None:
        """To pause and resume the recording."""
        return self._recorder

    def event(self, name: EventName, /, **fields: object) -> None:
        """One event, to everybody who keeps or counts it."""
        try:
            if self._log is not None:
                self._log.event(name, **fields)
            changed = self._conversation.feed(name, fields)
            if changed is not None:
                turns = tuple(self._conversation.turns[changed:])
                self._keeper.store.post(Spoken(self._info.call_id, changed, turns))
            for listener in self._keeper.listeners:
                listener(name, fields)
            if watcher := self._keeper.watchers.get(self._info.call_id):
                watcher(name, fields)
        except Exception:  # a bug in what is kept of a call must not harm the call
            if not self._broken:
                log.exception("event could not be kept", extra={"event": name})
            self._broken = True

    def answered(self, rate: int, carrier_id: str = "") -> None:
        """The caller is connected; audio of `rate` Hz will follow. `carrier_id` if it is new."""
        if self._keeper.config.recording.enabled:
            self._recorder = Recorder(self._files, rate, self._keeper.writer, self._keeper.config.recording)
        path = self._relative(self._files.recording) if self._recorder is not None else None
        self._answered_ms = self._now_ms()
        answered = Answered(self._info.call_id, self._at(self._answered_ms), path, carrier_id)
        self._keeper.store.post(answered)
        self.event("call", state="answered", rate=rate)

    def ended(self, cause: HangupCause, sip_status: int | None = None) -> None:
        """The final state; only the first counts. `sip_status`: the answer that refused the call."""
        if self._cause is None:
            self._cause = (cause, sip_status)

    async def close(self) -> None:
        """Finish the files and tell the database, in this order: a call that has ended is all there."""
        cause, status = self._cause or (HangupCause.INTERNAL, None)
        at_ms, name = self._now_ms(), cause.name.lower()
        duration = None if self._answered_ms is None else round(at_ms - self._answered_ms)
        try:
            if self._recorder is not None:
                done = asyncio.wrap_future(self._recorder.close(at_ms))
                done.add_done_callback(self._recorded)  # even if we do not wait for it
                await self._wait("recording", done)
            self.event("call", state="ended", cause=name, q850=cause.value, duration_ms=duration)
            if self._log is not None:
                await self._wait("timeline", asyncio.wrap_future(self._log.close()))
        finally:
            ended = Ended(self._info.call_id, self._at(at_ms), name, status, duration)
            self._keeper.store.post(ended)

    async def _wait(self, what: str, done: "asyncio.Future[Any]") -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.shield(done)
        except Exception as error:  # a slow disk, or a bug in what is kept: the call is over anyway
            log.error(
                "not finished with its call",
                extra={
                    "call_id": self._info.call_id,
                    "what": what,
                    "error": f"{type(error).__name__}: {error}",
                },
            )

    def _recorded(self, done: "asyncio.Future[Recording]") -> None:
        if done.cancelled() or done.exception() is not None:
            return  # said where it is waited for
        result = done.result()
        if result.error:
            self.event("error", where="recording", message=result.error)
        nothing = result.error and not result.duration_ms
        path = None if nothing else self._relative(result.path)
        self._keeper.store.post(Recorded(self._info.call_id, result.state.value, result.sha256, path))

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._keeper.config.data_dir))

    def _now_ms(self) -> float:
        return (self._loop.time() - self.epoch) * 1000

    def _at(self, ms: float) -> datetime:
        return self._started_at + timedelta(milliseconds=ms)


class CallKeeper:
    """Opens a journal for each call (voicegw/journal.py: `Journals`). Made by `open_keeper`."""

    def __init__(
        self,
        config: KeeperConfig,
        writer: DiskWriter,
        store: CallStore,
        listeners: Sequence[Listener],
        now: Callable[[], datetime],
    ) -> None:
        self.config, self.writer, self.store, self.listeners, self.now = config, writer, store, listeners, now
        self.server = server_name(config)
        self.watchers: dict[str, Listener] = {}

    def watch(self, call_id: str, watcher: Listener) -> Callable[[], None]:
        """Tell `watcher` the events of one call, which may still have to begin. Returns what ends that."""
        self.watchers[call_id] = watcher
        return lambda: self.watchers.pop(call_id, None) and None

    @asynccontextmanager
    async def open(self, info: CallInfo, flow: str) -> AsyncIterator[KeptCall]:
        """The call clock starts here. Leaving the block finishes the files and hands the rest to the
        storage; it raises nothing of its own."""
        call = KeptCall(self, info, flow)
        try:
            yield call
        finally:
            await call.close()

    @property
    def counters(self) -> Counters:
        """Of recordings and timelines; those of the database are `store.counters`."""
        return self.writer.counters

    def storage_fault(self) -> str | None:
        """For /health: why calls do not get into the database; None when they do."""
        return self.store.counters.down or None

    def disk_fault(self) -> str | None:
        """For /health: why recordings and timelines are not written, or soon will not be; None: they are."""
        if self.writer.fault:
            failed, timelines = self.counters.failed, self.counters.timelines_failed
            return f"{self.writer.fault}; {failed} recordings and {timelines} timelines are lost"
        return self.writer.space.fault() if self.writer.space is not None else None


def server_name(config: KeeperConfig) -> str:
    """Which server this is, where several share a database."""
    return f"{socket.gethostname()}:{config.data_dir.absolute()}"


@asynccontextmanager
async def open_keeper(
    config: KeeperConfig,
    listeners: Sequence[Listener] = (),
    now: Callable[[], datetime] = clock.utc,
) -> AsyncIterator[CallKeeper]:
    """Closes what a crash left open, then keeps calls until the block is left; then writes what is left.
    Raises StorageError if the database can never be used."""
    writer = DiskWriter(space=DiskSpace(config.data_dir, config.recording.low_disk_mb))
    writer.start()
    try:
        recovery = await asyncio.wrap_future(writer.submit(lambda: recover(config.calls_dir)))

        async def prepare(connection: AsyncConnection) -> Callable[[], None]:
            for call_id in await close_crashed(connection, config.data_dir, recovery, server_name(config)):
                log.warning("closed a call that a crash had left open", extra={"call_id": call_id})
            return recovery.forget

        async with open_store(config.storage, config.data_dir, prepare) as store:
            try:
                yield CallKeeper(config, writer, store, tuple(listeners), now)
            finally:
                writer.close()
                if not await asyncio.to_thread(writer.join, JOIN_S):
                    log.error("the disk does not answer: recordings are incomplete")
                await asyncio.sleep(0)  # results of the last recordings reach the store
    finally:
        writer.close()
