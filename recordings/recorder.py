"""Recording of one call: stereo WAV, the caller left, the bot right, aligned to the call clock.

    received(pcm, at_ms) --.                        .-- Track left  --.
                           +-- deque -- (thread) ---+                 +-- interleave -- pwrite, sizes patched
    played(pcm, at_ms) ----'                        '-- Track right --'

What is heard is where it was heard, within a packet time, however long the call (recordings/track.py).
The file is playable at any time: with every flush the header says what is there. Its end lags `late_ms`
behind the call, so that audio which is confirmed late still finds its place, and a pause is masked before
anything of it was written. When the disk refuses (it is full), the call goes on; what came meanwhile is
silent in the file, which continues as soon as there is room (`partial`), else the result says `failed`. When
it is too slow, what memory may not hold is dropped, counted, and silent likewise.
"""

import hashlib
import logging
import os
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from recordings.paths import CallFiles, create, mark_of, write_all
from recordings.track import Track
from recordings.wav import HEADER_SIZE, MAX_DATA, WavInfo, header
from recordings.writer import DiskWriter

log = logging.getLogger(__name__)

CHANNELS = 2
BLOCK = 2 * CHANNELS  # bytes of one sample of both
CHUNK_S = 10  # seconds written at once: bounds the memory for a long silence
MARGIN_MS = 20  # a masked stretch is wider by this on both sides: audio is aligned only so well
PACKET_MS = 20
_LEFT, _RIGHT, _PAUSE, _RESUME, _END = range(5)


@dataclass(frozen=True, slots=True)
class Config:
    """Recording of calls."""

    enabled: bool = True
    """Record calls. Ask your callers for consent where the law wants it."""
    late_ms: int = 700
    """How late audio may be reported and still be recorded, 600 or more. Half a second is looked ahead, to
    tell jitter from gaps, and carriers that buffer confirm playback up to this much later."""
    backlog_ms: int = 30_000
    """Audio held in memory while the disk does not answer, at most; 1 MB a call at 8 kHz. What comes then is
    lost to the recording, not to the call."""
    checksum: bool = False
    """Compute the SHA-256 of finished recordings: reads the file again, 60 ms for half an hour."""
    low_disk_mb: int = 500
    """Free space below which /health is degraded and the log warns, before the disk is full: four hours of
    speech of one call, as 16-bit stereo at 8 kHz. 0: do not look."""

    def __post_init__(self) -> None:
        if self.late_ms < 600:
            raise ValueError(f"late_ms must be 600 or more, but is {self.late_ms}")


class RecordingState(StrEnum):
    """What a recording is worth."""

    COMPLETE = "complete"
    PARTIAL = "partial"  # playable, something is missing
    FAILED = "failed"  # the disk refused; what was written before is playable


@dataclass(frozen=True, slots=True)
class Recording:
    """What became of one recording."""

    path: Path
    state: RecordingState
    duration_ms: int
    rate: int  # Hz
    channels: int = CHANNELS
    dropped: int = 0  # frames: the disk was too slow, or their time was impossible
    sha256: str = ""
    error: str = ""


