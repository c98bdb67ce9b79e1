"""A recording on disk: what is where, in every kind of trouble."""

import errno
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recordings.paths import CallFiles
from recordings.recorder import Config, Recorder, Recording
from recordings.recover import Recovery, recover
from recordings.writer import DiskWriter

STARTED = datetime(2025, 3, 1, 23, 59, tzinfo=UTC)
CALLER = np.random.default_rng(1).integers(-9000, 9000, 160 * 500, dtype=np.int16)
BOT = np.random.default_rng(2).integers(-9000, 9000, 160 * 500, dtype=np.int16)


def frame(source: np.ndarray, n: int) -> bytes:
    return source[n * 160 : (n + 1) * 160].tobytes()


@pytest.fixture
def writer() -> Iterator[DiskWriter]:
    writer = DiskWriter(flush_ms=20)
    writer.start()
    yield writer
    writer.close()
    assert writer.join(10)


def recorder(root: Path, writer: DiskWriter, call_id: str = "c1", **config: object) -> Recorder:
    return Recorder(CallFiles(root, call_id, STARTED), 8000, writer, Config(**config))  # type: ignore[arg-type]


def samples(recording: Recording) -> np.ndarray:
    audio, rate = soundfile.read(recording.path, dtype="int16")
    assert rate == 8000
    return audio


def test_caller_left_bot_right_each_where_it_was_heard(tmp_path: Path, writer: DiskWriter) -> None:
    tap = recorder(tmp_path, writer, checksum=True)
    for n in range(100):
        tap.received(frame(CALLER, n), 20 * n)
        if 50 <= n < 75:  # a cut after half a second: what was not heard is never reported
            tap.played(frame(BOT, n), 20 * n)
    result = tap.close(2500).result(10)

    assert result.path == tmp_path / "2025/03/01/c1.wav"
    assert (result.state, result.duration_ms, result.channels, result.rate) == ("complete", 2500, 2, 8000)
    assert result.sha256 == hashlib.sha256(result.path.read_bytes()).hexdigest()
    audio = samples(result)
    assert np.array_equal(audio[:16000, 0], CALLER[:16000])
    assert not audio[16000:, 0].any()
    assert np.array_equal(audio[8000:12000, 1], BOT[8000:12000])
    assert not audio[:8000, 1].any() and not audio[12000:, 1].any()
    assert writer.counters.complete == 1
    assert not list((tmp_path / "open").iterdir())


def test_a_call_without_a_sound_has_an_empty_recording(tmp_path: Path, writer: DiskWriter) -> None:
    result = recorder(tmp_path, writer).close().result(10)
    assert (result.state, result.duration_ms, result.path.stat().st_size) == ("complete", 0, 44)
    assert len(samples(result)) == 0


def test_an_hour_keeps_both_sides_within_a_frame(tmp_path: Path) -> None:
    """A click each second on both sides, delivered with jitter and 50 ppm of drift."""
    writer = DiskWriter()  # not started: the test is its thread
    tap, random = recorder(tmp_path, writer), np.random.default_rng(5)
    click, quiet = np.full(160, 20_000, np.int16).tobytes(), bytes(320)
    for n in range(3600 * 50):
        pcm = click if n % 50 == 25 else quiet
        tap.received(pcm, 20 * n * 1.00005 + random.uniform(0, 9))
        tap.played(pcm, 20 * n + random.uniform(0, 9))
        if n % 100 == 0:
            tap.flush()
    result = tap.finish()
    audio = samples(result)
    for channel, rate in ((0, 1.00005), (1, 1.0)):
        loud = np.flatnonzero(audio[:, channel])
        clicks = loud[np.flatnonzero(np.diff(loud, prepend=-9999) > 1000)] / 8
        true = (np.arange(3600) * 1000 + 500) * rate
        assert len(clicks) == 3600
        assert np.abs(clicks - true).max() < 20
    assert (result.state, result.dropped) == ("complete", 0)


def test_a_pause_is_silent_on_both_sides(tmp_path: Path, writer: DiskWriter) -> None:
    tap = recorder(tmp_path, writer)
    for n in range(200):
        if n == 60:
            tap.pause(1200)
        if n == 120:
            tap.resume(2400)
        tap.received(frame(CALLER, n), 20 * n)
        late = max(0, n - 5)
        tap.played(frame(BOT, late), 20 * late)  # confirmed 100 ms later
    audio = samples(tap.close(4000).result(10))
    assert not audio[9600:19200].any()
    assert audio[9300:9440, 0].any() and audio[19400:19600].any(axis=0).all()


