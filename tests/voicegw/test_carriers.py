"""The carriers as a whole: set up from the configuration, and described as they are."""

import re
from pathlib import Path

import pytest

from voicegw.carriers import capability_table, configured
from voicegw.config import Config, load_config
from voicegw.errors import StartError

DOCS = Path(__file__).parent.parent.parent / "docs" / "carriers.md"


def test_the_table_in_the_documentation_is_that_of_the_records() -> None:
    shown = re.search(r"<!-- capabilities -->\n(.*?)\n<!-- /capabilities -->", DOCS.read_text(), re.DOTALL)
    assert shown is not None and shown[1] == capability_table()


def test_without_settings_there_is_no_carrier() -> None:
    assert not list(configured(Config()))


def test_a_carrier_that_cannot_work_is_an_error_that_names_it() -> None:
    config = load_config(None, {"VOICEGW_CARRIERS__TWILIO__ACCOUNT_SID": "AC1"})
    with pytest.raises(StartError, match=r"carriers.twilio: auth_token is needed"):
        list(configured(config))
