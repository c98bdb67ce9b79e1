"""In which order files run, and what becomes of a test in real time that failed."""

import time
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.steady import Witness
from tests.tools import left_out

# Files that take longest come first, so that none of them runs alone at the end: by `make test
# ARGS=--durations=0`. Whatever is not named here takes less than 15 s.
LONG = (
    "media/stt/test_pocketsphinx.py",
    "voicegw/test_run.py",
    "e2e/test_bad_input.py",
    "e2e/test_booking.py",
    "voicegw/phone/test_real_call.py",
    "e2e/test_scenarios.py",
    "e2e/test_two_hosts.py",
    "e2e/test_agent.py",
    "e2e/test_killed.py",
    "e2e/test_leaving.py",
    "contracts/test_stt.py",
    "e2e/test_people.py",
    "sip/test_pjsua.py",
    "sip/ua/test_sipp.py",
    "media/stt/test_intents_by_speech.py",
    "e2e/test_softphone.py",
    "e2e/test_fallback.py",
    "e2e/test_carriers.py",
    "voicegw/test_models.py",
    "media/stt/test_whisper.py",
    "e2e/test_secure.py",
    "e2e/test_phones.py",
    "e2e/test_full_disk.py",
    "voicegw/test_cli_calls.py",
    "voicegw/cli/test_speech.py",
    "dialog/flow/test_load.py",
    "media/tts/test_piper.py",
    "contracts/test_tts.py",
    "contracts/test_carriers.py",
)
# Fifty seconds of a hundred calls: when everything else is done, so that nobody suffers from them.
LAST = "e2e/test_crowd.py"

HERE = Path(__file__).parent
witness = pytest.StashKey[Witness]()
begun = pytest.StashKey[dict[str, float]]()
forgiven = pytest.StashKey[int]()
FORGIVEN = 1  # failures of each process on a quiet machine


def pytest_configure(config: pytest.Config) -> None:
    config.stash[witness], config.stash[begun], config.stash[forgiven] = Witness(), {}, 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """xdist hands files out in this order (--no-loadscope-reorder)."""
    ranks = {HERE / name: rank for rank, name in enumerate(LONG)} | {HERE / LAST: len(LONG) + 1}
    items.sort(key=lambda item: ranks.get(item.path, len(LONG)))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A `real` test that failed while the machine gave it no time is played once more, with new fixtures.

    Its file's fixtures may hold what was spoilt long before: disturbances count since these were made. On a
    quiet machine one failure a process is forgiven likewise: programs of many makers talk to each
    other in real time, five hundred times. It is a warning to read, since it may be a race of ours; a
    second one is a failure.
    """
    if item.get_closest_marker("real") is None:
        return None
    since = item.config.stash[begun].setdefault(str(item.path), time.monotonic())
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    failed = any(report.failed for report in reports)
    why = item.config.stash[witness].disturbed(since)
    if failed and not why and item.config.stash[forgiven] < FORGIVEN:
        item.config.stash[forgiven] += 1
        why = "it failed on a QUIET machine"
    if failed and why:
        item.warn(pytest.PytestWarning(f"played again, since {why}: {item.nodeid}: {brief(reports)}"))
        forget_fixtures(item)
        item.config.stash[begun][str(item.path)] = time.monotonic()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tests that this machine cannot run are named, so that nobody takes them for passed."""
    for line in left_out(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)


def brief(reports: list[Any]) -> str:
    """What the failure was, in a line."""
    (first, *_) = [report for report in reports if report.failed]
    crash = getattr(first.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else first.longrepr).partition("\n")[0][:200]


def forget_fixtures(item: pytest.Item) -> None:
    """All of them are made anew for the next run. Their own complaints belong to the spoilt one."""
    try:
        item.session._setupstate.teardown_exact(None)
    except Exception as error:
        item.warn(pytest.PytestWarning(f"what was spoilt ended badly too: {error!r}"))
