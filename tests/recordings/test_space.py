"""The watch over free space."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from recordings.space import MB, DiskSpace


def test_a_disk_that_gets_full_is_said_before_and_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, seen = DiskSpace(tmp_path / "not" / "there", 100), []
    with caplog.at_level(logging.INFO):
        for free_mb in (500, 99, 98, 105, 111, 99):
            found = SimpleNamespace(f_bavail=free_mb, f_frsize=MB)
            monkeypatch.setattr(os, "statvfs", lambda path, found=found: found)
            space.look()
            seen.append(space.fault())
    low = "the disk is nearly full: {} MB free".format
    assert seen == [None, low(99), low(98), low(105), None, low(99)]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


def test_it_may_only_measure(tmp_path: Path) -> None:
    space = DiskSpace(tmp_path, 0)
    assert space.free == -1
    space.look()
    assert space.free > 0 and space.fault() is None
