"""The data folder is its owner's alone, whoever makes it first."""

from pathlib import Path

import pytest

from voicegw.cli.models import _store
from voicegw.config import Config
from voicegw.datafolder import data_folder
from voicegw.doctor.finding import Level
from voicegw.doctor.machine import machine
from voicegw.errors import StartError
from voicegw.models.catalog import catalog


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    assert mode(data_folder(tmp_path / "var" / "data")) == 0o700


def test_the_mode_of_a_folder_that_is_there_is_its_owners_choice(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    assert data_folder(folder) == folder and mode(folder) == 0o755


def test_a_folder_that_nothing_can_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="file/data cannot be made: Not a directory; choose another"):
        data_folder(tmp_path / "file" / "data")


def test_models_that_are_pulled_first_make_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOICEGW_DATA_DIR", str(tmp_path / "data"))
    entry = next(iter(catalog().values()))
    _store(None)
    assert not (tmp_path / "data").exists(), "a list makes nothing"
    _store(None, fill=True).prepared(entry, "model")
    assert mode(tmp_path / "data") == 0o700
    elsewhere = _store(tmp_path / "stick", fill=True).prepared(entry, "model")
    assert elsewhere.parent.is_dir()


@pytest.mark.parametrize(
    "bits, warned", [(0o700, False), (0o750, False), (0o751, True), (0o755, True), (None, False)]
)
def test_the_doctor_warns_of_a_folder_that_everybody_can_read(
    bits: int | None, warned: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    if bits is not None:
        folder.mkdir()
        folder.chmod(bits)
    found = [f for f in machine(Config(data_dir=folder)) if f.what.startswith("data folder")]
    assert [f.level for f in found] == [Level.WARNING if warned else Level.GOOD]
    assert (f"chmod o-rwx {folder}" in found[0].advice) is warned
