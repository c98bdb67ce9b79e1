"""What carriers tell of calls that are over: into their timelines, once those are closed.

    report -> SETTLE_S -> the archive        a server that stops waits no longer than FLUSH_S for all of them

What cannot be kept is logged and counted.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from media.tasks import Start
from voicegw.archive import Archive
from voicegw.storage.engine import StorageError

log = logging.getLogger(__name__)

SETTLE_S = 10.0  # until the files of a call that has ended are closed
FLUSH_S = 3.0  # when the server stops: then they are closed at once, unless the disk is slow
AGAIN_S = 0.2
MOST = 1000  # reports that wait; a carrier sends two or three a call


@dataclass(slots=True)
class ReportCounters:
    """Since the start of the process."""

    kept: int = 0
    unknown: int = 0  # on calls that nobody knows
    lost: int = 0


class LateReports:
    """Keeps them. Belongs to one loop; `start` owns the tasks, and must end after `close`."""

    def __init__(self, archive: Archive, start: Start) -> None:
        self._archive, self._start = archive, start
        self._closing = asyncio.Event()
        self._waiting: set[asyncio.Task[None]] = set()
        self.counters = ReportCounters()

    @property
    def waiting(self) -> int:
        """Reports that are not kept yet."""
        return len(self._waiting)

    def report(self, carrier: str, call_id: str, fields: Mapping[str, str]) -> None:
        """Have it kept; `call_id` is the carrier's. Never waits, never raises."""
        if len(self._waiting) >= MOST:
            self._lose(carrier, call_id, fields, "too many wait")
            return
        task = self._start(self._keep(carrier, call_id, fields), "carrier report")
        self._waiting.add(task)

        def over(done: asyncio.Task[None]) -> None:
            self._waiting.discard(done)
            if done.cancelled():
                self._lose(carrier, call_id, fields, "the server stops, and the call is not there yet")

        task.add_done_callback(over)

    async def close(self) -> None:
        """Keep what waits, for a moment; then give up. Idempotent."""
        self._closing.set()
        if not self._waiting:
            return
        _, late = await asyncio.wait(self._waiting, timeout=FLUSH_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _keep(self, carrier: str, call_id: str, fields: Mapping[str, str]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._closing.wait()
        try:
            while not await self._archive.report(carrier, call_id, fields):
                if not self._closing.is_set():
                    self.counters.unknown += 1
                    extra = _said(carrier, call_id, fields)
                    log.warning("carrier reports on a call that nobody knows", extra=extra)
                    return
                await asyncio.sleep(AGAIN_S)  # until `close` gives up
            self.counters.kept += 1
        except StorageError as error:
            self._lose(carrier, call_id, fields, str(error))

    def _lose(self, carrier: str, call_id: str, fields: Mapping[str, str], why: str) -> None:
        self.counters.lost += 1
        log.error("carrier's report is lost", extra={**_said(carrier, call_id, fields), "error": why})


def _said(carrier: str, call_id: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {"carrier": carrier, "carrier_id": call_id, "kind": fields["kind"]}
