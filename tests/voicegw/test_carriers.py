"""The carriers as a whole: set up from the configuration, and described as they are."""

import asyncio
import re
from pathlib import Path

import pytest

from media.leg import CallInfo, HangupCause
from recordings.calllog import read_timeline
from sip.carrierdesk import party
from voicegw.archive import Archive
from voicegw.carriers import capability_table, configured
from voicegw.config import Config, load_config
from voicegw.errors import StartError
from voicegw.keeper import KeeperConfig, open_keeper
from voicegw.storage.engine import Config as StorageConfig
from voicegw.storage.engine import database_url
from voicegw.storage.reader import CallReader

DOCS = Path(__file__).parent.parent.parent / "docs" / "carriers.md"


def test_the_table_in_the_documentation_is_that_of_the_records() -> None:
    shown = re.search(r"<!-- capabilities -->\n(.*?)\n<!-- /capabilities -->", DOCS.read_text(), re.DOTALL)
    assert shown is not None and shown[1] == capability_table()


def test_what_a_carrier_tells_after_the_call_comes_into_its_timeline(tmp_path: Path) -> None:
    async def run() -> None:
        info = CallInfo("c1", "+1", "+2", "twilio", "CA1")
        async with open_keeper(KeeperConfig(tmp_path)) as keeper, keeper.open(info, "demo") as journal:
            journal.ended(HangupCause.NORMAL)
        reader = CallReader(database_url(StorageConfig(), tmp_path))
        archive = Archive(reader, tmp_path)
        told = {"kind": "recording", "RecordingUrl": "https://t/RE1"}
        assert await archive.report("twilio", "CA1", told)
        assert not await archive.report("plivo", "CA1", told) and not await archive.report(
            "twilio", "CA2", told
        )
        path = await archive.file("c1", "timeline")
        assert path is not None
        last = read_timeline(path)[-1]
        assert (last.name, dict(last.fields)) == ("carrier", told) and last.t_ms >= 0
        await reader.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "address, user",
    [
        ("+4930", "+4930"),
        ("sip:bot@x.example;a=b", "bot"),
        ("client:anna", "anna"),
        ("tel:+49", "+49"),
        ("", ""),
    ],
)
def test_callers_are_named_as_over_sip(address: str, user: str) -> None:
    assert party(address) == user


def test_without_settings_there_is_no_carrier() -> None:
    assert not list(configured(Config()))


def test_a_carrier_that_cannot_work_is_an_error_that_names_it() -> None:
    config = load_config(None, {"VOICEGW_CARRIERS__TWILIO__ACCOUNT_SID": "AC1"})
    with pytest.raises(StartError, match=r"carriers.twilio: auth_token is needed"):
        list(configured(config))