class Recorder:
    """A `media.observe.CallTap`. Its methods cost under a microsecond; the thread does the rest."""

    def __init__(self, files: CallFiles, rate: int, writer: DiskWriter, config: Config = Config()) -> None:
        """`rate` in Hz, of both directions."""
        self._files, self._writer, self._config = files, writer, config
        self._inbox: deque[tuple[int, float, bytes]] = deque()
        self._limit = CHANNELS * config.backlog_ms // PACKET_MS
        self._dropped = 0  # frames
        self._paused = False
        self._masked_until = 0.0  # ms
        # From here on the thread's.
        self._rate = rate
        self._tracks = (Track(rate), Track(rate))
        self._masks: list[list[float]] = []  # [start, end) in samples; end is infinite while paused
        self._fd = -1
        self._written = 0  # samples; where the next one goes
        self._durable = 0  # samples; how far the file really goes
        self._lost = 0  # samples that the disk did not take
        self._end = 0  # samples; how long the file shall be
        self._error = ""
        writer.counters.recordings += 1
        writer.add(self)

    # Audio plane

    def received(self, pcm: bytes, at_ms: float) -> None:
        """The caller's audio."""
        self._put(_LEFT, pcm, at_ms)

    def played(self, pcm: bytes, at_ms: float) -> None:
        """The bot's audio, as heard."""
        self._put(_RIGHT, pcm, at_ms)

    def _put(self, channel: int, pcm: bytes, at_ms: float) -> None:
        if self._paused or at_ms < self._masked_until:
            return
        if len(self._inbox) < self._limit:
            self._inbox.append((channel, at_ms, pcm))
        else:
            self._writer.counters.frames_dropped += 1
            self._dropped += 1

    # Control plane

    def pause(self, at_ms: float) -> None:
        """Record silence from now on: somebody says a card number."""
        if not self._paused:
            self._paused = True
            self._inbox.append((_PAUSE, at_ms, b""))

    def resume(self, at_ms: float) -> None:
        """Record again."""
        if self._paused:
            self._paused, self._masked_until = False, at_ms
            self._inbox.append((_RESUME, at_ms, b""))

    def close(self, at_ms: float = 0.0) -> "Future[Recording]":
        """The call is over, at `at_ms`: write the rest, in the thread."""
        self._paused = True
        self._inbox.append((_END, at_ms, b""))
        return self._writer.finish(self)

    # The writer's thread

    def flush(self) -> None:
        """Write all but the last `late_ms`."""
        self._sort()
        newest = max(track.newest for track in self._tracks)
        self._write(newest - self._config.late_ms * self._rate // 1000)

    def finish(self) -> Recording:
        """Write the rest and close the file."""
        self._sort()
        for track in self._tracks:
            track.settle(track.newest + 1)
        self._write(max(self._end, *(track.end for track in self._tracks)))
        digest = self._close()
        dropped = self._dropped + sum(track.misplaced for track in self._tracks)
        state = RecordingState.PARTIAL if dropped or self._lost else RecordingState.COMPLETE
        if self._error:
            state = RecordingState.FAILED
        counters = self._writer.counters
        setattr(counters, state.value, getattr(counters, state.value) + 1)
        duration = self._durable * 1000 // self._rate
        path = self._files.recording
        return Recording(path, state, duration, self._rate, CHANNELS, dropped, digest, self._error)

    def _close(self) -> str:
        """Let go of the file; its checksum, if one is wanted."""
        digest = ""
        try:
            if self._config.checksum and not self._error:
                digest = _sha256(self._files.recording)
            if self._fd >= 0:
                os.close(self._fd)
            mark_of(self._files.root, self._files.recording).unlink(missing_ok=True)
        except OSError as error:
            self._refused(error, self._written)
        self._fd = -1
        return digest

    def _sort(self) -> None:
        """Give what has come in to its track."""
        inbox = self._inbox
        for _ in range(len(inbox)):
            kind, at_ms, pcm = inbox.popleft()
            if kind <= _RIGHT:
                self._tracks[kind].put(pcm, at_ms)
            elif kind == _PAUSE:
                self._masks.append([(at_ms - MARGIN_MS) * self._rate / 1000, float("inf")])
            elif kind == _RESUME:
                self._masks[-1][1] = (at_ms + MARGIN_MS) * self._rate / 1000
            else:
                self._end = round(at_ms * self._rate / 1000)

    def _write(self, until: int) -> None:
        """Write what was heard before position `until`."""
        for track in self._tracks:
            track.settle(until + PACKET_MS * self._rate // 1000)
        before = self._durable
        try:
            if self._fd < 0:
                self._fd = create(self._files.root, self._files.recording, self._files.call_id)
                self._write_header()
            while self._written < until:
                self._write_chunk(min(until, self._written + CHUNK_S * self._rate))
                self._write_header()
        except OSError as error:
            self._refused(error, until)
        else:
            if self._durable > before:
                self._accepted()

    def _write_chunk(self, until: int) -> None:
        if HEADER_SIZE + until * BLOCK > MAX_DATA:
            raise OSError("a WAV file cannot be longer")
        stereo = np.empty((until - self._written, CHANNELS), dtype="<i2")
        for channel, track in enumerate(self._tracks):
            stereo[:, channel] = np.frombuffer(track.take(until), dtype="<i2")
        for start, end in self._masks:
            stereo[max(0, int(start) - self._written) : max(0, int(min(end, until)) - self._written)] = 0
        write_all(self._fd, stereo.data.cast("B"), HEADER_SIZE + self._written * BLOCK)
        self._written = self._durable = until

    def _write_header(self) -> None:
        write_all(self._fd, header(WavInfo(self._rate, CHANNELS, self._durable)), 0)

    def _accepted(self) -> None:
        self._writer.accepted()
        if self._error:
            log.info("recording goes on", extra={"call_id": self._files.call_id})
            self._error = ""

    def _refused(self, error: OSError, until: int) -> None:
        """What was to be written up to `until` is lost. Said once a call; the alarm is the writer's."""
        if not self._error:
            path = str(self._files.recording)
            extra = {"call_id": self._files.call_id, "path": path, "error": str(error)}
            log.warning("recording failed; the call goes on without", extra=extra)
        self._error = f"{type(error).__name__}: {error}"
        self._writer.refused(error)
        for track in self._tracks:
            if track.start < until:
                track.take(until)
        self._lost += max(0, until - self._written)
        self._written = max(self._written, until)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