@pytest.mark.real
def test_playable_while_the_call_goes_on_and_after_kill_9(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "recording\n"
        path = tmp_path / "2025/03/01/c1.wav"
        live, _ = soundfile.read(path, dtype="int16")
    finally:
        child.kill()
        child.wait()
    dead, _ = soundfile.read(path, dtype="int16")
    assert len(dead) >= len(live) >= 8000
    assert (dead[:, 0] == 1000).all() and (dead[:, 1] == -1000).all()

    # As if the kill had come between the audio and the header, in the middle of a sample.
    with path.open("ab") as file:
        file.write(b"\xe8\x03\x18\xfc" * 800 + b"\xe8")
    (recovered,) = recover(tmp_path).closed
    assert (recovered.call_id, recovered.path) == ("c1", path)
    mended, _ = soundfile.read(path, dtype="int16")
    assert len(mended) == len(dead) + 800 and (mended[:, 0] == 1000).all()
    assert recovered.recording is not None and recovered.recording.samples == len(mended)
    again = recover(tmp_path)  # the database did not get to know: once more, to the same end
    assert again.closed == (recovered,)
    again.forget()
    assert recover(tmp_path) == Recovery()


CHILD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from recordings.paths import CallFiles
from recordings.recorder import Recorder
from recordings.writer import DiskWriter

writer = DiskWriter(flush_ms=20)
writer.start()
files = CallFiles(Path(sys.argv[1]), "c1", datetime(2025, 3, 1, tzinfo=UTC))
tap = Recorder(files, 8000, writer)
n = 0
while True:
    tap.received(b"\\xe8\\x03" * 160, 20 * n)
    tap.played(b"\\x18\\xfc" * 160, 20 * n)
    n += 1
    if files.recording.exists() and files.recording.stat().st_size > 44 + 4 * 8000:
        print("recording", flush=True)
    time.sleep(0.001)
"""


def test_a_file_of_a_living_process_is_left_alone(tmp_path: Path, writer: DiskWriter) -> None:
    tap = recorder(tmp_path, writer)
    tap.received(frame(CALLER, 0), 0)
    writer.submit(tap.flush).result(10)
    assert recover(tmp_path) == Recovery(living=frozenset({"c1"}))
    assert tap.close().result(10).duration_ms == 20


@pytest.mark.parametrize("root", ["/proc/voicegw", "a-file/below"])
def test_a_folder_that_cannot_be_written_costs_the_recording_only(
    root: str, tmp_path: Path, writer: DiskWriter, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a-file").write_text("")
    tap = recorder(tmp_path / root, writer)
    for n in range(100):
        tap.received(frame(CALLER, n), 20 * n)
        if n % 30 == 0:
            writer.submit(tap.flush).result(10)
    result = tap.close(2000).result(10)
    assert (result.state, result.duration_ms) == ("failed", 0)
    assert result.error
    assert writer.counters.failed == 1
    alarms = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(alarms) == 1 and writer.fault
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert said.__dict__["call_id"] == "c1"


def test_never_overwrites(tmp_path: Path, writer: DiskWriter) -> None:
    path = tmp_path / "2025/03/01/c1.wav"
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    assert recorder(tmp_path, writer).close().result(10).state == "failed"
    assert path.read_text() == "precious"


def test_a_full_disk_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The descriptor of a real file is exchanged for /dev/full, which answers ENOSPC."""
    writer = DiskWriter()
    tap = recorder(tmp_path, writer)
    tap.received(frame(CALLER, 0), 0)
    tap.flush()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, tap._fd)
    os.close(full)
    for n in range(1, 200):
        tap.received(frame(CALLER, n), 20 * n)
        tap.flush()
    result = tap.finish()
    assert result.state == "failed" and "No space left" in result.error
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert not tap._inbox


