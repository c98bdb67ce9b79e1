"""What remains of each call, gathered while it lasts: timeline, recording, metrics, and the storage.

    events of the call -> CallLog (file) . Metrics . CallStore (calls and turns)
    audio of the call  -> Recorder (file)

Files are written by one thread for all calls, the database by one task. Where either fails, counters and
the health page say so; no call notices.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.leg import CallInfo, HangupCause
from media.observe import CallTap, EventName
from recordings.calllog import CallLog
from recordings.calllog import Config as TimelineConfig
from recordings.paths import CallFiles
from recordings.recorder import Config as RecordingConfig
from recordings.recorder import Recorder, Recording
from recordings.timeline import Conversation
from recordings.writer import DiskWriter
from voicegw.clock import utc
from voicegw.journal import CallJournal
from voicegw.metrics import Metrics
from voicegw.storage.ops import Answered, Ended, Op, Recorded, Spoken, Started
from voicegw.storage.store import CallStore

log = logging.getLogger(__name__)

CLOSE_S = 5.0  # for the disk to take the last second of a call; later it is finished without us
FOLDER = "recordings"  # below the data folder


@dataclass(frozen=True, slots=True)
class Remains:
    """Opens the journal of each call. Implements `voicegw.journal.Journals`."""

    data_dir: Path
    writer: DiskWriter
    store: CallStore
    recording: RecordingConfig
    timeline: TimelineConfig
    metrics: Metrics

    @asynccontextmanager
    async def open(self, info: CallInfo, flow: str) -> AsyncIterator[CallJournal]:
        """The journal of one call, from its INVITE on."""
        journal = Journal(self, info, flow)
        try:
            yield journal
        finally:
            await journal.close()

    def relative(self, path: Path) -> str:
        """As the database keeps it, so that the data folder can be moved."""
        return str(path.relative_to(self.data_dir))


class Journal:
    """One call's. A `CallObserver` that fans out."""

    def __init__(self, remains: Remains, info: CallInfo, flow: str) -> None:
        self._remains, self._info = remains, info
        self._files = CallFiles(remains.data_dir / FOLDER, info.call_id, utc())
        self._clock = asyncio.get_running_loop().time
        self.epoch = self._clock()
        self._log: CallLog | None = None
        if remains.timeline.enabled:
            self._log = CallLog(self._files, self._clock, remains.writer, remains.timeline)
            self.epoch = self._log.epoch
        self._conversation = Conversation()
        self._recorder: Recorder | None = None
        self._answered: float | None = None  # loop time
        self._ended = False
        timeline = remains.relative(self._files.timeline) if self._log is not None else None
        self._post(Started(info, flow, self._files.started_at, timeline_path=timeline))
        parties = {"from": info.caller, "to": info.callee, "direction": info.direction, "flow": flow}
        self.event("call", state="ringing", carrier=info.carrier, carrier_id=info.carrier_id, **parties)

    @property
    def tap(self) -> CallTap | None:
        """The recorder, once the call is answered."""
        return self._recorder

    def event(self, name: EventName, /, **fields: Any) -> None:
        """One event, to all who keep it."""
        if self._log is not None:
            self._log.event(name, **fields)
        self._remains.metrics.event(name, fields)
        changed = self._conversation.feed(name, fields)
        if changed is not None:
            self._post(Spoken(self._info.call_id, changed, tuple(self._conversation.turns[changed:])))

    def answered(self, rate: int) -> None:
        """Start to record, at `rate` Hz."""
        remains = self._remains
        path = None
        if remains.recording.enabled:
            self._recorder = Recorder(self._files, rate, remains.writer, remains.recording)
            path = remains.relative(self._files.recording)
        self._answered = self._clock()
        self._post(Answered(self._info.call_id, utc(), path))
        self.event("call", state="answered", rate=rate)

    def ended(self, cause: HangupCause) -> None:
        """The final state; a second one is a bug, and ignored."""
        if self._ended:
            log.error("call ended twice", extra={"call_id": self._info.call_id, "cause": cause.name})
            return
        self._ended = True
        name, answered = cause.name.lower(), self._answered
        duration = None if answered is None else round((self._clock() - answered) * 1000)
        self._post(Ended(self._info.call_id, utc(), name, duration_ms=duration))
        self.event("call", state="ended", cause=name, q850=cause.value)

    async def close(self) -> None:
        """Let the files be finished. Never raises."""
        if self._recorder is not None:
            recording = await self._finished(self._recorder.close((self._clock() - self.epoch) * 1000))
            if isinstance(recording, Recording):
                self._recorded(recording)
        if self._log is not None:
            await self._finished(self._log.close())

    def _recorded(self, recording: Recording) -> None:
        if recording.error:
            self.event("error", where="recording", message=recording.error)
        path = (
            self._remains.relative(recording.path) if recording.duration_ms or not recording.error else None
        )
        self._post(Recorded(self._info.call_id, recording.state.value, recording.sha256, path))

    async def _finished(self, work: "Future[Any]") -> Any:
        try:
            async with asyncio.timeout(CLOSE_S):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            log.error("disk is slow: a call's files are still being written")
        except (RuntimeError, OSError) as error:
            log.error("a call's files are lost", extra={"error": str(error)})
        return None

    def _post(self, op: Op) -> None:
        self._remains.store.post(op)