def test_a_recording_goes_on_when_there_is_room_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, full = DiskWriter(quiet_s=0), False

    def pwrite(fd: int, data: memoryview, at: int) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, at)

    real = os.pwrite
    monkeypatch.setattr("os.pwrite", pwrite)
    tap = recorder(tmp_path, writer)
    for n in range(450):  # 9 s, of which the disk is full for 3
        full = 150 <= n < 300
        tap.received(frame(CALLER, n), 20 * n)
        tap.flush()
        assert bool(writer.fault) == full or n in (150, 300)
    result = tap.finish()
    assert (result.state, result.duration_ms, result.error) == ("partial", 9000, "")
    audio, _ = soundfile.read(result.path, dtype="int16")
    silent = (audio[:, 0] == 0).reshape(-1, 160).all(axis=1)
    assert len(audio) == 72_000 and 140 <= silent.sum() <= 160  # the rest is there, in its place
    assert silent[160:240].all() and not silent[:110].any() and not silent[310:].any()
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors == ["the disk refuses: calls go on unrecorded"]
    assert "the disk takes recordings again" in [r.getMessage() for r in caplog.records]


@pytest.mark.real
def test_a_file_size_limit_leaves_a_playable_beginning(tmp_path: Path) -> None:
    """RLIMIT_FSIZE in a child: writes succeed in part, then fail for good (EFBIG)."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (50_001, resource.RLIM_INFINITY))
sys.path.insert(0, {str(Path.cwd())!r})
from tests.recordings.test_recorder import *
writer = DiskWriter()
tap = recorder(Path({str(tmp_path)!r}), writer)
for n in range(400):
    tap.received(frame(CALLER, n), 20 * n)
    if n % 10 == 0:
        tap.flush()
result = tap.finish()
assert result.state == "failed" and "too large" in result.error, result
print(result.duration_ms)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    audio, _ = soundfile.read(tmp_path / "2025/03/01/c1.wav", dtype="int16")
    assert 10_000 < len(audio) <= 12_490
    assert np.array_equal(audio[:, 0], CALLER[: len(audio)])
    assert int(done.stdout) == len(audio) // 8


class Stall:
    """A job that holds the disk."""

    def __init__(self) -> None:
        self.began, self.released = threading.Event(), threading.Event()

    def flush(self) -> None:
        self.began.set()
        self.released.wait(30)

    def finish(self) -> None:
        """Nothing to write."""


def test_a_stalled_disk_costs_bounded_memory_and_is_said(tmp_path: Path, writer: DiskWriter) -> None:
    tap, stall = recorder(tmp_path, writer, backlog_ms=1000), Stall()
    writer.submit(tap.flush).result(10)
    writer.add(stall)
    assert stall.began.wait(10)
    started = time.perf_counter()
    for n in range(400):
        tap.received(frame(CALLER, n), 20 * n)
    assert time.perf_counter() - started < 1  # nobody waited
    assert len(tap._inbox) == 100
    stall.released.set()
    writer.submit(tap.flush).result(10)
    for n in range(400, 500):
        tap.received(frame(CALLER, n), 20 * n)
    result = tap.close(10_000).result(10)
    assert (result.state, result.dropped) == ("partial", 300)
    assert writer.counters.frames_dropped == 300
    audio = samples(result)
    assert np.array_equal(audio[:16000, 0], CALLER[:16000])
    assert not audio[16000:64000].any()
    assert np.array_equal(audio[64000:, 0], CALLER[64000:])


def test_what_is_not_closed_is_finished_with_the_writer(tmp_path: Path) -> None:
    writer = DiskWriter()
    writer.start()
    taps = [recorder(tmp_path, writer, f"c{n}") for n in range(3)]
    for tap in taps:
        tap.received(frame(CALLER, 0), 0)
    writer.close()
    assert writer.join(10)
    assert len(list(tmp_path.rglob("*.wav"))) == 3
    assert not list((tmp_path / "open").iterdir())
    with pytest.raises(RuntimeError, match="closed"):
        taps[0].close().result(1)


def test_a_bug_in_one_job_harms_no_other(tmp_path: Path, writer: DiskWriter) -> None:
    class Broken(Stall):
        def flush(self) -> None:
            self.began.set()
            raise ZeroDivisionError

    broken = Broken()
    writer.add(broken)
    assert broken.began.wait(10)
    tap = recorder(tmp_path, writer)
    tap.received(frame(CALLER, 0), 0)
    assert tap.close().result(10).duration_ms == 20


def test_the_longest_gap_is_written_in_pieces(tmp_path: Path) -> None:
    writer = DiskWriter()
    tap = recorder(tmp_path, writer)
    tap.received(frame(CALLER, 0), 0)
    tap.received(frame(CALLER, 1), 600_000)
    result = tap.finish()
    assert result.duration_ms == 600_020
    assert np.array_equal(samples(result)[-160:, 0], CALLER[160:320])
